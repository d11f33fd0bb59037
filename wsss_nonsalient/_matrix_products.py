"""Products of two large matrices on a CPU.

PyTorch takes float32 matrix products from MKL, and those of linear layers that it compiles from
oneDNN's inner product. Where one matrix is small, the latter takes 0.6 to 0.9 of the time on the
processors that MKL is not made for, so eager code takes it from there as well.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from ._values import is_eager_cpu

#: Multiplications from which the inner product makes up for what its call takes longer.
_WORTHWHILE = 2**20


def takes_inner_products(*tensors: Tensor) -> bool:
    """Whether the functions of this file are for matrices of tensors such as these."""
    if not (is_eager_cpu(tensors[0]) and has_inner_product()) or _is_watched():
        return False
    if not getattr(torch.backends.mkldnn, "enabled", True):
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return all(tensor.dtype == torch.float32 and tensor.numel() > 0 for tensor in tensors)


def times_transposed(left: Tensor, right: Tensor) -> Tensor:
    """:math:`A B^T` of float32 matrices (A, K) and (B, K), without autograd.

    The result is the transpose of a (B, A) if ``right`` alone has contiguous rows.
    """
    if left.numel() * right.shape[0] < _WORTHWHILE:
        return left @ right.t()
    if right.is_contiguous() and not left.is_contiguous():
        return times_transposed(right, left).t()
    operators: Any = torch.ops.mkldnn
    product: Tensor = operators._linear_pointwise(
        left.contiguous(), _without_gaps(right), None, "none", [], ""
    )
    return product


def plus_times_transposed(addend: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """:math:`X + A B^T` of float32 matrices, without autograd."""
    if left.numel() * right.shape[0] < _WORTHWHILE:
        return torch.addmm(addend, left, right.t())
    operators: Any = torch.ops.mkldnn
    total: Tensor = operators._linear_pointwise.binary(
        left.contiguous(), addend.contiguous(), _without_gaps(right), None, "add"
    )
    return total


def _without_gaps(matrix: Tensor) -> Tensor:
    """The matrix or a copy: with gaps between its rows, the product would take seconds."""
    return matrix if matrix.t().is_contiguous() else matrix.contiguous()


@cache
def has_inner_product() -> bool:
    """Whether PyTorch has MKL and oneDNN, and this operator, which is its own and may change."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    operators: Any = torch.ops.mkldnn
    one = torch.ones(1, 1)
    try:
        product = operators._linear_pointwise(one, one, None, "none", [], "")
        total = operators._linear_pointwise.binary(one, product, one, None, "add")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.equal(total, torch.full((1, 1), 2.0))


def _is_watched() -> bool:
    """Whether a dispatch mode looks at operations, such as a count of FLOPs: it knows products."""
    private: Any = getattr(torch, "_C", None)
    count_modes = getattr(private, "_len_torch_dispatch_stack", None)
    return count_modes is None or count_modes() > 0
