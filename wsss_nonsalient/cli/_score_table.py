"""Scores out of confusion matrices, and their table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

import torch
from torch import Tensor

from .. import SegmentationScore
from .._values import to_list

Ignored = Literal["leave-out", "wrong"]


class Scores(TypedDict):
    """Scores of a region; fractions, NaN where there is nothing to divide by."""

    mean_iou: float
    pixel_accuracy: float
    precision: float
    recall: float
    missed: float
    objects_ignored: float
    confused: float
    false_objects: float
    ignored: float
    per_class_iou: list[float]


_NAMES: dict[str, str] = {
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "precision": "mean precision",
    "recall": "mean recall",
    "missed": "missed objects",
    "objects_ignored": "objects ignored",
    "confused": "confused objects",
    "false_objects": "false objects",
    "ignored": "ignored",
}
_REGIONS = {"all": "whole image", "non_salient": "non-salient"}


def results_of(confusion: Tensor, how: Ignored) -> Scores:
    """Scores of a confusion matrix of :class:`SegmentationScore`."""
    score = SegmentationScore(len(confusion), ignore_index=-1)
    score.confusion = confusion
    results = score.compute()
    per_class_iou, mean_iou = results.per_class_iou, results.mean_iou
    accuracy, recall = results.pixel_accuracy, results.recall
    if how == "wrong":
        counts = confusion.to(torch.float64)
        right, targets = counts[:, :-1].diagonal(), counts.sum(dim=1)
        per_class_iou = right / (counts[:, :-1].sum(dim=0) + targets - right)
        mean_iou = results.mean_iou_strict
        accuracy = float(right.sum() / counts.sum())
        recall = float((right / targets).nanmean())
    return Scores(
        mean_iou=mean_iou,
        pixel_accuracy=accuracy,
        precision=results.precision,
        recall=recall,
        missed=results.missed,
        objects_ignored=results.objects_ignored,
        confused=results.confused,
        false_objects=results.false_objects,
        ignored=results.ignored,
        per_class_iou=to_list(per_class_iou),
    )


def table(results: Mapping[str, Scores], names: Sequence[str]) -> str:
    """One row a class that occurs and a score, one column a region, in percent."""
    columns = [_column(scores) for scores in results.values()]
    labels = [*map(str, range(len(next(iter(results.values()))["per_class_iou"])))]
    if names:
        labels = [f"{label:>2} {name}" for label, name in zip(labels, names, strict=True)]
    rows = [("in percent", [_REGIONS[region] for region in results])]
    for k, label in enumerate([*(f"IoU {label}" for label in labels), *_NAMES.values()]):
        values = [column[k] for column in columns]
        if k >= len(labels) or not all(map(math.isnan, values)):
            rows.append((label, ["-" if math.isnan(v) else f"{100 * v:.2f}" for v in values]))
    width = max(len(label) for label, _ in rows)
    return "\n".join(
        f"{label:<{width}}" + "".join(f"  {cell:>12}" for cell in cells) for label, cells in rows
    )


def _column(scores: Scores) -> list[float]:
    own: Mapping[str, float] = {k: v for k, v in scores.items() if isinstance(v, float)}
    return [*scores["per_class_iou"], *(own[name] for name in _NAMES)]
