"""What the pickles of this field hold: NumPy arrays and scalars, and torch tensors.

Made from their pickled description by checks and :func:`numpy.frombuffer`; NumPy's and torch's own
rebuilding functions, which trust what they get, are never called. Tensors come out as arrays.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from ._arrays import Array, array_of, is_dict, is_list, is_tuple
from ._files import RefusedError, shown
from ._pickle_machine import Call, GlobalName, Machine, Pending

_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")
_TEXT = re.compile(r"U[0-9]{1,6}")
_LEAVES: tuple[type[Any], ...] = (str, int, float, bytes, np.ndarray)
_MAX_DEPTH = 16
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "Double": "f8",
    "Float": "f4",
    "Half": "f2",
    "BFloat16": "u2",  # the upper halves of float32
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "b1",
}


class _DType(Pending):
    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str):
            raise RefusedError("it has an array of an unknown kind")
        self.code = code
        self.order = "="

    def fill(self, state: Any) -> None:
        _, order, subarray, names, fields, *_ = state
        if order not in ("<", ">", "=", "|") or (subarray, names, fields) != (None, None, None):
            raise RefusedError("it has an array of structures")
        self.order = order

    def numeric(self) -> np.dtype[Any]:
        if not _NUMBERS.fullmatch(self.code):
            raise RefusedError(f"it has an array of {shown(self.code)}, not of numbers")
        return np.dtype(self.order + self.code)


class _PickledArray(Pending):
    def __init__(self) -> None:
        self.state: tuple[Any, ...] | None = None

    def fill(self, state: Any) -> None:
        _, *rest = state  # version, then shape, dtype, column order, bytes
        self.state = tuple(rest)


@dataclass(frozen=True)
class _Storage:
    kind: str
    dtype: np.dtype[Any]
    data: memoryview

    @property
    def count(self) -> int:
        return len(self.data) // self.dtype.itemsize


class ArrayReader:
    """Reads one pickle of arrays; all that it makes stays within a multiple of the pickle's size.

    Args:
        stream: Stands at the pickle's first byte.
        size: Length of the file.
    """

    def __init__(self, stream: BytesIO, size: int) -> None:
        self._stream = stream
        self._budget = 8 * size + 2**20
        self._finished: dict[int, Any] = {}

    def read(self) -> Any:
        """The pickle's object, with NumPy arrays and plain Python values in it."""
        calls: dict[str, Call] = {
            "_codecs encode": self._encode,
            "__builtin__ bytes": _empty_bytes,
            "builtins bytes": _empty_bytes,
            "collections OrderedDict": _ordered_dict,
            "numpy dtype": _DType,
            "torch._utils _rebuild_tensor_v2": self._tensor,
            "torch._utils _rebuild_parameter": _parameter,
            "torch.storage _load_from_bytes": self._storage,
        }
        for core in ("numpy.core", "numpy._core"):
            calls[f"{core}.multiarray _reconstruct"] = _reconstruct
            calls[f"{core}.multiarray scalar"] = self._scalar
            calls[f"{core}.numeric _frombuffer"] = _from_buffer
        value = Machine(self._stream, calls, {"numpy ndarray"}).run()
        return self._finish(value, 0)

    def _charge(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise RefusedError("it unpacks to far more than its own size")

    def _encode(self, text: str, encoding: str = "") -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise RefusedError("its pickle is damaged (bytes in an unknown encoding)")
        self._charge(len(text))
        return text.encode("latin1")

    def _bytes(self, data: Any) -> bytes | bytearray:
        if isinstance(data, str):  # Python 2's bytes
            return self._encode(data, "latin1")
        if not isinstance(data, bytes | bytearray):
            raise RefusedError("its pickle is damaged (an array that is not in bytes)")
        return data

    def _storage(self, data: Any) -> _Storage:
        if not isinstance(data, bytes):
            raise RefusedError("its pickle is damaged (a storage that is not in bytes)")
        storage, start = _read_storage(data)
        self._charge(start)  # what was parsed, which a pickle can ask for again and again
        return storage

    def _scalar(self, dtype: Any, data: Any) -> Any:
        if not isinstance(dtype, _DType):
            raise RefusedError("its pickle is damaged (a number without a kind)")
        data = self._bytes(data)
        if _TEXT.fullmatch(dtype.code):
            self._charge(len(data))
            return data.decode("utf-32-be" if dtype.order == ">" else "utf-32-le").rstrip("\0")
        return _array((), dtype.numeric(), False, data).item()

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Array:
        if not isinstance(storage, _Storage):
            raise RefusedError("its pickle is damaged (a tensor without storage)")
        _check_counts((offset,), size, stride)
        if math.prod(size) > storage.count:
            raise RefusedError("it has a tensor larger than its storage")
        width = storage.dtype.itemsize
        array: Array = np.ndarray(
            size,
            storage.dtype,
            storage.data,
            offset=offset * width,
            strides=[step * width for step in stride],
        )
        if storage.kind != "BFloat16":
            return array
        self._charge(2 * array.nbytes)
        wide: Any = array.astype(np.uint32) << 16
        floats: Array = wide.view(np.float32)
        return floats

    def _finish(self, value: Any, depth: int) -> Any:
        """Put arrays in the place of their descriptions, each once."""
        if depth > _MAX_DEPTH:
            raise RefusedError("it is nested too deeply")
        if value is None or isinstance(value, _LEAVES):
            return value
        if id(value) in self._finished:
            if self._finished[id(value)] is self:
                raise RefusedError("it contains itself")
            return self._finished[id(value)]
        self._finished[id(value)] = self  # in progress
        self._finished[id(value)] = result = self._finish_new(value, depth)
        return result

    def _finish_new(self, value: Any, depth: int) -> Any:
        if is_list(value):
            return [self._finish(item, depth + 1) for item in value]
        if is_tuple(value) and type(value) is tuple:
            return tuple(self._finish(item, depth + 1) for item in value)
        if is_dict(value):
            return {key: self._finish(item, depth + 1) for key, item in value.items()}
        if not isinstance(value, _PickledArray) or value.state is None:
            raise RefusedError(f"it has an object that is no data ({type(value).__name__})")
        shape, dtype, by_columns, data = value.state
        if not isinstance(dtype, _DType):
            raise RefusedError("its pickle is damaged (an array without a kind)")
        if dtype.code not in ("O", "O8"):
            return _array(shape, dtype.numeric(), by_columns, self._bytes(data))
        _check_counts(shape)
        if not is_list(data) or len(shape) > 1 or math.prod(shape) != len(data):
            raise RefusedError("it has an array of objects that is not a plain list")
        items = [self._finish(item, depth + 1) for item in data]
        return items if shape else items[0]


def _array(shape: Any, dtype: np.dtype[Any], by_columns: Any, data: bytes | bytearray) -> Array:
    _check_counts(shape)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise RefusedError(
            f"it has an array of shape {_shape(shape)} and {dtype} in {len(data)} bytes"
        )
    return array_of(data, shape, dtype, by_columns=bool(by_columns))


def _reconstruct(kind: Any, *_: Any) -> _PickledArray:
    if kind != GlobalName("numpy ndarray"):
        raise RefusedError("it has an array of an unknown class")
    return _PickledArray()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _PickledArray:
    array = _PickledArray()
    array.state = (shape, dtype, order == "F", data)
    return array


def _read_storage(data: bytes) -> tuple[_Storage, int]:
    """The storage of a tensor, which pickles as the bytes of a torch.save file (old layout).

    Where its content starts in these bytes comes with it.

    They are read here and not by torch.load, whose ``weights_only`` could be got round in torch
    before 2.6, and which would make a storage as long as the file claims.
    """
    stream = BytesIO(data)
    magic, _, system = (Machine(stream, {}, ()).run() for _ in range(3))
    if magic != _TORCH_MAGIC or not is_dict(system):
        raise RefusedError("it has a tensor in an unknown layout")
    order = "<" if system.get("little_endian") is True else ">"
    names = {f"torch {kind}Storage": kind for kind in _STORAGES}
    reference = Machine(stream, {}, names, _reference).run()
    keys = Machine(stream, {}, ()).run()
    if not isinstance(reference, _StorageReference) or not is_list(keys) or len(keys) != 1:
        raise RefusedError("it has a tensor in an unknown layout")
    kind = names[reference.kind.name]
    dtype = np.dtype(order + _STORAGES[kind])
    start = stream.tell() + 8  # behind the number of items
    count = int.from_bytes(data[start - 8 : start], "little")
    if count != reference.count or len(data) - start != count * dtype.itemsize:
        raise RefusedError(f"it has a tensor storage of {count} items in {len(data) - start} bytes")
    return _Storage(kind, dtype, memoryview(data)[start:]), start


@dataclass(frozen=True)
class _StorageReference:
    kind: GlobalName
    count: int


def _reference(key: Any) -> _StorageReference:
    what, kind, _, _, count, *view = key  # the third is a name, the fourth "cpu", "cuda:0"
    whole = all(item is None for item in view)
    if what != "storage" or not isinstance(kind, GlobalName) or type(count) is not int or not whole:
        raise RefusedError("it has a tensor in an unknown layout")
    return _StorageReference(kind, count)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _empty_bytes() -> bytes:
    return b""


def _ordered_dict() -> dict[Any, Any]:
    return {}


def _check_counts(*groups: Any) -> None:
    for group in groups:
        if (
            not is_tuple(group)
            or len(group) > 8
            or not all(type(count) is int and 0 <= count < 2**48 for count in group)
        ):
            raise RefusedError("its pickle is damaged (a shape that is no shape)")


def _shape(shape: tuple[int, ...]) -> str:
    return shown(str(shape))
