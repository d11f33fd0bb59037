"""Predictions of a segmentation network, for the pictures of a run and for any other picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2.functional import resize
from tqdm import tqdm

from wsss_nonsalient import resize_cam
from wsss_nonsalient.io import write_label

from .config import AugmentationConfig
from .crf import refine as refine_by_crf
from .features import build_samples
from .networks import MultiScaleInput, Network, build_segmentation_head, load_network
from .photos import Photo, read_image
from .refine import refined
from .run_folder import Run, is_complete, stage
from .trunks import build_trunk
from .weights import load_named


@dataclass(frozen=True)
class Segmenter:
    """A trained segmentation network, and how pictures go into it."""

    network: Network
    description: dict[str, Any]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return tuple(self.description["class_names"])

    @torch.inference_mode()
    def probabilities(self, image: Tensor) -> Tensor:
        """Probability of each label in each pixel, float32 (labels, H, W), of a uint8 RGB image."""
        size = self.description["input_size"]
        device = next(self.network.parameters()).device
        small = (resize(image, [size, size]) if size else image).to(device).float() / 255
        model = with_scales(self.network, self.description["scales"])
        scores = label_scores(model, torch.stack([small, small.flip(-1)]), self.description["flip"])
        return full_size(scores, image.shape[-2:]).softmax(dim=0).cpu()


def load_segmenter(path: Path, device: str = "cpu") -> Segmenter:
    """Read a checkpoint of `segment`.

    Raises:
        ValueError: It is no checkpoint of a segmentation network.
    """
    state, description = load_network(path)
    if description.get("kind") != "segmentation":
        raise ValueError(f"{path} is no checkpoint of a segmentation network")
    missing = {"trunk", "head", "scales", "class_names", "input_size", "flip"} - description.keys()
    if missing:
        raise ValueError(f"{path}: its description lacks {', '.join(sorted(missing))}")
    trunk = build_trunk(**description["trunk"], weights="random")
    labels = len(description["class_names"]) + 1
    head = build_segmentation_head(trunk.out_channels, labels, **description["head"])
    network = Network(trunk, head)
    load_named(network, state, source=str(path))
    return Segmenter(network.eval().to(device), description)


def with_scales(network: nn.Module, scales: Sequence[float]) -> nn.Module:
    """The network for inputs at several scales, if there are several."""
    return network if len(scales) == 1 else MultiScaleInput(network, scales).eval()


def label_scores(model: nn.Module, pair: Tensor, flip: bool) -> Tensor:
    """Logits (labels, h, w) of a picture, or their mean with the mirror image's, flipped back."""
    if not flip:
        plain: Tensor = model(pair[:1])
        return plain[0].float()
    scores: Tensor = model(pair).float()
    return (scores[0] + scores[1].flip(-1)) / 2


def full_size(scores: Tensor, size: Sequence[int]) -> Tensor:
    """Logits in the size of the picture."""
    resized: Tensor = functional.interpolate(scores[None], tuple(size), mode="bilinear")
    return resized[0]


def label_logits(
    run: Run, network: str, photos: Sequence[Photo], paths: Mapping[str, Path], name: str
) -> Iterator[tuple[Photo, Tensor, Tensor]]:
    """Pictures, their uint8 RGB images, and the logits (labels, H, W) of a trained network.

    Those of this process whose file, of `paths`, is not there yet.
    """
    segmenter = load_segmenter(run.folder / network / "network.safetensors", str(run.fabric.device))
    trunk, config = run.config.segmentation_trunk, run.config.segmentation
    samples = build_samples(run, photos, trunk, config.size, AugmentationConfig())
    part = segmenter.network.head if trunk.frozen else segmenter.network
    model = with_scales(part, config.input_scales)
    mine = range(run.fabric.global_rank, len(photos), run.fabric.world_size)
    for i in tqdm(mine, desc=name, unit="picture", disable=not run.fabric.is_global_zero):
        if paths[photos[i].key].is_file():
            continue
        image = read_image(photos[i].image)
        with torch.inference_mode(), run.fabric.autocast():
            pair = samples.pair(i).to(run.fabric.device)
            logits = full_size(label_scores(model, pair, config.flip), image.shape[-2:])
        yield photos[i], image, logits


def predict(
    run: Run,
    network: str,
    photos: Sequence[Photo],
    folder: str,
    *,
    crf: bool = False,
    refine: bool = False,
) -> None:
    """Write the labels that a trained network predicts, `{folder}/ID.png`; those there stay.

    Args:
        run: The run.
        network: The stage that trained it.
        photos: The pictures.
        folder: Where, in the run folder.
        crf: Refine the prediction by a conditional random field.
        refine: Refine the prediction by the colours of the picture alone.
    """
    if is_complete(run, folder):
        return
    with stage(run, folder) as facts:
        facts["photos"] = len(photos)
        paths = {photo.key: run.folder / folder / f"{photo.key}.png" for photo in photos}
        for photo, image, logits in label_logits(run, network, photos, paths, folder):
            if crf:
                labels = refine_by_crf(logits.softmax(dim=0).cpu(), image)
            elif refine:
                probabilities = refined(logits.softmax(dim=0).cpu(), image)
                labels = resize_cam(probabilities, image.shape[-2:]).argmax(dim=0)
            else:
                labels = logits.argmax(dim=0).cpu()
            write_label(paths[photo.key], labels.to(torch.uint8))
