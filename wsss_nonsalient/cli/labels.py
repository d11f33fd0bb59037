"""``wsss-nonsalient labels``: pseudo labels from CAM dumps, saliency and image-level labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from .. import ignore_sparse_labels, initial_labels, normalize_cam, pom_refine, resize_cam
from ..io import CAMs, read_cams, read_saliency
from ..pom import Quartile
from . import options
from ._cams import cam_format, maps_of
from ._inputs import NARROW_CLASSES, check_cams, check_pngs, read_tasks
from ._outputs import label_run
from ._run import check_run
from ._task import Task

Normalization = Literal["minmax", "max", "none"]

_DESCRIPTION = """\
Pseudo labels from CAM dumps, saliency maps and image-level labels: the initial label and POM.

For each image, in this order:
  1. The maps of the image's classes are normalised (--normalize) and resized to the saliency map,
     which has the image's size. Maps of other classes are not looked at.
  2. Initial label: values < --fg-threshold are 0, of the maps and of 1 - saliency, the background.
     Two or more > --conflict-threshold: ignored. Else the largest wins. Background with saliency
     >= --saliency-threshold, or with a map > --attention-threshold, is ignored.
  3. POM: background whose CAM is above a threshold of its class is ignored. The threshold is the
     median CAM value where the label is that class; where there is no such pixel, the upper
     quartile of the values > --bg-threshold.
  4. A label map with hardly any object (--sparse-ratio) is ignored whole.

Written is OUT/ID.png: 0 background, c + 1 class c, 255 ignored, with the colours of PASCAL VOC.
"""

_EPILOG = """\
files: SALIENCY/ID.png is 8-bit gray, of the image's size. CAM dumps are CAMS/ID.npy, ID.npz, or
  ID_CLASS.png, see --cam-format. No pickle in them is run, whoever made it.

examples:
  wsss-nonsalient labels --cams irn_cams --cam-format irn --saliency saliency \\
      --image-labels train_cls.txt --out labels --jobs -1

  The released implementation's labels, from the 8-bit maps of the classifier (cams) and of the
  integral attention model (oa_cams):
  wsss-nonsalient labels --cams cams --oa-cams oa_cams --saliency saliency \\
      --image-labels train_cls.txt --quartile nested-median --out labels
"""


@dataclass(frozen=True)
class LabelSettings:
    """What the label of an image depends on."""

    cams: Path
    cam_format: str
    oa_cams: Path | None
    oa_cam_format: str | None
    saliency: Path
    num_classes: int
    ignore_index: int
    normalize: Normalization
    missing_maps: Literal["fail", "zero"]
    fg_threshold: float
    conflict_threshold: float
    attention_threshold: float
    saliency_threshold: float
    pom: bool
    bg_threshold: float
    quartile: Quartile
    sparse_ratio: float


def make_label(task: Task, settings: LabelSettings) -> Tensor:
    """The label map of an image, uint8 or, with more than 254 classes, int32."""
    saliency = read_saliency(settings.saliency / f"{task.image_id}.png")
    cam = _read_maps(settings.cams, settings.cam_format, task, saliency, settings)
    oa_cam = cam
    if settings.oa_cams is not None and settings.oa_cam_format is not None:
        oa_cam = _read_maps(settings.oa_cams, settings.oa_cam_format, task, saliency, settings)
    classes = task.classes or (0,)  # an image without any class: one map of zeros
    present = torch.full((len(classes),), bool(task.classes))
    ignored = len(classes) + 1  # while labels count the image's classes only
    labels = initial_labels(
        oa_cam,
        saliency,
        present,
        fg_threshold=settings.fg_threshold,
        conflict_threshold=settings.conflict_threshold,
        attention_threshold=settings.attention_threshold,
        saliency_threshold=settings.saliency_threshold,
        ignore_index=ignored,
        dtype=torch.uint8 if ignored < 256 else torch.int32,
    )
    if settings.pom:
        labels = pom_refine(
            labels,
            cam,
            present,
            bg_threshold=settings.bg_threshold,
            quartile=settings.quartile,
            ignore_index=ignored,
        )
    labels = ignore_sparse_labels(
        labels, min_object_ratio=settings.sparse_ratio, ignore_index=ignored
    )
    wide = settings.num_classes > NARROW_CLASSES
    table = torch.tensor(
        [0, *(c + 1 for c in classes), settings.ignore_index],
        dtype=torch.int32 if wide else torch.uint8,
    )
    return table.index_select(0, labels.flatten().int()).view_as(labels)


def _read_maps(
    folder: Path, cam_format: str, task: Task, saliency: Tensor, settings: LabelSettings
) -> Tensor:
    """(K, H, W) maps in [0, 1] of an image's classes, as large as its saliency map."""
    if not task.classes:
        return torch.zeros(1, *saliency.shape)
    cams: CAMs = read_cams(folder, task.image_id, format=cam_format, image_labels=task.classes)
    maps = maps_of(cams, task.classes, zero_if_missing=settings.missing_maps == "zero")
    if settings.normalize != "none":
        maps = normalize_cam(maps, mode=settings.normalize)
    return maps if maps.shape[1:] == saliency.shape else resize_cam(maps, saliency.shape)


