"""NumPy arrays of any kind, in and out, and guards that tell what a parsed file holds."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def array_of(data: Any, shape: tuple[int, ...], dtype: np.dtype[Any], *, by_columns: bool) -> Array:
    """An array over bytes, which are as many as it needs, without a copy."""
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    flat: Any = np.frombuffer(data, dtype)
    array: Array = flat.reshape(shape, order="F" if by_columns else "C")
    return array


def array_from(image: Any) -> Array:
    """The pixels of a Pillow image."""
    result: Array = np.asarray(image)
    return result


def native(array: Any) -> Array:
    """The array in this machine's byte order."""
    result: Array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return result


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value is a list."""
    return isinstance(value, list)


def is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    """Whether a value is a tuple."""
    return isinstance(value, tuple)


def is_dict(value: Any) -> TypeGuard[dict[Any, Any]]:
    """Whether a value is a dictionary."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[Array]:
    """Whether a value is an array."""
    return isinstance(value, np.ndarray)
