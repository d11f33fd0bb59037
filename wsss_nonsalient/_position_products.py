"""The products of the reasoning unit that go over all positions, with their gradients.

Written out, a training step keeps the projection only, and the gradients of the input, of which
there are three, are one product and one sum. In float32 on a CPU, the products go image by image,
see :mod:`._matrix_products`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from ._matrix_products import plus_times_transposed, takes_inner_products, times_transposed

Gradients = tuple[Tensor | None, ...]


def project_and_pool(
    x: Tensor, weight: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Projection :math:`P = W x + b` and a row of ones, scaled :math:`x P^T`, and x.

    (N, M + 1, L), (N, C, M), (N, C, L). The weight of a row of ones is a shift. The x that is
    returned, used in the place of the one given, brings its gradient along.
    """
    if not _keeps_graph(x, weight, bias):
        return _project_and_pool(x, weight, bias, scale)
    found: tuple[Tensor, Tensor, Tensor] = _ProjectAndPool.apply(x, weight, bias, scale)
    return found


def add_product(x: Tensor, weights: Tensor, maps: Tensor) -> Tensor:
    """:math:`x + W_n m_n` of each image n: (N, C, L) of weights (N, C, M) and maps (N, M, L)."""
    if not _keeps_graph(x, weights, maps):
        return _add_products(x, (weights,), (maps,))
    added: Tensor = _AddProduct.apply(x, weights, maps)
    return added


def product(weight: Tensor, maps: Tensor) -> Tensor:
    """:math:`W m_n` of each image n: (N, A, L) of a weight (A, B) and maps (N, B, L)."""
    if not _keeps_graph(weight, maps):
        return _of_maps(weight.expand(maps.shape[0], -1, -1), maps)
    found: Tensor = _Product.apply(weight, maps)
    return found


class _ProjectAndPool(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _project_and_pool(x, weight, bias, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, _, ctx.scale = inputs
        ctx.save_for_backward(x, weight, output[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        to_projection, to_pooled, to_x = gradients
        x, weight, projection = ctx.saved_tensors
        to_pooled = to_pooled * ctx.scale
        to_projection = to_projection[:, :-1] + _of_maps(to_pooled.transpose(1, 2), x)
        to_weight = _over_positions(to_projection, x).sum(dim=0)
        gradient = None
        if ctx.needs_input_grad[0]:
            weights = weight.t().expand(x.shape[0], -1, -1), to_pooled
            gradient = _add_products(to_x, weights, (to_projection, projection[:, :-1]))
        return gradient, to_weight, to_projection.sum(dim=(0, 2)), None


class _AddProduct(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weights: Tensor, maps: Tensor) -> Tensor:
        return _add_products(x, (weights,), (maps,))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        weights, maps = ctx.saved_tensors
        (gradient,) = gradients
        to_weights = _over_positions(gradient, maps)
        return gradient, to_weights, _of_maps(weights.transpose(1, 2), gradient)


class _Product(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, maps: Tensor) -> Tensor:
        return _of_maps(weight.expand(maps.shape[0], -1, -1), maps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        weight, maps = ctx.saved_tensors
        (gradient,) = gradients
        to_weight = _over_positions(gradient, maps).sum(dim=0)
        return to_weight, _of_maps(weight.t().expand(maps.shape[0], -1, -1), gradient)


def _project_and_pool(
    x: Tensor, weight: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    if takes_inner_products(x, weight, bias):
        projection = x.new_empty(len(x), len(weight) + 1, x.shape[2])
        projection[:, -1] = 1
        for image, own in zip(x, projection, strict=True):
            torch.add(times_transposed(weight, image.t()), bias[:, None], out=own[:-1])
        pooled = _over_positions(x, projection[:, :-1])
        return projection, pooled if scale == 1 else pooled.mul_(scale), x.view_as(x)
    projection = functional.conv1d(x, weight[..., None], bias)
    scaled = projection if scale == 1 else projection * scale  # before it can overflow float16
    pooled = _over_positions(x, scaled)
    return functional.pad(projection, (0, 0, 0, 1), value=1.0), pooled, x.view_as(x)


def _add_products(x: Tensor, weights: tuple[Tensor, ...], maps: tuple[Tensor, ...]) -> Tensor:
    """The map x and the products of each pair of weights (N, C, M) and maps (N, M, L)."""
    if not takes_inner_products(x, *weights, *maps):
        for pair in zip(weights, maps, strict=True):
            x = torch.baddbmm(x, *pair)
        return x
    if len(x) == 1:
        return plus_times_transposed(x[0], *_factors(weights, maps, 0))[None]
    total = torch.empty_like(x)
    for i, image in enumerate(x):
        torch.add(image, times_transposed(*_factors(weights, maps, i)), out=total[i])
    return total


def _factors(
    weights: tuple[Tensor, ...], maps: tuple[Tensor, ...], i: int
) -> tuple[Tensor, Tensor]:
    """Of an image, all weights beside each other and all maps below each other, transposed."""
    if len(weights) == 1:
        return weights[0][i], maps[0][i].t()
    return torch.cat([one[i] for one in weights], 1), torch.cat([one[i] for one in maps]).t()


def _over_positions(maps: Tensor, others: Tensor) -> Tensor:
    """Products :math:`a b^T` of each image, (N, A, B), summed over the positions."""
    if not takes_inner_products(maps, others):
        return torch.bmm(maps, others.transpose(1, 2))
    return _of_images(lambda i: times_transposed(maps[i], others[i]), len(maps))


def _of_maps(weights: Tensor, maps: Tensor) -> Tensor:
    """Products of weights (N, A, B) and maps (N, B, L) of each image."""
    if not takes_inner_products(weights, maps):
        return torch.bmm(weights, maps)
    return _of_images(lambda i: times_transposed(weights[i], maps[i].t()), len(maps))


def _of_images(function: Callable[[int], Tensor], count: int) -> Tensor:
    """Results for each image of a batch, without keeping them all twice."""
    first = function(0)
    if count == 1:
        return first[None]
    results = first.new_empty(count, *first.shape)
    results[0] = first
    del first
    for i in range(1, count):
        results[i] = function(i)
    return results


def _keeps_graph(*tensors: Tensor) -> bool:
    """Whether a backward pass may follow, and no graph is being made of these operations."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call] # pyright: ignore[reportPrivateImportUsage]
        return False
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
