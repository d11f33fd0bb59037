"""Everything that can be wrong with a data set or an out folder, before hours are spent."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from torch import Tensor
from tqdm import tqdm

from wsss_nonsalient.io import read_label, read_saliency

from .photos import Photo, read_image

IGNORED = 255
_SHOWN = 20
_PROBE = bytes(1 << 20)


def validate(
    photos: Sequence[Photo],
    num_classes: int,
    *,
    saliency: bool,
    masks: bool,
    allow_no_class: bool,
) -> None:
    """Read every file of these pictures in full, and list all that is wrong with them.

    Args:
        photos: Pictures; those that come twice are looked at once.
        num_classes: Number of foreground classes.
        saliency: Whether the saliency maps are needed.
        masks: Whether the true segmentations are needed.
        allow_no_class: Whether a picture without any class is a warning, not an error.

    Raises:
        ValueError: A file is missing, damaged, of another kind or of another size than the
            picture; a mask has a label that is neither 0 to `num_classes` nor 255; a picture has
            no class, or an unknown one. Names the files.
    """
    distinct = list(dict.fromkeys(photos))
    faults: list[str] = []
    for photo in tqdm(distinct, desc="check the data set", leave=False):
        faults += _faults_of(photo, num_classes, saliency, masks)
    classless = [str(photo.image) for photo in distinct if not photo.classes]
    if classless and allow_no_class:
        message = f"{len(classless)} of {len(distinct)} pictures have no class:"
        warnings.warn(_listed(message, classless), stacklevel=2)
    elif classless:
        faults += [f"{path}: it has no class in the list of classes" for path in classless]
    if faults:
        message = f"{len(faults)} faults in the {len(distinct)} pictures of the data set:"
        raise ValueError(_listed(message, faults))


def _faults_of(photo: Photo, num_classes: int, saliency: bool, masks: bool) -> Iterator[str]:
    unknown = [c for c in photo.classes if not 0 <= c < num_classes]
    if unknown:
        yield f"{photo.image}: it has the class {unknown[0]}, expected 0 to {num_classes - 1}"
    image, fault = _read(read_image, photo.image)
    size = None if image is None else tuple(image.shape[1:])
    if fault:
        yield fault
    if saliency:
        yield from _faults_of_map(read_saliency, photo.saliency, size)
    if masks:
        yield from _faults_of_map(read_label, photo.scoring_mask, size, num_classes)


def _faults_of_map(
    reader: Callable[[Path], Tensor],
    path: Path,
    size: tuple[int, ...] | None,
    num_labels: int | None = None,
) -> Iterator[str]:
    """What is wrong with a saliency map or, with `num_labels`, a mask."""
    content, fault = _read(reader, path)
    if content is None:
        yield fault
        return
    if size is not None and content.shape != size:
        yield f"{path}: it is {_pixels(content.shape)}, but the picture is {_pixels(size)}"
    if num_labels is not None:
        labels = content.numpy()  # torch's threads get in each other's way on a busy machine
        odd = np.unique(labels[(labels > num_labels) & (labels != IGNORED)])
        unknown = [str(label) for label in odd]
        if unknown:
            yield (
                f"{path}: expected the labels 0 to {num_labels} and {IGNORED}, "
                f"got {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}"
            )


def _read(reader: Callable[[Path], Tensor], path: Path) -> tuple[Tensor | None, str]:
    """What is in a file, or what is wrong with it."""
    try:
        return reader(path), ""
    except FileNotFoundError:
        return None, f"{path} does not exist"
    except (OSError, ValueError) as error:  # the readers name the file
        return None, str(error)


def _pixels(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]} pixels"


def _listed(message: str, lines: Sequence[str]) -> str:
    rest = len(lines) - _SHOWN
    more = [f"and {rest} more"] if rest > 0 else []
    return "\n  ".join([message, *lines[:_SHOWN], *more])


def check_writable(folder: Path) -> None:
    """Make a folder, and write a megabyte to it and remove it.

    Raises:
        OSError: The folder cannot be made or is read-only, or the disk is full; names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:  # without a name, so that a kill leaves nothing
            file.write(_PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = f"cannot write to this folder: {error.strerror or error}"
        raise OSError(error.errno, reason, str(folder)) from error
