"""Writing dictionaries of arrays as .npy files that every NumPy, old and new, can load.

NumPy 2 writes its own module names into pickles, which the NumPy 1 of many a codebase cannot
import, and torch writes memory addresses; these bytes depend on the content alone.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from io import BytesIO

import numpy as np
import torch
from torch import Tensor

from ._arrays import Array

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {torch.float32: "Float", torch.int64: "Long"}
_EMPTY_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"

Entries = Mapping[int, Array] | Mapping[str, Array | Tensor]


def object_npy(entries: Entries) -> bytes:
    """An .npy file of a 0-d object array that holds a dictionary of arrays and CPU tensors."""
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    items = b"".join(_constant(key) + _value(value) for key, value in entries.items())
    content = b"](}(" + items + b"ue"  # a list of one dictionary
    stream.write(b"\x80\x03" + _array_state((), b"O8", b"|", content) + b".")
    return stream.getvalue()


def _value(value: Array | Tensor) -> bytes:
    if isinstance(value, Tensor):
        return _tensor(value)
    kind, size = value.dtype.kind, value.dtype.itemsize
    content = np.ascontiguousarray(value, np.dtype(f"<{kind}{size}")).tobytes()
    return _array_state(value.shape, f"{kind}{size}".encode(), b"<", _bytes(content))


def _array_state(shape: tuple[int, ...], code: bytes, order: bytes, content: bytes) -> bytes:
    """An empty array that is then given its version, shape, dtype, row order and content."""
    new = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    dtype = b"cnumpy\ndtype\n" + _text(code) + b"\x89\x88\x87R"
    has_objects = b"K\x3f" if code == b"O8" else b"K\x00"
    dtype += b"(K\x03" + _text(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + has_objects
    return new + b"(K\x01" + _tuple(shape) + dtype + b"tb" + b"\x89" + content + b"tb"


def _tensor(tensor: Tensor) -> bytes:
    tensor = tensor.detach().contiguous()
    content = tensor.numpy().tobytes()
    sizes = {"short": 2, "int": 4, "long": 4}
    system = b"}(" + _constant("protocol_version") + _constant(1001)
    system += _constant("little_endian") + (b"\x88" if sys.byteorder == "little" else b"\x89")
    system += _constant("type_sizes") + b"}("
    system += b"".join(_constant(k) + _constant(v) for k, v in sizes.items()) + b"uu"
    kind = f"ctorch\n{_STORAGES[tensor.dtype]}Storage\n".encode()
    count = tensor.numel()
    storage = b"(" + _constant("storage") + kind + _constant("0") + _constant("cpu")
    storage += _constant(count) + b"NtQ"
    magic = _TORCH_MAGIC.to_bytes(10, "little")
    pickles = (b"\x8a\x0a" + magic, _constant(1001), system, storage, b"](" + _constant("0") + b"e")
    archive = b"".join(b"\x80\x02" + p + b"." for p in pickles)
    archive += struct.pack("<q", count) + content
    loaded = b"ctorch.storage\n_load_from_bytes\n" + _bytes(archive) + b"\x85R"
    arguments = loaded + b"K\x00" + _tuple(tensor.shape) + _tuple(tensor.stride())
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89" + _EMPTY_ORDERED_DICT + b"tR"
    )


def _tuple(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_constant, values)) + b"t"


def _constant(value: int | str) -> bytes:
    if isinstance(value, str):
        return _text(value.encode())
    if 0 <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def _bytes(value: bytes) -> bytes:
    if len(value) < 2**32:
        return b"B" + struct.pack("<I", len(value)) + value
    raise ValueError("an array of 4 GiB or more cannot be written in this format")
