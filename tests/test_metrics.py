"""SegmentationScore against loops over pixels, and what counts and what does not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests import reference
from wsss_nonsalient import SegmentationResults, SegmentationScore, _confusion, value_checks


def score(
    prediction: Tensor, target: Tensor, num_classes: int, **kwargs: Tensor
) -> SegmentationResults:
    counter = SegmentationScore(num_classes)
    counter.update(prediction, target, **kwargs)
    return counter.compute()


def assert_same(got: SegmentationResults, expected: dict[str, object]) -> None:
    assert set(got._fields) == set(expected)
    for name in got._fields:
        assert getattr(got, name) == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.booleans(), st.floats(0, 1))
def test_equals_reference(seed: int, num_classes: int, with_region: bool, ignored: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 4)
    labels = [torch.randint(0, num_classes, shape, generator=generator) for _ in range(2)]
    prediction, target = (
        torch.where(torch.rand(shape, generator=generator) < ignored / 2, 255, x) for x in labels
    )
    region = torch.rand(shape, generator=generator) < 0.7 if with_region else None
    expected = reference.segmentation_score(
        prediction.numpy(), target.numpy(), num_classes,
        region=None if region is None else region.numpy(),
    )  # fmt: skip
    kwargs = {} if region is None else {"region": region}
    assert_same(score(prediction, target, num_classes, **kwargs), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_dtypes_batches_and_parts(dtype: torch.dtype, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(0, 4, (2, 3, 5, 6), generator=generator).to(device, dtype)
    target = torch.randint(0, 4, (2, 3, 5, 6), generator=generator).to(device)
    whole = SegmentationScore(4)
    whole.update(prediction, target)
    parts = [SegmentationScore(4) for _ in range(2)]
    for part, images, truths in zip(parts, prediction, target, strict=True):
        for image, truth in zip(images, truths, strict=True):
            part.update(image, truth)
    parts[0].merge(parts[1])
    assert torch.equal(parts[0].confusion, whole.confusion)
    whole.reset()
    assert whole.confusion.sum() == 0


def test_shares_of_objects_add_up() -> None:
    prediction = torch.tensor([[0, 255, 2, 1, 1, 255, 0]])
    target = torch.tensor([[1, 1, 1, 1, 0, 0, 255]])
    results = score(prediction, target, 3)
    assert results.missed == results.objects_ignored == results.confused == 0.25
    assert results.false_objects == 0.5
    assert results.ignored == pytest.approx(2 / 6)
    assert results.pixel_accuracy == 0.25
    assert results.per_class_iou.tolist() == [0.0, pytest.approx(1 / 4), 0.0]
    assert results.mean_iou_strict == pytest.approx((0 + 1 / 5 + 0) / 3)


def test_class_that_is_nowhere_is_nan_and_left_out() -> None:
    results = score(torch.tensor([[0, 2]]), torch.tensor([[0, 2]]), 4)
    assert [math.isnan(v) for v in results.per_class_iou.tolist()] == [False, True, False, True]
    assert results.mean_iou == 1


def test_class_that_is_ignored_whole_counts_in_the_strict_mean_only() -> None:
    results = score(torch.tensor([[0, 255]]), torch.tensor([[0, 1]]), 2)
    assert results.mean_iou == 1
    assert results.mean_iou_strict == 0.5


def test_nothing_counted_is_nan() -> None:
    results = score(torch.tensor([[0]]), torch.tensor([[255]]), 2)
    assert all(math.isnan(value) for value in results[1:])
    empty = SegmentationScore(3)
    empty.update(torch.zeros(0, 2, 2, dtype=torch.uint8), torch.zeros(0, 2, 2, dtype=torch.uint8))
    assert empty.confusion.sum() == 0


def test_counts_beyond_32_bits() -> None:
    counter = SegmentationScore(2)
    counter.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
    for _ in range(40):
        counter.merge(counter)
    assert counter.confusion[0].tolist() == [2**40, 2**40, 0]
    assert counter.compute().pixel_accuracy == 0.5


def test_update_inside_and_outside_inference_mode() -> None:
    labels = torch.ones(2, 2, dtype=torch.uint8)
    with torch.inference_mode():
        counter = SegmentationScore(2)
        counter.update(labels, labels)
    counter.update(labels, labels)
    assert counter.confusion[1, 1] == 8


def test_wrong_arguments_are_refused() -> None:
    labels = torch.zeros(2, 2, dtype=torch.uint8)
    counter = SegmentationScore(2)
    with pytest.raises(ValueError, match=r"prediction: expected labels 0 to 1 or 255.*got 2"):
        counter.update(labels + 2, labels)
    with pytest.raises(ValueError, match=r"target: expected labels 0 to 1 or 255.*got -1"):
        counter.update(labels, labels.long() - 1)
    with pytest.raises(ValueError, match="target: expected H = 2, as prediction, got H = 3"):
        counter.update(labels, torch.zeros(3, 2, dtype=torch.uint8))
    with pytest.raises(
        TypeError, match="prediction: expected an integer tensor, got torch.float32"
    ):
        counter.update(labels.float(), labels)
    with pytest.raises(TypeError, match="region: expected a bool tensor, got torch.uint8"):
        counter.update(labels, labels, region=labels)
    assert counter.confusion.sum() == 0
    with pytest.raises(ValueError, match="other: expected SegmentationScore.2, ignore_index=255."):
        counter.merge(SegmentationScore(3))
    with pytest.raises(TypeError, match="other: expected a SegmentationScore, got Tensor"):
        counter.merge(labels)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ignore_index: expected a value that is no label, got 1"):
        SegmentationScore(2, ignore_index=1)
    with pytest.raises(ValueError, match="num_classes: expected an integer of at least 1, got 0"):
        SegmentationScore(0)


@pytest.mark.parametrize(
    ("num_classes", "ignore_index", "dtype", "label"),
    [(300, 999, torch.uint8, 100), (200, 255, torch.int8, 100), (300, -1, torch.int16, 299)],
)
def test_narrow_labels_are_not_wrapped(
    num_classes: int, ignore_index: int, dtype: torch.dtype, label: int
) -> None:
    counter = SegmentationScore(num_classes, ignore_index=ignore_index)
    labels = torch.full((2, 2), label, dtype=dtype)
    counter.update(labels, labels)
    assert counter.confusion[label, label] == 4
    for wrong, index in (
        (torch.tensor([[-1]], dtype=torch.int8), 255),
        (torch.tensor([[255]]), -1),
    ):
        with pytest.raises(ValueError, match="target: expected labels 0 to 2"):
            SegmentationScore(3, ignore_index=index).update(wrong * 0, wrong)


LABEL_DTYPES = [(torch.uint8, 255), (torch.int8, -1), (torch.int16, -3), (torch.int64, 2**40)]


@pytest.mark.parametrize(("dtype", "ignore_index"), LABEL_DTYPES)
@pytest.mark.parametrize("with_region", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 300, 450)])
def test_both_ways_count_pair_by_pair(
    dtype: torch.dtype,
    ignore_index: int,
    with_region: bool,
    size: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More pixels than are counted at once, alike ones next to each other; and a GPU's way."""
    random = torch.Generator().manual_seed(1)
    maps: list[Tensor] = []
    for _ in range(2):
        labels = torch.randint(0, 7, size, generator=random).sort().values
        ignored = torch.rand(size, generator=random) < 0.2
        maps.append(labels.masked_fill(ignored, ignore_index).to(dtype))
    region = torch.rand(size, generator=random) < 0.6 if with_region else None
    counted = torch.ones(size, dtype=torch.bool) if region is None else region
    expected = torch.zeros(7, 8, dtype=torch.int64)
    for row in range(7):
        for column, label in enumerate([*range(7), ignore_index]):
            pairs = (maps[1] == row) & (maps[0] == label) & counted
            expected[row, column] = int(pairs.sum())
    for _ in range(2):
        counter = SegmentationScore(7, ignore_index=ignore_index)
        counter.update(*maps, region=region)
        assert torch.equal(counter.confusion, expected)
        monkeypatch.setattr(_confusion, "is_eager_cpu", lambda _: False)


