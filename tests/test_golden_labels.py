"""The three label steps give what the released implementation gives, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import DATA, golden
from tests.helpers import assert_same
from wsss_nonsalient import (
    ignore_sparse_labels,
    initial_labels,
    normalize_cam,
    nsrm_mask,
    pom_refine,
)

CASES = sorted(path.name for path in (DATA / "labels").glob("*.npz"))
NUM_CLASSES = 20


def full_cam(levels: Tensor, classes: Tensor) -> Tensor:
    """Maps of all classes, min-max normalised; those of absent classes must not matter."""
    cam = torch.full((NUM_CLASSES, *levels.shape[1:]), 0.95)
    cam[classes.long()] = normalize_cam(levels, mode="minmax")
    return cam


def test_there_are_cases() -> None:
    assert len(CASES) == 22


@pytest.mark.parametrize("name", CASES)
def test_equals_the_released_implementation(name: str, device: torch.device) -> None:
    case = golden(f"labels/{name}")
    saliency, prediction = case["saliency"].to(device), case["prediction"].to(device)
    oa_cam, cam = (full_cam(case[key], case["classes"]).to(device) for key in ("oa_cam", "cam"))
    image_labels = torch.zeros(NUM_CLASSES, device=device)
    image_labels[case["classes"].long()] = 1

    labels = initial_labels(oa_cam, saliency, image_labels)
    assert_same(ignore_sparse_labels(labels), case["initial"])

    refined = pom_refine(labels, cam, image_labels, quartile="nested-median")
    refined = ignore_sparse_labels(refined)
    assert_same(refined, case["refined"])

    masked = nsrm_mask(prediction, refined, image_labels, saliency=saliency)
    assert_same(ignore_sparse_labels(masked), case["masked"])
