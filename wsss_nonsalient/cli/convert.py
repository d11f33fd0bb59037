"""``wsss-nonsalient convert``: CAM dumps of one codebase into the format of another."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from .._values import to_list
from ..io import CAM_FORMATS, cam_ids, list_ids, read_cams, read_image_labels, write_cams
from ..io._nsrom import nsrom_classes, write_nsrom
from . import options
from ._cams import cam_format
from ._outputs import Job, check_out, fill
from ._run import Task, check_run

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
    parser = commands.add_parser(
        "convert",
        help="CAM dumps of one codebase into the format of another",
        description=_DESCRIPTION,
        epilog=f"{_EPILOG}\n{options.ABOUT_RUNS}",
        formatter_class=options.HelpFormatter,
    )
    parser.set_defaults(parser=parser, prepare=prepare)
    files = parser.add_argument_group("files")
    options.add_cams(files)
    files.add_argument(
        "--to", choices=CAM_FORMATS, required=True, metavar="FORMAT", help="format to write"
    )
    files.add_argument(
        "--out", type=options.path, required=True, metavar="DIR", help="folder of the new dumps"
    )
    options.add_list(files, "all of --cams")
    files.add_argument(
        "--image-labels",
        type=options.existing,
        metavar="FILE",
        help="classes of each image, as for the labels command; wsol dumps need it",
    )
    options.add_run(parser)


def prepare(args: argparse.Namespace) -> Callable[[], int]:
    """Check the options and what they name."""
    check_run(args)
    source = cam_format(args.cams, args.cam_format, "--cam-format")
    if source == "wsol" and args.image_labels is None:
        raise ValueError("--image-labels: needed, wsol dumps do not say of which class they are")
    known = cam_ids(args.cams, format=source)
    ids = known if args.list is None else list_ids(args.list)
    options.refuse_unknown(ids, known, args.list or args.cams, args.cams)
    classes: dict[str, tuple[int, ...]] = {}
    if args.image_labels is not None:
        classes = read_image_labels(args.image_labels)
        options.refuse_unknown(ids, classes, args.cams, args.image_labels)
    tasks = [Task(image_id, classes.get(image_id, ())) for image_id in ids]
    settings = ConvertSettings(args.cams, source, args.to)
    step = functools.partial(_step, settings, args.out)
    job = Job("convert", asdict(settings), tasks, step, *_outputs(args.out, args.to, ids))
    check_out(args, job)
    return functools.partial(fill, args, job)


def _outputs(
    out: Path, to: str, ids: Collection[str]
) -> tuple[Callable[[Task], list[Path]] | None, Callable[[], list[Path]]]:
    """The files of an image; for nsrom, one a class, only the dump knows: those that are there."""
    if to == "nsrom":
        return None, functools.partial(_nsrom_files, out, frozenset(ids))
    return functools.partial(_dump_path, out, "npz" if to == "npz" else "npy"), list


def _dump_path(out: Path, ending: str, task: Task) -> list[Path]:
    return [out / f"{task.image_id}.{ending}"]


def _nsrom_files(out: Path, ids: Collection[str]) -> list[Path]:
    found = nsrom_classes(out).items()
    return [out / f"{own}_{c}.png" for own, classes in found if own in ids for c in classes]


def _step(settings: ConvertSettings, out: Path, task: Task, write: bool) -> list[str]:
    cams = read_cams(
        settings.cams,
        task.image_id,
        format=settings.cam_format,
        image_labels=task.classes if settings.cam_format == "wsol" else None,
    )
    if settings.to == "wsol" and len(cams.classes) != 1:
        raise ValueError(f"wsol dumps hold one class an image, this one has {len(cams.classes)}")
    if settings.to == "nsrom":
        if write:  # files of an earlier run went before this one started
            write_nsrom(out, task.image_id, cams)
        return [f"{task.image_id}_{c}.png" for c in to_list(cams.classes)]
    [path] = _dump_path(out, "npz" if settings.to == "npz" else "npy", task)
    if write:
        write_cams(out, task.image_id, cams, format=settings.to)
    return [path.name]
