"""Accumulation of maps against read-modify-write of PNG files."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.measure import Case
from benchmarks.pictures import blobs
from wsss_nonsalient import OACAMAccumulator

CLASSES, PRESENT, MAP = 20, 3, (32, 32)


def cases(quick: bool) -> Iterator[Case]:
    """A batch of 32 images whose maps exist; the first epoch; a store of a million maps."""
    yield update(32)
    yield fill(1_000 if quick else 100_000)


def update(images: int) -> Case:
    """One training step: all maps of the batch are in the store, or on the disk, already."""
    random = torch.Generator().manual_seed(0)
    cams = blobs(images * CLASSES, MAP, random).view(images, CLASSES, *MAP) - 0.3
    image_labels = torch.zeros(images, CLASSES)
    for one in image_labels:
        one[torch.randperm(CLASSES, generator=random)[:PRESENT]] = 1
    logits, keys = torch.ones(images, CLASSES), [f"2007_{i:06}" for i in range(images)]
    accumulator = OACAMAccumulator(CLASSES)
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    pairs = [(i, int(c)) for i, c in image_labels.nonzero().tolist()]
    paths = [f"{folder}/{keys[i]}_{c}.png" for i, c in pairs]

    def ours() -> None:
        accumulator.update(keys, cams, image_labels, logits)

    def png() -> None:
        arrays, probability = cams.numpy(), logits.sigmoid().numpy()
        for (i, c), path in zip(pairs, paths, strict=True):
            if probability[i, c] < 0.1:
                continue
            cam = np.maximum(arrays[i, c], 0)
            grey = np.rint(cam / cam.max() * 255).astype(np.uint8)
            if Path(path).exists():
                grey = np.maximum(grey, np.asarray(cv2.imread(path, cv2.IMREAD_GRAYSCALE)))
            cv2.imwrite(path, grey)

    def check() -> None:
        ours()
        png()
        maps = accumulator.compute(keys)
        for (i, c), path in zip(pairs, paths, strict=True):
            stored = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(np.rint(maps[i, c].numpy() * 255), stored)

    runs = {"ours": ours, "PNG files": png}
    return Case(
        f"update of {images} images, {PRESENT} maps each", runs, check, 2, targets={"PNG files": 50}
    )


def fill(maps: int) -> Case:
    """An epoch that meets its images for the first time, in batches of 32."""
    per_image, batch = 4, 32
    cams = blobs(batch * per_image, MAP, torch.Generator().manual_seed(0)).view(
        batch, per_image, *MAP
    )
    present, logits = torch.ones(batch, per_image), torch.ones(batch, per_image)
    keys = [f"{i:08}" for i in range(maps // per_image)]

    def run() -> OACAMAccumulator:
        accumulator = OACAMAccumulator(per_image)
        for start in range(0, len(keys), batch):
            names = keys[start : start + batch]
            n = len(names)
            accumulator.update(names, cams[:n], present[:n], logits[:n])
        return accumulator

    return Case(f"{maps:,} new maps", {"ours": run}, threads=2)
