"""Scores of label maps against ground truth, from one confusion matrix over the data set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._checks import Sizes, check_ignore_index, check_integer, check_tensor
from ._confusion import confusion_matrix
from ._values import in_label_range, native_integers, reads_values, verify


class SegmentationResults(NamedTuple):
    """What :meth:`SegmentationScore.compute` gives; shares in [0, 1], NaN where undefined."""

    per_class_iou: Tensor  #: (num_classes,) float64, NaN for a class that is nowhere
    mean_iou: float  #: over the classes that are somewhere, without ignored predictions
    mean_iou_strict: float  #: the same, ignored predictions being wrong
    pixel_accuracy: float  #: right among the pixels whose prediction is not ignored
    precision: float  #: mean over the predicted classes
    recall: float  #: mean over the classes of the targets
    missed: float  #: predicted background, of all object pixels
    objects_ignored: float  #: ignored, of all object pixels
    confused: float  #: predicted as another class, of all object pixels
    false_objects: float  #: predicted object, of all background pixels
    ignored: float  #: ignored, of all counted pixels


class SegmentationScore:
    r"""Accumulates a confusion matrix over a data set and computes scores of label maps.

    Pixels whose target is ``ignore_index``, and pixels outside ``region``, never count. With
    :math:`n_{tp}` the number of counted pixels of target t and prediction p:

    .. math:: \mathrm{IoU}_c = \frac{n_{cc}}{\sum_t n_{tc} + \sum_p n_{cp} - n_{cc}}

    as in the PASCAL VOC benchmark: one matrix over all images, not a mean over images.

    Args:
        num_classes: Number of labels, background included (21 for PASCAL VOC).
        ignore_index: Label of ignored pixels.

    Attributes:
        confusion: (num_classes, num_classes + 1) int64 on the CPU: rows are targets, columns
            predictions, the last column pixels whose prediction is ``ignore_index``.

    Raises:
        TypeError: An argument is not an integer.
        ValueError: ``num_classes`` is below 1 or ``ignore_index`` is a label.

    Example:
        >>> score = SegmentationScore(3)
        >>> score.update(torch.tensor([[0, 1, 0, 255]]), torch.tensor([[0, 1, 2, 2]]))
        >>> results = score.compute()
        >>> results.per_class_iou
        tensor([0.5000, 1.0000, 0.0000], dtype=torch.float64)
        >>> results.mean_iou, results.missed, results.objects_ignored
        (0.5, 0.3333333333333333, 0.3333333333333333)
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        check_integer("num_classes", num_classes, minimum=1)
        check_ignore_index(ignore_index, {}, num_classes - 1)
        self.num_classes = int(num_classes)
        self.ignore_index = int(ignore_index)
        shape = self.num_classes, self.num_classes + 1
        self.confusion = torch.zeros(shape, dtype=torch.int64)

    def __repr__(self) -> str:
        return f"SegmentationScore({self.num_classes}, ignore_index={self.ignore_index})"

    @torch.no_grad()
    def update(self, prediction: Tensor, target: Tensor, *, region: Tensor | None = None) -> None:
        r"""Count the pixels of one image or of a batch.

        Args:
            prediction: (\*, H, W) integer labels 0..num_classes - 1 or ``ignore_index``.
            target: (\*, H, W) integer labels, the ground truth.
            region: (\*, H, W) bool: only pixels where it is True count; None: all.

        Raises:
            TypeError: An argument is not a tensor or has a wrong dtype.
            ValueError: Shapes or devices differ; a label is out of range; a tensor is on the device
                meta.
        """
        sizes = Sizes(with_values=True)
        check_tensor("prediction", prediction, "* H W", "label", sizes)
        check_tensor("target", target, "* H W", "label", sizes)
        if region is not None:
            check_tensor("region", region, "* H W", "bool", sizes)
        prediction, target = native_integers(prediction), native_integers(target)
        counts, are_labels = confusion_matrix(
            prediction, target, region, self.num_classes, self.ignore_index
        )
        if reads_values(target) and not are_labels:
            highest, ignored = self.num_classes - 1, self.ignore_index
            verify(
                in_label_range("prediction", prediction, highest, ignored),
                in_label_range("target", target, highest, ignored),
            )
        self.confusion = self.confusion + counts[:-1]

    def compute(self) -> SegmentationResults:
        """Scores of all pixels counted so far.

        Returns:
            Named results. ``per_class_iou`` is (num_classes,) float64, NaN for a class that is
            nowhere; ``mean_iou`` is the mean over the others. These, ``pixel_accuracy``,
            ``precision`` and ``recall`` (means over the classes that are predicted, or that are in
            the targets) leave out pixels whose prediction is ignored; in ``mean_iou_strict`` these
            count as wrong. Of all object pixels, ``missed`` are predicted background,
            ``objects_ignored`` ignored, ``confused`` another class; of the background pixels
            ``false_objects`` are predicted object; of all pixels ``ignored`` are ignored.
        """
        counts = self.confusion.to(torch.float64)
        labelled = counts[:, :-1]
        right = labelled.diagonal()
        predicted, targets = labelled.sum(dim=0), labelled.sum(dim=1)
        per_class_iou = right / (predicted + targets - right)
        objects, background = counts[1:], counts[0]
        return SegmentationResults(
            per_class_iou=per_class_iou,
            mean_iou=float(per_class_iou.nanmean()),
            mean_iou_strict=float((right / (predicted + counts.sum(dim=1) - right)).nanmean()),
            pixel_accuracy=float(right.sum() / labelled.sum()),
            precision=float((right / predicted).nanmean()),
            recall=float((right / targets).nanmean()),
            missed=float(objects[:, 0].sum() / objects.sum()),
            objects_ignored=float(objects[:, -1].sum() / objects.sum()),
            confused=float((objects[:, 1:-1].sum() - right[1:].sum()) / objects.sum()),
            false_objects=float(background[1:-1].sum() / background.sum()),
            ignored=float(counts[:, -1].sum() / counts.sum()),
        )

    def merge(self, other: SegmentationScore) -> None:
        """Add the pixels that another score counted, of another part of the data set.

        Args:
            other: A score of the same ``num_classes`` and ``ignore_index``.

        Raises:
            TypeError: ``other`` is not a SegmentationScore.
            ValueError: Its ``num_classes`` or ``ignore_index`` differ.
        """
        if not isinstance(other, SegmentationScore):
            raise TypeError(f"other: expected a SegmentationScore, got {type(other).__name__}")
        if repr(self) != repr(other):
            raise ValueError(f"other: expected {self!r}, got {other!r}")
        self.confusion = self.confusion + other.confusion

    def reset(self) -> None:
        """Forget all pixels."""
        self.confusion = torch.zeros_like(self.confusion)
