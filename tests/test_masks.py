"""The ways that are fast on a CPU give exactly what the plain operations give."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import wsss_nonsalient as wn
from tests.functions import LABEL_FUNCTIONS, Arguments, Function, arguments_of
from tests.helpers import IMAGE_DTYPES, KINDS, Kind, assert_same, make_images
from wsss_nonsalient import _array_masks, _masks, _values
from wsss_nonsalient._pom_thresholds import map_threshold


@pytest.fixture
def plain_ways(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What a GPU and a compiled graph do, here."""
    for name, module in sys.modules.items():
        if name.startswith("wsss_nonsalient.") and hasattr(module, "is_eager_cpu"):
            monkeypatch.setattr(module, "is_eager_cpu", lambda _: False)
    return monkeypatch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", IMAGE_DTYPES, ids=str)
@pytest.mark.parametrize("bg_threshold", [0.0, 0.3, 0.9])
def test_both_ways_agree(
    kind: Kind, dtype: torch.dtype, bg_threshold: float, plain_ways: pytest.MonkeyPatch
) -> None:
    images = make_images(7, (5,), kind=kind, dtype=dtype, size=(19, 23), num_classes=4)
    options = [(0.3, 0.9, 0.8), (0.0, 0.0, 0.0), (0.5, 0.2, 0.4), (1.0, 1.0, 1.0)]

    def results() -> list[torch.Tensor]:
        cam, present = images.cam, images.image_labels
        found = [
            wn.initial_labels(
                cam, images.saliency, present,
                fg_threshold=fg, conflict_threshold=conflict, attention_threshold=attention,
            )
            for fg, conflict, attention in options
        ]  # fmt: skip
        for quartile in ("linear", "nested-median"):
            found.append(
                wn.pom_thresholds(
                    cam, images.labels, present, bg_threshold=bg_threshold, quartile=quartile
                )
            )
            found.append(
                wn.pom_refine(
                    images.labels, cam, present, bg_threshold=bg_threshold, quartile=quartile
                )
            )
        found.append(wn.nsrm_mask(images.prediction, images.labels, present, kernel_size=4))
        return found

    plain = results()
    plain_ways.undo()
    for fast, expected in zip(results(), plain, strict=True):
        assert_same(fast, expected)


WRONG = {"maps": 1.5, "image": -0.5, "labels": -3, "multi-hot": 2}


@pytest.mark.parametrize(("name", "argument"), arguments_of(*WRONG, among=LABEL_FUNCTIONS))
def test_both_ways_refuse_the_same(
    name: str, argument: str, plain_ways: pytest.MonkeyPatch
) -> None:
    function = LABEL_FUNCTIONS[name]
    arguments = function.arguments()
    if function.kinds[argument] == "labels":
        arguments = {k: v if v.is_floating_point() else v.long() for k, v in arguments.items()}
    arguments[argument].view(-1)[0] = WRONG[function.kinds[argument]]

    def error(function: Function, arguments: Arguments) -> str:
        with pytest.raises(ValueError, match=f"^{argument}: expected") as caught:
            function(arguments)
        return str(caught.value)

    plain = error(function, arguments)
    plain_ways.undo()
    assert error(function, arguments) == plain


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-9, 0.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (1, 8), (5, 13), (40, 50)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8], ids=str)
def test_medians_of_near_values(dtype: torch.dtype, size: tuple[int, int], spread: float) -> None:
    """Many values that hardly differ, and many equal ones."""
    random = torch.Generator().manual_seed(3)
    one_map = (
        0.5 + spread * (torch.rand(size, generator=random, dtype=torch.float64) - 0.5)
    ).round(decimals=10)
    one_map = (one_map * 255).round().to(dtype) if dtype == torch.uint8 else one_map.to(dtype)
    mask = torch.rand(size, generator=random) < 0.5
    members = (one_map / 255 if dtype == torch.uint8 else one_map)[mask].numpy()
    found = map_threshold(one_map.numpy(), mask.numpy(), 0.3, "linear")
    if len(members):
        kind = members.dtype.type
        assert kind(found) == np.median(members)


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_medians_of_small_values(count: int) -> None:
    one_map = torch.tensor([[5.0, 1.0, 7.0, 3.0, 2.0, 6.0, 4.0]]) / 1000
    mask = (torch.arange(7) < count)[None]
    found = map_threshold(one_map.numpy(), mask.numpy(), 0.3, "linear")
    assert found == pytest.approx(float(one_map[0, :count].double().quantile(0.5)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int64], ids=str)
