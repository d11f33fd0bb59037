"""Non-salient region masking."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests import reference
from tests.conventions import (
    CONVENTIONS,
    Call,
    Convention,
    flips_left_and_right,
    flips_up_and_down,
)
from tests.helpers import (
    BATCHES,
    IGNORE,
    IMAGE_DTYPES,
    Images,
    assert_refuses_value,
    assert_same,
    make_images,
    properties,
)
from wsss_nonsalient import dilate, nsrm_mask

NAMES = ("prediction", "labels", "image_labels")
SWITCHES = ("keep_ignored", "restrict_to_image_labels")
SWITCHED = list(product([False, True], repeat=2))


def sparse_images(seed: int, batch: tuple[int, ...] = (4,), **options: Any) -> Images:
    """Images whose objects and salient pixels are few, so that much lies far from them."""
    images = make_images(seed, batch, object_ratio=0.06, size=(9, 8), **options)
    random = torch.Generator().manual_seed(seed)
    faint = torch.rand(images.saliency.shape, generator=random) < 0.97
    return images._replace(saliency=images.saliency.masked_fill(faint.to(images.cam.device), 0))


def mask(images: Images, *, with_saliency: bool = True, **options: Any) -> Tensor:
    saliency = images.saliency if with_saliency else None
    return images.call(nsrm_mask, NAMES, saliency=saliency, **options)


def expect(images: Images, *, with_saliency: bool = True, **options: Any) -> Tensor:
    def function(saliency: reference.Array, *labels: reference.Array) -> reference.Array:
        chosen = saliency if with_saliency else None
        return reference.nsrm_mask(*labels, saliency=chosen, **options)

    return images.expect(function, ("saliency", *NAMES))


@pytest.mark.parametrize("switches", SWITCHED)
@pytest.mark.parametrize("with_saliency", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 50])
@pytest.mark.parametrize("batch", BATCHES)
def test_matches_the_reference(
    batch: tuple[int, ...],
    kernel_size: int,
    with_saliency: bool,
    switches: tuple[bool, bool],
    device: torch.device,
) -> None:
    for seed in range(3):
        images = sparse_images(seed, batch, device=device)
        options: dict[str, Any] = dict(zip(SWITCHES, switches, strict=True))
        options |= {"kernel_size": kernel_size, "with_saliency": with_saliency}
        actual = mask(images, **options)
        assert actual.device == images.prediction.device
        assert_same(actual, expect(images, **options))


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
@pytest.mark.parametrize("min_classes", [0, 1, 2, 3, 4])
def test_saliency_dtypes_and_min_classes(
    min_classes: int, dtype: torch.dtype, device: torch.device
) -> None:
    images = sparse_images(0, (6,), dtype=dtype, kind="tied", device=device)
    options: dict[str, Any] = {"min_classes": min_classes, "kernel_size": 3}
    assert_same(mask(images, **options), expect(images, **options))


@pytest.mark.parametrize("pixel", [(0, 0), (40, 44), (63, 69)])
def test_defaults_are_the_papers(pixel: tuple[int, int]) -> None:
    prediction = torch.zeros(2, 64, 70, dtype=torch.uint8)
    prediction[:, pixel[0], pixel[1]] = 2
    pseudo_labels = torch.zeros_like(prediction)
    pseudo_labels[:, 5, 60] = 255
    pseudo_labels[:, 5, 61] = 1
    image_labels = torch.tensor([[0, 1], [1, 1]])
    images = Images(prediction, prediction, pseudo_labels, prediction, image_labels)
    expected = expect(images, with_saliency=False)
    assert_same(nsrm_mask(prediction, pseudo_labels, image_labels), expected)
    assert (expected[1] == IGNORE).any()
    assert_same(expected[0], prediction[0])


@pytest.mark.parametrize(
    ("predicted", "pseudo", "options", "expected"),
    [
        (2, 3, {}, 2),  # the prediction goes first
        (0, 3, {}, 3),
        (0, IGNORE, {}, 0),
        (0, IGNORE, {"keep_ignored": True}, IGNORE),
        (IGNORE, 3, {}, IGNORE),
        (1, 3, {}, 1),
        (1, 3, {"restrict_to_image_labels": True}, 3),
        (1, 0, {"restrict_to_image_labels": True}, IGNORE),
        (1, 3, {"restrict_to_image_labels": True, "min_classes": 3}, 3),
        (1, IGNORE, {"restrict_to_image_labels": True, "min_classes": 3}, IGNORE),
        (0, 3, {"restrict_to_image_labels": True, "min_classes": 3}, 0),
        (0, IGNORE, {"keep_ignored": True, "min_classes": 3}, 0),
    ],
)
def test_a_pixel_by_hand(
    predicted: int, pseudo: int, options: dict[str, Any], expected: int
) -> None:
    # The second pixel is an object and its neighbours so are never far from one.
    prediction, pseudo_labels = torch.tensor([[predicted, 2]]), torch.tensor([[pseudo, 0]])
    image_labels = torch.tensor([0, 1, 1])
    assert nsrm_mask(prediction, pseudo_labels, image_labels, **options).tolist() == [[expected, 2]]


@pytest.mark.parametrize(
    ("name", "ignore_index"),
    [("int8", -1), ("int16", 255), ("int32", 65535), ("int64", -1), ("uint16", 65535)],
)
@pytest.mark.parametrize("switches", SWITCHED)
def test_dtype_and_ignore_index(name: str, ignore_index: int, switches: tuple[bool, bool]) -> None:
    if not hasattr(torch, name):
        pytest.skip(f"torch has no {name}")
    options: dict[str, Any] = dict(zip(SWITCHES, switches, strict=True))
    options |= {"ignore_index": ignore_index, "kernel_size": 3}

    def widened(labels: Tensor) -> Tensor:
        return labels.long().masked_fill(labels == IGNORE, ignore_index)

    images = sparse_images(1)
    images = images._replace(labels=widened(images.labels), prediction=widened(images.prediction))
    expected = expect(images, **options)
    narrow = images._replace(prediction=images.prediction.to(getattr(torch, name)))
    assert_same(mask(narrow, **options), expected.to(narrow.prediction.dtype))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("num_classes", [1, 2])
def test_smallest_shapes(size: tuple[int, int], num_classes: int, device: torch.device) -> None:
    images = make_images(3, (6,), num_classes=num_classes, size=size, device=device)
    options: dict[str, Any] = {"min_classes": 1, "kernel_size": 2, "with_saliency": False}
    assert_same(mask(images, **options), expect(images, **options))


CALLS = {
    "defaults": lambda images: mask(images, with_saliency=False),
    "small": lambda images: mask(images, kernel_size=3),
    "keep": lambda images: mask(images, kernel_size=3, keep_ignored=True),
    "restrict": lambda images: mask(images, kernel_size=3, restrict_to_image_labels=True),
    "even": lambda images: mask(images, kernel_size=4),
}
FLIPS = (flips_left_and_right, flips_up_and_down)


@pytest.mark.parametrize(
    ("call", "convention"),
    [
        pytest.param(call, convention, id=f"{name}-{convention.__name__}")
        for (name, call), convention in product(CALLS.items(), CONVENTIONS)
        if convention not in FLIPS or name not in ("defaults", "even")  # even squares lean
    ],
)
@properties
@given(seed=st.integers(0, 2**32))
def test_keeps_to_the_conventions(
    call: Call, convention: Convention, device: torch.device, seed: int
) -> None:
    convention(call, sparse_images(seed, device=device))


def merged(images: Images) -> Tensor:
    """The prediction, with the pseudo label's objects where it is background."""
    is_object = (images.labels != 0) & (images.labels != IGNORE)
    return torch.where((images.prediction == 0) & is_object, images.labels, images.prediction)


