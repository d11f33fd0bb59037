"""Mask: prediction and label are merged; in complex pictures what is far from any object goes.

Or, in place of that: what the first network is sure of.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from wsss_nonsalient import confident_labels, ignore_sparse_labels, nsrm_mask, resize_cam
from wsss_nonsalient.io import read_label, write_label

from .photos import Photo, image_labels
from .predictions import label_logits
from .refine import refined
from .run_folder import Run, is_complete, stage
from .saliency import saliency_of


def mask(run: Run) -> None:
    """Write `labels/nsrm/ID.png`, the labels of the second round."""
    if is_complete(run, "labels/nsrm"):
        return
    with stage(run, "labels/nsrm") as facts:
        facts["photos"] = len(run.train)
        folder, ratio = run.folder / "labels" / "nsrm", run.config.label.min_object_ratio
        paths = {photo.key: folder / f"{photo.key}.png" for photo in run.train}
        if run.config.mask.confident:
            for photo, image, logits in label_logits(
                run, "segmentation_1", run.train, paths, "mask"
            ):
                labels = sure_of(run, photo, image, logits)
                write_label(paths[photo.key], ignore_sparse_labels(labels, min_object_ratio=ratio))
        else:
            photos = tqdm(run.mine(run.train), desc="mask", disable=not run.fabric.is_global_zero)
            for photo in photos:
                if paths[photo.key].is_file():
                    continue
                labels = masked(run, photo)
                write_label(paths[photo.key], ignore_sparse_labels(labels, min_object_ratio=ratio))


def masked(run: Run, photo: Photo) -> Tensor:
    """NSRM of a picture."""
    config = run.config.mask
    return nsrm_mask(
        read_label(run.folder / "predictions" / "segmentation_1" / f"{photo.key}.png"),
        read_label(run.folder / "labels" / "pom" / f"{photo.key}.png"),
        image_labels([photo], run.data.num_classes)[0],
        saliency=saliency_of(run, photo) if config.use_saliency else None,
        kernel_size=config.kernel_size,
        min_classes=config.min_classes,
        keep_ignored=config.keep_ignored,
        restrict_to_image_labels=config.restrict_to_image_labels,
    )


def sure_of(run: Run, photo: Photo, image: Tensor, logits: Tensor) -> Tensor:
    """Labels of a picture of which the first network is sure."""
    config = run.config.mask
    present = image_labels([photo], run.data.num_classes)[0]
    own = torch.cat((torch.ones(1, dtype=torch.bool), present.bool()))
    probabilities = logits.float().cpu()[own].softmax(dim=0)
    if config.refine:
        probabilities = resize_cam(refined(probabilities, image), image.shape[-2:])
    all_labels = probabilities.new_zeros(len(own), *image.shape[-2:])
    all_labels[own] = probabilities
    return confident_labels(
        all_labels,
        present,
        pseudo_labels=read_label(run.folder / "labels" / "pom" / f"{photo.key}.png"),
        background_threshold=config.background_threshold,
        object_threshold=config.object_threshold,
    )
