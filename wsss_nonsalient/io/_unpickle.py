"""Reading .npy files without running what is in them, plain arrays and pickled objects alike."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np

from ._arrays import Array, array_of
from ._files import AnyPath, RefusedError, content_of, read_file
from ._pickled_arrays import ArrayReader


def load_npy(path: AnyPath) -> Any:
    """Content of an .npy file: an array, or the object that was pickled into it.

    Objects are dictionaries, lists, tuples, strings, bytes and numbers with NumPy arrays in them.
    Torch tensors become arrays (bfloat16 becomes float32), NumPy scalars Python numbers. A 0-d
    array of objects is given as its object, a 1-d one as a list. Arrays may be read-only and of
    either byte order.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, damaged, or its pickle asks for anything but data. Nothing
            that it asks for is run.
    """
    data = read_file(path)
    with content_of(path, "an npy file"):
        return parse_npy(data)


def parse_npy(data: bytes) -> Any:
    """As :func:`load_npy`, from the file's bytes; raises whatever the content makes parsers raise.

    Nothing is allocated that the bytes do not fill.
    """
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        header: tuple[Any, ...] = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(stream)
    else:
        raise RefusedError(f"it has npy version {version[0]}.{version[1]}, not 1.0 or 2.0")
    shape, by_columns, dtype = header
    if dtype == np.dtype(object):
        return ArrayReader(stream, len(data)).read()
    return _plain_array(shape, by_columns, dtype, memoryview(data)[stream.tell() :])


def _plain_array(
    shape: tuple[int, ...], by_columns: bool, dtype: np.dtype[Any], data: memoryview
) -> Array:
    if dtype.kind not in "biuf":
        raise RefusedError(f"it has an array of {dtype}, not of numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise RefusedError(
            f"its header claims shape {shape} of {dtype}, but {len(data)} bytes follow"
        )
    return array_of(data, shape, dtype, by_columns=by_columns)
