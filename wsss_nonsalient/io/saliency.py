"""Saliency maps as gray PNG files."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .._values import from_array
from ._arrays import Array, array_of
from ._files import AnyPath, RefusedError, content_of, read_file
from ._png import Png, parse_png


def read_saliency(path: AnyPath) -> Tensor:
    """Read a saliency map.

    Args:
        path: A gray PNG of up to 8 bits (fewer are scaled to 0..255), a palette PNG whose used
            colours are gray, or an RGB PNG whose three channels are equal.

    Returns:
        (H, W) uint8; v means v / 255.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file or damaged. Colours are refused, since they are likely a
            label map or a picture; 16 bits, since which value means 1 is not known; JPEG files and
            PNGs with an alpha channel, since their values are not the saliency alone.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (3, 1), 51).save(f"{folder}/a.png")
        ...     read_saliency(f"{folder}/a.png")
        tensor([[51, 51, 51]], dtype=torch.uint8)
    """
    data = read_file(path)
    with content_of(path, "a gray PNG"):
        png = parse_png(data)
        if png.kind not in ("palette", "gray", "RGB"):
            raise RefusedError(f"expected a gray PNG, got {png.kind}")
        if png.bits > 8:
            raise RefusedError(
                f"expected a gray PNG of 8 bits, got {png.bits} bits: scale it to 0..255"
            )
        return from_array(_gray(png))


def _gray(png: Png) -> Array:
    pixels = png.pixels().astype(np.uint8)
    if png.kind == "gray":
        return pixels
    if png.kind == "palette":
        count = len(png.palette) // 3
        colours = array_of(png.palette, (count, 3), np.dtype(np.uint8), by_columns=False)
        if int(pixels.max()) >= len(colours):
            raise RefusedError("it is a damaged PNG file (a colour that is not in the palette)")
        pixels = colours[pixels]
    red = pixels[..., 0]
    if not (np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2])):
        raise RefusedError("expected a gray PNG, got colours; is it a label map or a picture?")
    return np.ascontiguousarray(red)
