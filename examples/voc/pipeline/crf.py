"""Fully connected conditional random field (Krähenbühl and Koltun, NIPS 2011) by pydensecrf2."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST_PROBABILITY = 1e-5


def require_crf() -> Any:
    """The module of pydensecrf2.

    Raises:
        ImportError: It is not installed.
    """
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise ImportError(
            "the conditional random field (option crf) needs pydensecrf2: "
            "pip install 'wsss-nonsalient[crf]' (a C++ compiler builds it)"
        ) from error
    return densecrf


def refine(
    probabilities: Tensor,
    image: Tensor,
    *,
    iterations: int = 10,
    smoothness_weight: float = 3,
    smoothness_range: float = 1,
    appearance_weight: float = 4,
    appearance_range: float = 67,
    color_range: float = 3,
) -> Tensor:
    """Labels of a picture after mean-field iterations of a fully connected random field.

    Only labels that win somewhere go in, which saves time and changes little. The defaults are
    those in common use for DeepLab-v2 (Chen et al., PAMI 2018) with ResNet-101 on PASCAL VOC, as
    `configs/voc12.yaml` of kazuto1011/deeplab-pytorch lists them.

    Args:
        probabilities: (labels, H, W) float in [0, 1], summing to 1.
        image: (3, H, W) uint8 RGB, as it was before any normalisation.
        iterations: Mean-field iterations.
        smoothness_weight: Of the kernel that looks at positions alone.
        smoothness_range: Its standard deviation, in pixels.
        appearance_weight: Of the kernel that looks at positions and colours.
        appearance_range: Its standard deviation, in pixels.
        color_range: Its standard deviation, in 0..255.

    Returns:
        (H, W) int64 labels, on the CPU.

    Raises:
        ImportError: pydensecrf2 is not installed.
        TypeError: The image is not uint8.
        ValueError: The sizes differ.
    """
    if image.dtype != torch.uint8:
        raise TypeError(f"image: expected uint8, got {image.dtype}")
    if image.shape != (3, *probabilities.shape[1:]):
        expected = (3, *probabilities.shape[1:])
        raise ValueError(f"image: expected shape {expected}, got {tuple(image.shape)}")
    densecrf = require_crf()
    probabilities = probabilities.detach().cpu().float()
    present = probabilities.argmax(dim=0).unique()
    if len(present) == 1:
        return probabilities.argmax(dim=0)
    height, width = probabilities.shape[1:]
    field = densecrf.DenseCRF2D(width, height, len(present))
    unary = -probabilities[present].clamp(min=LEAST_PROBABILITY).log().flatten(1)
    field.setUnaryEnergy(np.ascontiguousarray(unary.numpy(), dtype=np.float32))
    field.addPairwiseGaussian(sxy=smoothness_range, compat=smoothness_weight)
    field.addPairwiseBilateral(
        sxy=appearance_range,
        srgb=color_range,
        rgbim=np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy()),
        compat=appearance_weight,
    )
    found = np.asarray(field.inference(iterations)).argmax(axis=0).reshape(height, width)
    labels: Tensor = present[torch.from_numpy(found)]
    return labels
