"""Parts of NSROM (non-salient region object mining) for weakly supervised segmentation."""

from ._report_results import (
    CalibrationResults,
    ClassResults,
    LabelReportResults,
    RegionResults,
    SizeResults,
)
from ._values import value_checks
from .accumulation import OACAMAccumulator
from .background import background_from_cam
from .cam import CAMHead, CAMOutput, multi_scale_cam, normalize_cam, resize_cam
from .confident import confident_labels
from .dilation import dilate
from .initial import initial_labels
from .losses import (
    IntegralAttentionLoss,
    MultiLabelSoftMarginLoss,
    integral_attention_loss,
    multilabel_soft_margin_loss,
)
from .metrics import SegmentationResults, SegmentationScore
from .nsrm import nsrm_mask
from .pom import pom_refine, pom_thresholds
from .reasoning import GlobalReasoningUnit, GloRe
from .refine import pixel_adaptive_refinement, random_walk_fill
from .report import LabelReport, label_report
from .soft_pom import pom_weights
from .sparse import ignore_sparse_labels

__version__ = "0.2.0"

__all__ = [
    "CAMHead",
    "CAMOutput",
    "CalibrationResults",
    "ClassResults",
    "GloRe",
    "GlobalReasoningUnit",
    "IntegralAttentionLoss",
    "LabelReport",
    "LabelReportResults",
    "MultiLabelSoftMarginLoss",
    "OACAMAccumulator",
    "RegionResults",
    "SegmentationResults",
    "SegmentationScore",
    "SizeResults",
    "background_from_cam",
    "confident_labels",
    "dilate",
    "ignore_sparse_labels",
    "initial_labels",
    "integral_attention_loss",
    "label_report",
    "multi_scale_cam",
    "multilabel_soft_margin_loss",
    "normalize_cam",
    "nsrm_mask",
    "pixel_adaptive_refinement",
    "pom_refine",
    "pom_thresholds",
    "pom_weights",
    "random_walk_fill",
    "resize_cam",
    "value_checks",
]
