"""Scores of label maps against torchmetrics' confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.functional.classification import multiclass_confusion_matrix

from benchmarks.measure import Case
from benchmarks.pictures import SIZE, pictures
from wsss_nonsalient import SegmentationScore

PEERS = ("torchmetrics", "torchmetrics, unchecked")


def cases(quick: bool) -> Iterator[Case]:
    """A batch of 8 VOC images, in the label dtypes in use."""
    for dtype in (torch.uint8,) if quick else (torch.uint8, torch.int64):
        yield case(dtype)


def case(dtype: torch.dtype) -> Case:
    """An update of a batch; ground truth has ignored pixels."""
    prediction = pictures(8, 20, 3, torch.uint8).prediction.to(dtype)
    target = prediction.roll((7, -9), (-2, -1))
    target[:, 100:140, 50:300] = 255
    score = SegmentationScore(21)
    metrics = {
        name: MulticlassConfusionMatrix(21, ignore_index=255, validate_args=name == PEERS[0])
        for name in PEERS
    }
    runs = {"ours": lambda: score.update(prediction, target)}
    for name, metric in metrics.items():
        runs[name] = lambda metric=metric: metric.update(prediction, target)  # type: ignore[misc]

    def check() -> None:
        own = SegmentationScore(21)
        own.update(prediction, target)
        theirs = multiclass_confusion_matrix(prediction.long(), target.long(), 21, ignore_index=255)
        assert torch.equal(own.confusion[:, :-1], theirs)

    name = f"8 x {SIZE[0]} x {SIZE[1]}, 21 classes, {str(dtype)[6:]}"
    return Case(name, runs, check, threads=2, targets=dict.fromkeys(PEERS, 3.0))
