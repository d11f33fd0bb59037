"""Pseudo labels from maps and saliency, step by step, and scores; only scores see the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from voc_data import Photo, image_labels

from wsss_nonsalient import (
    SegmentationScore,
    ignore_sparse_labels,
    initial_labels,
    pom_refine,
    resize_cam,
)
from wsss_nonsalient.io import VOC_CLASSES, read_label, read_saliency, write_label

SALIENT = 32  # of 255: pixels below it are the non-salient region
THRESHOLDS = tuple(k / 40 for k in range(4, 37))
STEPS = ("initial", "initial + POM", "initial + POM + sparse")
COLUMNS = (
    "mean_iou",
    "mean_iou_strict",
    "ignored",
    "missed",
    "non_salient_missed",
    "non_salient_ignored",
    "non_salient_right",
    "false_objects",
)


def label_steps(
    cam: Tensor, oa_cam: Tensor, saliency: Tensor, present: Tensor
) -> dict[str, Tensor]:
    """The pseudo label of one photo after each of `STEPS`; no true mask takes part.

    Args:
        cam: the classifier's maps, float (classes, h, w) in [0, 1].
        oa_cam: the integral model's maps, likewise.
        saliency: uint8 (H, W), of the photo's size, which the labels get too.
        present: multi-hot (classes,).
    """
    size = saliency.shape[-2:]
    initial = initial_labels(resize_cam(oa_cam, size), saliency, present)
    refined = pom_refine(initial, resize_cam(cam, size), present)
    return dict(zip(STEPS, (initial, refined, ignore_sparse_labels(refined)), strict=True))


def present_maps(maps: Tensor, photo: Photo, size: Sequence[int]) -> Tensor:
    """The maps of a photo's classes alone, (K, H, W), out of (classes, h, w)."""
    if not photo.classes:
        return maps.new_zeros(0, *size)
    return resize_cam(maps[list(photo.classes)], size)


def map_label(maps: Tensor, classes: Sequence[int], threshold: float) -> Tensor:
    """The strongest of a photo's present maps (K, H, W), background where none passes threshold."""
    label = torch.zeros(maps.shape[1:], dtype=torch.uint8)
    best = torch.full(maps.shape[1:], threshold)
    for own, c in zip(maps, classes, strict=True):  # much faster than argmax over a few maps
        label[own > best] = c + 1
        best = torch.maximum(best, own)
    return label


def best_threshold(maps: Tensor, photos: Sequence[Photo], name: str) -> float:
    """The background threshold with the best mean_iou, on every fourth row and column.

    Chosen with the masks, it flatters the maps' own rows; no label depends on it.
    """
    scores = {threshold: SegmentationScore(len(VOC_CLASSES) + 1) for threshold in THRESHOLDS}
    for photo, own in zip(tqdm(photos, desc=f"threshold of {name}"), maps, strict=True):
        truth = read_label(photo.scoring_mask)
        present = present_maps(own, photo, truth.shape)[:, ::4, ::4]
        for threshold, score in scores.items():
            score.update(map_label(present, photo.classes, threshold), truth[::4, ::4])
    return max(scores, key=lambda threshold: scores[threshold].compute().mean_iou)


class StepScore:
    """Score of one step over all pixels and over the non-salient region."""

    def __init__(self) -> None:
        self.whole = SegmentationScore(len(VOC_CLASSES) + 1)
        self.outside = SegmentationScore(len(VOC_CLASSES) + 1)

    def update(self, label: Tensor, truth: Tensor, saliency: Tensor) -> None:
        """Add one photo."""
        self.whole.update(label, truth)
        self.outside.update(label, truth, region=saliency < SALIENT)

    def row(self) -> dict[str, float]:
        """The values of `COLUMNS`, as fractions."""
        whole, outside = self.whole.compute(), self.outside.compute()
        right = 1 - outside.missed - outside.objects_ignored - outside.confused
        values = (
            *(whole.mean_iou, whole.mean_iou_strict, whole.ignored, whole.missed),
            *(outside.missed, outside.objects_ignored, right, whole.false_objects),
        )
        return dict(zip(COLUMNS, values, strict=True))


def label_and_score(
    photos: Sequence[Photo],
    maps: Mapping[str, Tensor],
    thresholds: Mapping[str, float],
    folder: Path,
) -> dict[str, dict[str, float]]:
    """Write the labels of each photo to `folder/STEP/ID.png` and score maps and labels.

    Args:
        photos: N photos.
        maps: `CAM`, `accumulated` and `OA-CAM`, each (N, classes, h, w) in [0, 1].
        thresholds: background threshold of each of them, for their own rows.
        folder: where the labels go.
    """
    scores = {step: StepScore() for step in (*maps, *STEPS)}
    folders = {step: folder / step.replace(" ", "") for step in STEPS}
    for own_folder in folders.values():
        own_folder.mkdir(parents=True, exist_ok=True)
    present = image_labels(photos)
    for i, photo in enumerate(tqdm(photos, desc="labels", unit="photo")):
        saliency = read_saliency(photo.saliency)
        labels = label_steps(maps["CAM"][i], maps["OA-CAM"][i], saliency, present[i])
        for step, label in labels.items():
            write_label(folders[step] / f"{photo.key}.png", label)
        for name, threshold in thresholds.items():
            own = present_maps(maps[name][i], photo, saliency.shape)
            labels[name] = map_label(own, photo.classes, threshold)
        truth = read_label(photo.scoring_mask)
        for step, label in labels.items():
            scores[step].update(label, truth, saliency)
    return {step: score.row() for step, score in scores.items()}
