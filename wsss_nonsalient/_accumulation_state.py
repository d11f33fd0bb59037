"""The state of an accumulation: what a valid one is, and its file, an npz without pickles."""

from __future__ import annotations

import json
import math
import os
import zipfile
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from ._atomic_write import atomic_write

_FORMAT = "wsss_nonsalient.OACAMAccumulator 1"
_ARRAYS = ("num_maps", "classes", "maps")
_DTYPES = {
    str(d).removeprefix("torch."): d
    for d in (torch.uint8, torch.float16, torch.float32, torch.int64)
}


def check_state(state: dict[str, Any]) -> None:
    """Check that a state is complete and consistent.

    Raises:
        ValueError: It is not, and why.
    """
    wanted: dict[str, type | tuple[type, ...]] = {
        "run_id": str,
        "num_classes": int,
        "map_size": (tuple, type(None)),
        "keys": list,
        "num_maps": Tensor,
        "classes": Tensor,
        "maps": Tensor,
    }
    if not isinstance(state, dict) or set(state) != set(wanted):
        got = sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"state: expected {sorted(wanted)}, got {got}")
    for name, kind in wanted.items():
        if not isinstance(state[name], kind):
            raise ValueError(f"state: {name} has the wrong type {type(state[name]).__name__}")
    keys, num_maps, classes, maps = (state[n] for n in ("keys", "num_maps", "classes", "maps"))
    size = state["map_size"] or (0, 0)
    if state["map_size"] is not None and not (
        len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError(f"state: map_size is {size}, not two positive integers or None")
    if not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise ValueError("state: keys are not distinct strings")
    integers = num_maps.dtype == classes.dtype == torch.int64
    if not integers or num_maps.shape != (len(keys),) or classes.dim() != 1:
        raise ValueError("state: num_maps and classes are not int64, one a key and one a map")
    in_range = (num_maps >= 0) & (num_maps <= state["num_classes"])  # so the sum can't overflow
    if not bool(in_range.all()) or int(num_maps.sum()) != len(classes):
        raise ValueError("state: num_maps does not add up to the number of classes")
    if maps.shape != (len(classes), *size):
        raise ValueError(f"state: maps have shape {tuple(maps.shape)}, not {(len(classes), *size)}")
    if bool(((classes < 0) | (classes >= state["num_classes"])).any()):
        raise ValueError(f"state: classes are not all in 0..{state['num_classes'] - 1}")
    owners = torch.repeat_interleave(torch.arange(len(keys)), num_maps)
    pairs = (owners * state["num_classes"] + classes).sort().values
    if bool((pairs.diff() == 0).any()):
        raise ValueError("state: a key has two maps of one class")
    if maps.is_floating_point() and not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError("state: maps have NaN or leave [0, 1]")


def write_state(path: str | PathLike[str], state: dict[str, Any]) -> None:
    """Write a state, replacing the file in one step once all of it is on the disk."""
    import numpy as np

    header = {
        "format": _FORMAT,
        "run_id": state["run_id"],
        "num_classes": state["num_classes"],
        "map_size": state["map_size"],
        "keys": state["keys"],
    }
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("header.json"), json.dumps(header))
        for name in _ARRAYS:
            info = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date: same state, same bytes
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, state[name].numpy(), version=(1, 0))


def read_state(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a state that :func:`write_state` wrote; no more memory than the file is long.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is not a whole file of :func:`write_state`.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                header = json.loads(archive.read(_stored(archive, "header.json")))
                if header["format"] != _FORMAT:
                    raise ValueError(f"its format is {header['format']!r}, not {_FORMAT!r}")
                size = header["map_size"]
                state = {
                    "run_id": header["run_id"],
                    "num_classes": header["num_classes"],
                    "map_size": None if size is None else tuple(size),
                    "keys": header["keys"],
                }
                for name in _ARRAYS:
                    state[name] = _read_array(archive, name)
            check_state(state)
        except Exception as error:  # whatever a damaged or foreign file makes the parsers raise
            raise ValueError(
                f"{os.fspath(path)}: expected a file of OACAMAccumulator.save, got something else "
                f"or a damaged one ({type(error).__name__}: {error})"
            ) from error
    return state


def _read_array(archive: zipfile.ZipFile, name: str) -> Tensor:
    """One member, read into memory of its own size, whatever its header promises."""
    import numpy as np

    with archive.open(_stored(archive, f"{name}.npy")) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{name} has npy version {version}")
        header: tuple[Any, ...] = np.lib.format.read_array_header_1_0(file)
        data = bytearray()
        while piece := file.read(2**22):  # reading to the end checks the member's CRC
            data += piece
    shape, fortran_order, dtype = header
    if dtype.name not in _DTYPES or not dtype.isnative or fortran_order:
        raise ValueError(f"{name} has dtype {dtype} or column order")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name} has shape {shape}, but {len(data)} bytes")
    if not data:
        return torch.empty(shape, dtype=_DTYPES[dtype.name])
    return torch.frombuffer(data, dtype=_DTYPES[dtype.name]).reshape(shape)


def _stored(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """A member as long as it is in the file: a compressed one could unpack to any length."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return member
