"""Dilation of masks and label maps by a square."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ._checks import Sizes, check_side, check_tensor
from ._values import Array, TensorOrArray, from_array, readable


def dilate(mask: Tensor, kernel_size: float) -> Tensor:
    r"""Dilation by a ``kernel_size`` x ``kernel_size`` square, as OpenCV's ``dilate`` does it.

    .. math:: d_{ij} = \max \{ m_{i + u, j + v} : -\lfloor k / 2 \rfloor \le u, v \le
              \lceil k / 2 \rceil - 1 \}

    An odd square is centred; an even one, as in OpenCV, reaches one pixel further down and right of
    a lone pixel than up and left: size 30 around row 40 sets rows 26 to 55. Pixels outside the
    picture are not set.

    A float :math:`r` in (0, 1) is relative to the picture: the odd integer nearest to :math:`r`
    times its longer side, :math:`k = 2 \lfloor r \max(H, W) / 2 \rfloor + 1`. So 0.06 is a square
    of 31 in a picture of 375 x 500, and of 61 in one of twice its size.

    Args:
        mask: (\*, H, W) bool, or integer: then the largest value in the square.
        kernel_size: Side k of the square, an integer of at least 1, or r, a float in (0, 1).

    Returns:
        (\*, H, W) of the dtype of ``mask``.

    Raises:
        TypeError: ``mask`` is not a bool or integer tensor; ``kernel_size`` is no number.
        ValueError: ``mask`` has fewer than two axes; ``kernel_size`` is an integer below 1, or
            another number and not in (0, 1).

    Example:
        >>> dilate(torch.tensor([[False, False, True, False, False]]), 2)
        tensor([[False, False,  True,  True, False]])
        >>> dilate(torch.tensor([[False, False, True, False, False]]), 0.6)
        tensor([[False,  True,  True,  True, False]])
    """
    check_tensor("mask", mask, "* H W", "mask", Sizes())
    check_side("kernel_size", kernel_size)
    result = dilated(readable(mask), kernel_size)
    tensor: Tensor = result if isinstance(result, Tensor) else from_array(result)
    return tensor


def dilated(mask: TensorOrArray, kernel_size: float) -> TensorOrArray:
    """Dilation of a mask (*, H, W) of bool or integers, a tensor or an array."""
    height, width = mask.shape[-2:]
    side = _side(kernel_size, max(height, width))
    if side == 1:
        return mask.clone() if isinstance(mask, Tensor) else mask.copy()
    reach = _reach(side, height), _reach(side, width)
    shape = math.prod(mask.shape[:-2]), height, width
    if isinstance(mask, Tensor):
        values = mask.to(torch.uint8) if mask.dtype == torch.bool else mask
        result = _dilated_tensors(values.reshape(shape).contiguous(), *reach)
        return result.reshape(mask.shape).to(mask.dtype)
    values = mask.view(np.uint8) if mask.dtype == bool else mask
    arrays: Any = _dilated_arrays(values.reshape(shape), *reach)
    return arrays.reshape(mask.shape).view(mask.dtype)


def _dilated_tensors(images: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Dilation of (N, H, W) that looks so many rows up and down, and columns left and right."""
    lowest = torch.iinfo(images.dtype).min
    padded = functional.pad(images, (*columns, *rows), value=lowest)
    flat = _sliding_max(padded.flatten(), sum(rows) + 1, padded.stride(1), torch.maximum)
    flat = _sliding_max(flat, sum(columns) + 1, 1, torch.maximum)
    windows: Tensor = flat.as_strided(images.shape, padded.stride())
    return windows.contiguous()


def _dilated_arrays(images: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """The same in NumPy, whose calls take half the time."""
    (top, bottom), (left, right), (count, height, width) = rows, columns, images.shape
    shape = count, top + height + bottom, left + width + right
    padded: Any = np.full(shape, np.iinfo(images.dtype).min, images.dtype)
    padded[:, top : top + height, left : left + width] = images
    flat: Array = _sliding_max(padded.reshape(-1), top + bottom + 1, shape[2], np.maximum)
    flat = _sliding_max(flat, left + right + 1, 1, np.maximum)
    windows: Any = np.ndarray(images.shape, flat.dtype, flat, 0, padded.strides)
    result: Array = windows.copy()
    return result


def _side(kernel_size: float, longer_side: int) -> int:
    """Side of the square in pixels."""
    if isinstance(kernel_size, numbers.Integral):
        return int(kernel_size)
    return 2 * int(kernel_size * longer_side / 2) + 1


def _reach(kernel_size: int, size: int) -> tuple[int, int]:
    """How far a square looks up (or left) and down (or right), no further than a picture goes."""
    return min(kernel_size // 2, size), min((kernel_size - 1) // 2, size)


def _sliding_max(
    values: TensorOrArray, window: int, stride: int, maximum: Callable[[Any, Any], Any]
) -> TensorOrArray:
    """Largest of ``window`` values that lie ``stride`` apart, by doubling: O(log window) passes.

    ``values`` has one axis: rows follow each other, with padding between them that keeps a window
    out of the next row's picture. One axis, since shorter ones are slower to step through.
    """
    width = 1
    while width < window:
        step = min(width, window - width)
        values = maximum(values[: -step * stride], values[step * stride :])
        width += step
    return values
