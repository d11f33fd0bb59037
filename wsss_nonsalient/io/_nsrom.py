"""Folders of one gray PNG a class, ``{id}_{class}.png``."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import torch

from .._atomic_write import atomic_write
from .._values import to_list
from ._arrays import Array
from ._cam_formats import make_cams
from ._files import RefusedError, content_of, image_file, is_id, read_file, shown
from ._png import encode_png, parse_png
from .cams import CAMs

_SETTLED = 2.0  # seconds after which a folder's time stamp tells a later change


def nsrom_classes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Ascending classes of each image in a folder, remembered while the folder does not change."""
    changed = folder.stat().st_mtime_ns
    if changed / 1e9 < time.time() - _SETTLED:
        return _remembered(os.path.realpath(folder), changed)
    return _listed(folder)


@lru_cache(maxsize=4)
def _remembered(folder: str, changed: int) -> dict[str, tuple[int, ...]]:  # noqa: ARG001
    return _listed(Path(folder))


def _listed(folder: Path) -> dict[str, tuple[int, ...]]:
    classes: dict[str, list[int]] = {}
    for name in (path.name for path in folder.iterdir()):
        if name.endswith(".png") and is_id(name):
            image_id, number = image_and_class(name, folder)
            classes.setdefault(image_id, []).append(number)
    return {image_id: tuple(sorted(numbers)) for image_id, numbers in classes.items()}


def image_and_class(name: str, folder: Path) -> tuple[str, int]:
    """What the name of a PNG file in a folder says."""
    image_id, _, number = name.removesuffix(".png").rpartition("_")
    if not number.isascii() or not number.isdigit() or str(int(number[:10])) != number:
        raise ValueError(
            f"{folder}: expected PNG files {{id}}_{{class}}.png with a class such as 7, "
            f"got {shown(name)}"
        )
    if not is_id(image_id):
        raise ValueError(f"{folder}: expected {{id}}_{{class}}.png, got {shown(name)}")
    return image_id, int(number)


def read_nsrom(folder: Path, image_id: str) -> CAMs:
    """All maps of an image."""
    classes = nsrom_classes(folder).get(image_id)
    if classes is None:
        raise FileNotFoundError(f"{folder}: no file {image_id}_{{class}}.png")
    maps: list[Array] = []
    size = 0
    for number in classes:
        path = image_file(folder, f"{image_id}_{number}", ".png")
        data = read_file(path)
        with content_of(path, "an 8-bit gray PNG"):
            png = parse_png(data)
            if png.kind != "gray" or png.bits != 8:
                raise RefusedError(f"expected an 8-bit gray PNG, got {png.kind} of {png.bits} bits")
            maps.append(png.pixels())
            if maps[-1].shape != maps[0].shape:
                raise RefusedError(
                    f"its size is {maps[-1].shape}, that of class {classes[0]} {maps[0].shape}"
                )
        size += maps[-1].nbytes  # decoded already, so not bounded by the file's length
    return make_cams(classes, maps, size)


def write_nsrom(
    folder: Path, image_id: str, cams: CAMs, replaces: Collection[int] | None = None
) -> None:
    """Write a file a class, in place of all that the image has; None looks for these.

    Between the first file that goes and the last that comes, the image lacks one of its classes:
    whoever reads it then, or after a kill, gets no mixture of old and new maps.
    """
    if not len(cams.classes):
        raise ValueError("cams: expected a class at least, which nsrom needs to have a file")
    pictures = dict(zip(to_list(cams.classes), map(encode_png, _levels(cams)), strict=True))
    if replaces is None:
        replaces = _listed(folder).get(image_id, ())
    for number in sorted(replaces, key=lambda number: number not in pictures):
        image_file(folder, f"{image_id}_{number}", ".png").unlink(missing_ok=True)
    for number, picture in pictures.items():
        with atomic_write(image_file(folder, f"{image_id}_{number}", ".png")) as file:
            file.write(picture)


def _levels(cams: CAMs) -> Array:
    """(K, H, W) maps in 8 bits."""
    maps = cams.maps.detach().cpu()
    if maps.dtype != torch.uint8:
        low, high = float(maps.min()), float(maps.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"cams: expected maps in [0, 1] for nsrom, got {low:g} to {high:g}; "
                "see normalize_cam"
            )
        maps = (maps.double() * 255).round().to(torch.uint8)
    levels: Array = maps.numpy()
    return levels
