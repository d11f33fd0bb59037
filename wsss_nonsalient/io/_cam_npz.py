"""Our own file of an image's CAMs: an npz of ``classes`` and ``maps``, without pickles."""

from __future__ import annotations

import zipfile
from io import BytesIO

import numpy as np
import torch

from .._values import from_array
from ._arrays import Array, is_array, native
from ._cam_formats import make_cams
from ._files import RefusedError
from ._unpickle import parse_npy
from .cams import CAMs

_NAMES = ("classes", "maps")


def npz_bytes(cams: CAMs) -> bytes:
    """The file; the same CAMs give the same bytes."""
    if cams.maps.dtype == torch.bfloat16:
        raise ValueError("cams: expected maps of a dtype that NumPy has, got torch.bfloat16")
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, tensor in zip(_NAMES, (cams.classes, cams.maps), strict=True):
            array = tensor.detach().cpu().contiguous().numpy()
            info = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def parse_npz(data: bytes) -> CAMs:
    """CAMs from a file's bytes; compressed ones may unpack to 100 times their size."""
    budget = 100 * len(data) + 2**20
    arrays: list[Array] = []
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for name in _NAMES:
            if f"{name}.npy" not in archive.namelist():
                raise RefusedError(f"it has no array {name!r}")
            info = archive.getinfo(f"{name}.npy")
            budget -= info.file_size
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or budget < 0:
                raise RefusedError("it unpacks to far more than its own size, or in an unknown way")
            array = parse_npy(archive.read(info))
            if not is_array(array):
                raise RefusedError(f"{name!r} is no array of numbers")
            arrays.append(array)
    classes, maps = arrays
    if classes.ndim != 1 or classes.dtype.kind not in "iu" or maps.ndim != 3:
        raise RefusedError(
            f"expected classes (K,) of integers and maps (K, H, W), got {classes.shape} of "
            f"{classes.dtype} and {maps.shape}"
        )
    if not len(classes) and not len(maps):  # as any others, but H and W are known
        return CAMs(torch.zeros(0, dtype=torch.int64), from_array(np.array(native(maps))))
    return make_cams(classes, list(maps), 100 * len(data))
