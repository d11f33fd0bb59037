"""Calibration of CAM values: how often a pixel with this value truly is of the class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._masks import equals
from ._present import ClassMaps
from ._report_results import CalibrationResults


def calibration_counts(
    maps: Sequence[ClassMaps], target: Tensor, num_bins: int, ignore_index: int
) -> Tensor:
    """Per bin of the values of present classes: how many, their sum, and how many are right.

    Returns:
        (3, num_bins) float64 on the CPU, of float64 maps and label maps (N, H, W).
    """
    inner = torch.tensor([i / num_bins for i in range(1, num_bins)], dtype=torch.float64)
    counts = torch.zeros(3, num_bins, dtype=torch.float64)
    for image, truth in zip(maps, target, strict=True):
        counted = equals(truth, ignore_index) == 0
        for c, one in image:
            values = one[counted].cpu()
            right = equals(truth, c + 1)[counted].cpu().to(torch.float64)
            bins = torch.bucketize(values, inner)
            for row, weights in zip(counts, (None, values, right), strict=True):
                row += bins.bincount(weights, minlength=num_bins)
    return counts


def calibration_results(counts: Tensor) -> CalibrationResults:
    """Reliability curve and expected calibration error of the counts."""
    pixels, values, right = counts
    mean_value, true_share = values / pixels, right / pixels
    distances = (mean_value - true_share).abs() * pixels / pixels.sum()
    num_bins = len(pixels)
    return CalibrationResults(
        edges=torch.tensor([i / num_bins for i in range(num_bins + 1)], dtype=torch.float64),
        pixels=pixels.to(torch.int64),
        mean_value=mean_value,
        true_share=true_share,
        expected_error=float(distances.nansum()) if bool(pixels.any()) else float("nan"),
    )
