"""``wsss-nonsalient score``: label maps against ground-truth masks."""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import SegmentationScore
from .._atomic_write import atomic_write
from ..io import VOC_CLASSES, list_ids, read_label, read_saliency
from . import options
from ._inputs import check_pngs, png_ids
from ._run import check_run, outcomes, report_failures
from ._score_table import Ignored, results_of, table
from ._task import Task
from ._types import path

_DESCRIPTION = """\
Score label maps (predictions or pseudo labels) against ground-truth masks.

One confusion matrix over all images, as in the PASCAL VOC benchmark; mean IoU is over the classes
that occur in predictions or masks. Mask pixels of 255 never count. A prediction of 255 (ignored)
is left out of IoU, accuracy and recall, or counts as wrong there (--ignored).

The shares are those that weak supervision is about. Of all object pixels: missed (labelled
background, which teaches a network wrongly), objects ignored, confused (another class). Of
background pixels: false objects. Of all pixels: ignored.
"""

_EPILOG = """\
files: PREDICTIONS/ID.png and TARGETS/ID.png are label maps (palette or gray PNG) of one size.

examples:
  wsss-nonsalient score --predictions labels --targets SegmentationClassAug --num-classes 21
  wsss-nonsalient score --predictions labels --targets SegmentationClassAug --num-classes 21 \\
      --list train.txt --saliency saliency --ignored wrong --json scores.json
"""

Regions = dict[str, Tensor]


@dataclass(frozen=True)
class ScoreSettings:
    """What the counts of an image depend on."""

    predictions: Path
    targets: Path
    saliency: Path | None
    saliency_threshold: float
    num_classes: int
    ignore_index: int


def count(settings: ScoreSettings, task: Task) -> Regions:
    """Confusion matrix of an image, and that of its non-salient region; sparse, to be sent."""
    name = f"{task.image_id}.png"
    prediction = read_label(settings.predictions / name)
    target = read_label(settings.targets / name)
    regions: dict[str, Tensor | None] = {"all": None}
    if settings.saliency is not None:
        saliency = read_saliency(settings.saliency / name)
        regions["non_salient"] = saliency / 255 < settings.saliency_threshold
    counts: Regions = {}
    for region, where in regions.items():
        score = SegmentationScore(settings.num_classes, ignore_index=settings.ignore_index)
        score.update(prediction, target, region=where)
        counts[region] = score.confusion.to_sparse()
    return counts


def add_parser(commands: options.Commands) -> None:
    """The command and its options."""
    parser = options.add_command(
        commands,
        "score",
        prepare,
        about="label maps against ground-truth masks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    files = parser.add_argument_group("files")
    options.add_folder(files, "--predictions", "folder of the label maps to score")
    options.add_folder(files, "--targets", "folder of the ground-truth masks")
    options.add_list(files, "all of --predictions")
    text = "folder of saliency maps ID.png: score the non-salient region by itself too"
    options.add_folder(files, "--saliency", text, required=False)
    files.add_argument("--json", type=path, metavar="FILE", help="write all scores into it too")
    _add_counting(parser)
    options.add_run(parser, writes=False)


def _add_counting(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("counting")
    text = "number of labels, the background included: 21 for VOC, 81 for COCO"
    options.add_integer(group, "--num-classes", text, required=True)
    group.add_argument(
        "--ignored",
        choices=("leave-out", "wrong"),
        default="leave-out",
        help="what pixels are whose prediction is ignored (default: %(default)s)",
    )
    options.add_ignore_index(group, "more than 255 labels")
    options.add_saliency_threshold(group, "saliency below it is the non-salient region")


def prepare(args: argparse.Namespace) -> Callable[[], int]:
    """Check the options and what they name."""
    check_run(args)
    if args.ignore_index is None:
        args.ignore_index = 255 if args.num_classes <= 255 else 65535
    if args.ignore_index < args.num_classes:
        raise ValueError(
            f"--ignore-index {args.ignore_index} is a label: there are {args.num_classes}"
        )
    if args.json is not None and not args.json.parent.is_dir():
        raise ValueError(f"--json: {args.json.parent} is not a folder")
    ids = png_ids(args.predictions) if args.list is None else list_ids(args.list)
    if not ids:
        raise ValueError(f"{args.list or args.predictions}: no image to work on")
    tasks = [Task(image_id) for image_id in ids]
    settings = options.settings_of(ScoreSettings, args)
    check_pngs(
        tasks,
        {
            "--predictions": settings.predictions,
            "--targets": settings.targets,
            "--saliency": settings.saliency,
        },
    )
    return functools.partial(_run, args, settings, tasks)


def _run(args: argparse.Namespace, settings: ScoreSettings, tasks: Sequence[Task]) -> int:
    totals: Regions = {}
    failures: dict[str, str] = {}
    for outcome in outcomes(functools.partial(count, settings), tasks, args):
        if outcome.error is not None:
            failures[outcome.image_id] = outcome.error
        for region, own in (outcome.value or {}).items():
            if region not in totals:
                totals[region] = torch.zeros(own.shape, dtype=own.dtype)
            totals[region] += own
    scored = len(tasks) - len(failures)
    if totals:
        _report(args, totals, scored)
    if failures and totals:
        print(f"the scores are those of the other {scored:,} images", file=sys.stderr)
    return report_failures(failures, len(tasks))


def _report(args: argparse.Namespace, totals: Regions, scored: int) -> None:
    how: Ignored = args.ignored
    results = {region: results_of(confusion, how) for region, confusion in totals.items()}
    names = ("background", *VOC_CLASSES) if args.num_classes == 1 + len(VOC_CLASSES) else ()
    print(f"{scored:,} images, {args.num_classes} labels, ignored predictions: {how}\n")
    print(table(results, names))
    if args.json is not None:
        content = {"images": scored, "num_classes": args.num_classes, "ignored": how, **results}
        text = json.dumps(_without_nan(content), indent=1) + "\n"
        with atomic_write(args.json) as file:
            file.write(text.encode())


def _without_nan(value: object) -> object:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}  # pyright: ignore
    if isinstance(value, list):
        return [_without_nan(item) for item in value]  # pyright: ignore
    return None if isinstance(value, float) and math.isnan(value) else value