@pytest.mark.parametrize("name", ["prediction", "target"])
@pytest.mark.parametrize("wrong", [7, 200, -1])
@pytest.mark.parametrize("way", ["CPU", "GPU"])
def test_a_wrong_label_anywhere_counts_nothing(
    name: str, wrong: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "GPU":
        monkeypatch.setattr(_confusion, "is_eager_cpu", lambda _: False)
    maps = {key: torch.zeros(300, 500, dtype=torch.int16) for key in ("prediction", "target")}
    maps[name][-1, -1] = wrong
    counter = SegmentationScore(7)
    with pytest.raises(ValueError, match=f"^{name}: expected labels 0 to 6 or 255.*got {wrong}"):
        counter.update(**maps)
    assert not counter.confusion.any()
    with value_checks(False):
        counter.update(**maps)
    assert counter.confusion[0, 0] == 300 * 500 - 1
    assert counter.confusion[0, -1] == (name == "prediction")


def test_the_type_of_the_number_of_classes_does_not_matter() -> None:
    number: Any = np.uint8(255)
    assert SegmentationScore(number).confusion.shape == (255, 256)


def test_the_default_device_does_not_matter() -> None:
    labels, counter = torch.ones(1, 2, 3, dtype=torch.uint8), SegmentationScore(2)
    with torch.device("meta"):
        counter.update(labels, labels)
    assert counter.confusion[1, 1] == 6


def test_value_checks_off_still_counts() -> None:
    with value_checks(False):
        results = score(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]), 2)
    assert results.mean_iou == 1


@pytest.mark.parametrize("num_classes", [89, 90, 91, 180, 181, 200, 254, 400])
def test_counts_of_many_classes(num_classes: int) -> None:
    """The number of a pair of labels needs more than 15 bits from 181 classes on, or from 90."""
    target = torch.arange(num_classes)[None]
    score = SegmentationScore(num_classes, ignore_index=-1)
    score.update(target.flip(-1), target)
    assert torch.equal(score.confusion[:, :-1], torch.eye(num_classes).long().flip(-1))
    assert not score.confusion[:, -1].any()
