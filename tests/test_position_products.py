"""The unit's products over positions: their values and gradients against plain ones in float64."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wsss_nonsalient import GlobalReasoningUnit
from wsss_nonsalient._matrix_products import (
    has_inner_product,
    plus_times_transposed,
    takes_inner_products,
    times_transposed,
)
from wsss_nonsalient._position_products import add_product, product, project_and_pool


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Generator[int, None, None]:
    """Products are shared out to threads in ways of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


#: images, channels, nodes, positions: matrix products, and inner products of every kind
SIZES = [(3, 6, 4, 11), (2, 128, 64, 150), (1, 80, 130, 103), (2, 72, 140, 117)]


def inputs(dtype: torch.dtype, size: tuple[int, ...]) -> list[Tensor]:
    """x, weight and bias of the projection, and weights (N, C, M + 1) of the maps."""
    images, channels, nodes, positions = size
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (images, channels, positions),
        (nodes, channels),
        (nodes,),
        (images, channels, nodes + 1),
    )
    values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    values[1] /= channels**0.5
    values[3] /= nodes**0.5
    return [one.to(dtype).requires_grad_() for one in values]


def products(x: Tensor, weight: Tensor, bias: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    projection, pooled, same = project_and_pool(x, weight, bias, 0.5)
    return product(weight, pooled), add_product(same, weights, projection)


def plain(x: Tensor, weight: Tensor, bias: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    projection = torch.einsum("mc,ncl->nml", weight, x) + bias[:, None]
    pooled = torch.einsum("ncl,nml->ncm", x, projection) * 0.5
    total = x + torch.einsum("ncm,nml->ncl", weights[..., :-1], projection) + weights[..., -1:]
    return torch.einsum("mc,nck->nmk", weight, pooled), total


def squares(found: tuple[Tensor, ...]) -> Tensor:
    total: Tensor = sum((one.square().sum() for one in found), torch.zeros(()))
    return total


def assert_near(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    """Near for the size of the values: sums of many products are rounded."""
    for one, other in zip(actual, expected, strict=True):
        error, size = (one.detach().double() - other.detach()).abs(), other.detach().abs()
        assert float(error.max()) <= tolerance * float(size.max())


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("required", [(0, 1, 2, 3), (0,), (1,), (2, 3), (0, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_first_and_second_gradients(
    dtype: torch.dtype, required: tuple[int, ...], size: tuple[int, ...]
) -> None:
    results: list[list[Tensor]] = []
    for function, kind in ((products, dtype), (plain, torch.float64)):
        values = inputs(kind, size)
        for index, value in enumerate(values):
            value.requires_grad_(index in required)
        leaves = [values[index] for index in required]
        found = function(*values)
        only = torch.autograd.grad(squares(found), leaves, retain_graph=True)
        first = torch.autograd.grad(squares(found), leaves, create_graph=True)
        second = torch.autograd.grad(squares(first), leaves)
        results.append([*found, *only, *first, *second])
    actual, expected = results
    assert_near(actual, expected, 1e-4 if dtype == torch.float32 else 1e-10)


def as_rows(x: Tensor) -> Tensor:
    return x


def as_columns(x: Tensor) -> Tensor:
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def as_rows_with_gaps(x: Tensor) -> Tensor:
    return functional.pad(x, (0, 3))[..., : x.shape[2]]


def as_columns_with_gaps(x: Tensor) -> Tensor:
    return as_columns(functional.pad(x, (0, 0, 0, 3)))[:, : x.shape[1]]


LAYOUTS = [as_rows, as_columns, as_rows_with_gaps, as_columns_with_gaps]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_without_gradients(
    layout: Callable[[Tensor], Tensor], size: tuple[int, ...]
) -> None:
    x, *others = (value.detach() for value in inputs(torch.float32, size))
    found = products(layout(x), *others)
    expected = plain(*(value.double() for value in (x, *others)))
    assert_near(list(found), list(expected), 1e-5)


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_matrices_of_all_layouts(
    left: Callable[[Tensor], Tensor], right: Callable[[Tensor], Tensor]
) -> None:
    """Gaps between rows or columns make the inner product a thousand times as slow, not wrong."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 150, generator=generator) for n in (120, 80))
    addend = torch.randn(120, 80, generator=generator)
    own = left(a[None])[0], right(b[None])[0]
    expected = a.double() @ b.double().t()
    assert_near([times_transposed(*own)], [expected], 1e-6)
    assert_near([plus_times_transposed(addend, *own)], [addend + expected], 1e-6)


def test_operators_are_counted() -> None:
    """A count of FLOPs knows products and convolutions, not what PyTorch keeps for itself."""
    flop_counter = importlib.import_module("torch.utils.flop_counter")
    unit = GlobalReasoningUnit(64, 64).eval()
    with torch.no_grad(), flop_counter.FlopCounterMode(display=False) as counter:
        unit(torch.randn(1, 64, 20, 20))
    assert counter.get_total_flops() >= 2 * 3 * 64 * 64 * 400


@pytest.mark.filterwarnings("ignore:TF32")  # of the flags themselves
def test_with_onednn_turned_off() -> None:
    one = torch.ones(1, 1)
    assert takes_inner_products(one) == has_inner_product()
    with torch.backends.mkldnn.flags(enabled=False):
        assert not takes_inner_products(one)


@pytest.mark.parametrize("missing", ["mkl", "mkldnn", "the operator"])
def test_without_the_inner_product(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """The same values where PyTorch has no such operator, and no error."""
    x, *others = (value.detach() for value in inputs(torch.float32, SIZES[1]))
    expected = products(x, *others)
    if missing == "the operator":
        monkeypatch.setattr(torch.ops, "mkldnn", object())
    else:
        monkeypatch.setattr(getattr(torch.backends, missing), "is_available", lambda: False)
    has_inner_product.cache_clear()
    try:
        assert not has_inner_product()
        assert_near(list(products(x, *others)), [one.double() for one in expected], 1e-5)
    finally:
        has_inner_product.cache_clear()


@pytest.mark.parametrize("training", [True, False])
def test_second_gradients_of_the_unit(training: bool) -> None:
    torch.manual_seed(0)
    unit = GlobalReasoningUnit(4, 3, zero_init=False, normalize=True).double().train(training)
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(unit, (x,))


def test_function_transforms() -> None:
    unit = GlobalReasoningUnit(4, 3, zero_init=False).double().eval()
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    parameters = {name: value.detach() for name, value in unit.state_dict().items()}

    def total(x: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(unit, parameters, (x,)).square().sum()
        return result

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(total(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(total)(x), expected)
