"""What a label report says: its parts, out of confusion matrices, and its text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._values import to_list
from .metrics import SegmentationResults


class ClassResults(NamedTuple):
    """Shares of each label; float64 in [0, 1], NaN where undefined. Entry 0 is the background."""

    pixels: Tensor  #: (num_classes,) int64, counted pixels of the truth
    iou: Tensor  #: (num_classes,) without ignored predictions
    iou_strict: Tensor  #: (num_classes,) ignored predictions being wrong
    missed: Tensor  #: (num_classes,) labelled background, of the class's pixels; NaN in entry 0
    ignored: Tensor  #: (num_classes,) ignored, of the class's pixels
    right: Tensor  #: (num_classes,) labelled right, of the class's pixels
    confused: Tensor  #: (num_classes,) labelled another class, of these; NaN in entry 0
    false_objects: Tensor  #: (num_classes,) labelled so, of all background pixels; NaN in entry 0


class RegionResults(NamedTuple):
    """Scores within regions of the pictures."""

    boundary: SegmentationResults  #: near an edge of the truth
    interior: SegmentationResults  #: everywhere else
    salient: SegmentationResults | None  #: where saliency is high; None without saliency maps
    non_salient: SegmentationResults | None  #: where it is low


class SizeResults(NamedTuple):
    """Shares of the pixels of objects of B bins of size; float64 in [0, 1], NaN in empty bins."""

    edges: Tensor  #: (B + 1,) float64; bin i has the objects of edges[i] <= size < edges[i + 1]
    objects: Tensor  #: (B,) int64, connected components of the classes of the truth
    pixels: Tensor  #: (B,) int64, what they consist of
    missed: Tensor  #: (B,) labelled background
    ignored: Tensor  #: (B,) ignored
    right: Tensor  #: (B,) labelled right
    confused: Tensor  #: (B,) labelled another class


class CalibrationResults(NamedTuple):
    """Reliability curve of CAM values in K bins over [0, 1]; NaN in empty bins."""

    edges: Tensor  #: (K + 1,) float64; bin i has edges[i] < value <= edges[i + 1], the first also 0
    pixels: Tensor  #: (K,) int64, values of present classes that are in the bin
    mean_value: Tensor  #: (K,) float64, their mean
    true_share: Tensor  #: (K,) float64, how many of them are at pixels that truly are the class
    expected_error: float  #: expected calibration error, the mean distance of these two


class LabelReportResults(NamedTuple):
    """What :meth:`LabelReport.compute` gives; ``str()`` of it is a table in percent."""

    overall: SegmentationResults  #: of all pixels
    by_class: ClassResults  #: of each label
    by_region: RegionResults  #: salient or not, boundary or interior
    by_size: SizeResults  #: of small and of large objects
    calibration: CalibrationResults | None  #: of CAM values; None without maps

    def __str__(self) -> str:
        regions = {"all pixels": self.overall}
        for name, own in self.by_region._asdict().items():
            if own is not None:
                regions[name.replace("_", "-")] = own
        rows = [["in percent", "mIoU", "strict", *_SHARES, "false objects"]]
        rows += [[name, *_cells(_region_numbers(own))] for name, own in regions.items()]
        for label, numbers in enumerate(zip(*map(to_list, self.by_class[1:]), strict=True)):
            if not math.isnan(numbers[0]) or not math.isnan(numbers[1]):  # it is somewhere
                rows.append([f"label {label}" if label else "background", *_cells(numbers)])
        edges = to_list(self.by_size.edges)
        shares = zip(*map(to_list, self.by_size[3:]), strict=True)
        for low, high, numbers in zip(edges[:-1], edges[1:], shares, strict=True):
            name = f"objects of {100 * low:g} to {100 * high:g} %"
            rows.append([name, "", "", *_cells(numbers)])
        if self.calibration is not None:
            error = _cells([self.calibration.expected_error])
            rows.append(["expected calibration error", *error])
        return "\n".join(map(_aligned, rows))


_SHARES = ("missed", "ignored", "right", "confused")
_WIDTHS = (10, 10, 10, 10, 10, 10, 15)


def class_results(confusion: Tensor) -> ClassResults:
    """By the rows and columns of a confusion matrix of ``SegmentationScore``."""
    counts = confusion.to(torch.float64)
    labelled, pixels = counts[:, :-1], counts.sum(dim=1)
    right, predicted = labelled.diagonal(), labelled.sum(dim=0)
    others = labelled.sum(dim=1) - right - labelled[:, 0]
    false_objects = labelled[0] / pixels[0]
    return ClassResults(
        pixels=confusion.sum(dim=1),
        iou=right / (predicted + labelled.sum(dim=1) - right),
        iou_strict=right / (predicted + pixels - right),
        missed=_objects_only(labelled[:, 0] / pixels),
        ignored=counts[:, -1] / pixels,
        right=right / pixels,
        confused=_objects_only(others / pixels),
        false_objects=_objects_only(false_objects),
    )


def size_results(confusions: Tensor, objects: Tensor, edges: Sequence[float]) -> SizeResults:
    """By confusion matrices (B, num_classes, num_classes + 1) of the objects of each bin."""
    counts = confusions[:, 1:].to(torch.float64)
    pixels = counts.sum(dim=(1, 2))
    right = counts[:, :, 1:-1].diagonal(dim1=1, dim2=2).sum(dim=1)
    return SizeResults(
        edges=torch.tensor([0.0, *edges, 1.0], dtype=torch.float64),
        objects=objects.clone(),
        pixels=confusions[:, 1:].sum(dim=(1, 2)),
        missed=counts[:, :, 0].sum(dim=1) / pixels,
        ignored=counts[:, :, -1].sum(dim=1) / pixels,
        right=right / pixels,
        confused=(counts[:, :, 1:-1].sum(dim=(1, 2)) - right) / pixels,
    )


def _objects_only(shares: Tensor) -> Tensor:
    """NaN for the background, of which a share says nothing."""
    shares[0] = torch.nan
    return shares


def _region_numbers(own: SegmentationResults) -> list[float]:
    right = 1 - own.missed - own.objects_ignored - own.confused
    shares = [own.missed, own.objects_ignored, right, own.confused, own.false_objects]
    return [own.mean_iou, own.mean_iou_strict, *shares]


def _cells(numbers: Sequence[float]) -> list[str]:
    return ["-" if math.isnan(x) else f"{100 * x:.1f}" for x in numbers]


def _aligned(row: Sequence[str]) -> str:
    name, *cells = row
    return (f"{name:<26}" + "".join(map(str.rjust, cells, _WIDTHS))).rstrip()
