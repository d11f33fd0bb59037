"""LabelReport against loops over pixels, scikit-learn's curve, and SegmentationScore."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests import reference, reference_report
from wsss_nonsalient import (
    LabelReport,
    LabelReportResults,
    SegmentationResults,
    SegmentationScore,
    label_report,
    value_checks,
)

OPTIONS: dict[str, Any] = {"boundary_width": 2, "size_edges": (0.1, 0.4), "calibration_bins": 5}


class Picture(NamedTuple):
    labels: Tensor
    target: Tensor
    saliency: Tensor
    cam: Tensor
    image_labels: Tensor

    def given(self) -> dict[str, Tensor]:
        names = ("saliency", "cam", "image_labels")
        return dict(zip(names, self[2:], strict=True))


def pictures(seed: int, count: int = 3, num_classes: int = 4, uint8: bool = False) -> list[Picture]:
    """Pictures of several sizes, of areas rather than of single pixels, with 255 in both."""
    random = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        shape = (5 + i, 8 - i)
        coarse = torch.randint(0, num_classes, (4, 4), generator=random)
        target = coarse.repeat_interleave(2, 0).repeat_interleave(2, 1)[: shape[0], : shape[1]]
        target = torch.nn.functional.pad(target, (0, shape[1] - target.shape[1], 0, 0))
        noise = torch.rand(3, *target.shape, generator=random)
        other = torch.randint(0, num_classes, target.shape, generator=random)
        labels = torch.where(noise[0] < 0.4, other, target)
        labels, target = (
            labels.masked_fill(noise[1] < 0.2, 255),
            target.masked_fill(noise[2] < 0.1, 255),
        )
        images = torch.rand(num_classes, *target.shape, generator=random)
        if uint8:
            images = (images * 255).round().to(torch.uint8)
        present = torch.rand(num_classes - 1, generator=random) < 0.7
        found.append(Picture(labels, target, images[0], images[1:], present))
    return found


def report_of(own: list[Picture], num_classes: int = 4, **options: Any) -> LabelReportResults:
    names = ("labels", "targets", "saliency", "cams", "image_labels")
    given: dict[str, Any] = dict(zip(names, map(list, zip(*own, strict=True)), strict=True))
    return label_report(num_classes=num_classes, **given, **{**OPTIONS, **options})


def assert_scores(got: SegmentationResults, expected: dict[str, Any]) -> None:
    for name in got._fields:
        assert getattr(got, name) == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


def assert_tensors(got: Any, expected: dict[str, Any]) -> None:
    for name, values in expected.items():
        own = getattr(got, name)
        own = own.tolist() if isinstance(own, Tensor) else own
        assert own == pytest.approx(values, abs=1e-12, nan_ok=True), name


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 4), st.booleans())
def test_equals_reference(seed: int, num_classes: int, width: int, uint8: bool) -> None:
    own = pictures(seed, num_classes=num_classes, uint8=uint8)
    got = report_of(own, num_classes, boundary_width=width)
    arrays = [tuple(x.numpy() for x in picture) for picture in own]
    labels, targets, saliency, cams, present = zip(*arrays, strict=True)
    label, target = (np.concatenate([x.ravel() for x in each]) for each in (labels, targets))
    whole = reference.segmentation_score(label, target, num_classes)
    assert_scores(got.overall, whole)
    expected = reference_report.regions(
        labels, targets, num_classes, saliency=saliency, width=width
    )
    assert set(expected) == set(got.by_region._fields)
    for name, scores in expected.items():
        assert_scores(getattr(got.by_region, name), scores)
    assert_tensors(got.by_class, reference_report.by_class(labels, targets, num_classes))
    sizes = reference_report.size_bins(labels, targets, OPTIONS["size_edges"])
    assert_tensors(got.by_size, {name: [own[name] for own in sizes] for name in sizes[0]})
    assert got.calibration is not None
    assert_tensors(
        got.calibration,
        reference_report.calibration(targets, cams, present, OPTIONS["calibration_bins"]),
    )


def test_parts_add_up() -> None:
    """Classes, sizes and regions to the whole, weighed by their pixels."""
    results = report_of(pictures(1, count=6))
    overall, classes, sizes = results.overall, results.by_class, results.by_size
    for own, weights in ((classes, classes.pixels[1:]), (sizes, sizes.pixels)):
        for name in ("missed", "ignored", "confused"):
            shares = getattr(own, name)[-len(weights) :]
            whole = getattr(overall, {"ignored": "objects_ignored"}.get(name, name))
            assert float((shares * weights).nansum() / weights.sum()) == pytest.approx(whole)
        total = own.missed + own.ignored + own.right + own.confused
        assert total[-len(weights) :].tolist() == pytest.approx([1.0] * len(weights), nan_ok=True)
    assert float(classes.false_objects.nansum()) == pytest.approx(overall.false_objects)
    assert classes.iou.tolist() == overall.per_class_iou.tolist()
    assert float(classes.iou_strict.nanmean()) == pytest.approx(overall.mean_iou_strict)


@pytest.mark.parametrize("with_maps", [False, True])
def test_regions_are_those_of_segmentation_score(with_maps: bool) -> None:
    own = pictures(2)
    report, score = LabelReport(4, **OPTIONS), SegmentationScore(4)
    for picture in own:
        region = picture.saliency < 32 / 255
        score.update(picture.labels, picture.target, region=region)
        given = picture.given() if with_maps else {"saliency": picture.saliency}
        report.update(picture.labels, picture.target, **given)
    results = report.compute()
    assert results.by_region.non_salient is not None
    assert_scores(results.by_region.non_salient, score.compute()._asdict())
    assert (results.calibration is not None) == with_maps


@pytest.mark.parametrize("num_bins", [1, 4, 10])
def test_reliability_curve_is_that_of_scikit_learn(num_bins: int) -> None:
    metrics = pytest.importorskip("sklearn.calibration")
    random = torch.Generator().manual_seed(num_bins)
    cam = torch.rand(2, 30, 40, generator=random, dtype=torch.float64)
    cam[:, 0, :9] = torch.arange(9) / 8  # on the edges of 4 bins
    target = torch.randint(0, 3, (30, 40), generator=random).masked_fill(cam[1] > 0.95, 255)
    report = LabelReport(3, calibration_bins=num_bins)
    report.update(target, target, cam=cam, image_labels=torch.tensor([0, 1]))
    curve = report.compute().calibration
    counted = target != 255
    share, value = metrics.calibration_curve(
        (target == 2)[counted], cam[1][counted], n_bins=num_bins
    )
    assert curve is not None
    filled = curve.pixels > 0
    assert curve.true_share[filled].tolist() == pytest.approx(share.tolist(), abs=1e-12)
    assert curve.mean_value[filled].tolist() == pytest.approx(value.tolist(), abs=1e-12)
    assert int(curve.pixels.sum()) == int(counted.sum())


def test_calibrated_maps_have_no_error() -> None:
    target = torch.tensor([[1, 0, 0, 0, 1, 1, 1, 0]])
    cam = torch.tensor([[[0.25, 0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75]]])
    report = LabelReport(2)
    report.update(target, target, cam=cam, image_labels=torch.tensor([True]))
    curve = report.compute().calibration
    assert curve is not None
    assert curve.expected_error == 0
    assert curve.pixels.tolist() == [0, 0, 4, 0, 0, 0, 0, 4, 0, 0]
    report.update(target, target, cam=1 - cam, image_labels=torch.tensor([True]))
    curve = report.compute().calibration
    assert curve is not None
    assert curve.expected_error == pytest.approx(0.25)  # half right in either bin


def test_objects_of_each_size() -> None:
    """Corners connect, classes and 255 divide; a size that is an edge is the larger."""
    target = torch.tensor(
        [
            [1, 0, 0, 2, 2],
            [0, 1, 0, 2, 2],
            [1, 255, 1, 0, 0],
            [1, 0, 0, 0, 3],
        ]
    )
    report = LabelReport(4, size_edges=(0.1, 0.2, 0.25))
    report.update(torch.where(target == 1, 0, target), target)
    sizes = report.compute().by_size
    assert sizes.objects.tolist() == [1, 0, 1, 1]  # the 3, the 2s at 0.2, the five 1s at 0.25
    assert sizes.pixels.tolist() == [1, 0, 4, 5]
    assert sizes.missed.tolist() == pytest.approx([0, math.nan, 0, 1], nan_ok=True)
    assert sizes.edges.tolist() == [0, 0.1, 0.2, 0.25, 1]


def test_ignored_outlines_are_edges() -> None:
    target = torch.tensor([[0, 0, 0, 255, 1, 1, 1, 1]])
    report = LabelReport(2, boundary_width=2)
    report.update(target * 0, target)
    results = report.compute().by_region
    assert results.interior.missed == 1  # the last two ones
    report.update(torch.tensor([[1, 0, 0, 0, 0, 0, 1, 1]]), target)
    results = report.compute().by_region
    assert (results.boundary.missed, results.boundary.false_objects) == (1, 0)
    assert (results.interior.missed, results.interior.false_objects) == (0.5, 0.5)


def test_parts_merge_to_the_whole() -> None:
    own = pictures(3, count=5)
    whole = LabelReport(4, **OPTIONS)
    for picture in own:
        whole.update(picture.labels, picture.target, **picture.given())
    merged = LabelReport(4, **OPTIONS)
    for start, end in ((0, 1), (1, 1), (1, 5)):
        part = LabelReport(4, **OPTIONS)
        for picture in own[start:end]:
            part.update(picture.labels, picture.target, **picture.given())
        merged.merge(part)
    assert_reports(merged.compute(), whole.compute())
    whole.reset()
    assert repr(whole.compute()) == repr(LabelReport(4, **OPTIONS).compute())


def assert_reports(got: LabelReportResults, expected: LabelReportResults) -> None:
    assert_scores(got.overall, expected.overall._asdict())
    for one, other in zip(got.by_region, expected.by_region, strict=True):
        assert one is not None
        assert other is not None
        assert_scores(one, other._asdict())
    for name in ("by_class", "by_size", "calibration"):
        pairs = zip(getattr(got, name), getattr(expected, name), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(
                torch.as_tensor(one), torch.as_tensor(other), rtol=0, atol=1e-12, equal_nan=True
            )


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16]
)
def test_batches_dtypes_and_devices(dtype: torch.dtype, device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (2, 3, 6, 7), generator=random)
    target = labels.flip(-1).masked_fill(torch.rand(labels.shape, generator=random) < 0.1, 255)
    saliency = torch.rand(labels.shape, generator=random)
    cam = torch.rand(2, 3, 3, 6, 7, generator=random)
    present = torch.rand(2, 3, 3, generator=random) < 0.5
    one_by_one, batch = (LabelReport(4, **OPTIONS) for _ in range(2))
    for i in range(2):
        for j in range(3):
            given = {"saliency": saliency[i, j], "cam": cam[i, j], "image_labels": present[i, j]}
            one_by_one.update(labels[i, j], target[i, j], **given)
    batch.update(
        labels.to(device, dtype),
        target.to(device, dtype),
        saliency=saliency.to(device),
        cam=cam.to(device),
        image_labels=present.to(device),
    )
    assert_reports(batch.compute(), one_by_one.compute())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.uint8])
def test_dtypes_of_maps(dtype: torch.dtype) -> None:
    """Levels that every dtype holds exactly; 32 of 255 is salient in 8 bits, 31 is not."""
    target = torch.tensor([[1, 1, 0, 1]])
    cam = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
    if dtype == torch.uint8:
        maps, saliency = (cam * 255).to(dtype), torch.tensor([[31, 32, 0, 255]], dtype=dtype)
    else:
        maps, saliency = cam.to(dtype), torch.tensor([[0.12, 0.13, 0.0, 1.0]], dtype=dtype)
    report = LabelReport(2, calibration_bins=2)
    labels = torch.tensor([[0, 1, 0, 1]])
    report.update(labels, target, saliency=saliency, cam=maps, image_labels=torch.tensor([1]))
    results = report.compute()
    assert results.by_region.salient is not None
    assert results.by_region.non_salient is not None
    assert results.by_region.salient.missed == 0
    assert results.by_region.non_salient.missed == 1
    assert results.calibration is not None
    assert results.calibration.expected_error == 0.75
    assert results.calibration.true_share.tolist() == [1.0, 0.5]


def test_absent_maps_are_never_read() -> None:
    (picture,) = pictures(4, count=1)
    picture = picture._replace(image_labels=torch.tensor([True, False, True]))
    cam = picture.cam.masked_fill(~picture.image_labels[:, None, None], torch.nan)
    assert_reports(report_of([picture._replace(cam=cam)]), report_of([picture]))


def test_nothing_there_is_nan() -> None:
    ignored, background = torch.full((3, 4), 255), torch.zeros(3, 4, dtype=torch.int64)
    report = LabelReport(3)
    empty = report.compute()
    assert math.isnan(empty.overall.mean_iou)
    assert empty.by_region.salient is None
    assert empty.calibration is None
    for target in (ignored, ignored[None][:0]):
        report.update(
            target * 0,
            target,
            saliency=torch.zeros(target.shape),
            cam=torch.rand(*target.shape[:-2], 2, 3, 4),
            image_labels=torch.ones(*target.shape[:-2], 2),
        )
    results = report.compute()
    assert all(math.isnan(x) for x in results.overall[1:])
    assert results.calibration is not None
    assert math.isnan(results.calibration.expected_error)
    assert results.calibration.pixels.sum() == results.by_size.objects.sum() == 0
    report = LabelReport(3)
    report.update(ignored, background)
    results = report.compute()
    assert math.isnan(results.overall.missed)
    assert results.by_class.ignored.tolist() == pytest.approx([1, math.nan, math.nan], nan_ok=True)
    assert results.by_region.interior.ignored == 1
    assert math.isnan(results.by_region.boundary.ignored), "one label has no edge"
    no_class = LabelReport(3)
    no_class.update(background, background, cam=torch.rand(2, 3, 4), image_labels=torch.zeros(2))
    calibration = no_class.compute().calibration
    assert calibration is not None
    assert math.isnan(calibration.expected_error)


def test_one_class_and_no_inner_edges() -> None:
    report = LabelReport(2, size_edges=(), calibration_bins=1)
    report.update(torch.tensor([[0, 1]]), torch.tensor([[1, 1]]))
    assert report.compute().by_size.missed.tolist() == [0.5]
    only_background = LabelReport(1)
    only_background.update(torch.tensor([[0, 255]]), torch.tensor([[0, 0]]))
    assert only_background.compute().by_class.right.tolist() == [0.5]


def test_generators_are_read_one_picture_at_a_time() -> None:
    own = pictures(5, count=4)
    read: list[str] = []

    def each(name: str, tensors: list[Tensor]) -> Iterator[Tensor]:
        for tensor in tensors:
            read.append(name)
            yield tensor

    streams = each("labels", [p.labels for p in own]), each("targets", [p.target for p in own])
    results = label_report(*streams, num_classes=4)
    assert read == ["labels", "targets"] * 4
    assert results.overall.missed == report_of(own).overall.missed
    batch = torch.stack([own[0].labels] * 2)
    assert label_report(batch, batch, num_classes=4).overall.mean_iou == 1


def test_text() -> None:
    labels, target = torch.tensor([[0, 1, 0, 255]]), torch.tensor([[1, 1, 0, 0]])
    cam = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]).repeat(2, 1, 1)
    present = torch.tensor([1, 0])
    report = LabelReport(3, size_edges=(0.5,), boundary_width=1)
    report.update(labels, target, saliency=cam[0], cam=cam, image_labels=present)
    lines = str(report.compute()).splitlines()
    assert [line.split() for line in lines] == [
        ["in", "percent", "mIoU", "strict", "missed", "ignored", "right", "confused", "false",
         "objects"],
        ["all", "pixels", "50.0", "41.7", "50.0", "0.0", "50.0", "0.0", "0.0"],
        ["boundary", "100.0", "100.0", "0.0", "0.0", "100.0", "0.0", "0.0"],
        ["interior", "0.0", "0.0", "100.0", "0.0", "0.0", "0.0", "0.0"],
        ["salient", "25.0", "25.0", "50.0", "0.0", "50.0", "0.0", "-"],
        ["non-salient", "100.0", "50.0", "-", "-", "-", "-", "0.0"],
        ["background", "50.0", "33.3", "-", "50.0", "50.0", "-", "-"],
        ["label", "1", "50.0", "50.0", "50.0", "0.0", "50.0", "0.0", "0.0"],
        ["objects", "of", "0", "to", "50", "%", "-", "-", "-", "-"],
        ["objects", "of", "50", "to", "100", "%", "50.0", "0.0", "50.0", "0.0"],
        ["expected", "calibration", "error", "0.0"],
    ]  # fmt: skip
    assert lines[1].index("0.0 ") < lines[0].index("strict")
    assert len(set(map(len, lines[:6]))) == 1


def test_value_checks_off_still_counts() -> None:
    own = pictures(6)
    with value_checks(False):
        results = report_of(own)
    assert_reports(results, report_of(own))


LABELS = torch.zeros(2, 3, dtype=torch.uint8)
CAM, PRESENT = torch.zeros(1, 2, 3), torch.ones(1)
WRONG: Any = "ab"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"labels": LABELS + 2}, ValueError, r"labels: expected labels 0 to 1 or 255.*got 2"),
        ({"target": LABELS + 2}, ValueError, r"target: expected labels 0 to 1 or 255.*got 2"),
        ({"labels": LABELS.float()}, TypeError, "labels: expected an integer tensor"),
        ({"target": LABELS[:1]}, ValueError, "target: expected H = 2, as labels, got H = 1"),
        ({"saliency": CAM[0] + 2}, ValueError, r"saliency: expected values in \[0, 1\], got 2"),
        ({"saliency": CAM[0, :1]}, ValueError, "saliency: expected H = 2, as labels"),
        ({"saliency": LABELS.long()}, TypeError, "saliency: expected a floating-point tensor"),
        ({"cam": CAM}, ValueError, "image_labels: expected together with cam, got None"),
        ({"image_labels": PRESENT}, ValueError, "cam: expected together with image_labels"),
        (
            {"cam": CAM + torch.nan, "image_labels": PRESENT},
            ValueError,
            "cam: expected values in .*NaN; see normalize_cam",
        ),
        (
            {"cam": CAM.repeat(2, 1, 1), "image_labels": PRESENT},
            ValueError,
            "cam: expected C = 1, as num_classes - 1, got C = 2",
        ),
        ({"cam": CAM, "image_labels": PRESENT * 2}, ValueError, "image_labels: expected multi-hot"),
        ({"target": LABELS.to("meta")}, ValueError, "target: expected values, got .* meta"),
    ],
)
def test_wrong_pictures_are_refused_and_not_counted(
    given: dict[str, Tensor], error: type[Exception], message: str
) -> None:
    report = LabelReport(2)
    with pytest.raises(error, match=message):
        report.update(**{"labels": LABELS, "target": LABELS, **given})
    assert repr(report.compute()) == repr(LabelReport(2).compute())


def test_saliency_and_maps_are_for_all_pictures_or_for_none() -> None:
    report, other = LabelReport(2), LabelReport(2)
    report.update(LABELS, LABELS, saliency=CAM[0])
    with pytest.raises(ValueError, match="saliency: expected a tensor, as for earlier pictures"):
        report.update(LABELS, LABELS)
    with pytest.raises(ValueError, match="cam: expected None, as for earlier pictures, got a ten"):
        report.update(LABELS, LABELS, saliency=CAM[0], cam=CAM, image_labels=PRESENT)
    other.update(LABELS, LABELS)
    with pytest.raises(ValueError, match="other: expected one with .*'saliency': True.*False"):
        report.merge(other)
    assert report.compute().overall.ignored == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LabelReport(0), ValueError, "num_classes: expected an integer of at least 1"),
        (lambda: LabelReport(2, ignore_index=1), ValueError, "ignore_index: expected a value"),
        (lambda: LabelReport(2, saliency_threshold=32), ValueError, "n / 255"),
        (lambda: LabelReport(2, boundary_width=0), ValueError, "boundary_width: expected"),
        (lambda: LabelReport(2, calibration_bins=0), ValueError, "calibration_bins: expected"),
        (lambda: LabelReport(2, size_edges=WRONG), TypeError, "size_edges: expected a sequence"),
        (lambda: LabelReport(2, size_edges=(0.2, 0.2)), ValueError, "size_edges: .*rising"),
        (lambda: LabelReport(2, size_edges=(0.0,)), ValueError, "size_edges: .*rising"),
        (lambda: LabelReport(2, size_edges=(2,)), ValueError, "size_edges: expected a number in"),
        (lambda: LabelReport(2).merge(WRONG), TypeError, "other: expected a LabelReport, got str"),
        (
            lambda: LabelReport(2).merge(LabelReport(2, boundary_width=3)),
            ValueError,
            "other: expected LabelReport.2, .*boundary_width=5.*got.*boundary_width=3",
        ),
        (
            lambda: label_report([LABELS], [LABELS, LABELS], num_classes=2),
            ValueError,
            "labels: expected as many pictures as targets, got 1",
        ),
        (
            lambda: label_report([LABELS], [LABELS], num_classes=2, saliency=[]),
            ValueError,
            "saliency: expected as many pictures as labels, got 0",
        ),
        (
            lambda: label_report([LABELS], 1, num_classes=2),  # type: ignore[arg-type]
            TypeError,
            "targets: expected tensors of each picture, got int 1",
        ),
        (
            lambda: label_report([LABELS], [LABELS], num_classes=2, cams=[CAM]),
            ValueError,
            "image_labels: expected together with cam",
        ),
    ],
)
def test_errors_name_the_argument(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
