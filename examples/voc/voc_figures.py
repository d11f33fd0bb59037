"""Figures of single photos: image, saliency, maps, the label of each step, and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor
from voc_data import Photo, image_labels, read_image
from voc_labels import STEPS, label_steps, present_maps

from wsss_nonsalient.io import VOC_CLASSES, VOC_PALETTE, read_label, read_saliency

COLORS = np.frombuffer(VOC_PALETTE, dtype=np.uint8).reshape(256, 3)


def choose_photos(photos: Sequence[Photo], count: int) -> list[int]:
    """Evenly spaced photos among those with two or more classes, where the steps differ most."""
    several = [i for i, photo in enumerate(photos) if len(photo.classes) > 1]
    several = several or [i for i, photo in enumerate(photos) if photo.classes]
    return [several[k * len(several) // count] for k in range(min(count, len(several)))]


def write_figures(
    photos: Sequence[Photo], maps: Mapping[str, Tensor], folder: Path, count: int
) -> None:
    """Write `folder/ID.png` for `count` photos; `maps` as in `label_and_score`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in choose_photos(photos, count):
        own = {name: values[i] for name, values in maps.items()}
        _figure(photos[i], own).savefig(folder / f"{photos[i].key}.png", dpi=100)


def _figure(photo: Photo, maps: Mapping[str, Tensor]) -> Figure:
    image = read_image(photo.image).permute(1, 2, 0).numpy()
    saliency, truth = read_saliency(photo.saliency), read_label(photo.scoring_mask)
    labels = label_steps(maps["CAM"], maps["OA-CAM"], saliency, image_labels([photo])[0])
    panels = {"photo": image, "saliency": np.repeat(saliency.numpy()[..., None], 3, axis=2)}
    for name, values in maps.items():
        panels[name] = _heat(image, present_maps(values, photo, saliency.shape), photo.classes)
    for name, label in {**{step: labels[step] for step in STEPS}, "truth": truth}.items():
        panels[name] = COLORS[label.numpy()]

    figure = Figure(figsize=(16, 7.2 * image.shape[0] / image.shape[1] + 0.9), layout="constrained")
    for axes, (title, panel) in zip(figure.subplots(2, 5).flat, panels.items(), strict=False):
        axes.imshow(panel)
        axes.set_title(title)
    for axes in figure.axes:
        axes.axis("off")
    names = [Patch(color=COLORS[c + 1] / 255, label=VOC_CLASSES[c]) for c in photo.classes]
    ignored = Patch(color=COLORS[255] / 255, label="ignored")
    figure.legend(handles=[*names, ignored], loc="outside lower center", ncols=len(names) + 1)
    return figure


def _heat(image: NDArray[np.uint8], present: Tensor, classes: Sequence[int]) -> NDArray[np.uint8]:
    """Each pixel in the color of its strongest class, as strong as the map, over the gray photo."""
    value, winner = present.max(0)
    color = COLORS[torch.tensor(classes)[winner].numpy() + 1]
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * 0.6
    weight = value.numpy()[..., None]
    heat: NDArray[np.uint8] = (gray * (1 - weight) + color * weight).astype(np.uint8)
    return heat