def test_replace_wraps_around_exactly(dtype: torch.dtype) -> None:
    info = torch.iinfo(dtype)
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(info.min, info.max, (50,), generator=random, dtype=dtype)
    mask = torch.rand(50, generator=random) < 0.5
    for value in (info.min, 0, 1, info.max):
        expected = labels.masked_fill(mask, value)
        assert_same(_masks.replace(labels, mask.to(torch.uint8), value), expected)
        replaced = _array_masks.replace(labels.numpy(), mask.numpy(), value)
        assert_same(torch.from_numpy(replaced), expected)


@pytest.mark.parametrize("threshold", [0.0, 32 / 255, 0.3, 0.5, 0.9, 1.0, -1.0, 2.0])
def test_levels_compare_as_their_values(threshold: float) -> None:
    image = torch.arange(256, dtype=torch.uint8)
    values = image.to(torch.float32) / 255
    assert _array_masks.levels() == values.tolist()
    for maps in (image, values):
        above = _array_masks.above(maps.numpy(), threshold)
        at_least = _array_masks.at_least(maps.numpy(), threshold)
        assert_same(torch.from_numpy(above), values > threshold)
        assert_same(torch.from_numpy(at_least), values >= threshold)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_range_of_values_is_told_by_their_bits(dtype: type[np.floating[Any]]) -> None:
    info = np.finfo(dtype)
    inside = [0.0, -0.0, info.smallest_subnormal, info.tiny, 0.5, 1 - info.epsneg, 1.0]
    outside: list[Any] = [
        -info.smallest_subnormal, -0.5, -1.0, 1 + info.eps, 2.0, info.max, np.inf, -np.inf, np.nan,
        -np.nan,
    ]  # fmt: skip
    values = np.array(inside, dtype)
    assert _values.is_in_unit_interval(values)
    assert _values.is_in_unit_interval(values[:0])
    for wrong in outside:
        assert not _values.is_in_unit_interval(np.append(values, dtype(wrong)))


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint64])
def test_the_type_of_ignore_index_does_not_matter(kind: type[np.integer[Any]]) -> None:
    """NumPy adds int64 and its own uint64 numbers in float64."""
    ignored = min(np.iinfo(kind).max, 2**63 - 1)
    images = make_images(3, (2,), num_classes=4)
    cam, present = images.cam, images.image_labels
    labels, prediction = (
        own.long().masked_fill(own == 255, ignored) for own in (images.labels, images.prediction)
    )
    calls: list[Callable[[Any], torch.Tensor]] = [
        lambda i: wn.initial_labels(
            cam, images.saliency, present, ignore_index=i, dtype=torch.int64
        ),
        lambda i: wn.pom_refine(labels, cam, present, ignore_index=i),
        lambda i: wn.pom_weights(cam, labels, present, ignore_index=i),
        lambda i: wn.nsrm_mask(prediction, labels, present, ignore_index=i, kernel_size=3),
        lambda i: wn.ignore_sparse_labels(labels, min_object_ratio=1, ignore_index=i),
    ]
    for call in calls:
        assert_same(call(kind(ignored)), call(ignored))


@pytest.mark.parametrize("kind", [float, np.float64, np.float32, Fraction])
def test_the_type_of_a_threshold_does_not_matter(kind: Callable[[float], Any]) -> None:
    """NumPy compares float32 with its own float64 numbers in float64, where 0.3 is less."""
    cam = torch.full((1, 1, 2), 0.3)
    one, threshold = torch.ones(1), kind(0.3)
    labels = wn.initial_labels(
        cam, torch.full((1, 2), 0.9), one, attention_threshold=threshold, saliency_threshold=1
    )
    assert labels.tolist() == [[1, 1]]
    found = wn.pom_thresholds(
        cam, torch.zeros(1, 2, dtype=torch.uint8), one, bg_threshold=threshold
    )
    assert found.tolist() == [torch.inf]


@pytest.mark.parametrize("size", [(1, 1), (1, 3)])
def test_one_value_is_its_own_quartile_both_ways(
    size: tuple[int, int], plain_ways: pytest.MonkeyPatch
) -> None:
    cam, labels = torch.zeros(1, *size), torch.zeros(size, dtype=torch.uint8)
    cam[0, 0, 0] = 0.75
    plain = wn.pom_thresholds(cam, labels, torch.ones(1))
    plain_ways.undo()
    assert plain.item() == wn.pom_thresholds(cam, labels, torch.ones(1)).item() == 0.75