@properties
@given(seed=st.integers(0, 2**32), kernel_size=st.integers(1, 12))
def test_no_pixel_changes_inside_the_mask_and_all_are_ignored_outside(
    seed: int, kernel_size: int
) -> None:
    images = sparse_images(seed)
    result = mask(images, kernel_size=kernel_size)
    merge = merged(images)
    inside = dilate((merge != 0) | (images.saliency != 0), kernel_size)
    is_complex = (images.image_labels.sum(dim=1) >= 2)[:, None, None]
    assert (result == merge)[inside & is_complex].all()
    assert (result == IGNORE)[~inside & is_complex].all()
    assert (result == images.prediction)[~is_complex.expand_as(inside)].all()


@properties
@given(seed=st.integers(0, 2**32), kernel_size=st.integers(1, 12), more=st.integers(1, 5))
def test_a_larger_kernel_never_ignores_more(seed: int, kernel_size: int, more: int) -> None:
    images = sparse_images(seed)
    small = mask(images, kernel_size=kernel_size) == IGNORE
    large = mask(images, kernel_size=kernel_size + more) == IGNORE
    assert (small | ~large).all()


def arguments() -> dict[str, Any]:
    """Two images of 375 rows and two classes, of which the first has one and the second both."""
    return {
        "prediction": torch.zeros(2, 375, 3, dtype=torch.uint8),
        "pseudo_labels": torch.zeros(2, 375, 3, dtype=torch.uint8),
        "image_labels": torch.tensor([[0, 1], [1, 1]]),
        "saliency": torch.full((2, 375, 3), 0.5),
    }


