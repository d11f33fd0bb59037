"""PNG files, with the checks that a label map needs before its values can be trusted.

Every chunk's checksum is verified, and that the file has all of its pixels: Pillow checks neither,
and fills what is missing with 0, the background. Only the chunks that make up the picture reach
Pillow, and only if the file is long enough for the size that it claims.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from io import BytesIO
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from ._arrays import Array, array_from
from ._files import RefusedError

Kind = Literal["gray", "RGB", "palette", "gray with alpha", "RGB with alpha"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS: dict[int, tuple[Kind, int, tuple[int, ...]]] = {
    0: ("gray", 1, (1, 2, 4, 8, 16)),
    2: ("RGB", 3, (8, 16)),
    3: ("palette", 1, (1, 2, 4, 8)),
    4: ("gray with alpha", 2, (8, 16)),
    6: ("RGB with alpha", 4, (8, 16)),
}
_MAX_DEFLATE_RATIO = 1032  # 258 bytes for two bits: no deflate stream unpacks to more

_PIECE = 4096  # bytes to unpack at a time
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # the first column and row of each pass, and the steps between them


class Png(NamedTuple):
    """What a PNG file is, before its pixels are decoded."""

    kind: Kind
    bits: int  #: a channel
    palette: bytes  #: RGB triples; empty without a palette
    data: bytes  #: the file without what does not belong to the picture

    def pixels(self) -> Array:
        """(H, W) or (H, W, channels), as Pillow decodes them: fewer than 8 gray bits are scaled."""
        pixels = array_from(Image.open(BytesIO(self.data), formats=["PNG"]))
        return pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels


def parse_png(data: bytes) -> Png:
    """Check a PNG file's structure and checksums."""
    if data[:3] == b"\xff\xd8\xff":
        raise RefusedError(
            "it is a JPEG file, whose compression changes values; expected a PNG file"
        )
    if data[:8] != _SIGNATURE:
        raise RefusedError("it is no PNG file" if data else "it is empty, no PNG file")
    chunks = list(_chunks(data))
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 25:
        raise RefusedError("it is a damaged PNG file (no header)")
    width, height, bits, colour, *_, interlaced = struct.unpack_from(">IIBBBBB", chunks[0][1], 8)
    if colour not in _KINDS or bits not in _KINDS[colour][2] or not width or not height:
        raise RefusedError("it is a damaged PNG file (impossible header)")
    kind, channels, _ = _KINDS[colour]
    packed = [chunk[8:-4] for name, chunk in chunks if name == b"IDAT"]
    if width * height * channels * bits // 8 > sum(map(len, packed)) * _MAX_DEFLATE_RATIO:
        raise RefusedError(f"it claims {width} x {height} pixels, too many for its length")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise RefusedError(f"it has {width} x {height} pixels, too many (Image.MAX_IMAGE_PIXELS)")
    _check_length(packed, _raw_length(width, height, bits * channels, interlaced != 0))
    picture = [c for name, c in chunks if name in (b"IHDR", b"PLTE", b"IDAT", b"IEND")]
    palette = b"".join(bytes(c[8:-4]) for name, c in chunks if name == b"PLTE")
    return Png(kind, bits, palette, b"".join([_SIGNATURE, *picture]))


def _chunks(data: bytes) -> Generator[tuple[bytes, memoryview], None, None]:
    """Name and whole bytes (length, name, content, checksum) of each chunk up to the last."""
    view = memoryview(data)
    position, name = len(_SIGNATURE), b""
    while name != b"IEND":
        if position + 12 > len(data):
            raise RefusedError("it is a truncated PNG file")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise RefusedError("it is a truncated PNG file")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise RefusedError("it is a damaged PNG file (wrong checksum)")
        yield name, view[position:end]
        position = end


def _raw_length(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of all rows, each with its filter's byte, for so many bits a pixel."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0)


def _check_length(packed: list[memoryview], expected: int) -> None:
    unpacker = zlib.decompressobj()
    length = 0
    for chunk in packed:
        for start in range(0, len(chunk), _PIECE):
            length += len(unpacker.decompress(chunk[start : start + _PIECE]))
            if length >= expected:
                return
    raise RefusedError(f"it is a truncated PNG file ({length} bytes of {expected} in its rows)")


def encode_png(pixels: Array, palette: bytes | None = None) -> bytes:
    """An (H, W) array of uint8 (with a palette, if given) or uint16 as a PNG file."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        image.putpalette(palette)
    stream = BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()
