"""A frozen timm trunk, evaluated once: features of each photo and its mirror image, on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms.functional import normalize
from tqdm import tqdm
from voc_data import Photo, read_image

RANDOM = "random"  # as --weights: an untrained trunk, for trying the script out


def weights_digest(weights: str) -> str:
    """SHA-256 of a weights file, which names its features; `random` for an untrained trunk."""
    return RANDOM if weights == RANDOM else hashlib.sha256(Path(weights).read_bytes()).hexdigest()


def build_trunk(name: str, weights: str, output_stride: int) -> nn.Module:
    """The last stage of a timm model as a frozen feature extractor.

    Args:
        name: a timm model that supports `features_only`.
        weights: a `.safetensors` or `.pth` file with timm's parameter names, or `random`.
        output_stride: 8 or 16 (or 32), the pixels of the photo per feature.
    """
    torch.manual_seed(0)  # the untrained trunk is the same in every run
    trunk: nn.Module = timm.create_model(
        name, pretrained=False, features_only=True, output_stride=output_stride, out_indices=(-1,)
    )
    if weights != RANDOM:
        load_trunk(trunk, name, read_weights(Path(weights)))
    return trunk.eval().requires_grad_(False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a `.safetensors` or `torch.save` file; pickled code is not run."""
    if path.suffix == ".safetensors":
        return load_file(path)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_trunk(trunk: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
    """Load every trunk parameter; only the parameters of the model's own head may be left over."""
    whole = timm.create_model(name, pretrained=False).state_dict().keys()
    wanted = trunk.state_dict().keys()
    missing = sorted(wanted - state.keys())
    unknown = sorted(state.keys() - wanted - whole)
    if missing or unknown:
        raise ValueError(f"the weights do not fit {name}: missing {missing}, unknown {unknown}")
    trunk.load_state_dict({key: state[key] for key in wanted})


def input_range(name: str, trunk: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the trunk's input, for RGB in [0, 1]."""
    if name.startswith("tf_efficientnet_lite"):
        return [127 / 255] * 3, [128 / 255] * 3
    return trunk.default_cfg["mean"], trunk.default_cfg["std"]  # type: ignore[index, return-value]


def cache_features(
    trunk: nn.Module, name: str, photos: Sequence[Photo], size: int, folder: Path, device: str
) -> None:
    """Write `folder/ID.npy`, float16 (2, C, h, w): features of the photo and of its mirror image.

    Files that exist are kept, so a killed run resumes. Each photo is evaluated by itself, so that
    its features do not depend on where a run was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo = [photo for photo in photos if not (folder / f"{photo.key}.npy").is_file()]
    mean, std = input_range(name, trunk)
    trunk.to(device)
    for photo in tqdm(todo, desc="features", unit="photo", disable=not todo):
        image = normalize(read_image(photo.image, size).float() / 255, list(mean), list(std))
        with torch.inference_mode():
            (features,) = trunk(torch.stack([image, image.flip(-1)]).to(device))
        partial = folder / f"{photo.key}.partial"
        with partial.open("wb") as file:
            np.save(file, features.half().cpu().numpy())
        partial.replace(folder / f"{photo.key}.npy")


def load_features(photos: Sequence[Photo], folder: Path) -> Tensor:
    """Cached features of the photos, float16 (N, 2, C, h, w)."""
    first = np.load(folder / f"{photos[0].key}.npy")
    features = torch.empty(len(photos), *first.shape, dtype=torch.float16)
    for row, photo in zip(features, photos, strict=True):
        row.copy_(torch.from_numpy(np.load(folder / f"{photo.key}.npy")))
    return features
