"""Dilation by a square against OpenCV, kornia, scipy and scikit-image."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from kornia.morphology import dilation
from scipy import ndimage
from skimage import morphology

from benchmarks.label_script import Array
from benchmarks.measure import Case, Contenders
from benchmarks.pictures import SIZE, blobs
from wsss_nonsalient import dilate


def cases(quick: bool) -> Iterator[Case]:
    """The square of NSRM, an odd one, a small one."""
    cv2.setNumThreads(1)
    for side in (30,) if quick else (30, 31, 5):
        yield case(side)


def case(side: int) -> Case:
    """Every library by its own call for a square; each centres an even one in its own way."""
    mask = blobs(1, SIZE, torch.Generator().manual_seed(0))[0] > 0.7
    byte, array = mask.to(torch.uint8), mask.numpy()
    grey, square = byte.numpy(), np.ones((side, side), np.uint8)
    origin = -1 if side % 2 == 0 else 0
    runs: Contenders = {
        "ours": lambda: dilate(byte, side),
        "ours, bool": lambda: dilate(mask, side),
        "OpenCV": lambda: cv2.dilate(grey, square),
        "scipy maximum_filter": lambda: ndimage.maximum_filter(
            grey, side, mode="constant", origin=origin + 1 if side % 2 == 0 else 0
        ),
        "scipy binary_dilation": lambda: ndimage.binary_dilation(array, square, origin=origin),
        "scikit-image": lambda: morphology.dilation(array, square.astype(bool)),
    }

    if side == 30:  # a second a call
        image, kernel = mask[None, None].to(torch.float32), torch.ones(side, side)
        runs["kornia"] = lambda: dilation(image, kernel, engine="unfold")

    def check() -> None:
        ours = runs["ours"]().numpy()
        np.testing.assert_array_equal(ours, runs["OpenCV"]())
        np.testing.assert_array_equal(ours != 0, runs["ours, bool"]().numpy())
        for name in list(runs)[3:]:
            theirs = np.squeeze(np.asarray(runs[name]())) != 0
            assert _equal_up_to_a_shift(ours != 0, theirs), name

    targets = {"OpenCV": 1.0, "scipy maximum_filter": 5, "scipy binary_dilation": 5}
    return Case(f"{side} on 375 x 500", runs, check, targets={**targets, "scikit-image": 500})


def _equal_up_to_a_shift(one: Array, other: Array) -> bool:
    """Equal inside when an even square is centred a pixel to the other side."""
    inner = (slice(1, -1), slice(1, -1))
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return any(np.array_equal(one[inner], np.roll(other, s, (0, 1))[inner]) for s in shifts)
