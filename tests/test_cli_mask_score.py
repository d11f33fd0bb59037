"""``wsss-nonsalient mask`` and ``score`` against the library."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from wsss_nonsalient import (
    SegmentationScore,
    ignore_sparse_labels,
    nsrm_mask,
)

from .cli_folders import Folders, run


@pytest.mark.parametrize("with_saliency", [False, True])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {}),
        (("--kernel-size=3",), {"kernel_size": 3}),
        (("--kernel-size=4", "--min-classes=0"), {"kernel_size": 4, "min_classes": 0}),
        (("--kernel-size=3", "--keep-ignored"), {"kernel_size": 3, "keep_ignored": True}),
        (
            ("--kernel-size=3", "--restrict-to-image-labels"),
            {"kernel_size": 3, "restrict_to_image_labels": True},
        ),
    ],
)
def test_mask_is_that_of_the_library(
    folders: Folders, options: tuple[str, ...], expected: dict[str, Any], with_saliency: bool
) -> None:
    assert run(*folders.labels("psa", "labels")) == 0
    if with_saliency:
        options = (*options, f"--saliency={folders.root}/saliency")
    assert run(*folders.mask("out", "--num-classes=20", *options)) == 0
    for image_id in folders.maps:
        _, saliency, present = folders.dense(image_id)
        masked = nsrm_mask(
            torch.from_numpy(folders.predictions[image_id]),
            torch.from_numpy(folders.label("labels", image_id)),
            present,
            saliency=saliency if with_saliency else None,
            **expected,
        )
        wanted = ignore_sparse_labels(masked).numpy()
        np.testing.assert_array_equal(folders.label("out", image_id), wanted)


@pytest.mark.parametrize("ignored", ["leave-out", "wrong"])
def test_score_is_that_of_the_library(
    folders: Folders, ignored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*folders.labels("psa", "labels")) == 0
    capsys.readouterr()
    root = folders.root
    argv = ["score", f"--predictions={root}/labels", f"--targets={root}/predictions"]
    argv += [f"--saliency={root}/saliency", f"--ignored={ignored}", "--num-classes=21"]
    assert run(*argv, f"--json={root}/scores.json") == 0
    scores = json.loads((root / "scores.json").read_text())
    table = capsys.readouterr().out
    whole, region = SegmentationScore(21), SegmentationScore(21)
    for image_id, target in folders.predictions.items():
        prediction = torch.from_numpy(folders.label("labels", image_id))
        whole.update(prediction, torch.from_numpy(target))
        where = torch.from_numpy(folders.saliency[image_id]) < 32
        region.update(prediction, torch.from_numpy(target), region=where)
    for name, score in (("all", whole), ("non_salient", region)):
        results = score.compute()
        mean_iou = results.mean_iou if ignored == "leave-out" else results.mean_iou_strict
        own = scores[name]
        assert own["mean_iou"] == mean_iou
        iou = [value for value in own["per_class_iou"] if value is not None]
        assert np.isclose(np.mean(iou), mean_iou)
        for field in ("missed", "objects_ignored", "confused", "false_objects", "ignored"):
            assert own[field] == getattr(results, field), field
        assert f"{100 * mean_iou:.2f}" in table
    assert scores["images"] == len(folders.maps)
    assert scores["ignored"] == ignored
    assert "aeroplane" in table or "bicycle" in table
    assert len({len(line) for line in table.splitlines()[2:]}) == 1, "columns are not aligned"
