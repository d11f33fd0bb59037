"""Dilation by a square, as OpenCV does it."""

from __future__ import annotations

from typing import Any

import numpy as np
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
    classes_permute,
    flips_left_and_right,
    flips_up_and_down,
)
from tests.helpers import BATCHES, assert_same, make_images, properties
from wsss_nonsalient import dilate, dilation

SIZES = [(1, 1), (1, 9), (9, 1), (13, 17)]
KERNELS = [1, 2, 3, 4, 5, 8, 11, 12, 17, 30, 31, 34, 35, 64]
DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


def lone_pixels(seed: int, shape: tuple[int, ...]) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=random) < 0.03


@pytest.mark.parametrize("kernel_size", KERNELS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", BATCHES)
def test_matches_the_reference(
    batch: tuple[int, ...], size: tuple[int, int], kernel_size: int, device: torch.device
) -> None:
    mask = lone_pixels(kernel_size, (*batch, *size)).to(device)
    actual = dilate(mask, kernel_size)
    assert actual.device == mask.device
    expected = [reference.dilate(one.cpu().numpy(), kernel_size) for one in mask.view(-1, *size)]
    assert_same(actual, torch.from_numpy(np.stack(expected)).view(mask.shape))


@pytest.mark.parametrize("kernel_size", KERNELS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
def test_equals_opencv(dtype: torch.dtype, size: tuple[int, int], kernel_size: int) -> None:
    cv2 = pytest.importorskip("cv2")
    random = torch.Generator().manual_seed(kernel_size)
    info = torch.iinfo(dtype)
    square = np.ones((kernel_size, kernel_size), np.uint8)
    lit = torch.where(lone_pixels(kernel_size, size), 1, 0).to(dtype)
    grey = torch.randint(info.min, info.max + 1, size, generator=random, dtype=dtype)
    for mask in (lit, grey):
        assert_same(dilate(mask, kernel_size), torch.from_numpy(cv2.dilate(mask.numpy(), square)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 30])
def test_keeps_dtypes_and_takes_nothing_from_outside(
    kernel_size: int, dtype: torch.dtype, device: torch.device
) -> None:
    lowest = 0 if dtype in (torch.bool, torch.uint8) else torch.iinfo(dtype).min
    flat = torch.full((2, 4, 5), lowest, device=device).to(dtype)
    assert_same(dilate(flat, kernel_size), flat)


def test_an_even_square_leans_down_and_right(device: torch.device) -> None:
    mask = torch.zeros(100, 90, dtype=torch.bool, device=device)
    mask[40, 50] = True
    expected = torch.zeros_like(mask)
    expected[26:56, 36:66] = True
    assert_same(dilate(mask, 30), expected)


@pytest.mark.parametrize(
    ("share", "size", "side"),
    [
        (0.06, (375, 500), 31),
        (0.06, (500, 375), 31),
        (0.06, (1000, 750), 61),
        (0.05999, (375, 500), 29),
        (0.5, (8, 6), 5),  # 4 is as near to 3 as to 5
        (0.2499, (8, 6), 1),
        (1e-9, (8, 6), 1),
        (0.999, (8, 6), 7),
        (0.999, (1, 1), 1),
    ],
)
def test_a_relative_square_is_odd_and_of_the_longer_side(
    share: float, size: tuple[int, int], side: int, device: torch.device
) -> None:
    mask = lone_pixels(side, (2, *size)).to(device)
    assert_same(dilate(mask, share), dilate(mask, side))


@properties
@given(share=st.floats(0, 1, exclude_min=True, exclude_max=True), longer=st.integers(1, 60))
def test_a_relative_side_is_the_nearest_odd_integer(share: float, longer: int) -> None:
    mask = torch.zeros(1, longer, dtype=torch.bool)
    mask[0, longer // 2] = True
    odd = [side for side in range(1, 2 * longer + 3, 2) if abs(side - share * longer) <= 1 + 1e-9]
    assert any(torch.equal(dilate(mask, share), dilate(mask, side)) for side in odd)


@pytest.mark.parametrize("kernel_size", [10**15, 10**15 + 1])
def test_a_square_of_any_size_costs_no_more_than_the_picture(kernel_size: int) -> None:
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[1, 3, 0] = True
    assert dilate(mask, kernel_size).flatten(1).all(dim=1).tolist() == [False, True]


@pytest.mark.parametrize("kernel_size", [2, 3, 17, 30])
def test_no_image_gives_none(kernel_size: int, device: torch.device) -> None:
    empty = torch.zeros(0, 4, 5, dtype=torch.bool, device=device)
    assert_same(dilate(empty, kernel_size), empty)


@properties
@given(seed=st.integers(0, 2**32), first=st.integers(0, 6), second=st.integers(0, 6))
def test_odd_squares_add_up(seed: int, first: int, second: int) -> None:
    mask = lone_pixels(seed, (2, 13, 17))
    twice = dilate(dilate(mask, 2 * first + 1), 2 * second + 1)
    assert_same(dilate(mask, 2 * (first + second) + 1), twice)


@pytest.mark.parametrize("kernel_size", [1, 3, 4, 0.5])
@pytest.mark.parametrize("convention", [c for c in CONVENTIONS if c is not classes_permute])
@properties
@given(seed=st.integers(0, 2**32))
def test_keeps_to_the_conventions(
    convention: Convention, kernel_size: float, device: torch.device, seed: int
) -> None:
    if kernel_size % 2 == 0 and convention in (flips_left_and_right, flips_up_and_down):
        kernel_size += 1  # even squares lean
    call: Call = lambda images: dilate(images.labels, kernel_size)  # noqa: E731
    convention(call, make_images(seed, object_ratio=0.1, device=device))


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"mask": [[True]]}, TypeError, r"mask: expected a torch\.Tensor, got list \[\[True\]\]"),
    ({"mask": torch.zeros(2, 2)}, TypeError, r"mask: expected a bool or integer .*float32"),
    ({"mask": torch.zeros(4).bool()}, ValueError, r"mask: expected .*H, W\), got \(4,\)"),
    ({"mask": torch.zeros(4, 0).bool()}, ValueError, r"mask: expected W of at least 1"),
    (
        {"kernel_size": 2.5},
        ValueError,
        r"kernel_size: expected an integer of at least 1 or a float in \(0, 1\), got 2\.5",
    ),
    (
        {"kernel_size": True},
        TypeError,
        r"kernel_size: expected an integer or a float in \(0, 1\), got bool True",
    ),
    (
        {"kernel_size": (3, 3)},
        TypeError,
        r"kernel_size: expected an integer or a float in .*, got tuple \(3, 3\)",
    ),
    ({"kernel_size": 1.0}, ValueError, r"kernel_size: expected .* \(0, 1\), got 1\.0"),
    ({"kernel_size": 0.0}, ValueError, r"kernel_size: expected .* \(0, 1\), got 0\.0"),
    ({"kernel_size": float("nan")}, ValueError, r"kernel_size: expected .* \(0, 1\), got nan"),
    ({"kernel_size": "3"}, TypeError, r"kernel_size: expected .* \(0, 1\), got str '3'"),
    ({"kernel_size": 0}, ValueError, r"kernel_size: expected .* of at least 1 or .*, got 0"),
    ({"kernel_size": -3}, ValueError, r"kernel_size: expected .* of at least 1 or .*, got -3"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"mask": torch.zeros(2, 2).bool(), "kernel_size": 3}
    dilate(**arguments)
    with pytest.raises(error, match=message):
        dilate(**(arguments | change))


@pytest.mark.parametrize("side", [1, 2, 5, 40])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_both_ways_take_any_memory_layout(
    side: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator().manual_seed(side)
    image = torch.randint(0, 2, (7, 3, 11), generator=random).to(dtype).permute(1, 2, 0)
    expected = dilate(image.contiguous(), side)
    for _ in range(2):
        found = dilate(image, side)
        assert_same(found, expected)
        assert found.data_ptr() != image.data_ptr()
        monkeypatch.setattr(dilation, "readable", lambda mask: mask)  # a GPU's way
