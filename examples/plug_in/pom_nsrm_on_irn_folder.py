"""POM and NSRM on a folder of CAM dumps, as IRN and its successors write them.

Point the paths of `make_labels` and `mask_labels` at your own folders; what stands in for them here
is made by `make_folders`. ``wsss-nonsalient labels`` and ``mask`` do the same without any code.

``python examples/plug_in/pom_nsrm_on_irn_folder.py --out runs/irn``
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wsss_nonsalient import initial_labels, io, normalize_cam, nsrm_mask, pom_refine

sys.path.append(str(Path(__file__).parents[1]))
from procedural_scene import CLASS_NAMES, make_scene


def main(argv: Sequence[str] | None = None) -> None:
    """Make the folders, then the labels of both rounds."""
    parser = argparse.ArgumentParser(description="Labels of both rounds from irn-style dumps.")
    parser.add_argument("--out", type=Path, required=True, help="folder to work in")
    root: Path = parser.parse_args(argv).out
    make_folders(root)
    make_labels(root)
    mask_labels(root)


def make_labels(root: Path) -> None:
    """Round one: the initial label and POM, from dumps, saliency and image-level labels."""
    for image_id, classes in io.read_image_labels(root / "train_cls.txt").items():
        saliency = io.read_saliency(root / "saliency" / f"{image_id}.png")
        dump = io.read_cams(root / "cams", image_id, format="irn")  # no pickle in it is run
        cam = normalize_cam(dump.dense(len(CLASS_NAMES)))
        present = multi_hot(classes)
        labels = pom_refine(initial_labels(cam, saliency, present), cam, present)
        io.write_label(root / "labels" / f"{image_id}.png", labels)
        ignored = (labels == 255).float().mean()
        print(f"{image_id}: classes {classes}, {ignored:.0%} of the label ignored")


def mask_labels(root: Path) -> None:
    """Round two: the trained network's predictions, masked where no object is near."""
    for image_id, classes in io.read_image_labels(root / "train_cls.txt").items():
        prediction = io.read_label(root / "predictions" / f"{image_id}.png")
        labels = io.read_label(root / "labels" / f"{image_id}.png")
        masked = nsrm_mask(prediction, labels, multi_hot(classes))
        io.write_label(root / "labels2" / f"{image_id}.png", masked)


def multi_hot(classes: Sequence[int]) -> torch.Tensor:
    """Image-level labels as the label functions take them."""
    return torch.zeros(len(CLASS_NAMES)).index_fill(0, torch.tensor(classes), 1)


def make_folders(root: Path) -> None:
    """Stand-ins for your folders: CAM dumps, saliency, image-level labels, predictions."""
    for name in ("cams", "saliency", "predictions", "labels", "labels2"):
        (root / name).mkdir(parents=True, exist_ok=True)
    image_labels = {}
    for seed in range(4):
        scene, image_id = make_scene(seed), f"scene_{seed:06d}"
        keys = scene.image_labels.nonzero().flatten()
        high_res = scene.cam[keys]
        dump = {"keys": keys, "cam": high_res[:, ::4, ::4], "high_res": high_res.numpy()}
        np.save(root / "cams" / f"{image_id}.npy", np.array(dump, dtype=object))
        saliency = (scene.saliency * 255).round().to(torch.uint8)
        Image.fromarray(saliency.numpy()).save(root / "saliency" / f"{image_id}.png")
        io.write_label(root / "predictions" / f"{image_id}.png", scene.prediction)
        image_labels[image_id] = tuple(keys.tolist())
    io.write_image_labels(root / "train_cls.txt", image_labels)


if __name__ == "__main__":
    main()
