"""Commands and the options that several of them share."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..io import CAM_FORMATS
from ._inputs import NARROW_CLASSES
from ._types import HelpFormatter, existing, folder, path, positive, share, workers

if TYPE_CHECKING:  # argparse has no public names for them
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]
    Group = argparse._ActionsContainer  # pyright: ignore[reportPrivateUsage]

Settings = TypeVar("Settings")

ABOUT_RUNS = """\
A run that was killed goes on when it is started again: files are complete or not there, and
hidden .tmp files that it left are removed. OUT also gets a hidden file with the options, so that
a folder never mixes the results of two settings.

exit codes: 0 all is well; 1 an image failed: the others are done, and the failures are listed at
the end; or the workers were lost: the same command goes on; 2 bad use, and nothing was done.
"""


def add_command(
    commands: Commands,
    name: str,
    prepare: Callable[[argparse.Namespace], Callable[[], int]],
    *,
    about: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """A command without options; ``prepare`` checks these and what they name, and gives the run."""
    parser = commands.add_parser(
        name,
        help=about,
        description=description,
        epilog=epilog,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(parser=parser, prepare=prepare)
    return parser


def settings_of(kind: type[Settings], args: argparse.Namespace) -> Settings:
    """A dataclass of the options that have the names of its fields."""
    return kind(**{name: getattr(args, name) for name in inspect.signature(kind).parameters})


def add_folder(group: Group, flag: str, text: str, *, required: bool = True) -> None:
    """An existing folder."""
    group.add_argument(flag, type=folder, required=required, metavar="DIR", help=text)


def add_out(group: Group, text: str) -> None:
    """``--out``, the folder that a command fills."""
    group.add_argument("--out", type=path, required=True, metavar="DIR", help=text)


def add_share(group: Group, flag: str, default: float, text: str, shown: str = "") -> None:
    """A number in [0, 1]."""
    text = f"{text} (default: {shown or default})"
    group.add_argument(flag, type=share, default=default, metavar="T", help=text)


def add_saliency_threshold(group: Group, text: str) -> None:
    """Where the salient region begins."""
    add_share(group, "--saliency-threshold", 32 / 255, text, "32/255")


def add_integer(
    group: Group, flag: str, text: str, *, kind: Callable[[str], int] = positive, **more: Any
) -> None:
    """A number of something."""
    group.add_argument(flag, type=kind, metavar="N", help=text, **more)


def add_ignore_index(group: Group, wide: str) -> None:
    """``--ignore-index``, whose default depends on the number of classes."""
    add_integer(
        group, "--ignore-index", f"label of ignored pixels (default: 255; 65535 with {wide})"
    )


def add_cams(group: Group) -> None:
    """``--cams`` and its format."""
    add_folder(group, "--cams", "folder of CAM dumps")
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
    add_integer(
        group,
        "--num-classes",
        "number of foreground classes (VOC 20, COCO 80; default: the highest class in "
        f"--image-labels, + 1); with more than {NARROW_CLASSES} label maps have 16 bits",
    )
    add_ignore_index(group, f"more than {NARROW_CLASSES} classes")


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
    add_share(
        group,
        "--sparse-ratio",
        0.01,
        "a label map whose share of object pixels is below T is ignored whole; 0 turns this off",
    )


def add_run(parser: argparse.ArgumentParser, *, writes: bool = True) -> None:
    """Options of how a command runs."""
    group = parser.add_argument_group("how to run")
    add_integer(
        group,
        "--jobs",
        "processes that work in parallel, -1 for one a core (default: %(default)s); more than 1 "
        "need joblib: pip install 'wsss-nonsalient[cli]'",
        kind=workers,
        default=1,
    )
    group.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="work on the Dask cluster with this scheduler, such as tcp://10.0.0.1:8786, whose "
        "workers have this package and see the same files under the same paths",
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
