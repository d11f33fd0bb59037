"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..io import CAM_FORMATS, list_ids, read_image_labels
from ._run import Task

if TYPE_CHECKING:  # argparse has no public names for them
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]
    Group = argparse._ArgumentGroup  # pyright: ignore[reportPrivateUsage]

_NARROW_CLASSES = 254  # foreground classes that 8-bit label maps hold beside 0 and 255


ABOUT_RUNS = """\
A run that was killed goes on when it is started again: files are complete or not there (a hidden
.tmp file that it may leave can be deleted). OUT also gets a hidden file with the options, so that
a folder never mixes the results of two settings.

exit codes: 0 all is well; 1 an image failed: the others are done, and the failures are listed at
the end; 2 bad use, and nothing was done.
"""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions, and uses the width of the terminal up to 100 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)
        self._width = min(self._width, 98)


def folder(text: str) -> Path:
    """Type of an option: an existing folder, as an absolute path, since workers may be anywhere."""
    path = Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def existing(text: str) -> Path:
    """Type of an option: an existing file or folder."""
    path = Path(text).absolute()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


def path(text: str) -> Path:
    """Type of an option: a path, whether it exists or not."""
    return Path(text).absolute()


def share(text: str) -> float:
    """Type of an option: a number in [0, 1], or a fraction such as 32/255."""
    numerator, _, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1] or a/b, got {text!r}")
    return value


def positive(text: str) -> int:
    """Type of an option: an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def natural(text: str) -> int:
    """Type of an option: an integer of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected an integer of at least 0, got {text!r}")
    return int(text)


def workers(text: str) -> int:
    """Type of an option: a number of processes, or -1 for one a core."""
    if text == "-1":
        return -1
    return positive(text)


def add_cams(group: Group, *, required: bool = True) -> None:
    """``--cams`` and its format."""
    group.add_argument(
        "--cams", type=folder, required=required, metavar="DIR", help="folder of CAM dumps"
    )
    add_cam_format(group, "--cam-format", "--cams")


def add_cam_format(group: Group, flag: str, of: str) -> None:
    """The format of a folder of CAM dumps."""
    group.add_argument(
        flag,
        choices=("auto", *CAM_FORMATS),
        default="auto",
        metavar="FORMAT",
        help=f"how {of} is written: {', '.join(CAM_FORMATS)}, or auto, which looks at the files "
        "and refuses what it cannot tell apart (default: %(default)s)",
    )


def add_image_labels(group: Group) -> None:
    """Image-level labels, the ids among them, and the number of classes."""
    group.add_argument(
        "--image-labels",
        type=existing,
        required=True,
        metavar="FILE",
        help="classes of each image: a text file of lines `ID c c c` with c from 0, a JSON file "
        "of ID to classes or COCO's own, cls_labels.npy (which may need --list), or a folder of "
        "VOC XML annotations",
    )
    add_list(group, "all of --image-labels")
    group.add_argument(
        "--num-classes",
        type=positive,
        metavar="N",
        help="number of foreground classes (VOC 20, COCO 80; default: the highest class in "
        f"--image-labels, + 1); with more than {_NARROW_CLASSES} label maps have 16 bits",
    )
    group.add_argument(
        "--ignore-index",
        type=positive,
        metavar="N",
        help=f"label of ignored pixels (default: 255; 65535 with more than {_NARROW_CLASSES} "
        "classes)",
    )


def add_list(group: Group, default: str) -> None:
    """The ids to work on."""
    group.add_argument(
        "--list",
        type=existing,
        metavar="FILE",
        help=f"ids of the images to work on, one a line, without ending (default: {default})",
    )


def add_sparse_ratio(group: Group) -> None:
    """The last rule of every label step."""
    group.add_argument(
        "--sparse-ratio",
        type=share,
        default=0.01,
        metavar="R",
        help="a label map whose share of object pixels is below R is ignored whole; 0 turns this "
        "off (default: %(default)s)",
    )


def add_run(parser: argparse.ArgumentParser, *, writes: bool = True) -> None:
    """Options of how a command runs."""
    group = parser.add_argument_group("how to run")
    group.add_argument(
        "--jobs",
        type=workers,
        default=1,
        metavar="N",
        help="processes that work in parallel, -1 for one a core (default: %(default)s); more "
        "than 1 need joblib: pip install 'wsss-nonsalient[cli]'",
    )
    group.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="work on the Dask cluster with this scheduler, such as tcp://10.0.0.1:8786, whose "
        "workers see the same files under the same paths",
    )
    if writes:
        group.add_argument(
            "--dry-run",
            action="store_true",
            help="read and check all inputs, work everything out, write nothing",
        )
        group.add_argument(
            "--overwrite",
            action="store_true",
            help="make anew what is in --out already; by default it is skipped, so that a command "
            "that was killed goes on when it is started again",
        )
    group.add_argument("--quiet", action="store_true", help="no progress bar")


def read_tasks(args: argparse.Namespace) -> list[Task]:
    """Ids and classes of the images to work on; completes ``num_classes`` and ``ignore_index``."""
    listed = None if args.list is None else list_ids(args.list)
    # arrays do not always tell their ids; other files are read whole, for the number of classes
    ids_of_array = listed if args.image_labels.suffix == ".npy" else None
    known = read_image_labels(args.image_labels, ids=ids_of_array)
    ids = list(known) if listed is None else listed
    refuse_unknown(ids, known, args.list or args.image_labels, args.image_labels)
    highest = max((max(classes, default=-1) for classes in known.values()), default=-1)
    if args.num_classes is None:
        args.num_classes = max(1, highest + 1)
    if highest >= args.num_classes:
        raise ValueError(
            f"{args.image_labels}: class {highest} is out of range for --num-classes "
            f"{args.num_classes}; classes count from 0"
        )
    check_label_range(args)
    return [Task(image_id, known[image_id]) for image_id in ids]


def check_label_range(args: argparse.Namespace) -> None:
    """Give ``ignore_index`` its default, and check that the files can hold all labels."""
    wide = args.num_classes > _NARROW_CLASSES
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
            f"{of}: {len(unknown)} of {len(ids)} ids are not in {place}: {some(unknown)}"
        )


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" * (len(names) > most))
