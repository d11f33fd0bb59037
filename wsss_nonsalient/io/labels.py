"""Label maps as PNG files: palette and gray ones read alike, as the numbers that are in them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .._atomic_write import atomic_write
from .._checks import Sizes, check_tensor
from .._values import from_array
from ._files import AnyPath, RefusedError, content_of, read_file
from ._png import encode_png, parse_png
from .voc import VOC_PALETTE


def read_label(path: AnyPath) -> Tensor:
    """Read a label map from a palette PNG (the indices) or a gray PNG (the values).

    Nothing is converted by colours, so 255 stays 255 whatever the palette is.

    Args:
        path: A palette PNG of any depth, or a gray one of 8 or 16 bits.

    Returns:
        (H, W) uint8, or int32 from a 16-bit file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file or damaged. A JPEG is refused, since its compression changes
            labels; an RGB or RGBA picture, since colours are no labels; gray with fewer than 8
            bits, since tools disagree on whether its 1 is label 1 or white, which is 255.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_label(f"{folder}/a.png", torch.tensor([[0, 20, 255]], dtype=torch.uint8))
        ...     read_label(f"{folder}/a.png")
        tensor([[  0,  20, 255]], dtype=torch.uint8)
    """
    data = read_file(path)
    with content_of(path, "a palette or gray PNG"):
        png = parse_png(data)
        if png.kind not in ("palette", "gray"):
            raise RefusedError(
                f"expected a palette or gray PNG, got {png.kind}: colours are no labels"
            )
        if png.kind == "gray" and png.bits < 8:
            raise RefusedError(
                f"expected a palette PNG or gray of 8 or 16 bits, got gray of {png.bits}: "
                "tools disagree on which labels that means"
            )
        return from_array(png.pixels().astype(np.uint8 if png.bits <= 8 else np.int32))


def write_label(path: AnyPath, labels: Tensor, *, palette: Literal["voc"] | None = "voc") -> None:
    """Write a label map as a PNG file, in one step.

    Pillow and torchvision read both kinds of file as the labels. OpenCV (``IMREAD_UNCHANGED`` too)
    and imageio turn every palette PNG into its colours; for them write ``palette=None``, or tell
    imageio ``mode="P"``; ``docs/label_png.md`` has the table.

    Args:
        path: The file, which is replaced.
        labels: (H, W) integer labels.
        palette: ``"voc"`` writes an 8-bit palette PNG with all 256 colours of PASCAL VOC, for
            labels 0 to 255. ``None`` writes gray: 8 bits for uint8 labels, and 16 bits for every
            other dtype, with labels 0 to 65535.

    Raises:
        OSError: The file cannot be written.
        TypeError: ``labels`` is not an integer tensor.
        ValueError: ``labels`` has another shape or labels that do not fit; unknown ``palette``.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_label(f"{folder}/a.png", torch.tensor([[0, 1, 255]]))
        ...     with Image.open(f"{folder}/a.png") as image:
        ...         image.mode, np.asarray(image).tolist(), image.getpalette()[3:6]
        ('P', [[0, 1, 255]], [128, 0, 0])
    """
    check_tensor("labels", labels, "H W", "label", Sizes())
    if palette is not None and palette != "voc":
        raise ValueError(f"palette: expected 'voc' or None, got {palette!r}")
    wide = palette is None and labels.dtype != torch.uint8
    array = labels.detach().cpu().numpy()
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > (65535 if wide else 255):
        hint = "" if wide else "; palette=None writes 16 bits"
        raise ValueError(
            f"labels: expected 0 to {65535 if wide else 255}, got {low} to {high}{hint}"
        )
    array = array.astype(np.uint16 if wide else np.uint8)
    data = encode_png(array, None if palette is None else VOC_PALETTE)
    with atomic_write(path) as file:
        file.write(data)
