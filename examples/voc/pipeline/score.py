"""Score: labels of the training pictures and predictions for the others, against true masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wsss_nonsalient import SegmentationScore
from wsss_nonsalient.io import read_label, read_saliency
from wsss_nonsalient.metrics import SegmentationResults

from .photos import Photo
from .run_folder import Run

SALIENT = 32  # of 255: pixels below it are the non-salient region


def score(run: Run) -> dict[str, dict[str, Any]]:
    """Scores of each step, as fractions; what was not made yet is left out."""
    steps = {
        "initial": ("labels/initial", run.train),
        "pom": ("labels/pom", run.train),
        "nsrm": ("labels/nsrm", run.train),
        "segmentation_1": ("val/segmentation_1", run.val),
        "segmentation_2": ("val/segmentation_2", run.val),
        "segmentation_1_crf": ("val/segmentation_1_crf", run.val),
        "segmentation_2_crf": ("val/segmentation_2_crf", run.val),
    }
    return {
        name: score_folder(run.folder / folder, photos, run.data.class_names)
        for name, (folder, photos) in steps.items()
        if all((run.folder / folder / f"{photo.key}.png").is_file() for photo in photos)
    }


def score_folder(
    folder: Path, photos: Sequence[Photo], class_names: Sequence[str]
) -> dict[str, Any]:
    """Scores of the label maps `ID.png` of a folder.

    The non-salient region is that of the data set's own saliency maps, whatever the labels are made
    from; without these maps its scores are not defined.
    """
    whole = SegmentationScore(len(class_names) + 1)
    non_salient = SegmentationScore(len(class_names) + 1)
    for photo in tqdm(photos, desc=f"score {folder.name}", unit="picture"):
        labels, truth = read_label(folder / f"{photo.key}.png"), read_label(photo.scoring_mask)
        whole.update(labels, truth)
        if photo.saliency.is_file():
            non_salient.update(labels, truth, region=read_saliency(photo.saliency) < SALIENT)
    return as_fractions(whole.compute(), non_salient.compute(), ("background", *class_names))


def as_fractions(
    whole: SegmentationResults, non_salient: SegmentationResults, names: Sequence[str]
) -> dict[str, Any]:
    """The columns of the tables; None for what is not defined, such as the IoU of no pixel."""
    right = 1 - non_salient.missed - non_salient.objects_ignored - non_salient.confused
    columns = {
        "miou": whole.mean_iou,
        "miou_strict": whole.mean_iou_strict,
        "missed": whole.missed,
        "missed_non_salient": non_salient.missed,
        "ignored_non_salient": non_salient.objects_ignored,
        "right_non_salient": right,
        "false_objects": whole.false_objects,
        "ignored": whole.ignored,
    }
    per_class = dict(zip(names, whole.per_class_iou.tolist(), strict=True))
    return {
        **{name: defined(value) for name, value in columns.items()},
        "per_class_iou": {name: defined(value) for name, value in per_class.items()},
    }


def defined(value: float) -> float | None:
    """The value, or None in place of NaN, which JSON has not."""
    return None if math.isnan(value) else value
