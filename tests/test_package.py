"""The public surface, what importing costs, and the setting of value checks."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading

import pytest
import torch

import wsss_nonsalient
from wsss_nonsalient import initial_labels, multilabel_soft_margin_loss, normalize_cam, value_checks

SIGNATURES = {
    "CAMHead": "in_channels, num_classes, *, hidden_channels=512, num_nodes=64",
    "CAMOutput": "logits, cams",
    "GlobalReasoningUnit": "in_channels, num_nodes, *, state_channels=None, dims=2, "
    "normalize=False, zero_init=True",
    "IntegralAttentionLoss": "*, reduction='mean'",
    "MultiLabelSoftMarginLoss": "*, weight=None, reduction='mean'",
    "CalibrationResults": "edges, pixels, mean_value, true_share, expected_error",
    "ClassResults": "pixels, iou, iou_strict, missed, ignored, right, confused, false_objects",
    "LabelReport": "num_classes, *, saliency_threshold=0.12549019607843137, boundary_width=5, "
    "size_edges=(0.01, 0.05, 0.2), calibration_bins=10, ignore_index=255",
    "LabelReportResults": "overall, by_class, by_region, by_size, calibration",
    "OACAMAccumulator": "num_classes, *, map_size=None, min_probability=0.1, dtype=torch.uint8, "
    "run_id=''",
    "RegionResults": "boundary, interior, salient, non_salient",
    "SegmentationScore": "num_classes, *, ignore_index=255",
    "background_from_cam": "cam, image_labels, *, power=1.0",
    "SizeResults": "edges, objects, pixels, missed, ignored, right, confused",
    "dilate": "mask, kernel_size",
    "ignore_sparse_labels": "labels, *, min_object_ratio=0.01, ignore_index=255",
    "initial_labels": "cam, saliency, image_labels, *, fg_threshold=0.3, conflict_threshold=0.9, "
    "attention_threshold=0.8, saliency_threshold=0.12549019607843137, ignore_index=255, "
    "dtype=torch.uint8",
    "integral_attention_loss": "logits, target, *, reduction='mean'",
    "label_report": "labels, targets, *, num_classes, saliency=None, cams=None, "
    "image_labels=None, saliency_threshold=0.12549019607843137, boundary_width=5, "
    "size_edges=(0.01, 0.05, 0.2), calibration_bins=10, ignore_index=255",
    "multi_scale_cam": "model, images, *, scales=(0.5, 1.0, 1.5, 2.0), flip=True, "
    "image_labels=None",
    "multilabel_soft_margin_loss": "logits, target, *, weight=None, reduction='mean'",
    "normalize_cam": "cam, *, mode='max'",
    "confident_labels": "probabilities, image_labels, *, pseudo_labels=None, "
    "background_threshold=0.95, object_threshold=0.3, ignore_index=255, dtype=None",
    "nsrm_mask": "prediction, pseudo_labels, image_labels, *, saliency=None, kernel_size=30, "
    "min_classes=2, keep_ignored=False, restrict_to_image_labels=False, ignore_index=255",
    "pixel_adaptive_refinement": "cam, image, image_labels, *, iterations=10, "
    "dilations=(1, 2, 4, 8, 12, 24), edge_threshold=None",
    "pom_refine": "labels, cam, image_labels, *, bg_threshold=0.3, quartile='linear', "
    "rival_threshold=None, ignore_index=255",
    "pom_thresholds": "cam, labels, image_labels, *, bg_threshold=0.3, quartile='linear', "
    "ignore_index=255",
    "pom_weights": "cam, labels, image_labels, *, softness=0.2, bg_threshold=0.3, "
    "quartile='linear', rival_threshold=None, ignore_index=255",
    "random_walk_fill": "labels, image, *, min_probability=0.5, beta=130.0, edge_threshold=None, "
    "ignore_index=255",
    "resize_cam": "cam, size",
    "value_checks": "enabled",
}


def test_public_surface_is_frozen() -> None:
    assert wsss_nonsalient.__all__ == sorted(wsss_nonsalient.__all__)
    assert set(wsss_nonsalient.__all__) == {*SIGNATURES, "GloRe", "SegmentationResults"}
    for name, expected in SIGNATURES.items():
        signature = inspect.signature(getattr(wsss_nonsalient, name))
        bare = signature.replace(
            parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
            return_annotation=signature.empty,
        )
        assert str(bare) == f"({expected})", name
        assert inspect.getdoc(getattr(wsss_nonsalient, name)), name


def test_import_costs_nothing_beyond_torch() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import wsss_nonsalient; "
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}; "
        "print(*sorted(new - sys.stdlib_module_names))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert set(result.stdout.split()) <= {"wsss_nonsalient", "typing_extensions"}


def test_value_checks_nest_and_end_with_the_block() -> None:
    bad = torch.full((1, 1, 1), torch.nan)
    with value_checks(False):
        normalize_cam(bad)
        with value_checks(True), pytest.raises(ValueError, match="finite"):
            normalize_cam(bad)
        normalize_cam(bad)
    with pytest.raises(ValueError, match="finite"):
        normalize_cam(bad)
    with pytest.raises(RuntimeError, match="mine"), value_checks(False):
        raise RuntimeError("mine")
    with pytest.raises(ValueError, match="finite"):
        normalize_cam(bad)
    with pytest.raises(TypeError, match="enabled: expected a bool, got int 1"):
        value_checks(1).__enter__()  # type: ignore[arg-type]


def test_value_checks_belong_to_a_thread() -> None:
    errors: list[Exception] = []

    def work() -> None:
        try:
            normalize_cam(torch.full((1, 1, 1), torch.nan))
        except ValueError as error:
            errors.append(error)

    with value_checks(False):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_meta_tensors_pass_shape_checks() -> None:
    cam = torch.empty(2, 3, 4, 5, device="meta")
    labels = initial_labels(
        cam, torch.empty(2, 4, 5, device="meta"), torch.empty(2, 3, device="meta")
    )
    assert labels.shape == (2, 4, 5)
    with pytest.raises(ValueError, match="saliency: expected H = 4, as cam, got H = 3"):
        initial_labels(cam, torch.empty(2, 3, 5, device="meta"), torch.empty(2, 3, device="meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_losses_do_not_synchronise_a_gpu_unless_asked() -> None:
    logits = torch.zeros(1, 2, device="cuda")
    target = torch.tensor([[0.5, 0.0]], device="cuda")
    multilabel_soft_margin_loss(logits, target)
    with value_checks(True), pytest.raises(ValueError, match="multi-hot"):
        multilabel_soft_margin_loss(logits, target)
