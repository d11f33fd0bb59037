"""Masks as bytes of 0 and 1, and arithmetic with them, on any device.

On a CPU, NumPy makes the comparisons, see :mod:`wsss_nonsalient._array_masks`, and PyTorch's
``where`` and ``masked_fill``, which go element by element, are replaced by integer arithmetic.
Elsewhere, and compiled, these functions are the plain operations.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._values import from_array, is_eager_cpu, to_array


def equals(labels: Tensor, value: int) -> Tensor:
    """Where integer labels are ``value``, a uint8 mask; a value beyond their dtype is nowhere."""
    info = torch.iinfo(labels.dtype)
    if not info.min <= value <= info.max:
        return torch.zeros_like(labels, dtype=torch.uint8)
    return _compared(operator.eq, labels, value)


def is_set(image: Tensor) -> Tensor:
    """Where an image is not 0, a uint8 mask."""
    return _compared(operator.ne, image, 0)


def above(maps: Tensor, threshold: float) -> Tensor:
    """Where floating-point maps are above a threshold, a uint8 mask."""
    return _compared(operator.gt, maps, float(threshold))


def at_least(maps: Tensor, threshold: float) -> Tensor:
    """Where floating-point maps are not below a threshold, a uint8 mask."""
    return _compared(operator.ge, maps, float(threshold))


def greater(maps: Tensor, others: Tensor) -> Tensor:
    """Where maps are above others of the same dtype, a uint8 mask."""
    return _compared(operator.gt, maps, others)


def replace(labels: Tensor, mask: Tensor, value: int | Tensor) -> Tensor:
    """Labels with ``value`` where the uint8 mask is 1; integers wrap around, so it is exact."""
    if not is_eager_cpu(labels):
        return torch.where(mask.to(torch.bool), value, labels).to(labels.dtype)
    own = mask if labels.dtype == torch.uint8 else mask.to(labels.dtype)
    return labels + (value - labels) * own


def _compared(compare: Callable[[Any, Any], Any], left: Tensor, right: float | Tensor) -> Tensor:
    if not is_eager_cpu(left):
        compared: Tensor = compare(left, right)
        return compared.to(torch.uint8)
    other = to_array(right) if isinstance(right, Tensor) else right
    return from_array(compare(to_array(left), other).view(np.uint8))
