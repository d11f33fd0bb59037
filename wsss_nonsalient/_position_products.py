"""The products of the reasoning unit that go over all positions, with their gradients.

Written out, a training step keeps the projection only, and the gradients of the input, of which
there are three, are one product and one sum. On a CPU with several threads, the products go through
1x1 convolutions, image by image, which take two thirds of the time of a batched matrix product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.nn.grad import conv1d_weight  # pyright: ignore[reportUnknownVariableType]

from ._masks import is_eager_cpu

Gradients = tuple[Tensor | None, ...]


def project_and_pool(
    x: Tensor, weight: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Projection :math:`P = W x + b`, (N, M, L), scaled :math:`x P^T`, (N, C, M), and x.

    The x that is returned, used in the place of the one given, brings its gradient along.
    """
    if not _keeps_graph(x, weight, bias):
        return _project_and_pool(x, weight, bias, scale)
    found: tuple[Tensor, Tensor, Tensor] = _ProjectAndPool.apply(x, weight, bias, scale)
    return found


def add_product(x: Tensor, weights: Tensor, maps: Tensor) -> Tensor:
    """:math:`x + W_n m_n` of each image n: (N, C, L) of weights (N, C, M) and maps (N, M, L)."""
    if not _keeps_graph(x, weights, maps):
        return torch.baddbmm(x, weights, maps)
    added: Tensor = _AddProduct.apply(x, weights, maps)
    return added


def _project_and_pool(
    x: Tensor, weight: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    projection = functional.conv1d(x, weight[..., None], bias)
    scaled = projection if scale == 1 else projection * scale  # before it can overflow float16
    return projection, _over_positions(scaled, x).transpose(1, 2), x.view_as(x)


class _ProjectAndPool(Function):
    generate_vmap_rule = True
    forward = staticmethod(_project_and_pool)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, _, ctx.scale = inputs
        ctx.save_for_backward(x, weight, output[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        to_projection, to_pooled, to_x = gradients
        x, weight, projection = ctx.saved_tensors
        to_pooled = to_pooled * ctx.scale
        to_projection = to_projection + _of_maps(to_pooled.transpose(1, 2), x)
        # first what is small, since a convolution reorders its input
        to_weight, to_bias = _over_all(to_projection, x), to_projection.sum(dim=(0, 2))
        gradient = None
        if ctx.needs_input_grad[0]:
            gradient = torch.baddbmm(to_x, weight.t().expand(len(x), -1, -1), to_projection)
            gradient.baddbmm_(to_pooled, projection)
        return gradient, to_weight, to_bias, None


class _AddProduct(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weights: Tensor, maps: Tensor) -> Tensor:
        return torch.baddbmm(x, weights, maps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        weights, maps = ctx.saved_tensors
        (gradient,) = gradients
        to_weights = _over_positions(maps, gradient).transpose(1, 2)
        return gradient, to_weights, _of_maps(weights.transpose(1, 2), gradient)


def _over_positions(maps: Tensor, others: Tensor) -> Tensor:
    """Products :math:`a b^T` of each image, (N, A, B), summed over the positions."""
    if not _prefers_convolutions(maps):
        return torch.bmm(maps, others.transpose(1, 2))
    images = range(len(maps))
    return torch.stack([_over_all(maps[i : i + 1], others[i : i + 1]) for i in images])


def _over_all(maps: Tensor, others: Tensor) -> Tensor:
    """Products :math:`a b^T` summed over positions and images, (A, B)."""
    if not _prefers_convolutions(maps):
        return torch.bmm(maps, others.transpose(1, 2)).sum(dim=0)
    # what the weight of a 1x1 convolution gets as its gradient
    product: Tensor = conv1d_weight(others, (maps.shape[1], others.shape[1], 1), maps)
    return product.squeeze(2)


def _of_maps(weights: Tensor, maps: Tensor) -> Tensor:
    """Products of weights (N, A, B) and maps (N, B, L) of each image."""
    if not _prefers_convolutions(maps):
        return torch.bmm(weights, maps)
    if len(maps) == 1:
        return functional.conv1d(maps, weights[0, ..., None])
    images = range(len(maps))
    return torch.cat([functional.conv1d(maps[i : i + 1], weights[i, ..., None]) for i in images])


def _prefers_convolutions(maps: Tensor) -> bool:
    return (
        is_eager_cpu(maps)
        and maps.dtype == torch.float32
        and len(maps) > 0
        and torch.get_num_threads() > 1
        and torch.backends.mkldnn.is_available()
    )


def _keeps_graph(*tensors: Tensor) -> bool:
    """Whether a backward pass may follow, and no graph is being made of these operations."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call] # pyright: ignore[reportPrivateImportUsage]
        return False
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