def labels_of(name: str, value: int, dtype: torch.dtype = torch.int64) -> dict[str, Tensor]:
    return {name: torch.full((2, 375, 3), value, dtype=dtype)}


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"prediction": [[0]]}, TypeError, r"prediction: expected a torch\.Tensor, got list \[\[0\]\]"),
    ({"prediction": torch.zeros(2, 375, 3)}, TypeError, r"prediction: .*integer .*, got .*float32"),
    ({"pseudo_labels": torch.zeros(2, 375, 3)}, TypeError, r"pseudo_labels: .*, got .*float32"),
    ({"image_labels": torch.zeros(2, 2) + 0j}, TypeError, r"image_labels: .*torch\.complex64"),
    ({"saliency": torch.zeros(2, 375, 3).long()}, TypeError, r"saliency: .*, got torch\.int64"),
    ({"kernel_size": 2.5}, ValueError,
     r"kernel_size: expected an integer of at least 1 or a float in \(0, 1\), got 2\.5"),
    ({"min_classes": 2.0}, TypeError, r"min_classes: expected an integer, got float 2\.0"),
    ({"keep_ignored": 1}, TypeError, r"keep_ignored: expected a bool, got int 1"),
    ({"restrict_to_image_labels": None}, TypeError, r"restrict_to_image_labels: .*, got NoneType"),
    ({"ignore_index": "255"}, TypeError, r"ignore_index: expected an integer, got str '255'"),
    ({"pseudo_labels": torch.zeros(2, 374, 3).int()}, ValueError,
     r"pseudo_labels: expected H = 375, as prediction, got H = 374 \(shape .*; resize"),
    ({"saliency": torch.zeros(2, 375, 4)}, ValueError, r"saliency: expected W = 3, .*got W = 4"),
    ({"pseudo_labels": torch.zeros(375, 3).int()}, ValueError, r"pseudo_labels: .*axes \(2,\)"),
    ({"image_labels": torch.ones(2)}, ValueError, r"image_labels: expected batch axes \(2,\)"),
    ({"image_labels": torch.ones(3, 2)}, ValueError, r"image_labels: .*axes \(2,\), .*\(3,\)"),
    ({"saliency": torch.zeros(2, 375, 3, device="meta")}, ValueError,
     r"saliency: expected device cpu, as prediction, got meta"),
    ({"image_labels": torch.ones(2, 1)} | labels_of("prediction", 2), ValueError,
     r"prediction: expected labels 0 to 1 or 255 \(ignored\), got 2"),
    *(
        (labels_of(name, value), ValueError, rf"{name}: .* 0 to 2 or 255 \(ignored\), got {value}")
        for name, value in product(("prediction", "pseudo_labels"), (3, -1))
    ),
    ({"kernel_size": 0}, ValueError, r"kernel_size: expected .* of at least 1 or .*, got 0"),
    ({"min_classes": -1}, ValueError, r"min_classes: expected an integer of at least 0, got -1"),
    ({"ignore_index": 0}, ValueError, r"ignore_index: .*no label, got 0: 0 to 2 are labels"),
    ({"ignore_index": 2}, ValueError, r"ignore_index: .*no label, got 2: 0 to 2 are labels"),
    ({"ignore_index": -1}, ValueError, r"prediction: .*ignore_index -1, got torch\.uint8"),
    (labels_of("pseudo_labels", 0, torch.int8), ValueError, r"pseudo_labels: .*got torch\.int8"),
    ({"image_labels": torch.ones(2, 300), "ignore_index": 301}, ValueError,
     r"prediction: .*labels 0 to 300 and ignore_index 301, got torch\.uint8"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    nsrm_mask(**arguments())
    with pytest.raises(error, match=message):
        nsrm_mask(**(arguments() | change))


@pytest.mark.parametrize("name", ["saliency", "image_labels"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1.5, -0.25, 2.0])
def test_refuses_values(name: str, value: float, device: torch.device) -> None:
    assert_refuses_value(nsrm_mask, arguments(), name, value, device)


def test_refuses_a_label_that_only_fits_its_own_dtype() -> None:
    wide = labels_of("pseudo_labels", 256 + 1)
    with pytest.raises(ValueError, match=r"pseudo_labels: expected labels 0 to 2 .*got 257"):
        nsrm_mask(**(arguments() | wide))


@pytest.mark.skipif(not hasattr(torch, "uint16"), reason="needs uint16")
def test_an_image_of_one_class_keeps_a_wide_dtype() -> None:
    prediction = torch.tensor([[0, 1, 255]]).to(torch.uint16)
    masked = nsrm_mask(prediction, prediction, torch.tensor([1, 0]))
    assert masked.dtype == torch.uint16
    assert masked.tolist() == prediction.tolist()
