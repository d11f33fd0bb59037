"""The features of a frozen trunk, evaluated once for each picture and its mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .config import AugmentationConfig, TrunkConfig
from .photos import Photo
from .run_folder import Run, file_digest
from .samples import FeatureSamples, PictureSamples, Samples
from .trunks import build_trunk


def build_samples(
    run: Run,
    photos: Sequence[Photo],
    trunk: TrunkConfig,
    size: int,
    augmentation: AugmentationConfig,
    labels: Path | None = None,
    label_size: int = 0,
) -> Samples:
    """Samples of pictures, or of their features if the trunk is frozen.

    Raises:
        ValueError: The features of a frozen trunk cannot be augmented as configured.
    """
    if not trunk.frozen:
        return PictureSamples(photos, size, augmentation, run.seed, labels, label_size)
    if augmentation.color_jitter or augmentation.crop or not size:
        raise ValueError(
            "a frozen trunk sees each picture once, at one size: expected no color_jitter, no crop "
            f"and a size, got {augmentation} and size {size}"
        )
    if labels is not None and not label_size:
        raise ValueError("label_size: expected a size, since a frozen trunk's input is a square")
    folder = run.features / feature_folder(trunk, size)
    cache_features(run, photos, trunk, size, folder)
    return FeatureSamples(photos, folder, augmentation, run.seed, labels, label_size)


def feature_folder(trunk: TrunkConfig, size: int) -> str:
    """A name that tells which trunk saw the pictures, and how."""
    weights = Path(trunk.weights)
    digest = file_digest(weights)[:12] if weights.is_file() else trunk.weights
    return f"{trunk.name}-{digest}-{size}px-os{trunk.output_stride}"


@torch.inference_mode()
def cache_features(
    run: Run, photos: Sequence[Photo], trunk: TrunkConfig, size: int, folder: Path
) -> None:
    """Write `folder/ID.npy`, float16 (2, C, h, w), for each picture that has no such file yet.

    Each picture is evaluated by itself, so that its features do not depend on what is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run.fabric.barrier()
    todo = [photo for photo in run.mine(photos) if not (folder / f"{photo.key}.npy").is_file()]
    if todo:
        torch.manual_seed(run.seed)
        network = build_trunk(trunk.name, output_stride=trunk.output_stride, weights=trunk.weights)
        network.eval().to(run.fabric.device)
        pictures = PictureSamples(todo, size, AugmentationConfig(), run.seed)
        hidden = not run.fabric.is_global_zero
        for i, photo in enumerate(tqdm(todo, desc="features", unit="picture", disable=hidden)):
            features = network(pictures.pair(i).to(run.fabric.device))
            partial = folder / f"{photo.key}.partial"
            with partial.open("wb") as file:
                np.save(file, features.half().cpu().numpy())
            partial.replace(folder / f"{photo.key}.npy")
    run.fabric.barrier()
