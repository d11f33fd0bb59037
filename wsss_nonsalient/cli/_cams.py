"""CAM dumps as the commands take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .._values import to_list
from ..io import CAMs, detect_cam_format
from ..io.cam_files import UndecidedFormatError


def cam_format(folder: Path, name: str, option: str) -> str:
    """The format of the folder of dumps that an option gives, found out if it is ``auto``."""
    if name != "auto":
        return name
    try:
        return detect_cam_format(folder)
    except UndecidedFormatError as error:
        flag = f"{option.removesuffix('s')}-format"
        raise ValueError(f"{option}: {error}: {flag}") from error
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error


def maps_of(cams: CAMs, classes: Sequence[int], *, zero_if_missing: bool = False) -> Tensor:
    """(K, H, W) maps of the given classes, uint8 or float32.

    Raises:
        ValueError: A class has no map.
    """
    row = {c: k for k, c in enumerate(to_list(cams.classes))}
    missing = [c for c in classes if c not in row]
    if missing and not zero_if_missing:
        raise ValueError(
            f"no CAM of class {', '.join(map(str, missing))} (classes count from 0; the dump has "
            f"{', '.join(map(str, row)) or 'none'})"
        )
    maps = cams.maps if cams.maps.dtype == torch.uint8 else _eight_bit(cams.maps)
    if not row:  # such a dump may have no size either
        return torch.zeros(len(classes), 1, 1)
    own = [maps[row[c]] if c in row else maps.new_zeros(maps.shape[1:]) for c in classes]
    return torch.stack(own)


def _eight_bit(maps: Tensor) -> Tensor:
    """Floats that are exactly n / 255 as the 8-bit maps that they were, others as float32.

    Normalising rounds integers and fractions differently in the last bit, and a tie in a label
    would then depend on the format of a dump.
    """
    levels = (maps.clamp(0, 1) * 255).round()
    if maps.dtype in (torch.float32, torch.float64) and torch.equal(levels / 255, maps):
        return levels.to(torch.uint8)
    return maps.to(torch.float32)
