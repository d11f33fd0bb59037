"""Masks of NumPy arrays: what the label functions compute with on a CPU.

NumPy vectorises comparisons, which PyTorch makes element by element into bool at 4 to 100 times the
time, and its calls take less.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cache
from typing import Any

import numpy as np
import torch

from ._values import Array, to_list, unit_interval


def above(maps: Array, threshold: float) -> Array:
    """Where maps in [0, 1] are above a threshold; uint8 maps mean value / 255."""
    if maps.dtype == np.uint8:
        mask: Array = maps >= bisect_right(levels(), float(np.float32(threshold)))
    else:
        mask = maps > float(threshold)
    return mask


def at_least(maps: Array, threshold: float) -> Array:
    """Where maps in [0, 1] are not below a threshold; as :func:`above`."""
    if maps.dtype == np.uint8:
        mask: Array = maps >= bisect_left(levels(), float(np.float32(threshold)))
    else:
        mask = maps >= float(threshold)
    return mask


def replace(labels: Array, mask: Array, value: int | Array) -> Array:
    """Labels with ``value`` where the mask is set; integers wrap around, so it is exact."""
    replaced: Array = value - labels
    replaced *= as_integers(mask, labels.dtype)
    replaced += labels
    return replaced


def as_integers(mask: Array, dtype: np.dtype[np.generic]) -> Array:
    """The mask as 0 and 1 of a dtype, without a copy where that is of one byte."""
    own: Any = mask
    integers: Array = own.view(dtype) if dtype.itemsize == 1 else own.astype(dtype)
    return integers


@cache
def levels() -> list[float]:
    """The values that the 256 levels of a uint8 map mean, in float32."""
    return to_list(unit_interval(torch.arange(256, dtype=torch.uint8), torch.float32))
