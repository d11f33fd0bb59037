"""Figures of a run: loss curves, and the labels of single pictures step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from wsss_nonsalient import resize_cam
from wsss_nonsalient.io import VOC_PALETTE, CAMs, read_cams, read_label, read_saliency

from .photos import DataSet, Photo, read_image

COLORS = np.frombuffer(VOC_PALETTE, dtype=np.uint8).reshape(256, 3)
IGNORED: dict[str, Any] = {"facecolor": "#e0e0c0", "edgecolor": "#a8a88c", "hatch": "////"}

Pixels = NDArray[np.uint8]


def loss_figure(losses: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """One panel a network: the mean loss of each epoch."""
    figure = Figure(figsize=(3.2 * len(losses), 2.6), layout="constrained")
    grid = figure.subplots(1, len(losses), squeeze=False).flat
    for axes, (name, points) in zip(grid, losses.items(), strict=True):
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, marker=".", color="#204a87")
        axes.set(title=name.replace("_", " "), xlabel="step", ylim=(0, None))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean loss of an epoch")
    return figure


def train_figure(out: Path, photo: Photo, data: DataSet) -> Figure:
    """What becomes of a training picture, from its maps to the labels of the second round."""
    image, saliency = picture(photo), read_saliency(photo.saliency)
    size = tuple(saliency.shape)
    name = f"{photo.key}.png"
    panels: dict[str, Pixels | Tensor] = {
        "picture": image,
        "saliency": np.repeat(saliency.numpy()[..., None], 3, axis=2),
        "CAM": heat(image, read_cams(out / "maps" / "cam", photo.key), size),
        "OA-CAM": heat(image, read_cams(out / "maps" / "oa_cam", photo.key), size),
        "truth (for the scores only)": read_label(photo.scoring_mask),
        "initial label": read_label(out / "labels" / "initial" / name),
        "+ POM": read_label(out / "labels" / "pom" / name),
        "prediction of round 1": read_label(out / "predictions" / "segmentation_1" / name),
        "+ NSRM, label of round 2": read_label(out / "labels" / "nsrm" / name),
    }
    return panel_figure(photo.key, panels, 5, data)


def val_figure(out: Path, photo: Photo, data: DataSet) -> Figure:
    """What both rounds predict for a validation picture."""
    name = f"{photo.key}.png"
    panels: dict[str, Pixels | Tensor] = {
        "picture": picture(photo),
        "round 1": read_label(out / "val" / "segmentation_1" / name),
        "round 2": read_label(out / "val" / "segmentation_2" / name),
        "truth (for the scores only)": read_label(photo.scoring_mask),
    }
    return panel_figure(photo.key, panels, 4, data)


def panel_figure(
    title: str, panels: Mapping[str, Pixels | Tensor], columns: int, data: DataSet
) -> Figure:
    """Pictures (H, W, 3) and label maps (H, W) in a grid, with a legend of the labels."""
    rows = -(-len(panels) // columns)
    height, width = next(iter(panels.values())).shape[:2]
    figure = Figure(
        figsize=(3 * columns, rows * (3 * height / width + 0.35) + 0.8), layout="constrained"
    )
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, panel) in zip(grid, panels.items(), strict=False):
        axes.set_title(name, fontsize=10)
        if isinstance(panel, Tensor):
            draw_labels(axes, panel)
        else:
            axes.imshow(panel)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(bool(axes.get_title()))
    maps = [panel for panel in panels.values() if isinstance(panel, Tensor)]
    found = torch.cat([panel.flatten() for panel in maps]).unique().tolist()
    names = ("background", *data.class_names)
    legend = [Patch(color=COLORS[i] / 255, label=names[i]) for i in found if i < len(names)]
    legend += [Patch(**IGNORED, label="ignored")] if 255 in found else []
    figure.legend(handles=legend, loc="outside lower center", ncols=min(len(legend), 9))
    return figure


def draw_labels(axes: Axes, labels: Tensor) -> None:
    """A label map in VOC's colours, ignored pixels hatched."""
    axes.patch.set(**IGNORED)
    opaque = np.where(labels.numpy()[..., None] == 255, 0, 255).astype(np.uint8)
    axes.imshow(np.concatenate([COLORS[labels.numpy()], opaque], axis=2))


def picture(photo: Photo) -> Pixels:
    """The picture, (H, W, 3)."""
    return read_image(photo.image).permute(1, 2, 0).numpy()


def heat(image: Pixels, cams: CAMs, size: tuple[int, ...]) -> Pixels:
    """Each pixel in the colour of its strongest class, as strong as the map, over gray."""
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * 0.6
    if not len(cams.classes):
        return gray.astype(np.uint8)
    value, winner = resize_cam(cams.maps, size).max(dim=0)
    color = COLORS[cams.classes[winner].numpy() + 1]
    weight = value.numpy()[..., None]
    mixed: Pixels = (gray * (1 - weight) + color * weight).astype(np.uint8)
    return mixed
