"""The images that a command works on, and whether a folder has any file of theirs."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ..io import cam_ids, list_ids, read_image_labels
from ..io._files import is_id
from ._task import Task

NARROW_CLASSES = 254  # foreground classes that 8-bit label maps hold beside 0 and 255


def read_tasks(args: argparse.Namespace) -> list[Task]:
    """Ids and classes of the images to work on; completes ``num_classes`` and ``ignore_index``."""
    listed = None if args.list is None else list_ids(args.list)
    # arrays do not always tell their ids; other files are read whole, for the number of classes
    ids_of_array = listed if args.image_labels.suffix == ".npy" else None
    known = read_image_labels(args.image_labels, ids=ids_of_array)
    ids = list(known) if listed is None else listed
    refuse_unknown(ids, known, args.list or args.image_labels, args.image_labels)
    highest = max((max(classes, default=-1) for classes in known.values()), default=-1)
    if highest < 0:
        raise ValueError(
            f"--image-labels: no image in {args.image_labels} has a class; is it a list of ids? "
            "Give that as --list, and here a file with the classes"
        )
    if args.num_classes is None:
        args.num_classes = highest + 1
    if highest >= args.num_classes:
        raise ValueError(
            f"{args.image_labels}: class {highest} is out of range for --num-classes "
            f"{args.num_classes}; classes count from 0"
        )
    _complete_ignore_index(args)
    return [Task(image_id, known[image_id]) for image_id in ids]


def _complete_ignore_index(args: argparse.Namespace) -> None:
    wide = args.num_classes > NARROW_CLASSES
    if args.ignore_index is None:
        args.ignore_index = 65535 if wide else 255
    if args.ignore_index <= args.num_classes:
        raise ValueError(
            f"--ignore-index {args.ignore_index} is a label: 0 to {args.num_classes} are taken"
        )
    if args.ignore_index > (65535 if wide else 255):
        raise ValueError(
            f"--ignore-index {args.ignore_index} does not fit the label files: with "
            f"{args.num_classes} classes they have {16 if wide else 8} bits"
        )


def refuse_unknown(ids: Sequence[str], known: Iterable[str], of: Path, place: Path) -> None:
    """Check that there are ids and that each is known."""
    if not ids:
        raise ValueError(f"{of}: no image to work on")
    known = set(known)
    unknown = [image_id for image_id in ids if image_id not in known]
    if unknown:
        raise ValueError(
            f"{of}: {len(unknown):,} of {len(ids):,} ids are not in {place}: {some(unknown)}"
        )


def png_ids(folder: Path) -> list[str]:
    """Ids of the images that a folder has a file ``ID.png`` of, sorted."""
    return sorted(p.stem for p in folder.iterdir() if p.suffix == ".png" and is_id(p.stem))


def check_pngs(tasks: Sequence[Task], folders: dict[str, Path | None]) -> None:
    """Check that each folder that an option gives has a file ``ID.png`` of an image at least."""
    for option, folder in folders.items():
        if folder is not None:
            ids = [task.image_id for task in tasks]
            _check_any(option, folder, ids, png_ids(folder), "ID.png")


def check_cams(tasks: Sequence[Task], option: str, folder: Path, cam_format: str) -> None:
    """Check that a folder has a dump of an image at least."""
    ids = [task.image_id for task in tasks if task.classes]
    if ids:
        known = cam_ids(folder, format=cam_format)
        _check_any(option, folder, ids, known, f"CAM dump in the format {cam_format}")


def _check_any(
    option: str, folder: Path, ids: Sequence[str], known: Collection[str], kind: str
) -> None:
    if not set(ids) & set(known):
        raise ValueError(
            f"{option}: {folder} has no {kind} of any of the {len(ids):,} images ({some(ids, 2)}); "
            f"it has {counted_endings(folder)}"
        )


def counted_endings(folder: Path) -> str:
    """What a folder has, by the endings of its files."""
    names = (path.name for path in folder.iterdir() if not path.name.startswith("."))
    endings = Counter(Path(name).suffix.lower() for name in names)
    counts = (f"{count:,} {ending or 'without ending'}" for ending, count in endings.most_common())
    return ", ".join(counts) or "nothing"


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
