"""Label: OA-CAMs and saliency give initial labels; POM ignores what the CAMs take for objects."""

from __future__ import annotations

from torch import Tensor
from tqdm import tqdm

from wsss_nonsalient import (
    background_from_cam,
    ignore_sparse_labels,
    initial_labels,
    normalize_cam,
    pom_refine,
    resize_cam,
)
from wsss_nonsalient.io import CAMs, read_cams, write_label

from .config import LabelConfig
from .photos import image_labels, read_image
from .refine import refined
from .run_folder import Run, is_complete, stage
from .saliency import saliency_of

STEPS = ("initial", "pom")


def label(run: Run) -> None:
    """Write `labels/initial/ID.png` and `labels/pom/ID.png` for the pictures to train on."""
    if is_complete(run, "labels"):
        return
    with stage(run, "labels") as facts:
        folders = {step: run.folder / "labels" / step for step in STEPS}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        facts["photos"] = len(run.train)
        photos = tqdm(run.mine(run.train), desc="label", disable=not run.fabric.is_global_zero)
        for photo in photos:
            paths = {step: folder / f"{photo.key}.png" for step, folder in folders.items()}
            if all(path.is_file() for path in paths.values()):
                continue
            saliency, image = saliency_of(run, photo), read_image(photo.image)
            present = image_labels([photo], run.data.num_classes)[0]
            cam, oa_cam = (
                full_size(
                    read_cams(run.folder / "maps" / name, photo.key), image, run.config.label
                ).dense(run.data.num_classes)
                for name in ("cam", "oa_cam")
            )
            for step, own in label_steps(cam, oa_cam, saliency, present, run.config.label).items():
                write_label(paths[step], own)


def label_steps(
    cam: Tensor, oa_cam: Tensor, saliency: Tensor | None, present: Tensor, config: LabelConfig
) -> dict[str, Tensor]:
    """The label of a picture that one could train on, without and with POM."""
    if saliency is None:
        saliency = 1 - background_from_cam(oa_cam, present, power=config.power)
    initial = initial_labels(
        oa_cam,
        saliency,
        present,
        fg_threshold=config.fg_threshold,
        conflict_threshold=config.conflict_threshold,
        attention_threshold=config.attention_threshold,
        saliency_threshold=config.saliency_threshold,
    )
    refined = pom_refine(
        initial, cam, present, bg_threshold=config.bg_threshold, quartile=config.quartile
    )
    steps = zip(STEPS, (initial, refined), strict=True)
    ratio = config.min_object_ratio
    return {step: ignore_sparse_labels(own, min_object_ratio=ratio) for step, own in steps}


def full_size(cams: CAMs, image: Tensor, config: LabelConfig) -> CAMs:
    """The maps in the size of their picture; zeros for a picture without a class."""
    size = image.shape[1:]
    if not len(cams.classes):
        return CAMs(cams.classes, cams.maps.new_zeros(0, *size))
    maps = normalize_cam(refined(cams.maps, image)) if config.refine else cams.maps
    return CAMs(cams.classes, resize_cam(maps, size))
