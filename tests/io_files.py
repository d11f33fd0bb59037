"""Files as other codebases write them, made with plain NumPy, pickle, torch and Pillow."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.reference import Array
from wsss_nonsalient.io import CAMs

ID = "2007_000032"
HEIGHT, WIDTH = 5, 6
CLASSES = (3, 7)
DICT_FORMATS = ("psa", "psa-crf", "irn", "puzzlecam", "clip-es")
NUMPY_1, NUMPY_2 = "numpy.core", "numpy._core"


def levels(count: int = len(CLASSES), seed: int = 0) -> Array:
    """(count, H, W) uint8 maps."""
    random = np.random.default_rng(seed)
    maps: Array = random.integers(0, 256, (count, HEIGHT, WIDTH), dtype=np.uint8)
    return maps


def unit_maps(count: int = len(CLASSES), seed: int = 0) -> Array:
    """(count, H, W) float32 maps in [0, 1] of whole levels."""
    maps: Array = (levels(count, seed) / np.float32(255)).astype(np.float32)
    return maps


def dumped(
    name: str, maps: Array | None = None, classes: tuple[int, ...] = CLASSES, order: str = "="
) -> dict[Any, Any]:
    """The dictionary that codebases of this format save, with arrays of this byte order."""
    maps = unit_maps(len(classes)) if maps is None else maps
    maps = maps.astype(maps.dtype.newbyteorder(order))  # type: ignore[arg-type]
    if name == "psa":
        return dict(zip(classes, maps, strict=True))
    if name == "psa-crf":
        background = {0: (1 - maps.max(0)).astype(maps.dtype)}
        return {**background, **{c + 1: m for c, m in zip(classes, maps, strict=True)}}
    if name == "irn":
        coarse = torch.from_numpy(np.ascontiguousarray(maps[:, ::4, ::4], np.float32))
        return {"keys": torch.tensor(classes), "cam": coarse, "high_res": maps}
    if name == "puzzlecam":
        keys = np.array([0, *(c + 1 for c in classes)])
        return {"keys": keys, "cam": torch.zeros(len(maps), 2, 2), "hr_cam": maps}
    if name == "clip-es":
        half = maps.astype(np.dtype(np.float16).newbyteorder(order))  # type: ignore[arg-type]
        return {"keys": np.array(classes), "attn_highres": half}
    raise ValueError(name)


def object_npy(value: Any, protocol: int = 3, core: str | None = None) -> bytes:
    """What ``np.save(path, value)`` writes for an object, with NumPy's module names at choice."""
    array = np.empty((), object)
    array[()] = value
    content = pickle.dumps(array, protocol=protocol)
    if core is not None:
        assert protocol <= 3, "later protocols write the length of names"
        for name in (NUMPY_2, NUMPY_1):
            content = content.replace(f"c{name}.".encode(), f"c{core}.".encode())
    return npy_header("|O", ()) + content


def raw_npy(content: bytes) -> bytes:
    """An .npy file of an object array with this pickle in it, whatever it is."""
    return npy_header("|O", ()) + content


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def plain_npy(array: Array) -> bytes:
    stream = BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def npz(arrays: Mapping[str, Array], *, compressed: bool = False) -> bytes:
    stream = BytesIO()
    # A mapping's keys are the arrays' names, which no stub knows.
    (np.savez_compressed if compressed else np.savez)(stream, **dict(arrays))  # type: ignore[arg-type]
    return stream.getvalue()


def unpickled(path: Path) -> Any:
    """What ``np.load`` makes of an object array in a file of our own, which may be trusted."""
    with path.open("rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        np.lib.format.read_array_header_1_0(file)
        return pickle.load(file)[()]


def png(pixels: Array, mode: str | None = None, **options: Any) -> bytes:
    """A PNG by Pillow; mode "P" has a gray palette unless ``palette`` is given."""
    palette = options.pop("palette", None)
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(
            bytes(v for v in range(256) for _ in "RGB") if palette is None else palette
        )
    elif mode is not None:
        image = image.convert(mode)
    stream = BytesIO()
    image.save(stream, format="PNG", **options)
    return stream.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_of(
    width: int,
    height: int,
    bits: int,
    colour: int,
    rows: bytes,
    *,
    interlaced: bool = False,
    palette: bytes | None = None,
) -> bytes:
    """A PNG by hand, of rows that each start with their filter's byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    chunks = [chunk(b"IHDR", header)]
    if palette is not None:
        chunks.append(chunk(b"PLTE", palette))
    chunks += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# First column, first row, step in columns, step in rows of each pass.
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def interlaced_png(pixels: Array, palette: bytes | None = None) -> bytes:
    """An 8-bit Adam7 PNG by hand, which Pillow cannot write."""
    rows = b""
    for x, y, step_x, step_y in _ADAM7:
        for row in pixels[y::step_y, x::step_x]:
            rows += b"\0" + row.tobytes() if len(row) else b""
    height, width = pixels.shape
    colour = 0 if palette is None else 3
    return png_of(width, height, 8, colour, rows, interlaced=True, palette=palette)


def annotation(*names: str, part: str | None = None) -> bytes:
    """A PASCAL VOC annotation."""
    parts = f"<part><name>{part}</name></part>" if part else ""
    objects = "".join(f"<object><name>{n}</name>{parts}</object>" for n in names)
    return f"<annotation><filename>a.jpg</filename>{objects}</annotation>".encode()


def write_dumps(folder: Path, name: str, image_id: str = ID) -> Path:
    """The dump of one image in a format, in a new folder."""
    folder.mkdir(exist_ok=True)
    if name == "nsrom":
        for c, pixels in zip(CLASSES, levels(), strict=True):
            (folder / f"{image_id}_{c}.png").write_bytes(png(pixels))
    elif name == "wsol":
        (folder / f"{image_id}.npy").write_bytes(plain_npy(unit_maps()[0]))
    elif name == "npz":
        content = npz({"classes": np.array(CLASSES), "maps": unit_maps()})
        (folder / f"{image_id}.npz").write_bytes(content)
    else:
        (folder / f"{image_id}.npy").write_bytes(object_npy(dumped(name)))
    return folder


def save(folder: Path, data: bytes, image_id: str = ID, ending: str = ".npy") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{image_id}{ending}"
    path.write_bytes(data)
    return path


def assert_equal(cams: CAMs, classes: tuple[int, ...], maps: Any) -> None:
    assert cams.classes.tolist() == list(classes)
    np.testing.assert_array_equal(cams.maps.numpy(), maps)
    assert cams.maps.is_contiguous()
    cams.maps.add_(0)  # may be written to
