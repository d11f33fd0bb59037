"""Scores: classes on one side only, ignored pixels, other libraries' confusion matrices."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from wsss_nonsalient import SegmentationScore


def labels_of(seed: int, shape: tuple[int, ...] = (3, 20, 30), ignored: float = 0.1) -> Tensor:
    """Labels 0 to 4 and 255."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, shape, generator=random)
    return labels.masked_fill(torch.rand(shape, generator=random) < ignored, 255)


@pytest.mark.parametrize("seed", range(4))
def test_confusion_is_that_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    prediction, target = labels_of(seed), labels_of(seed + 100)
    score = SegmentationScore(5)
    score.update(prediction, target)
    counted = target != 255
    expected = metrics.confusion_matrix(
        target[counted], prediction[counted], labels=[*range(5), 255]
    )
    assert score.confusion.tolist() == expected[:5].tolist()
    judged = counted & (prediction != 255)
    pair = target[judged], prediction[judged]
    results = score.compute()
    ious = metrics.jaccard_score(*pair, average=None, labels=range(5))
    assert results.per_class_iou.tolist() == pytest.approx(ious.tolist(), abs=1e-12)
    assert results.pixel_accuracy == pytest.approx(metrics.accuracy_score(*pair), abs=1e-12)
    assert results.precision == pytest.approx(metrics.precision_score(*pair, average="macro"))
    assert results.recall == pytest.approx(metrics.recall_score(*pair, average="macro"))


@pytest.mark.parametrize("seed", range(4))
def test_confusion_is_that_of_torchmetrics(seed: int) -> None:
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    prediction, target = labels_of(seed, ignored=0), labels_of(seed + 100)
    score = SegmentationScore(5)
    score.update(prediction, target)
    expected = metrics.multiclass_confusion_matrix(prediction, target, 5, ignore_index=255)
    assert torch.equal(score.confusion[:, :-1], expected)
    assert score.confusion[:, -1].sum() == 0


CELLS = list(product((0, 1, 2, 255), repeat=2))


@pytest.mark.parametrize(("target", "prediction"), CELLS)
def test_each_pair_of_labels_counts_once_where_it_belongs(target: int, prediction: int) -> None:
    """255 in the truth, in the prediction and in both; classes on one side only."""
    score = SegmentationScore(3)
    score.update(torch.tensor([[prediction]]), torch.tensor([[target]]))
    expected = torch.zeros(3, 4, dtype=torch.int64)
    if target != 255:
        expected[target, 3 if prediction == 255 else prediction] = 1
    assert torch.equal(score.confusion, expected)


@pytest.mark.parametrize(
    ("prediction", "target", "ious"),
    [
        ([0, 1], [0, 0], [0.5, 0.0, math.nan]),  # class 1 in the prediction only
        ([0, 0], [0, 1], [0.5, 0.0, math.nan]),  # in the truth only
        ([0, 255], [0, 1], [1.0, math.nan, math.nan]),  # ignored where it is: nowhere
        ([0, 1], [0, 255], [1.0, math.nan, math.nan]),  # predicted where nothing counts
        ([255, 255], [255, 255], [math.nan] * 3),
        ([2, 2], [2, 2], [math.nan, math.nan, 1.0]),  # no background at all
    ],
)
def test_classes_that_are_somewhere_or_nowhere(
    prediction: list[int], target: list[int], ious: list[float]
) -> None:
    score = SegmentationScore(3)
    score.update(torch.tensor([prediction]), torch.tensor([target]))
    results = score.compute()
    assert results.per_class_iou.tolist() == pytest.approx(ious, nan_ok=True)
    known = [iou for iou in ious if not math.isnan(iou)]
    mean = sum(known) / len(known) if known else math.nan
    assert results.mean_iou == pytest.approx(mean, nan_ok=True)


def test_counts_beyond_31_bits_stay_exact() -> None:
    """Also where a float32 sum would have stopped to grow."""
    score = SegmentationScore(2)
    score.update(torch.tensor([[1, 0, 0]]), torch.tensor([[1, 1, 0]]))
    score.confusion = score.confusion * (2**40 + 1)
    score.update(torch.tensor([[1]]), torch.tensor([[1]]))
    assert score.confusion.tolist() == [[2**40 + 1, 0, 0], [2**40 + 1, 2**40 + 2, 0]]
    assert score.compute().per_class_iou[1].item() == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("num_classes", [1, 2, 180, 181, 255, 300])
def test_many_classes(num_classes: int) -> None:
    """Cells are numbered in 16 bits as long as their numbers fit; 181 classes no longer do."""
    labels = torch.arange(num_classes)[None]
    score = SegmentationScore(num_classes, ignore_index=65535)
    score.update(labels, labels.flip(1))
    assert torch.equal(score.confusion[:, :-1], torch.eye(num_classes).flip(1).long())


def test_parts_of_any_size_merge_to_the_whole() -> None:
    prediction, target = labels_of(0, (7, 5, 6)), labels_of(1, (7, 5, 6))
    whole = SegmentationScore(5)
    whole.update(prediction, target)
    merged = SegmentationScore(5)
    for part in (slice(0, 1), slice(1, 1), slice(1, 7)):
        score = SegmentationScore(5)
        score.update(prediction[part], target[part])
        merged.merge(score)
    assert torch.equal(merged.confusion, whole.confusion)
    twice = SegmentationScore(5)
    twice.merge(whole)
    twice.merge(twice)
    assert torch.equal(twice.confusion, 2 * whole.confusion)
