"""Potential object mining: thresholds and the labels that they refine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.conventions import CONVENTIONS, Call, Convention
from tests.helpers import (
    BATCHES,
    IGNORE,
    IMAGE_DTYPES,
    KINDS,
    Kind,
    assert_refuses_value,
    assert_same,
    make_images,
    properties,
)
from wsss_nonsalient import pom_refine, pom_thresholds
from wsss_nonsalient.pom import Quartile

THRESHOLDS = ("cam", "labels", "image_labels")
REFINE = ("labels", "cam", "image_labels")
QUARTILES: list[Quartile] = ["linear", "nested-median"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"quartile": "nested-median"},
    {"bg_threshold": 0.0},
    {"bg_threshold": 0.4},  # a value of the tied images
    {"bg_threshold": 0.4, "quartile": "nested-median"},
    {"bg_threshold": 1.0},
]
over_inputs = pytest.mark.parametrize(
    ("kind", "batch", "dtype"),
    [(kind, batch, dtype) for kind in KINDS for batch in BATCHES for dtype in IMAGE_DTYPES],
)
RIVALS: list[dict[str, Any]] = [
    {"rival_threshold": 0.0},
    {"rival_threshold": 0.4},  # a value of the tied images
    {"rival_threshold": 0.7, "quartile": "nested-median"},
    {"rival_threshold": 1.0},
]
over_options = pytest.mark.parametrize("options", OPTIONS)


@over_options
@over_inputs
def test_thresholds_match_the_reference(
    kind: Kind,
    batch: tuple[int, ...],
    dtype: torch.dtype,
    options: dict[str, Any],
    device: torch.device,
) -> None:
    images = make_images(5, batch, kind=kind, dtype=dtype, object_ratio=0.3, device=device)
    actual = images.call(pom_thresholds, THRESHOLDS, **options)
    expected = images.expect(reference.pom_thresholds, THRESHOLDS, **options)
    assert actual.device == images.cam.device
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    if options.get("quartile") == "nested-median":
        assert_same(actual, expected)
    else:
        torch.testing.assert_close(actual.cpu(), expected)


@pytest.mark.parametrize("options", [*OPTIONS, *RIVALS])
@over_inputs
def test_refined_labels_match_the_reference(
    kind: Kind,
    batch: tuple[int, ...],
    dtype: torch.dtype,
    options: dict[str, Any],
    device: torch.device,
) -> None:
    images = make_images(6, batch, kind=kind, dtype=dtype, object_ratio=0.3, device=device)
    actual = images.call(pom_refine, REFINE, **options)
    assert actual.device == images.labels.device
    assert_same(actual, images.expect(reference.pom_refine, REFINE, **options))


def line(values: list[float], dtype: torch.dtype, label: int) -> dict[str, Any]:
    """One image of one class, whose map is ``values``, all of one label."""
    return {
        "cam": torch.tensor(values, dtype=dtype)[None, None],
        "labels": torch.full((1, len(values)), label),
        "image_labels": torch.tensor([True]),
    }


some_values = st.lists(st.integers(1, 12).map(lambda level: level / 16), min_size=1, max_size=9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@properties
@given(values=some_values)
def test_median_is_that_of_numpy(dtype: torch.dtype, values: list[float]) -> None:
    threshold = pom_thresholds(**line(values, dtype, label=1))
    assert threshold.tolist() == [np.median(values)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@properties
@given(values=some_values)
def test_upper_quartile_is_that_of_numpy(dtype: torch.dtype, values: list[float]) -> None:
    threshold = pom_thresholds(**line(values, dtype, label=0), bg_threshold=0.25)
    above = [value for value in values if value > 0.25]
    expected = np.percentile(above, 75) if above else math.inf
    assert threshold.tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("values", "label", "quartile", "expected"),
    [
        ([0.25, 0.5, 0.75, 1.0], 1, "linear", 0.625),  # the mean of the two middle values
        ([0.0, 0.0, 0.0, 0.5], 1, "linear", 0.0),  # a median of 0 is one, if not all are 0
        ([0.0, 0.0, 0.0, 0.0], 1, "linear", math.inf),  # all are 0, and none above 0.3
        ([0.25, 0.25, 0.25, 0.25], 0, "linear", math.inf),
        ([0.5, 0.5, 0.5, 0.5], 0, "linear", 0.5),
        ([0.5, 0.5, 0.5, 0.5], 0, "nested-median", math.inf),
        ([0.4, 0.5, 0.75, 1.0], 0, "linear", 0.8125),
        ([0.4, 0.5, 0.75, 1.0], 0, "nested-median", 0.875),
        ([0.5, 0.5, 0.75, 0.0], 0, "nested-median", 0.75),
        ([0.5, 0.5, 0.75, 0.0], IGNORE, "linear", 0.625),
    ],
)
def test_thresholds_by_hand(
    values: list[float], label: int, quartile: Quartile, expected: float, device: torch.device
) -> None:
    image: dict[str, Any] = {
        key: tensor.to(device) for key, tensor in line(values, torch.float32, label).items()
    }
    assert pom_thresholds(**image, quartile=quartile).tolist() == [expected]


@pytest.mark.parametrize("quartile", QUARTILES)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_constant_cams_mine_nothing(level: float, quartile: Quartile) -> None:
    images = make_images(4, object_ratio=0.2)
    images = images._replace(cam=torch.full_like(images.cam, level))
    assert_same(images.call(pom_refine, REFINE, quartile=quartile), images.labels)


@pytest.mark.parametrize(
    ("name", "ignore_index"),
    [("int8", -1), ("int16", 255), ("int32", 65535), ("int64", -1), ("uint16", 65535)],
)
def test_dtype_and_ignore_index(name: str, ignore_index: int) -> None:
    if not hasattr(torch, name):
        pytest.skip(f"torch has no {name}")
    images = make_images(2)
    labels = images.labels.long().masked_fill(images.labels == IGNORE, ignore_index)
    images = images._replace(labels=labels)
    expected = images.expect(reference.pom_refine, REFINE, ignore_index=ignore_index)
    assert not torch.equal(expected, labels)
    images = images._replace(labels=labels.to(getattr(torch, name)))
    actual = images.call(pom_refine, REFINE, ignore_index=ignore_index)
    assert_same(actual, expected.to(images.labels.dtype))
    options: dict[str, Any] = {"ignore_index": ignore_index, "quartile": "nested-median"}
    actual = images.call(pom_thresholds, THRESHOLDS, **options)
    assert_same(actual, images.expect(reference.pom_thresholds, THRESHOLDS, **options))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("num_classes", [1, 2])
def test_smallest_shapes(size: tuple[int, int], num_classes: int, device: torch.device) -> None:
    images = make_images(3, (6,), kind="tied", num_classes=num_classes, size=size, device=device)
    assert_same(images.call(pom_refine, REFINE), images.expect(reference.pom_refine, REFINE))


VARIANTS: list[tuple[Callable[..., torch.Tensor], tuple[str, ...], dict[str, Any]]] = [
    *((pom_thresholds, THRESHOLDS, {"quartile": quartile}) for quartile in QUARTILES),
    *((pom_refine, REFINE, {"quartile": quartile}) for quartile in QUARTILES),
    (pom_refine, REFINE, {"rival_threshold": 0.5}),
]
CALLS = {
    f"{function.__name__}-{'-'.join(map(str, options.values()))}": (
        lambda images, function=function, names=names, options=options: images.call(
            function, names, **options
        )
    )
    for function, names, options in VARIANTS
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@properties
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_keeps_to_the_conventions(
    convention: Convention, call: Call, device: torch.device, seed: int, kind: Kind
) -> None:
    convention(call, make_images(seed, kind=kind, object_ratio=0.3, device=device))


@properties
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS), quartile=st.sampled_from(QUARTILES))
def test_only_background_changes_and_only_to_ignored(
    seed: int, kind: Kind, quartile: Quartile
) -> None:
    images = make_images(seed, kind=kind, object_ratio=0.3)
    refined = images.call(pom_refine, REFINE, quartile=quartile)
    changed = refined != images.labels
    assert (images.labels[changed] == 0).all()
    assert (refined[changed] == IGNORE).all()
    assert not changed[~images.image_labels.any(dim=1)].any()


@properties
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
    low=st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8]),
    high=st.sampled_from([0.4, 0.7, 0.9, 1.0]),
)
def test_rivals_only_protect_the_background(
    seed: int, kind: Kind, low: float, high: float, device: torch.device
) -> None:
    """The fewer count as rivals, the more is ignored, up to what is ignored without any."""
    images = make_images(seed, kind=kind, object_ratio=0.3, device=device)
    plain = images.call(pom_refine, REFINE)
    assert_same(images.call(pom_refine, REFINE, rival_threshold=1), plain)
    strict, lax = (
        images.call(pom_refine, REFINE, rival_threshold=bound) == IGNORE
        for bound in (min(low, high), max(low, high))
    )
    assert (lax | ~strict).all()
    assert ((plain == IGNORE) | ~lax).all()
    one = images.image_labels.sum(dim=-1) <= 1
    alone = images.map(lambda tensor: tensor[one])
    assert_same(alone.call(pom_refine, REFINE, rival_threshold=0), plain[one])


def test_rivals_by_hand(device: torch.device) -> None:
    cam = torch.tensor([[[0.5, 0.9, 0.9, 0.9, 0.2]], [[0.5, 0.6, 0.7, 0.95, 0.8]]])
    labels = torch.tensor([[1, 0, 0, 0, 0]])
    present = torch.tensor([1, 1])
    refined = pom_refine(
        labels.to(device), cam.to(device), present.to(device), rival_threshold=0.6
    )  # thresholds 0.5 and 0.8
    assert refined.tolist() == [[1, IGNORE, 0, 0, 0]]
    refined = pom_refine(labels.to(device), cam.to(device), present.to(device), rival_threshold=0.9)
    assert refined.tolist() == [[1, IGNORE, IGNORE, IGNORE, 0]]


def arguments() -> dict[str, Any]:
    """Two images of 375 rows and two classes, of which the first has one and the second both."""
    return {
        "cam": torch.full((2, 2, 375, 3), 0.5),
        "labels": torch.zeros(2, 375, 3, dtype=torch.uint8),
        "image_labels": torch.tensor([[0, 1], [1, 1]]),
    }


def labels_of(value: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {"labels": torch.full((2, 375, 3), value, dtype=dtype)}


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cam": np.zeros((2, 2, 375, 3))}, TypeError, r"cam: expected a torch\.Tensor, got ndarray"),
    ({"labels": None}, TypeError, r"labels: expected a torch\.Tensor, got NoneType None"),
    ({"cam": torch.zeros(2, 2, 375, 3).int()}, TypeError, r"cam: .* uint8 .*, got torch\.int32"),
    ({"labels": torch.zeros(2, 375, 3)}, TypeError, r"labels: .*integer.*, got torch\.float32"),
    ({"labels": torch.zeros(2, 375, 3).bool()}, TypeError, r"labels: .*, got torch\.bool"),
    ({"image_labels": torch.zeros(2, 2) + 0j}, TypeError, r"image_labels: .*torch\.complex64"),
    ({"bg_threshold": None}, TypeError, r"bg_threshold: expected a number, got NoneType None"),
    ({"ignore_index": True}, TypeError, r"ignore_index: expected an integer, got bool True"),
    ({"labels": torch.zeros(2, 374, 3).int()}, ValueError,
     r"labels: expected H = 375, as cam, got H = 374 \(shape \(2, 374, 3\)\); resize"),
    ({"labels": torch.zeros(2, 375, 2).int()}, ValueError, r"labels: expected W = 3, .*got W = 2"),
    ({"labels": torch.zeros(375, 3).int()}, ValueError, r"labels: expected batch axes \(2,\)"),
    ({"cam": torch.zeros(2, 3, 375, 3)}, ValueError,
     r"image_labels: expected C = 3, as cam, got C = 2 .*no background channel"),
    ({"image_labels": torch.ones(2, 1)}, ValueError, r"image_labels: expected C = 2, .*C = 1"),
    ({"labels": torch.zeros(2, 375, 3, device="meta").int()}, ValueError,
     r"labels: expected device cpu, as cam, got meta"),
    (labels_of(3, torch.uint8), ValueError, r"labels: .*0 to 2 or 255 \(ignored\), got 3"),
    (labels_of(-1, torch.int64), ValueError, r"labels: .*0 to 2 or 255 \(ignored\), got -1"),
    (labels_of(256, torch.int64), ValueError, r"labels: .*0 to 2 or 255 \(ignored\), got 256"),
    ({"bg_threshold": 1.01}, ValueError, r"bg_threshold: .* in \[0, 1\], got 1\.01"),
    ({"bg_threshold": -0.01}, ValueError, r"bg_threshold: .* in \[0, 1\], got -0\.01"),
    ({"quartile": "upper"}, ValueError,
     r"quartile: expected one of 'linear', 'nested-median', got 'upper'"),
    ({"ignore_index": 0}, ValueError, r"ignore_index: .*no label, got 0: 0 to 2 are labels"),
    ({"ignore_index": 1}, ValueError, r"ignore_index: .*no label, got 1: 0 to 2 are labels"),
    ({"ignore_index": -1}, ValueError, r"labels: .*ignore_index -1, got torch\.uint8"),
    (labels_of(0, torch.int8), ValueError, r"labels: .*ignore_index 255, got torch\.int8"),
]  # fmt: skip
Function = Callable[..., torch.Tensor]
both = pytest.mark.parametrize("function", [pom_thresholds, pom_refine])


@both
@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(
    function: Function, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    function(**arguments())
    with pytest.raises(error, match=message):
        function(**(arguments() | change))


@both
@pytest.mark.parametrize("name", ["cam", "image_labels"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1.5, -0.25, 2.0])
def test_refuses_values(function: Function, name: str, value: float, device: torch.device) -> None:
    assert_refuses_value(function, arguments(), name, value, device)


@both
def test_refuses_300_classes_in_uint8(function: Function) -> None:
    cam, labels = torch.zeros(300, 1, 1), torch.zeros(1, 1, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"labels: .*labels 0 to 300 and ignore_index 301"):
        function(cam=cam, labels=labels, image_labels=torch.zeros(300), ignore_index=301)


def test_refuses_a_wrong_rival_threshold() -> None:
    for value, error, message in (
        ("0.5", TypeError, "rival_threshold: expected a number, got str '0.5'"),
        (1.5, ValueError, r"rival_threshold: expected a number in \[0, 1\], got 1\.5"),
    ):
        with pytest.raises(error, match=message):
            pom_refine(**arguments(), rival_threshold=value)  # type: ignore[arg-type]


def test_labels_of_one_image_for_all_give_a_result_of_their_own() -> None:
    images = make_images(2, (3,), num_classes=2)
    labels = images.labels[:1].expand(3, -1, -1)
    refined = pom_refine(labels, images.cam, images.image_labels)
    assert refined.is_contiguous()
    assert_same(refined, pom_refine(labels.clone(), images.cam, images.image_labels))
