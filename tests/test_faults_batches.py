"""A batch gives what its images give one by one, bit for bit, in any order, for every function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.functions import COLLECTORS, FUNCTIONS, Arguments, Function
from tests.helpers import assert_same

#: Sums of matrix products go by blocks, and the blocks by the number of images: equal to rounding.
ROUNDED = ("GlobalReasoningUnit", "CAMHead")
BATCHED = [name for name in FUNCTIONS if name not in COLLECTORS]


def compare(name: str, actual: Tensor, expected: Tensor) -> None:
    if name in ROUNDED:
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    else:
        assert_same(actual, expected)


def images(function: Function, arguments: Arguments, index: Any) -> Arguments:
    return {
        name: value if function.kinds.get(name) == "weight" else value[index]
        for name, value in arguments.items()
    }


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("size", [(7, 13), (1, 1), (33, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
def test_one_by_one(name: str, size: tuple[int, int], dtype: torch.dtype) -> None:
    function = FUNCTIONS[name]
    if name == "CAMHead" and dtype == torch.float16:
        pytest.skip("half-precision convolutions round by their blocks")
    arguments = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in function.arguments(batch=(5,), size=size).items()
    }
    result = function(arguments)
    for i in range(5):
        one = slice(i, i + 1) if function.only_batches else i
        own = function(images(function, arguments, one))
        if name in ROUNDED and dtype == torch.float16:
            torch.testing.assert_close(result[one], own, rtol=5e-3, atol=5e-3)
        else:
            compare(name, result[one], own)


@pytest.mark.parametrize("name", BATCHED)
def test_the_order_of_images_does_not_matter(name: str) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments(batch=(5,))
    order = torch.tensor([3, 0, 4, 1, 2])
    result = function(images(function, arguments, order))
    compare(name, result, function(arguments)[order])


@pytest.mark.parametrize("name", [n for n in BATCHED if not FUNCTIONS[n].only_batches])
def test_any_batch_axes(name: str) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments(batch=(2, 3))
    result = function(arguments)
    flat = {
        key: value if function.kinds[key] == "weight" else value.flatten(0, 1)
        for key, value in arguments.items()
    }
    assert_same(result.flatten(0, 1), function(flat))
    assert_same(result[1, 2], function(images(function, arguments, (1, 2))))


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize(
    "layout",
    [
        lambda t: t.to(memory_format=torch.channels_last) if t.ndim == 4 else t,
        lambda t: t.repeat_interleave(2, -1)[..., 1::2],
        lambda t: t.flip(0).flip(0).mT.contiguous().mT if t.ndim > 2 else t,
        lambda t: t.repeat(3, *[1] * (t.ndim - 1))[1::3] if False else t[:1].expand_as(t),
    ],
    ids=["channels_last", "every second column", "by columns", "expanded"],
)
def test_the_layout_in_memory_does_not_matter(name: str, layout: Any) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments(batch=(3,))
    laid_out = {
        key: layout(value) if function.kinds[key] != "weight" else value
        for key, value in arguments.items()
    }
    plain = {key: value.clone(memory_format=torch.contiguous_format)
             for key, value in laid_out.items()}  # fmt: skip
    compare(name, function(laid_out).contiguous(), function(plain).contiguous())


@pytest.mark.parametrize("name", [n for n in COLLECTORS if n.startswith("OACAMAccumulator")])
def test_accumulating_a_batch_is_accumulating_its_images(name: str) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments(batch=(5,))
    whole = function(arguments)
    for i in range(5):
        assert_same(whole[i : i + 1], function(images(function, arguments, slice(i, i + 1))))


def test_a_score_of_a_batch_is_the_sum_of_its_images() -> None:
    function = FUNCTIONS["SegmentationScore.update"]
    arguments = function.arguments(batch=(2, 3))
    parts = [
        function(images(function, arguments, (i, j))) for i in range(2) for j in range(3)
    ]  # fmt: skip
    assert_same(function(arguments), torch.stack(parts).sum(dim=0))
