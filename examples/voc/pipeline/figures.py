"""Figures of a run: loss curves, and the labels of single pictures step by step."""

from __future__ import annotations

import io
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
from tqdm import tqdm

from wsss_nonsalient import LabelReport, plot, resize_cam
from wsss_nonsalient.io import VOC_PALETTE, CAMs, read_cams, read_label, read_saliency

from .photos import DataSet, Photo, read_image
from .score import SALIENT

COLORS = np.frombuffer(VOC_PALETTE, dtype=np.uint8).reshape(256, 3)
IGNORED: dict[str, Any] = {"facecolor": "#e0e0c0", "edgecolor": "#a8a88c", "hatch": "////"}
TRUTH = "truth (for scores only)"
WIDTH = 2.4  # of a panel, in inches; small, so that the text is large beside it
DPI = 110

Pixels = NDArray[np.uint8]


def loss_figure(losses: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """One panel a network: the mean loss of each epoch."""
    figure = Figure(figsize=(3 * len(losses), 2.4), layout="constrained")
    grid = figure.subplots(1, len(losses), squeeze=False).flat
    for axes, (name, points) in zip(grid, losses.items(), strict=True):
        axes.plot(*np.transpose(points), marker=".", color="#204a87")
        axes.set(title=name, xlabel="step", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean loss of an epoch")
    return figure


def train_figure(out: Path, photo: Photo, data: DataSet) -> Figure:
    """What becomes of a training picture, from its maps to the label of the second round."""
    image, computed = picture(photo), out / "saliency" / f"{photo.key}.png"
    size = image.shape[:2]
    saliency = region_map(photo)
    used = read_saliency(computed) if computed.is_file() else saliency
    panels: dict[str, Pixels | Tensor] = {"picture": image}
    if used is not None:
        panels["saliency"] = np.repeat(used.numpy()[..., None], 3, axis=2)
    panels |= {
        "CAM": heat(image, read_cams(out / "maps" / "cam", photo.key), size),
        "OA-CAM": heat(image, read_cams(out / "maps" / "oa_cam", photo.key), size),
        TRUTH: read_label(photo.scoring_mask),
    }
    steps = {
        "initial label": "labels/initial",
        "+ POM": "labels/pom",
        "prediction, round 1": "predictions/segmentation_1",
        "+ NSRM": "labels/nsrm",
    }
    return panel_figure(photo.key, panels | labels_of(out, photo, steps), 5, data, saliency)


def step_figure(
    out: Path, step: str, photos: Sequence[Photo], data: DataSet, with_cams: bool = False
) -> Figure:
    """What the labels `labels/STEP` are like by region, size and class, and what CAM values are."""
    report = LabelReport(data.num_classes + 1, saliency_threshold=SALIENT / 255)
    for photo in tqdm(photos, desc=f"report {step}", unit="picture"):
        truth = read_label(photo.scoring_mask)
        given = dense(read_cams(out / "maps" / "cam", photo.key), truth, data) if with_cams else {}
        labels = read_label(out / "labels" / step / f"{photo.key}.png")
        report.update(labels, truth, saliency=region_map(photo), **given)
    return plot.show_label_report(report.compute(), names=("background", *data.class_names))


def dense(cams: CAMs, truth: Tensor, data: DataSet) -> dict[str, Tensor]:
    """Maps of all classes in the size of the picture, and which of them there are."""
    maps = torch.zeros(data.num_classes, *truth.shape)
    present = torch.zeros(data.num_classes)
    if len(cams.classes):
        maps[cams.classes] = resize_cam(cams.maps, tuple(truth.shape)).float()
        present[cams.classes] = 1
    return {"cam": maps, "image_labels": present}


def val_figure(out: Path, photo: Photo, data: DataSet) -> Figure:
    """What both rounds predict for a validation picture."""
    panels: dict[str, Pixels | Tensor] = {"picture": picture(photo)}
    steps = {
        "round 1": "val/segmentation_1",
        "round 2": "val/segmentation_2",
        "round 2, CRF": "val/segmentation_2_crf",
    }
    panels |= labels_of(out, photo, steps)
    panels[TRUTH] = read_label(photo.scoring_mask)
    saliency = region_map(photo)
    return panel_figure(photo.key, panels, len(panels), data, saliency)


def region_map(photo: Photo) -> Tensor | None:
    """The data set's own saliency map, which tells the non-salient region; None without it."""
    return read_saliency(photo.saliency) if photo.saliency.is_file() else None


def labels_of(out: Path, photo: Photo, steps: Mapping[str, str]) -> dict[str, Tensor]:
    """Label maps of a picture in those folders of the run that have it."""
    paths = {title: out / folder / f"{photo.key}.png" for title, folder in steps.items()}
    return {title: read_label(path) for title, path in paths.items() if path.is_file()}


def panel_figure(
    title: str,
    panels: Mapping[str, Pixels | Tensor],
    columns: int,
    data: DataSet,
    saliency: Tensor | None = None,
) -> Figure:
    """Pictures (H, W, 3) and label maps (H, W) in a grid, with a legend of the labels.

    If there are `saliency` and a panel `TRUTH`, the outline of the true objects is drawn over the
    other label maps, and the share of object pixels that each of them misses written below.
    """
    rows = -(-len(panels) // columns)
    height, width = next(iter(panels.values())).shape[:2]
    shape = min(max(height / width, 0.4), 1.5)  # a long picture gets a panel that is not as long
    wide = WIDTH * min(1, max(0.75, 0.9 / shape))  # and a high one fits the screen
    below = 0.3 if rows * columns == len(panels) else 0  # the legend
    size = (wide * columns, rows * (wide * shape + 0.42) + 0.25 + below)
    figure = Figure(size, layout="constrained")
    figure.suptitle(title, fontsize=10, color="#555555", parse_math=False)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    truth = panels.get(TRUTH)
    for axes, (name, panel) in zip(grid, panels.items(), strict=False):
        axes.set_title(name, fontsize=11)
        if not isinstance(panel, Tensor):
            axes.imshow(panel)
            continue
        draw_labels(axes, panel)
        if isinstance(truth, Tensor) and panel is not truth and saliency is not None:
            draw_missed(axes, panel, truth, saliency)
    for axes in grid:
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(bool(axes.get_title()))
    maps = [panel for panel in panels.values() if isinstance(panel, Tensor)]
    draw_legend(figure, grid[len(panels) :], maps, ("background", *data.class_names))
    return figure


def draw_labels(axes: Axes, labels: Tensor) -> None:
    """A label map in VOC's colours, ignored pixels hatched."""
    axes.patch.set(**IGNORED)
    opaque = np.where(labels.numpy()[..., None] == 255, 0, 255).astype(np.uint8)
    axes.imshow(np.concatenate([COLORS[labels.numpy()], opaque], axis=2))


def draw_missed(axes: Axes, labels: Tensor, truth: Tensor, saliency: Tensor) -> None:
    """The outline of the true objects, and the share of them that is labelled background."""
    objects = (truth != 0) & (truth != 255)
    if not objects.any():
        return
    axes.contour(objects.numpy(), levels=[0.5], colors="black", linewidths=1.8)
    axes.contour(objects.numpy(), levels=[0.5], colors="white", linewidths=0.8)
    hidden = objects & (saliency < SALIENT)
    kind, counted = ("non-salient", hidden) if hidden.any() else ("objects", objects)
    missed = (labels == 0)[counted].float().mean().item()
    axes.set_xlabel(f"{kind}: {100 * missed:.0f} % missed", fontsize=9)


def draw_legend(
    figure: Figure, free: Sequence[Axes], maps: Sequence[Tensor], names: Sequence[str]
) -> None:
    """The labels that are in `maps`: in the free panel, or below all panels if none is free."""
    found = torch.cat([labels.flatten() for labels in maps]).unique().tolist()
    handles = [Patch(color=COLORS[i] / 255, label=names[i]) for i in found if i < len(names)]
    handles += [Patch(**IGNORED, label="ignored")] if 255 in found else []
    if free and len(handles) < 9:
        legend = free[0].legend(handles=handles, loc="center", frameon=False)
    else:
        columns = min(len(handles), 6)
        legend = figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, frameon=False
        )
    for text in legend.get_texts():
        text.set_parse_math(False)


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


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, in one step."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_bytes(path, buffer.getvalue())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file and its folder; a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
