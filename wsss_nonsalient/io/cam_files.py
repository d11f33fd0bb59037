"""Folders of CAM dumps: which format, which images, reading and writing one image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from .._atomic_write import atomic_write
from ._cam_formats import DICT_FORMATS, float_maps, make_cams, possible_formats
from ._cam_npz import npz_bytes, parse_npz
from ._files import (
    AnyPath,
    RefusedError,
    check_id,
    content_of,
    image_file,
    is_id,
    read_file,
)
from ._nsrom import nsrom_classes, read_nsrom, write_nsrom
from ._pickle_writer import object_npy
from ._unpickle import load_npy, parse_npy
from .cams import CAMs

CAMFormat = Literal["nsrom", "psa", "psa-crf", "irn", "puzzlecam", "clip-es", "wsol", "npz"]
CAM_FORMATS: tuple[CAMFormat, ...] = get_args(CAMFormat)

_SAMPLE = 64


class UndecidedFormatError(ValueError):
    """A folder of dumps can be of several formats, so that its format must be named."""


def read_cams(
    folder: AnyPath,
    image_id: str,
    *,
    format: str = "auto",  # noqa: A002
    image_labels: Sequence[int] | None = None,
) -> CAMs:
    """Read the CAMs of an image from a folder of dumps.

    ========= ==================== ==========================================================
    format    file                 content
    ========= ==================== ==========================================================
    nsrom     ``{id}_{class}.png`` 8-bit gray, one a class, class 0-based (OAA, L2G)
    psa       ``{id}.npy``         pickled {class: map} (SEAM, EPS, L2G, MCTformer, WeakTr)
    psa-crf   ``{id}.npy``         pickled {0: background, class + 1: map}; the background is
                                   left out
    irn       ``{id}.npy``         pickled ``keys``, ``cam``, ``high_res`` (AdvCAM, AMN,
                                   ReCAM); ``high_res`` is read, or ``cam`` where there is none
    puzzlecam ``{id}.npy``         pickled ``keys`` (0, then class + 1), ``cam``, ``hr_cam``
    clip-es   ``{id}.npy``         pickled ``keys``, ``attn_highres``
    wsol      ``{id}.npy``         plain (H, W), the map of the image's only class
    npz       ``{id}.npz``         our own: ``classes``, ``maps``, no pickles
    ========= ==================== ==========================================================

    Pickles are read as data; nothing in them is run. Values are given as they are in the file:
    SEAM's, for one, dip slightly below 0.

    Args:
        folder: The dumps.
        image_id: Which image; a file name without a folder.
        format: One of :data:`CAM_FORMATS`, or ``"auto"``: told by the image's own files if they
            can only be one, otherwise by :func:`detect_cam_format`.
        image_labels: The image's classes, 0-based. Only ``wsol``, which does not have them in the
            file, reads them, and needs exactly one.

    Returns:
        The (K, H, W) maps of the image's classes, and which these are.

    Raises:
        OSError: A file cannot be read (FileNotFoundError: the image has none).
        ValueError: A file is damaged, of another format, or holds anything but data; the format
            cannot be told; ``image_id`` is no file name.

    Example:
        >>> import tempfile
        >>> import torch
        >>> cams = CAMs(torch.tensor([14]), torch.tensor([[[0.0, 0.5, 1.0]]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cams(folder, "2007_000032", cams, format="irn")
        ...     detect_cam_format(folder), cam_ids(folder)
        ...     read_cams(folder, "2007_000032").maps
        ('irn', ['2007_000032'])
        tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    check_id(image_id)
    name = _check_format(format, auto=True)
    if name == "auto":
        name = _format_of_image(Path(folder), image_id)
    if name == "nsrom":
        return read_nsrom(Path(folder), image_id)
    path = image_file(folder, image_id, _ending(name))
    data = read_file(path)
    with content_of(path, f"CAMs in the format {name}"):
        if name == "npz":
            return parse_npz(data)
        value = parse_npy(data)
        if name == "wsol":
            return _parse_wsol(value, image_labels, len(data))
        try:
            return DICT_FORMATS[name].parse(value, len(data))
        except RefusedError as error:
            others = possible_formats(value)
            if not others or name in others:
                raise
            raise RefusedError(f"{error}; it looks like {' or '.join(others)}") from error


def write_cams(
    folder: AnyPath,
    image_id: str,
    cams: CAMs,
    *,
    format: str = "npz",  # noqa: A002
    replaces: Collection[int] | None = None,
) -> None:
    """Write the CAMs of an image into a folder of dumps, each file in one step.

    Formats other than npz and nsrom hold float32 (clip-es float16); uint8 maps become value / 255.
    nsrom rounds floating-point maps, which must be in [0, 1], to 8 bits, takes the place of all
    files that the image has, and cannot hold an image without a class. The pickles load in NumPy 1
    and 2. What CAMs do not have is filled in: the background of psa-crf is 1 - the largest map,
    and the ``cam`` of irn and puzzlecam is a fourth of the size, resized bilinearly.

    Args:
        folder: Where; it must exist.
        image_id: Which image; a file name without a folder.
        cams: The maps.
        format: One of :data:`CAM_FORMATS`.
        replaces: Classes of which the folder has a file of this image, which only nsrom needs to
            know. None lists the folder to find them; for many images, that is slow: ``()`` says
            that there are none.

    Raises:
        OSError: A file cannot be written.
        TypeError: ``cams`` are no :class:`CAMs`.
        ValueError: The format cannot hold the maps: values out of range, a number of classes other
            than one for wsol; unknown ``format``; ``image_id`` is no file name.

    Example:
        >>> import tempfile
        >>> import torch
        >>> cams = CAMs(torch.tensor([0, 7]), torch.ones(2, 3, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cams(folder, "2007_000032", cams, format="nsrom")
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['2007_000032_0.png', '2007_000032_7.png']
    """
    check_id(image_id)
    name = _check_format(format, auto=False)
    if not isinstance(cams, CAMs):
        raise TypeError(f"cams: expected CAMs, got {type(cams).__name__}")
    if name == "nsrom":
        write_nsrom(Path(folder), image_id, cams, replaces)
        return
    if name == "npz":
        data = npz_bytes(cams)
    elif name == "wsol":
        data = _wsol_bytes(cams)
    else:
        data = object_npy(DICT_FORMATS[name].build(cams))
    with atomic_write(image_file(folder, image_id, _ending(name))) as file:
        file.write(data)


def cam_ids(folder: AnyPath, *, format: str = "auto") -> list[str]:  # noqa: A002
    """Ids of the images that a folder has CAMs of, sorted.

    Args:
        folder: The dumps.
        format: One of :data:`CAM_FORMATS`, or ``"auto"``.

    Returns:
        The ids.

    Raises:
        OSError: The folder cannot be read.
        ValueError: The format cannot be told; an nsrom folder has a PNG of another name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.npy", "a.npy", "notes.txt"):
        ...         (Path(folder) / name).touch()
        ...     cam_ids(folder, format="psa")
        ['a', 'b']
    """
    name = _check_format(format, auto=True)
    if name == "auto":
        name = detect_cam_format(folder)
    if name == "nsrom":
        return sorted(nsrom_classes(Path(folder)))
    ending = _ending(name)
    return sorted(p.stem for p in Path(folder).iterdir() if p.suffix == ending and is_id(p.stem))


def detect_cam_format(folder: AnyPath) -> str:
    """Which format a folder of CAM dumps has, from its files' endings and up to 64 of the files.

    psa-crf always has a 0, psa only in images of class 0, so a folder in which every file has a 0
    can be either, and is refused.

    Args:
        folder: The dumps.

    Returns:
        One of :data:`CAM_FORMATS`.

    Raises:
        OSError: The folder or a file cannot be read.
        ValueError: It can be several formats, which are named, or none.

    Example:
        >>> import tempfile
        >>> import torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cams(folder, "a", CAMs(torch.tensor([3]), torch.ones(1, 2, 2)), format="psa")
        ...     detect_cam_format(folder)
        'psa'
    """
    files = sorted(p for p in Path(folder).iterdir() if is_id(p.name))
    found = {e: [p for p in files if p.suffix == e] for e in (".png", ".npy", ".npz")}
    endings = [ending for ending, paths in found.items() if paths]
    if not endings:
        raise ValueError(f"{folder}: expected CAM dumps (npy, npz or png files), got none")
    if len(endings) > 1:
        raise UndecidedFormatError(
            f"{folder}: expected CAM dumps of one format, got a mixture of "
            f"{' and '.join(endings)} files; name one"
        )
    if endings[0] == ".npz":
        return "npz"
    if endings[0] == ".png":
        nsrom_classes(Path(folder))
        return "nsrom"
    paths = found[".npy"]
    step = -(-len(paths) // _SAMPLE)
    candidates = set[str](CAM_FORMATS)
    for path in paths[::step]:
        candidates &= set(_possible(path))
        if not candidates:
            raise ValueError(f"{folder}: its files are of several formats (see {path.name})")
        if len(candidates) == 1:
            return next(iter(candidates))
    raise _undecided(folder, candidates)


def _possible(path: Path) -> tuple[str, ...]:
    formats = possible_formats(load_npy(path))
    if not formats:
        raise ValueError(f"{path}: expected a CAM dump, got no format of {', '.join(CAM_FORMATS)}")
    return formats


def _undecided(folder: AnyPath, candidates: set[str]) -> UndecidedFormatError:
    names = " or ".join(name for name in CAM_FORMATS if name in candidates)
    return UndecidedFormatError(f"{folder}: cannot tell whether its format is {names}; name it")


def _format_of_image(folder: Path, image_id: str) -> str:
    formats: set[str] = set()
    for ending in (".npy", ".npz"):
        path = image_file(folder, image_id, ending)
        if path.exists():
            formats |= {"npz"} if ending == ".npz" else set(_possible(path))
    if not formats:
        if image_id in nsrom_classes(folder):
            return "nsrom"
        raise FileNotFoundError(f"{folder}: no CAM dump of {image_id}")
    if len(formats) == 1:
        return formats.pop()
    return detect_cam_format(folder)


def _check_format(format: str, *, auto: bool) -> str:  # noqa: A002
    choices = (*(("auto",) if auto else ()), *CAM_FORMATS)
    if format not in choices:
        raise ValueError(f"format: expected one of {', '.join(map(repr, choices))}, got {format!r}")
    return format


def _ending(name: str) -> str:
    return ".npz" if name == "npz" else ".npy"


def _parse_wsol(value: Any, image_labels: Sequence[int] | None, size: int) -> CAMs:
    if image_labels is None or len(image_labels) != 1:
        got = "none" if image_labels is None else f"{len(image_labels)}"
        raise RefusedError(f"expected one class in image_labels for the format wsol, got {got}")
    return make_cams([int(image_labels[0])], [value], size)


def _wsol_bytes(cams: CAMs) -> bytes:
    if len(cams.classes) != 1:
        raise ValueError(f"cams: expected one class for wsol, got {len(cams.classes)}")
    stream = BytesIO()
    np.lib.format.write_array(stream, float_maps(cams)[0], version=(1, 0), allow_pickle=False)
    return stream.getvalue()
