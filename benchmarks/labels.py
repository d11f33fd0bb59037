"""Initial label, POM and NSRM against a script in numpy and OpenCV."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks import label_script
from benchmarks.measure import Case
from benchmarks.pictures import Pictures, pictures
from wsss_nonsalient import initial_labels, nsrm_mask, pom_refine

SCRIPT = "numpy + OpenCV"


def cases(quick: bool) -> Iterator[Case]:
    """1, 3 and 5 present of 20, 80 and 1,000 classes; one image, and batches of 16."""
    cv2.setNumThreads(1)
    for dtype in (torch.float32, torch.uint8):
        for classes, present in [(20, 1), (20, 3), (20, 5), (80, 3), (1000, 3)][
            : 2 if quick else 5
        ]:
            yield case(1, classes, present, dtype)
        if not quick:
            yield case(16, 20, 3, dtype)


def case(images: int, classes: int, present: int, dtype: torch.dtype) -> Case:
    """Ours takes the batch, the script its images one by one."""
    inputs = pictures(images, classes, present, dtype)
    arrays = [[tensor.numpy() for tensor in image] for image in zip(*inputs, strict=True)]

    def script() -> list[label_script.Array]:
        return [label_script.all_steps(*image) for image in arrays]

    def check() -> None:
        if not np.array_equal(steps(inputs).numpy(), np.stack(script())):
            raise AssertionError("the label maps differ")

    name = f"{images} x {str(dtype)[6:]}, {present} of {classes} classes"
    runs = {"ours": lambda: steps(inputs), SCRIPT: script}
    return Case(name, runs, check, targets={SCRIPT: 10})


def steps(inputs: Pictures) -> Tensor:
    """The three label functions, as they are used: values checked."""
    cam, saliency, image_labels, prediction = inputs
    dtype = prediction.dtype
    ignored = 255 if dtype == torch.uint8 else -1
    labels = initial_labels(cam, saliency, image_labels, ignore_index=ignored, dtype=dtype)
    labels = pom_refine(labels, cam, image_labels, ignore_index=ignored)
    return nsrm_mask(prediction, labels, image_labels, saliency=saliency, ignore_index=ignored)
