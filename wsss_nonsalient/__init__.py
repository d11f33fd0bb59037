"""Parts of NSROM (non-salient region object mining) for weakly supervised segmentation."""

from ._values import value_checks
from .accumulation import OACAMAccumulator
from .cam import CAMHead, CAMOutput, multi_scale_cam, normalize_cam, resize_cam
from .initial import ignore_sparse_labels, initial_labels
from .losses import (
    IntegralAttentionLoss,
    MultiLabelSoftMarginLoss,
    integral_attention_loss,
    multilabel_soft_margin_loss,
)
from .metrics import SegmentationResults, SegmentationScore
from .nsrm import dilate, nsrm_mask
from .pom import pom_refine, pom_thresholds
from .reasoning import GlobalReasoningUnit, GloRe
from .refine import pixel_adaptive_refinement, random_walk_fill

__version__ = "0.2.0"

__all__ = [
    "CAMHead",
    "CAMOutput",
    "GloRe",
    "GlobalReasoningUnit",
    "IntegralAttentionLoss",
    "MultiLabelSoftMarginLoss",
    "OACAMAccumulator",
    "SegmentationResults",
    "SegmentationScore",
    "dilate",
    "ignore_sparse_labels",
    "initial_labels",
    "integral_attention_loss",
    "multi_scale_cam",
    "multilabel_soft_margin_loss",
    "normalize_cam",
    "nsrm_mask",
    "pixel_adaptive_refinement",
    "pom_refine",
    "pom_thresholds",
    "random_walk_fill",
    "resize_cam",
    "value_checks",
]
