"""Mask: prediction and label are merged; in complex pictures what is far from any object goes."""

from __future__ import annotations

from tqdm import tqdm

from wsss_nonsalient import ignore_sparse_labels, nsrm_mask
from wsss_nonsalient.io import read_label, write_label

from .photos import image_labels
from .run_folder import Run, is_complete, stage
from .saliency import saliency_of


def mask(run: Run) -> None:
    """Write `labels/nsrm/ID.png`, the labels of the second round."""
    if is_complete(run, "labels/nsrm"):
        return
    with stage(run, "labels/nsrm") as facts:
        facts["photos"] = len(run.train)
        config, folder = run.config.mask, run.folder / "labels" / "nsrm"
        photos = tqdm(run.mine(run.train), desc="mask", disable=not run.fabric.is_global_zero)
        for photo in photos:
            path = folder / f"{photo.key}.png"
            if path.is_file():
                continue
            name = path.name
            masked = nsrm_mask(
                read_label(run.folder / "predictions" / "segmentation_1" / name),
                read_label(run.folder / "labels" / "pom" / name),
                image_labels([photo], run.data.num_classes)[0],
                saliency=saliency_of(run, photo) if config.use_saliency else None,
                kernel_size=config.kernel_size,
                min_classes=config.min_classes,
                keep_ignored=config.keep_ignored,
                restrict_to_image_labels=config.restrict_to_image_labels,
            )
            ratio = run.config.label.min_object_ratio
            write_label(path, ignore_sparse_labels(masked, min_object_ratio=ratio))
