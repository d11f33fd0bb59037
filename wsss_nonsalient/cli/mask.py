"""``wsss-nonsalient mask``: labels of the second round, from predictions and pseudo labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import ignore_sparse_labels, nsrm_mask
from ..io import read_label, read_saliency
from . import options
from ._inputs import NARROW_CLASSES, check_pngs, read_tasks
from ._outputs import label_run
from ._run import check_run
from ._task import Task
from ._types import natural

_DESCRIPTION = """\
Labels of the second round of training: non-salient region masking (NSRM).

A network trained on the pseudo labels predicts a label map of each training image. In an image
with at least --min-classes classes:
  1. Where the prediction is background, object pixels of the pseudo label are put in.
  2. What is far from any object (outside a --kernel-size square around every object pixel, and,
     with --saliency, around every pixel whose saliency is not 0) is ignored.
An image with fewer classes keeps its prediction. At last, a label map with hardly any object
(--sparse-ratio) is ignored whole.

Written is OUT/ID.png: 0 background, c + 1 class c, 255 ignored, with the colours of PASCAL VOC.
"""

_EPILOG = """\
files: PREDICTIONS/ID.png and PSEUDO_LABELS/ID.png are label maps (palette or gray PNG) and
  SALIENCY/ID.png is 8-bit gray, all of one size.

examples:
  wsss-nonsalient mask --predictions predictions --pseudo-labels labels \\
      --image-labels train_cls.txt --out labels2 --jobs -1

  as the released implementation:
  wsss-nonsalient mask --predictions predictions --pseudo-labels labels \\
      --image-labels train_cls.txt --saliency saliency --out labels2
"""


@dataclass(frozen=True)
class MaskSettings:
    """What the label of an image depends on."""

    predictions: Path
    pseudo_labels: Path
    saliency: Path | None
    num_classes: int
    ignore_index: int
    kernel_size: int
    min_classes: int
    keep_ignored: bool
    restrict_to_image_labels: bool
    sparse_ratio: float


def make_label(task: Task, settings: MaskSettings) -> Tensor:
    """The label map of an image, uint8 or, with more than 254 classes, int32."""
    dtype = torch.int32 if settings.num_classes > NARROW_CLASSES else torch.uint8
    name = f"{task.image_id}.png"
    saliency = None
    if settings.saliency is not None:
        saliency = read_saliency(settings.saliency / name)
    present = torch.zeros(settings.num_classes, dtype=torch.bool)
    present[list(task.classes)] = True
    labels = nsrm_mask(
        _read(settings.predictions / name, dtype),
        _read(settings.pseudo_labels / name, dtype),
        present,
        saliency=saliency,
        kernel_size=settings.kernel_size,
        min_classes=settings.min_classes,
        keep_ignored=settings.keep_ignored,
        restrict_to_image_labels=settings.restrict_to_image_labels,
        ignore_index=settings.ignore_index,
    )
    return ignore_sparse_labels(
        labels, min_object_ratio=settings.sparse_ratio, ignore_index=settings.ignore_index
    )


def _read(path: Path, dtype: torch.dtype) -> Tensor:
    labels = read_label(path)
    if labels.dtype != torch.uint8 and dtype == torch.uint8:
        raise ValueError(f"{path}: has 16 bits, expected 8 with fewer than 255 classes")
    return labels.to(dtype)


def add_parser(commands: options.Commands) -> None:
    """The command and its options."""
    parser = options.add_command(
        commands,
        "mask",
        prepare,
        about="labels of the second round, from predictions and pseudo labels (NSRM)",
        description=_DESCRIPTION,
        epilog=f"{_EPILOG}\n{options.ABOUT_RUNS}",
    )
    files = parser.add_argument_group("files")
    options.add_folder(files, "--predictions", "folder of the network's label maps, ID.png")
    text = "folder of the label maps that it was trained on, ID.png"
    options.add_folder(files, "--pseudo-labels", text)
    options.add_image_labels(files)
    text = "folder of ID.png: what is not 0 in it is near an object too (default: not used)"
    options.add_folder(files, "--saliency", text, required=False)
    options.add_out(files, "folder of the label PNGs")
    _add_steps(parser)
    options.add_run(parser)


def _add_steps(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("steps")
    text = "side in pixels of the square that dilates objects (default: %(default)s)"
    options.add_integer(group, "--kernel-size", text, default=30)
    text = "images with at least so many classes are masked (default: %(default)s)"
    options.add_integer(group, "--min-classes", text, kind=natural, default=2)
    group.add_argument(
        "--keep-ignored",
        action="store_true",
        help="what the pseudo label ignores stays ignored where the prediction is background, "
        "instead of being taught as background again",
    )
    group.add_argument(
        "--restrict-to-image-labels",
        action="store_true",
        help="a predicted class that the image does not have gives way to the pseudo label's "
        "object, or is ignored",
    )
    options.add_sparse_ratio(group)


def prepare(args: argparse.Namespace) -> Callable[[], int]:
    """Check the options and what they name."""
    check_run(args)
    tasks = read_tasks(args)
    settings = options.settings_of(MaskSettings, args)
    check_pngs(
        tasks,
        {
            "--predictions": settings.predictions,
            "--pseudo-labels": settings.pseudo_labels,
            "--saliency": settings.saliency,
        },
    )
    return label_run(args, "mask", make_label, settings, tasks)
