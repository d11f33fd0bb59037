"""Masks as bytes of 0 and 1, and arithmetic with them.

On a CPU, PyTorch vectorises integer arithmetic; its comparisons into bool, ``where`` and
``masked_fill`` go element by element, which takes 4 to 100 times as long. NumPy vectorises
comparisons. Elsewhere, and compiled, these functions are the plain operations.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._values import from_array, is_traced, to_list, unit_interval


def is_eager_cpu(tensor: Tensor) -> bool:
    """Whether to go the ways of a CPU: values can be read, and kernels are not fused."""
    return tensor.device.type == "cpu" and not is_traced()


def equals(labels: Tensor, value: int) -> Tensor:
    """Where integer labels are ``value``, a uint8 mask; a value beyond their dtype is nowhere."""
    info = torch.iinfo(labels.dtype)
    if not info.min <= value <= info.max:
        return torch.zeros_like(labels, dtype=torch.uint8)
    return _compared(operator.eq, labels, value)


def groups_with_any(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Values and mask of the runs of 8 pixels that have any in the uint8 mask, on a CPU.

    All pixels of the mask are among them, and few others where it is made of areas. Eight bytes are
    looked at as one integer, which is several times as fast as choosing pixels.
    """
    flat, own = image.flatten(), mask.flatten()
    whole = flat.numel() // 8 * 8
    groups = own[:whole].view(torch.int64).nonzero().squeeze(1)
    values = flat[:whole].view(-1, 8).index_select(0, groups).flatten()
    inside = own[:whole].view(-1, 8).index_select(0, groups).flatten()
    return torch.cat((values, flat[whole:])), torch.cat((inside, own[whole:]))


def is_set(image: Tensor) -> Tensor:
    """Where an image is not 0, a uint8 mask."""
    return _compared(operator.ne, image, 0)


def above(maps: Tensor, threshold: float) -> Tensor:
    """Where maps in [0, 1] are above a threshold, a uint8 mask; uint8 maps mean value / 255."""
    if maps.dtype == torch.uint8:
        return _from_level(maps, bisect_right(levels(), _single(threshold)))
    return _compared(operator.gt, maps, threshold)


def at_least(maps: Tensor, threshold: float) -> Tensor:
    """Where maps in [0, 1] are not below a threshold; as :func:`above`."""
    if maps.dtype == torch.uint8:
        return _from_level(maps, bisect_left(levels(), _single(threshold)))
    return _compared(operator.ge, maps, threshold)


def greater(maps: Tensor, others: Tensor) -> Tensor:
    """Where maps are above others of the same dtype, a uint8 mask."""
    return _compared(operator.gt, maps, others)


def replace(labels: Tensor, mask: Tensor, value: int | Tensor) -> Tensor:
    """Labels with ``value`` where the uint8 mask is 1; integers wrap around, so it is exact."""
    if not is_eager_cpu(labels):
        return torch.where(mask.to(torch.bool), value, labels).to(labels.dtype)
    own = mask if labels.dtype == torch.uint8 else mask.to(labels.dtype)
    return labels + (value - labels) * own


def narrowed(labels: Tensor) -> Tensor:
    """On a CPU, wide integer labels as int16 if they all fit: fewer bytes for what follows."""
    if not is_eager_cpu(labels) or labels.element_size() <= 2 or labels.numel() == 0:
        return labels
    lowest, highest = labels.aminmax()
    fits = int(lowest) >= -(2**15) and int(highest) < 2**15
    return labels.to(torch.int16) if fits else labels


@cache
def levels() -> list[float]:
    """The values that the 256 levels of a uint8 map mean, in float32."""
    return to_list(unit_interval(torch.arange(256, dtype=torch.uint8), torch.float32))


def _single(threshold: float) -> float:
    return float(torch.tensor(threshold, dtype=torch.float32))


def _from_level(maps: Tensor, level: int) -> Tensor:
    if level > 255:
        return torch.zeros_like(maps)
    return _compared(operator.ge, maps, level)


def _compared(compare: Callable[[Any, Any], Any], left: Tensor, right: float | Tensor) -> Tensor:
    if not is_eager_cpu(left) or left.dtype == torch.bfloat16:  # which NumPy has not
        compared: Tensor = compare(left, right)
        return compared.to(torch.uint8)
    other = right.detach().numpy() if isinstance(right, Tensor) else right
    return from_array(compare(left.detach().numpy(), other).view(np.uint8))
