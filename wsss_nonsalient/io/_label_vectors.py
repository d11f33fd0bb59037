"""Image-level labels that are multi-hot vectors in .npy files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Array, is_array, is_dict, is_list
from ._files import RefusedError, shown
from ._unpickle import parse_npy

ImageLabels = dict[str, tuple[int, ...]]


def vector_labels(data: bytes, ids: list[str] | None, num_classes: int | None) -> ImageLabels:
    """Labels from a file's bytes: a dictionary of vectors, or an (N, C) array and its ``ids``."""
    value = parse_npy(data)
    if is_dict(value):
        names = _names(list(value), ids)
        vectors = list(value.values())
    elif is_array(value) and value.ndim == 2:
        if ids is None:
            raise RefusedError("it has no ids of its own; expected the argument ids")
        if len(ids) != len(value):
            raise RefusedError(f"it has {len(value)} rows, but there are {len(ids)} ids")
        names, vectors = ids, list(value)
    else:
        raise RefusedError("expected a dictionary of vectors or an array of shape (N, C)")
    length = num_classes
    labels: ImageLabels = {}
    budget = 8 * len(data) + 2**20
    for name, item in zip(names, vectors, strict=True):
        budget -= len(item) if is_list(item) or (is_array(item) and item.ndim) else 0
        if budget < 0:  # one vector for many an id, which takes no space in the file
            raise RefusedError("it unpacks to far more than its own size")
        vector = _vector(name, item, length)
        length = len(vector)
        labels[name] = tuple(np.flatnonzero(vector).tolist())
    return labels


def _vector(name: str, value: Any, length: int | None) -> Array:
    if is_list(value) and all(type(item) in (int, float, bool) for item in value):
        value = np.array(value, np.float64)
    if not is_array(value) or value.ndim != 1:
        raise RefusedError(f"{shown(name)}: expected a multi-hot vector")
    if length is not None and len(value) != length:
        raise RefusedError(
            f"{shown(name)}: expected a vector of {length} classes, got {len(value)}"
        )
    if not ((value == 0) | (value == 1)).all():
        raise RefusedError(f"{shown(name)}: expected a multi-hot vector, exactly 0 or 1")
    return value


def _names(keys: list[str | int], ids: list[str] | None) -> list[str]:
    by_number = None
    names: list[str] = []
    for key in keys:
        if isinstance(key, str):
            names.append(key)
        elif 1900_000000 <= key < 2100_000000:
            names.append(f"{key // 10**6}_{key % 10**6:06d}")
        else:
            by_number = _by_number(ids) if by_number is None else by_number
            if key in by_number:
                names.append(by_number[key])
            elif ids is None:
                raise RefusedError(f"it has the number {key} as an id; expected the argument ids")
            else:
                names.append(f"{key}")  # none of those that are wanted
    if len(set(names)) < len(names):
        raise RefusedError("it has an id twice")
    return names


def _by_number(ids: list[str] | None) -> dict[int, str]:
    numbers: dict[int, str] = {}
    for image_id in ids or ():
        digits = image_id.rpartition("_")[2]
        if digits.isascii() and digits.isdigit() and len(digits) < 19:
            if int(digits) in numbers:
                raise RefusedError(
                    f"ids {numbers[int(digits)]} and {image_id} have the same number"
                )
            numbers[int(digits)] = image_id
    return numbers
