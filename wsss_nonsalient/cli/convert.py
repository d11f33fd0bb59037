"""``wsss-nonsalient convert``: CAM dumps of one codebase into the format of another."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .._values import to_list
from ..io import CAM_FORMATS, cam_ids, list_ids, read_cams, read_image_labels, write_cams
from ..io._nsrom import image_and_class
from . import options
from ._cams import cam_format
from ._inputs import refuse_unknown
from ._outputs import Job, run_of
from ._run import check_run
from ._task import Task
from ._types import existing

_DESCRIPTION = """\
Write CAM dumps of one codebase in the format of another.

  nsrom      ID_CLASS.png, 8-bit gray, one file a class (OAA and L2G too)
  psa        ID.npy, a dict of class to map (SEAM, EPS, L2G, MCTformer and WeakTr too)
  psa-crf    ID.npy, the same with background 0 and class + 1: probabilities after the CRF
  irn        ID.npy, `keys`, `cam` and `high_res` (AdvCAM, AMN and ReCAM too)
  puzzlecam  ID.npy, `keys` with the background in front, `cam` and `hr_cam`
  clip-es    ID.npy, `keys` and `attn_highres`, in half precision
  wsol       ID.npy, one map, of an image of one class
  npz        ID.npz, ours: no pickle, any number of classes

All but nsrom and npz are pickles; they are read without running anything that is in them.
To 8 bits and to half precision values are rounded; everything else goes over as it is.
A run that was killed goes on when it is started again.
"""

_EPILOG = """\
examples:
  wsss-nonsalient convert --cams irn_cams --cam-format irn --to nsrom --out pngs
  wsss-nonsalient convert --cams strangers_dumps --to npz --out cams   # for good: no pickles left
"""


@dataclass(frozen=True)
class ConvertSettings:
    """What the converted dump of an image depends on."""

    cams: Path
    cam_format: str
    to: str


def add_parser(commands: options.Commands) -> None:
    """The command and its options."""
    parser = options.add_command(
        commands,
        "convert",
        prepare,
        about="CAM dumps of one codebase into the format of another",
        description=_DESCRIPTION,
        epilog=f"{_EPILOG}\n{options.ABOUT_RUNS}",
    )
    files = parser.add_argument_group("files")
    options.add_cams(files)
    files.add_argument(
        "--to",
        choices=CAM_FORMATS,
        required=True,
        metavar="FORMAT",
        help=f"format to write: {', '.join(CAM_FORMATS)}",
    )
    options.add_out(files, "folder of the new dumps")
    options.add_list(files, "all of --cams")
    files.add_argument(
        "--image-labels",
        type=existing,
        metavar="FILE",
        help="classes of each image, as for the labels command; wsol dumps need it",
    )
    options.add_run(parser)


def prepare(args: argparse.Namespace) -> Callable[[], int]:
    """Check the options and what they name."""
    check_run(args)
    args.cam_format = cam_format(args.cams, args.cam_format, "--cams")
    if args.cam_format == "wsol" and args.image_labels is None:
        raise ValueError("--image-labels: needed, wsol dumps do not say of which class they are")
    known = cam_ids(args.cams, format=args.cam_format)
    ids = known if args.list is None else list_ids(args.list)
    refuse_unknown(ids, known, args.list or args.cams, args.cams)
    classes: dict[str, tuple[int, ...]] = {}
    if args.image_labels is not None:
        classes = read_image_labels(args.image_labels, ids=ids)
    settings = options.settings_of(ConvertSettings, args)
    job = Job(
        "convert",
        vars(settings),
        [Task(image_id, classes.get(image_id, ())) for image_id in ids],
        functools.partial(_step, settings, args.out),
        ending=Path(_name("ID", 0, args.to)).suffix,
    )
    if args.to == "nsrom":
        job = replace(job, image_of=functools.partial(_image_of_nsrom, args.out), one_file=False)
    return run_of(args, job)


def _name(image_id: str, number: int, to: str) -> str:
    """The file that has the map of a class."""
    ending = {"nsrom": f"_{number}.png", "npz": ".npz"}
    return image_id + ending.get(to, ".npy")


def _image_of_nsrom(out: Path, name: str) -> str:
    return image_and_class(name, out)[0]


def _step(settings: ConvertSettings, out: Path, task: Task, write: bool) -> list[str]:
    cams = read_cams(
        settings.cams,
        task.image_id,
        format=settings.cam_format,
        image_labels=task.classes if settings.cam_format == "wsol" else None,
    )
    if settings.to == "wsol" and len(cams.classes) != 1:
        raise ValueError(f"wsol dumps hold one class an image, this one has {len(cams.classes)}")
    if write:  # what the folder had of this image is gone
        write_cams(out, task.image_id, cams, format=settings.to, replaces=())
    return [_name(task.image_id, number, settings.to) for number in to_list(cams.classes)]