def add_parser(commands: options.Commands) -> None:
    """The command and its options."""
    parser = options.add_command(
        commands,
        "labels",
        prepare,
        about="pseudo labels from CAM dumps, saliency and image-level labels (initial label, POM)",
        description=_DESCRIPTION,
        epilog=f"{_EPILOG}\n{options.ABOUT_RUNS}",
    )
    files = parser.add_argument_group("files")
    options.add_cams(files)
    text = (
        "folder of other maps for the initial label (accumulated ones, high recall), while POM "
        "takes --cams (default: --cams for both)"
    )
    options.add_folder(files, "--oa-cams", text, required=False)
    options.add_cam_format(files, "--oa-cam-format", "--oa-cams")
    options.add_folder(files, "--saliency", "folder of ID.png")
    options.add_image_labels(files)
    options.add_out(files, "folder of the label PNGs")
    _add_steps(parser)
    options.add_run(parser)


def _add_steps(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("steps", "Thresholds are in [0, 1] and may be fractions.")
    group.add_argument(
        "--normalize",
        choices=("minmax", "max", "none"),
        default="minmax",
        help="each map: (x - min) / (max - min), as the released implementation; relu(x) / max; "
        "or as it is, in [0, 1] (default: %(default)s)",
    )
    group.add_argument(
        "--missing-maps",
        choices=("fail", "zero"),
        default="fail",
        help="an image whose dump lacks a map of one of its classes fails, or the map is taken as "
        "zeros (default: %(default)s)",
    )
    for name, default, text in (
        ("fg", 0.3, "maps and background below it are 0"),
        ("conflict", 0.9, "two or more of maps and background above it: ignored"),
        ("attention", 0.8, "a map above it forbids background"),
    ):
        options.add_share(group, f"--{name}-threshold", default, text)
    text = "saliency of at least this forbids background"
    options.add_saliency_threshold(group, text)
    options.add_share(group, "--bg-threshold", 0.3, "POM: values above it make the quartile")
    group.add_argument("--no-pom", dest="pom", action="store_false", help="leave POM out")
    group.add_argument(
        "--quartile",
        choices=("linear", "nested-median"),
        default="linear",
        help="POM's upper quartile: the 75th percentile, or the median of the values above the "
        "median, as the released implementation (default: %(default)s)",
    )
    options.add_sparse_ratio(group)


def prepare(args: argparse.Namespace) -> Callable[[], int]:
    """Check the options and what they name."""
    check_run(args)
    tasks = read_tasks(args)
    args.cam_format = cam_format(args.cams, args.cam_format, "--cams")
    check_cams(tasks, "--cams", args.cams, args.cam_format)
    if args.oa_cams is not None:
        args.oa_cam_format = cam_format(args.oa_cams, args.oa_cam_format, "--oa-cams")
        check_cams(tasks, "--oa-cams", args.oa_cams, args.oa_cam_format)
    elif args.oa_cam_format != "auto":
        raise ValueError("--oa-cam-format: there is no --oa-cams")
    else:
        args.oa_cam_format = None
    check_pngs(tasks, {"--saliency": args.saliency})
    settings = options.settings_of(LabelSettings, args)
    return label_run(args, "labels", make_label, settings, tasks)
