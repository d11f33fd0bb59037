"""Report of pseudo labels against truth: what they miss, by class, region and size of object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ._calibration import calibration_counts, calibration_results
from ._checks import (
    Sizes,
    check_ignore_index,
    check_integer,
    check_number,
    check_tensor,
    described,
)
from ._masks import at_least
from ._present import ClassMaps, class_maps
from ._regions import boundary_band, object_size_bins
from ._report_results import LabelReportResults, RegionResults, class_results, size_results
from ._values import (
    compute_dtype,
    in_label_range,
    in_unit_interval,
    multi_hot,
    native_integers,
    reads_values,
    unit_interval,
    value_checks,
    verify,
)
from .metrics import SegmentationScore

_REGIONS = ("all", "boundary", "interior", "salient", "non-salient")
_END: Any = object()


class LabelReport:
    r"""Accumulates what pseudo labels are like, picture by picture, and reports it.

    Pixels whose target is ``ignore_index`` never count. All shares are those of
    :class:`SegmentationScore`: one count over all pictures, not a mean over pictures.

    - *Regions*. Salient is where :math:`s \ge` ``saliency_threshold``. The boundary band is what is
      at most ``boundary_width`` pixels from an edge: a pixel is on an edge if one of its four
      neighbours has another target, ``ignore_index`` included, since PASCAL VOC draws outlines with
      it; the band is these pixels, dilated by a square of side 2 ``boundary_width`` - 1.
    - *Objects* are the connected components of each class in the target, corners connecting too;
      an object's size is its share of the picture's area.
    - *Calibration*. For the CAM values :math:`a` of present classes in bin :math:`B_k` of K equal
      ones over [0, 1], the mean value is compared with the share of true pixels,

      .. math:: \mathrm{ECE} = \sum_k \frac{|B_k|}{\sum_l |B_l|} \Big| \operatorname{mean}_{B_k} a
                - \operatorname{mean}_{B_k} [\text{the pixel is of the class}] \Big|

      Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017.

    Args:
        num_classes: Number of labels, background included (21 for PASCAL VOC).
        saliency_threshold: Saliency of the salient region, in [0, 1].
        boundary_width: Pixels on either side of an edge, at least 1.
        size_edges: Rising sizes in (0, 1) that divide small from larger objects. One of exactly
            such a size belongs to the larger.
        calibration_bins: Number of bins of CAM values.
        ignore_index: Label of ignored pixels.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument is out of range, or ``size_edges`` do not rise.

    Example:
        >>> report = LabelReport(3, boundary_width=1, size_edges=(0.5,))
        >>> target = torch.tensor([[0, 0, 0, 1, 1, 255, 2, 2]])
        >>> report.update(torch.tensor([[0, 2, 0, 0, 1, 0, 255, 2]]), target)
        >>> results = report.compute()
        >>> results.overall.missed, results.overall.false_objects
        (0.25, 0.3333333333333333)
        >>> results.by_class.missed
        tensor([   nan, 0.5000, 0.0000], dtype=torch.float64)
        >>> results.by_region.interior.objects_ignored
        0.0
        >>> results.by_size.objects
        tensor([2, 0])
    """

    _scores: dict[str, SegmentationScore]  # by region
    _sizes: list[SegmentationScore]  # by bin
    _objects: Tensor  # how many objects each bin has
    _calibration: Tensor  # see calibration_counts
    _given: dict[str, bool]  # whether pictures had it, once there was a picture

    def __init__(
        self,
        num_classes: int,
        *,
        saliency_threshold: float = 32 / 255,
        boundary_width: int = 5,
        size_edges: Sequence[float] = (0.01, 0.05, 0.2),
        calibration_bins: int = 10,
        ignore_index: int = 255,
    ) -> None:
        check_integer("num_classes", num_classes, minimum=1)
        check_number("saliency_threshold", saliency_threshold, hint="; is it n / 255?")
        check_integer("boundary_width", boundary_width, minimum=1)
        check_integer("calibration_bins", calibration_bins, minimum=1)
        check_ignore_index(ignore_index, {}, num_classes - 1)
        self.num_classes = int(num_classes)
        self.saliency_threshold = float(saliency_threshold)
        self.boundary_width = int(boundary_width)
        self.size_edges = _checked_edges(size_edges)
        self.calibration_bins = int(calibration_bins)
        self.ignore_index = int(ignore_index)
        self.reset()

    def __repr__(self) -> str:
        return (
            f"LabelReport({self.num_classes}, saliency_threshold={self.saliency_threshold}, "
            f"boundary_width={self.boundary_width}, size_edges={self.size_edges}, "
            f"calibration_bins={self.calibration_bins}, ignore_index={self.ignore_index})"
        )

    @torch.no_grad()
    def update(
        self,
        labels: Tensor,
        target: Tensor,
        *,
        saliency: Tensor | None = None,
        cam: Tensor | None = None,
        image_labels: Tensor | None = None,
    ) -> None:
        r"""Count the pixels of one picture or of a batch.

        Args:
            labels: (\*, H, W) integer labels 0..num_classes - 1 or ``ignore_index``.
            target: (\*, H, W) integer labels, the ground truth.
            saliency: (\*, H, W) floating point in [0, 1] or uint8 (value / 255); for all pictures
                or for none.
            cam: (\*, C, H, W) class activation maps of the C = num_classes - 1 classes, floating
                point in [0, 1] or uint8, together with ``image_labels``; for all pictures or for
                none. Only maps of classes in ``image_labels`` are read.
            image_labels: (\*, C) multi-hot, exactly 0 or 1.

        Raises:
            TypeError: An argument is not a tensor or has a wrong dtype.
            ValueError: Shapes, sizes or devices differ; a label is out of range; ``saliency`` or
                ``cam`` (present classes) has NaN or leaves [0, 1]; ``image_labels`` has values
                other than 0 and 1; something was given before and is not now, or the other way
                round; a tensor is on the device meta.
        """
        self._check_tensors(labels, target, saliency, cam, image_labels)
        self._check_given(saliency is not None, cam is not None)
        size = target.shape[-2:]
        labels, target = (native_integers(own).reshape(-1, *size) for own in (labels, target))
        maps: list[ClassMaps] = []
        if cam is not None and image_labels is not None:
            maps = class_maps(cam, image_labels, torch.float64)
        self._check_values(labels, target, saliency, image_labels, maps)
        regions: dict[str, Tensor | None] = {"all": None}
        band = boundary_band(target, self.boundary_width)
        regions |= {"boundary": band, "interior": ~band}
        if saliency is not None:
            values = unit_interval(saliency, compute_dtype(saliency))
            salient = at_least(values, self.saliency_threshold).to(torch.bool).reshape(-1, *size)
            regions |= {"salient": salient, "non-salient": ~salient}
        bins, objects = object_size_bins(target, self.size_edges, self.ignore_index)
        with value_checks(False):  # they were checked
            for name, region in regions.items():
                self._scores[name].update(labels, target, region=region)
            for i, score in enumerate(self._sizes):
                score.update(labels, target, region=bins == i)
        self._objects = self._objects + objects
        self._calibration = self._calibration + calibration_counts(
            maps, target[: len(maps)], self.calibration_bins, self.ignore_index
        )
        self._given = {"saliency": saliency is not None, "cam": cam is not None}

    def compute(self) -> LabelReportResults:
        """Report on all pictures so far.

        Returns:
            Named results, shares in [0, 1], NaN where there is nothing to divide by. ``overall``
            and each region of ``by_region`` are as :meth:`SegmentationScore.compute` gives them;
            ``by_class`` has (num_classes,) tensors, ``by_size`` a bin more than ``size_edges``,
            ``calibration`` (calibration_bins,) tensors. Without saliency maps the salient and
            non-salient regions are None, without CAMs ``calibration`` is. Its ``str()`` is a table.
        """
        scores = {name: score.compute() for name, score in self._scores.items()}
        with_saliency = self._given.get("saliency", False)
        return LabelReportResults(
            overall=scores["all"],
            by_class=class_results(self._scores["all"].confusion),
            by_region=RegionResults(
                boundary=scores["boundary"],
                interior=scores["interior"],
                salient=scores["salient"] if with_saliency else None,
                non_salient=scores["non-salient"] if with_saliency else None,
            ),
            by_size=size_results(
                torch.stack([score.confusion for score in self._sizes]),
                self._objects,
                self.size_edges,
            ),
            calibration=(
                calibration_results(self._calibration) if self._given.get("cam", False) else None
            ),
        )

    def merge(self, other: LabelReport) -> None:
        """Add what another report counted, of other pictures.

        Args:
            other: A report of the same options, with saliency and CAMs if this one has them.

        Raises:
            TypeError: ``other`` is not a LabelReport.
            ValueError: Its options differ, or only one of the two has saliency or CAMs.
        """
        if not isinstance(other, LabelReport):
            raise TypeError(f"other: expected a LabelReport, got {type(other).__name__}")
        if repr(self) != repr(other):
            raise ValueError(f"other: expected {self!r}, got {other!r}")
        if self._given and other._given and self._given != other._given:
            raise ValueError(f"other: expected one with {self._given}, got {other._given}")
        for name, score in self._scores.items():
            score.merge(other._scores[name])
        for score, more in zip(self._sizes, other._sizes, strict=True):
            score.merge(more)
        self._objects = self._objects + other._objects
        self._calibration = self._calibration + other._calibration
        self._given = self._given or dict(other._given)

    def reset(self) -> None:
        """Forget all pictures."""
        bins = len(self.size_edges) + 1
        self._scores = {name: self._score() for name in _REGIONS}
        self._sizes = [self._score() for _ in range(bins)]
        self._objects = torch.zeros(bins, dtype=torch.int64)
        self._calibration = torch.zeros(3, self.calibration_bins, dtype=torch.float64)
        self._given = {}

    def _score(self) -> SegmentationScore:
        return SegmentationScore(self.num_classes, ignore_index=self.ignore_index)

    def _check_tensors(
        self,
        labels: Tensor,
        target: Tensor,
        saliency: Tensor | None,
        cam: Tensor | None,
        image_labels: Tensor | None,
    ) -> None:
        sizes = Sizes(with_values=True, C=(self.num_classes - 1, "num_classes - 1"))
        check_tensor("labels", labels, "* H W", "label", sizes)
        check_tensor("target", target, "* H W", "label", sizes)
        if saliency is not None:
            check_tensor("saliency", saliency, "* H W", "image", sizes)
        if (cam is None) != (image_labels is None):
            missing, there = ("cam", "image_labels") if cam is None else ("image_labels", "cam")
            raise ValueError(f"{missing}: expected together with {there}, got None")
        if cam is not None and image_labels is not None:
            check_tensor("cam", cam, "* C H W", "image", sizes)
            check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)

    def _check_given(self, saliency: bool, cam: bool) -> None:
        for name, given in (("saliency", saliency), ("cam", cam)):
            before = self._given.get(name, given)
            if before != given:
                wanted, got = ("a tensor", "None") if before else ("None", "a tensor")
                raise ValueError(f"{name}: expected {wanted}, as for earlier pictures, got {got}")

    def _check_values(
        self,
        labels: Tensor,
        target: Tensor,
        saliency: Tensor | None,
        image_labels: Tensor | None,
        maps: Sequence[ClassMaps],
    ) -> None:
        if not reads_values(target):
            return
        highest, ignored = self.num_classes - 1, self.ignore_index
        claims = [
            in_label_range("labels", labels, highest, ignored),
            in_label_range("target", target, highest, ignored),
        ]
        if saliency is not None:
            claims.append(in_unit_interval("saliency", saliency))
        if image_labels is not None:
            claims.append(multi_hot("image_labels", image_labels))
            present = [one for image in maps for _, one in image]
            claims += [in_unit_interval("cam", *present)] if present else []
        verify(*claims)


def label_report(
    labels: Iterable[Tensor],
    targets: Iterable[Tensor],
    *,
    num_classes: int,
    saliency: Iterable[Tensor] | None = None,
    cams: Iterable[Tensor] | None = None,
    image_labels: Iterable[Tensor] | None = None,
    saliency_threshold: float = 32 / 255,
    boundary_width: int = 5,
    size_edges: Sequence[float] = (0.01, 0.05, 0.2),
    calibration_bins: int = 10,
    ignore_index: int = 255,
) -> LabelReportResults:
    r"""Report what a set of pseudo labels is like: what it misses, where, and of which objects.

    Takes one picture after the other, so that generators which read files will do and pictures may
    differ in size. See :class:`LabelReport` for what is counted, and for counting in parts.

    Args:
        labels: (H, W) integer labels of each picture: 0 background, c + 1 class c.
        targets: (H, W) integer labels of each, the ground truth.
        num_classes: Number of labels, background included (21 for PASCAL VOC).
        saliency: (H, W) saliency of each, floating point in [0, 1] or uint8 (value / 255), or None.
        cams: (C, H, W) class activation maps of each, floating point in [0, 1] or uint8, or None.
        image_labels: (C,) multi-hot of each, exactly 0 or 1; with ``cams``.
        saliency_threshold: Saliency of the salient region, in [0, 1].
        boundary_width: Pixels on either side of an edge of the truth that are its boundary.
        size_edges: Shares of a picture's area that divide small from larger objects.
        calibration_bins: Number of bins of CAM values.
        ignore_index: Label of ignored pixels.

    Returns:
        Named results, see :meth:`LabelReport.compute`.

    Raises:
        TypeError: An argument has a wrong type; a tensor has a wrong dtype.
        ValueError: There are more pictures in one argument than in another; otherwise as for
            :class:`LabelReport` and :meth:`LabelReport.update`.

    Example:
        >>> labels = [torch.tensor([[0, 1, 0, 0]]), torch.tensor([[255, 2]])]
        >>> targets = [torch.tensor([[0, 1, 1, 1]]), torch.tensor([[2, 2]])]
        >>> saliency = [torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0]])]
        >>> report = label_report(labels, targets, num_classes=3, saliency=saliency)
        >>> report.overall.missed, report.by_region.non_salient.missed
        (0.4, 1.0)
        >>> report.by_size.right
        tensor([   nan,    nan,    nan, 0.4000], dtype=torch.float64)
    """
    report = LabelReport(
        num_classes,
        saliency_threshold=saliency_threshold,
        boundary_width=boundary_width,
        size_edges=size_edges,
        calibration_bins=calibration_bins,
        ignore_index=ignore_index,
    )
    given = {
        "labels": labels,
        "targets": targets,
        "saliency": saliency,
        "cams": cams,
        "image_labels": image_labels,
    }
    for own in _pictures({name: many for name, many in given.items() if many is not None}):
        report.update(
            own["labels"],
            own["targets"],
            saliency=own.get("saliency"),
            cam=own.get("cams"),
            image_labels=own.get("image_labels"),
        )
    return report.compute()


def _pictures(given: Mapping[str, Iterable[Tensor]]) -> Iterator[dict[str, Tensor]]:
    """What belongs to each picture, by argument; an error names the argument that ends early."""
    for name, many in given.items():
        if not isinstance(many, Iterable):
            raise TypeError(f"{name}: expected tensors of each picture, got {described(many)}")
    iterators = {name: iter(many) for name, many in given.items()}
    count = 0
    while True:
        own = {name: next(iterator, _END) for name, iterator in iterators.items()}
        ended = [name for name, one in own.items() if one is _END]
        if len(ended) == len(own):
            return
        if ended:
            other = next(name for name in own if name not in ended)
            raise ValueError(f"{ended[0]}: expected as many pictures as {other}, got {count}")
        yield own
        count += 1


def _checked_edges(edges: Sequence[float]) -> tuple[float, ...]:
    if isinstance(edges, str) or not isinstance(edges, Sequence):
        raise TypeError(f"size_edges: expected a sequence of numbers, got {described(edges)}")
    for edge in edges:
        check_number("size_edges", edge)
    limits = [0.0, *map(float, edges), 1.0]
    if any(low >= high for low, high in pairwise(limits)):
        raise ValueError(f"size_edges: expected rising numbers between 0 and 1, got {edges!r}")
    return tuple(limits[1:-1])
