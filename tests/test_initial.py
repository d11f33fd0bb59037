"""Initial labels from OA-CAMs and saliency."""

from __future__ import annotations

from itertools import product
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
    IMAGE_DTYPES,
    KINDS,
    Images,
    Kind,
    assert_refuses_value,
    assert_same,
    make_images,
    properties,
)
from wsss_nonsalient import initial_labels

NAMES = ("cam", "saliency", "image_labels")
THRESHOLDS = ("fg_threshold", "conflict_threshold", "attention_threshold", "saliency_threshold")
OPTIONS: list[dict[str, Any]] = [
    {},
    *(
        dict(zip(THRESHOLDS, values, strict=True))
        for values in [
            (0.25, 0.75, 0.5, 0.125),  # numbers that every floating-point dtype holds
            (0.4, 0.2, 0.6, 0.8),  # and that uint8 holds
            (0.0, 0.0, 1.0, 1.0),
            (1.0, 1.0, 0.0, 0.0),
        ]
    ),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_matches_the_reference(
    kind: Kind,
    batch: tuple[int, ...],
    dtype: torch.dtype,
    options: dict[str, Any],
    device: torch.device,
) -> None:
    images = make_images(7, batch, kind=kind, dtype=dtype, device=device)
    actual = images.call(initial_labels, NAMES, **options)
    assert actual.device == images.cam.device
    assert_same(actual, images.expect(reference.initial_labels, NAMES, **options))


@pytest.mark.parametrize("cam_dtype", IMAGE_DTYPES[1:])
@pytest.mark.parametrize("saliency_dtype", IMAGE_DTYPES[1:])
def test_cam_and_saliency_of_different_dtypes(
    cam_dtype: torch.dtype, saliency_dtype: torch.dtype, device: torch.device
) -> None:
    images = make_images(8, kind="tied", dtype=cam_dtype, device=device)
    saliency = make_images(9, kind="tied", dtype=saliency_dtype, device=device).saliency
    images = images._replace(saliency=saliency)
    expected = images.expect(reference.initial_labels, NAMES)
    assert_same(images.call(initial_labels, NAMES), expected)


def test_one_float64_argument_is_enough_to_compute_in_float64(device: torch.device) -> None:
    below = float(np.nextafter(0.3, 0))  # which float32 rounds up
    cam = torch.full((1, 1, 1), below, dtype=torch.float64, device=device)
    saliency, image_labels = cam.new_ones(1, 1), cam.new_ones(1)
    assert initial_labels(cam, saliency.float(), image_labels).tolist() == [[255]]
    assert initial_labels(cam.float(), saliency.float(), image_labels).tolist() == [[1]]
    saliency = torch.full_like(saliency, float(np.nextafter(0.5, 0)))
    options: dict[str, Any] = {"saliency_threshold": 0.5}
    absent = torch.zeros_like(image_labels)
    assert initial_labels(cam.float(), saliency, absent, **options).tolist() == [[0]]
    assert initial_labels(cam.float(), saliency.float(), absent, **options).tolist() == [[255]]


def test_many_classes_match_the_reference(device: torch.device) -> None:
    images = make_images(1, (4,), kind="tied", num_classes=90, size=(3, 4), device=device)
    options: dict[str, Any] = {"conflict_threshold": 1.0, "attention_threshold": 1.0}
    expected = images.expect(reference.initial_labels, NAMES, **options)
    assert_same(images.call(initial_labels, NAMES, **options), expected)


def every_combination(levels: list[float], dtype: torch.dtype) -> Images:
    """Two maps and a saliency of all levels against all, once for each set of the two classes."""
    values = torch.tensor(list(product(levels, repeat=3)), dtype=torch.float64).T
    values = (values * 255).round() if dtype == torch.uint8 else values
    first, second, saliency = values.to(dtype)[:, None, :]
    image_labels = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    cam = torch.stack([first, second, torch.ones_like(first)]).expand(4, -1, -1, -1)
    labels = torch.zeros(4, 1, 1, dtype=torch.uint8)
    return Images(cam, saliency.expand(4, -1, -1), labels, labels, image_labels)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
def test_every_combination_of_values_at_and_beside_the_thresholds(
    dtype: torch.dtype, options: dict[str, Any], device: torch.device
) -> None:
    values = (*options.values(), *(() if options else (0.3, 0.9, 0.8, 32 / 255)))
    beside = [level for value in values for level in (value, 1 - value, value + 1 / 64)]
    levels = sorted({min(level, 1.0) for level in (0.0, 0.5, 1.0, *beside)})
    images = every_combination(levels, dtype)
    expected = images.expect(reference.initial_labels, NAMES, **options)
    images = images.map(lambda tensor: tensor.to(device))
    assert_same(images.call(initial_labels, NAMES, **options), expected)


def test_ties_go_to_the_background_then_to_the_lowest_class(device: torch.device) -> None:
    cam = torch.tensor([0.5, 0.6, 0.6, 0.2])[:, None].expand(4, 3)[..., None, :].to(device)
    saliency = torch.tensor([[0.5, 0.375, 0.25]], device=device)
    image_labels = torch.tensor([1, 0, 0, 1], device=device)
    options: dict[str, Any] = {"saliency_threshold": 1.0}
    assert initial_labels(cam, saliency, image_labels, **options).tolist() == [[0, 0, 0]]
    image_labels = torch.tensor([0, 1, 1, 1], device=device)
    saliency = torch.full((1, 3), 0.9, device=device)
    assert initial_labels(cam, saliency, image_labels, **options).tolist() == [[2, 2, 2]]


@pytest.mark.parametrize(
    ("dtype", "ignore_index"),
    [
        (torch.uint8, 255),
        (torch.int8, -1),
        (torch.int16, 255),
        (torch.int32, 65535),
        (torch.int64, -1),
        pytest.param(
            getattr(torch, "uint16", None),
            65535,
            marks=pytest.mark.skipif(not hasattr(torch, "uint16"), reason="torch has no uint16"),
        ),
    ],
)
def test_dtype_and_ignore_index(dtype: torch.dtype, ignore_index: int) -> None:
    images = make_images(1, (4,), kind="tied")
    actual = images.call(initial_labels, NAMES, dtype=dtype, ignore_index=ignore_index)
    expected = images.expect(
        reference.initial_labels, NAMES, dtype=np.int64, ignore_index=ignore_index
    )
    assert (expected == ignore_index).any()
    assert_same(actual, expected.to(dtype))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("num_classes", [1, 2])
def test_smallest_shapes(size: tuple[int, int], num_classes: int, device: torch.device) -> None:
    images = make_images(3, (4,), kind="tied", num_classes=num_classes, size=size, device=device)
    expected = images.expect(reference.initial_labels, NAMES)
    assert_same(images.call(initial_labels, NAMES), expected)


def test_more_classes_than_uint8_holds() -> None:
    cam = torch.zeros(300, 1, 2)
    cam[299] = 0.6
    image_labels = torch.zeros(300)
    image_labels[299] = 1
    labels = initial_labels(cam, torch.ones(1, 2), image_labels, dtype=torch.int16, ignore_index=-1)
    assert labels.tolist() == [[300, 300]]


@pytest.mark.parametrize("count", [2, 253, 254, 255, 256, 257, 511])
def test_any_number_of_sure_classes_is_a_conflict(count: int) -> None:
    """More of them than a byte counts to, with the background's."""
    one = torch.ones(count)
    labels = initial_labels(
        one[:, None, None], torch.zeros(1, 1), one, dtype=torch.int16, ignore_index=-1
    )
    assert labels.tolist() == [[-1]]


CALLS = {
    "defaults": lambda images: images.call(initial_labels, NAMES),
    "thresholds": lambda images: images.call(initial_labels, NAMES, **OPTIONS[1]),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@properties
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_keeps_to_the_conventions(
    convention: Convention, call: Call, device: torch.device, seed: int, kind: Kind
) -> None:
    convention(call, make_images(seed, kind=kind, device=device))


def arguments() -> dict[str, Any]:
    """Two images of 375 rows and two classes, of which the first has one and the second both."""
    return {
        "cam": torch.full((2, 2, 375, 3), 0.5),
        "saliency": torch.full((2, 375, 3), 0.5),
        "image_labels": torch.tensor([[0, 1], [1, 1]]),
    }


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cam": np.zeros((2, 2, 375, 3))}, TypeError, r"cam: expected a torch\.Tensor, got ndarray"),
    ({"saliency": None}, TypeError, r"saliency: expected a torch\.Tensor, got NoneType None"),
    ({"image_labels": [[0, 1]]}, TypeError, r"image_labels: .*Tensor, got list \[\[0, 1\]\]"),
    ({"cam": torch.zeros(2, 2, 375, 3).long()}, TypeError, r"cam: .* uint8 .*, got torch\.int64"),
    ({"saliency": torch.zeros(2, 375, 3).bool()}, TypeError, r"saliency: .*, got torch\.bool"),
    ({"image_labels": torch.zeros(2, 2) + 0j}, TypeError, r"image_labels: .*torch\.complex64"),
    ({"dtype": torch.float32}, TypeError, r"dtype: expected an integer dtype, got torch\.float32"),
    ({"dtype": torch.bool}, TypeError, r"dtype: expected an integer dtype, got torch\.bool"),
    ({"fg_threshold": "0.3"}, TypeError, r"fg_threshold: expected a number, got str '0\.3'"),
    ({"fg_threshold": True}, TypeError, r"fg_threshold: expected a number, got bool True"),
    ({"ignore_index": 255.0}, TypeError, r"ignore_index: expected an integer, got float 255\.0"),
    ({"cam": torch.zeros(5, 3)}, ValueError, r"cam: expected shape \(\*, C, H, W\), got \(5, 3\)"),
    ({"cam": torch.zeros(2, 0, 375, 3)}, ValueError, r"cam: expected C of at least 1, got shape"),
    ({"cam": torch.zeros(2, 2, 0, 3)}, ValueError, r"cam: expected H of at least 1, got shape"),
    ({"cam": torch.zeros(2, 2, 375, 0)}, ValueError, r"cam: expected W of at least 1, got shape"),
    ({"saliency": torch.zeros(2, 374, 3)}, ValueError,
     r"saliency: expected H = 375, as cam, got H = 374 \(shape \(2, 374, 3\)\); resize"),
    ({"saliency": torch.zeros(2, 375, 4)}, ValueError, r"saliency: expected W = 3, .*got W = 4"),
    ({"saliency": torch.zeros(375, 3)}, ValueError,
     r"saliency: expected batch axes \(2,\), as cam, got \(\) \(shape \(375, 3\), read as"),
    ({"saliency": torch.zeros(3, 375, 3)}, ValueError, r"saliency: .*axes \(2,\), .*got \(3,\)"),
    ({"cam": torch.zeros(2, 3, 375, 3)}, ValueError,
     r"image_labels: expected C = 3, as cam, got C = 2 .*no background channel"),
    ({"image_labels": torch.ones(2, 1), "cam": torch.zeros(2, 5, 375, 3)}, ValueError,
     r"image_labels: expected C = 5, as cam, got C = 1 \(shape \(2, 1\)\); .*multi-hot"),
    ({"cam": torch.zeros(2, 2, 375, 3, device="meta")}, ValueError,
     r"saliency: expected device meta, as cam, got cpu"),
    ({"image_labels": torch.ones(2, 2, device="meta")}, ValueError,
     r"image_labels: expected device cpu, as cam, got meta"),
    *(
        ({name: value}, ValueError, rf"{name}: expected a number in \[0, 1\], got {value}")
        for name in THRESHOLDS
        for value in (-0.1, 1.1, float("nan"))
    ),
    ({"saliency_threshold": 32}, ValueError, r"saliency_threshold: .*, got 32; is it n / 255\?"),
    ({"ignore_index": 0}, ValueError, r"ignore_index: expected a value that is no label, got 0"),
    ({"ignore_index": 2}, ValueError, r"ignore_index: .*, got 2: 0 to 2 are labels"),
    ({"ignore_index": -1}, ValueError, r"dtype: .*ignore_index -1, got torch\.uint8 with 0 to 255"),
    ({"dtype": torch.int8}, ValueError, r"dtype: .*ignore_index 255, got torch\.int8"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    initial_labels(**arguments())
    with pytest.raises(error, match=message):
        initial_labels(**(arguments() | change))


@pytest.mark.parametrize("name", ["cam", "saliency", "image_labels"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1.5, -0.25, 2.0])
def test_refuses_values(name: str, value: float, device: torch.device) -> None:
    assert_refuses_value(initial_labels, arguments(), name, value, device)


@pytest.mark.parametrize(("dtype", "ignore_index"), [(torch.uint8, 301), (torch.int8, -1)])
def test_refuses_300_classes_in_a_byte(dtype: torch.dtype, ignore_index: int) -> None:
    many: dict[str, Any] = {"cam": torch.zeros(300, 1, 1), "image_labels": torch.zeros(300)}
    with pytest.raises(ValueError, match=r"dtype: .*labels 0 to 300"):
        initial_labels(**many, saliency=torch.zeros(1, 1), ignore_index=ignore_index, dtype=dtype)
