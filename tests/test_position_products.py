"""The unit's products over positions: their values and gradients against plain ones in float64."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch
from torch import Tensor

from wsss_nonsalient import GlobalReasoningUnit
from wsss_nonsalient._position_products import add_product, project_and_pool


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Generator[int, None, None]:
    """One thread takes matrix products on a CPU, two take convolutions."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def inputs(dtype: torch.dtype) -> list[Tensor]:
    """x, weight and bias of the projection, and weights (N, C, M) of the maps."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 6, 11), (4, 6), (4,), (3, 6, 4))
    values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [one.to(dtype).requires_grad_() for one in values]


def products(x: Tensor, weight: Tensor, bias: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    projection, pooled, same = project_and_pool(x, weight, bias, 0.5)
    return pooled, add_product(same, weights, projection)


def plain(x: Tensor, weight: Tensor, bias: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    projection = torch.einsum("mc,ncl->nml", weight, x) + bias[:, None]
    pooled = torch.einsum("ncl,nml->ncm", x, projection) * 0.5
    return pooled, x + torch.einsum("ncm,nml->ncl", weights, projection)


def squares(found: tuple[Tensor, ...]) -> Tensor:
    total: Tensor = sum((one.square().sum() for one in found), torch.zeros(()))
    return total


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("required", [(0, 1, 2, 3), (0,), (1,), (2, 3), (0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_and_second_gradients(dtype: torch.dtype, required: tuple[int, ...]) -> None:
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    results: list[list[Tensor]] = []
    for function, kind in ((products, dtype), (plain, torch.float64)):
        values = inputs(kind)
        for index, value in enumerate(values):
            value.requires_grad_(index in required)
        leaves = [values[index] for index in required]
        found = function(*values)
        first = torch.autograd.grad(squares(found), leaves, create_graph=True)
        second = torch.autograd.grad(squares(first), leaves)
        results.append([*found, *first, *second])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("threads")
def test_without_gradients_the_values_are_the_same() -> None:
    with torch.no_grad():
        found = products(*inputs(torch.float32))
    for actual, expected in zip(found, plain(*inputs(torch.float64)), strict=True):
        torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


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
