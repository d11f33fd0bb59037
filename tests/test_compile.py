"""Every tensor function compiles without a graph break and exports, and then gives the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import wsss_nonsalient as wn
from tests.helpers import Images, make_images


class Case(NamedTuple):
    function: Callable[..., Any]
    pick: Callable[[Images], tuple[Tensor, ...]]


def _pom(images: Images) -> tuple[Tensor, ...]:
    return images.labels, images.cam, images.image_labels


def _cam(images: Images) -> tuple[Tensor, ...]:
    return (images.cam,)


CASES = {
    "background_from_cam": Case(
        lambda cam, y: wn.background_from_cam(cam, y, power=1.5),
        lambda images: (images.cam, images.image_labels),
    ),
    "initial_labels": Case(
        lambda cam, saliency, y: wn.initial_labels(cam, saliency, y),
        lambda images: (images.cam, images.saliency, images.image_labels),
    ),
    "initial_labels-uint8": Case(
        lambda cam, saliency, y: wn.initial_labels(cam, saliency, y),
        lambda images: (
            (images.cam * 255).byte(), (images.saliency * 255).byte(), images.image_labels,
        ),
    ),
    "ignore_sparse_labels": Case(
        lambda labels: wn.ignore_sparse_labels(labels, min_object_ratio=0.3),
        lambda images: (images.labels,),
    ),
    "pom_thresholds": Case(lambda labels, cam, y: wn.pom_thresholds(cam, labels, y), _pom),
    "pom_refine": Case(lambda labels, cam, y: wn.pom_refine(labels, cam, y), _pom),
    "pom_refine-nested-median": Case(
        lambda labels, cam, y: wn.pom_refine(labels, cam, y, quartile="nested-median"), _pom
    ),
    "pom_refine-rivals": Case(
        lambda labels, cam, y: wn.pom_refine(labels, cam, y, rival_threshold=0.6), _pom
    ),
    "pom_weights": Case(
        lambda labels, cam, y: wn.pom_weights(cam, labels, y, rival_threshold=0.8), _pom
    ),
    "pom_weights-hard": Case(
        lambda labels, cam, y: wn.pom_weights(cam, labels, y, softness=0), _pom
    ),
    "nsrm_mask": Case(
        lambda prediction, labels, y, saliency: wn.nsrm_mask(
            prediction, labels, y, saliency=saliency, kernel_size=3,
            keep_ignored=True, restrict_to_image_labels=True,
        ),
        lambda images: (
            images.prediction, images.labels, images.image_labels,
            images.saliency.masked_fill(images.saliency < 0.97, 0),
        ),
    ),
    "dilate": Case(lambda mask: wn.dilate(mask, 4), lambda images: (images.saliency > 0.97,)),
    "dilate-relative": Case(
        lambda mask: wn.dilate(mask, 0.5), lambda images: (images.saliency > 0.97,)
    ),
    "normalize_cam": Case(lambda cam: wn.normalize_cam(cam), _cam),
    "normalize_cam-minmax": Case(lambda cam: wn.normalize_cam(cam, mode="minmax"), _cam),
    "resize_cam": Case(lambda cam: wn.resize_cam(cam, (9, 4)), _cam),
    "pixel_adaptive_refinement": Case(
        lambda cam, image, y: wn.pixel_adaptive_refinement(
            cam, image, y, iterations=2, dilations=[2]
        ),
        lambda images: (images.cam, images.cam.flip(0, 1), images.image_labels),
    ),
    "pixel_adaptive_refinement-edges-uint8": Case(
        lambda cam, image, y: wn.pixel_adaptive_refinement(
            cam, image, y, iterations=2, dilations=[2], edge_threshold=0.2
        ),
        lambda images: (
            (images.cam * 255).byte(), (images.cam * 255).byte().flip(0, 1), images.image_labels,
        ),
    ),
    "multilabel_soft_margin_loss": Case(
        lambda logits, y: wn.multilabel_soft_margin_loss(logits, y),
        lambda images: (images.cam.mean(dim=(-2, -1)) - 0.5, images.image_labels.float()),
    ),
    "integral_attention_loss": Case(
        lambda logits, target: wn.integral_attention_loss(logits, target),
        lambda images: (images.cam - 0.5, images.cam.flip(1).relu()),
    ),
    "GlobalReasoningUnit": Case(wn.GloRe(3, 2, zero_init=False).eval(), _cam),
    "CAMHead": Case(wn.CAMHead(3, 2, hidden_channels=4, num_nodes=2).eval(), _cam),
}  # fmt: skip
over_cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Exportable(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Any:
        return self.function(*tensors)


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch.compiler.reset()


def inputs(case: Case, seed: int, num_images: int = 4) -> tuple[Tensor, ...]:
    return case.pick(make_images(seed, (num_images,), object_ratio=0.2))


def assert_equal_or_close(actual: Any, expected: Any) -> None:
    """Labels exactly, floats but for rounding: a compiler may order sums in another way."""
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@over_cases
def test_compiles_whole(case: Case) -> None:
    compiled = torch.compile(case.function, fullgraph=True, backend="aot_eager")
    for seed in range(2):
        tensors = inputs(case, seed)
        assert_equal_or_close(compiled(*tensors), case.function(*tensors))


@over_cases
def test_exports(case: Case) -> None:
    exported = torch.export.export(Exportable(case.function), inputs(case, 0)).module()
    tensors = inputs(case, 1)
    assert_equal_or_close(exported(*tensors), case.function(*tensors))


@over_cases
def test_exports_for_any_number_of_images(case: Case) -> None:
    tensors = inputs(case, 0)
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = {"tensors": tuple({0: batch} for _ in tensors)}
    program = torch.export.export(Exportable(case.function), tensors, dynamic_shapes=shapes)
    exported = program.module()
    for num_images in (2, 7):
        tensors = inputs(case, 1, num_images)
        assert_equal_or_close(exported(*tensors), case.function(*tensors))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_default_backend_compiles_all_label_steps_into_one_graph() -> None:
    def steps(cam: Tensor, saliency: Tensor, prediction: Tensor, image_labels: Tensor) -> Tensor:
        labels = wn.initial_labels(cam, saliency, image_labels)
        labels = wn.pom_refine(labels, cam, image_labels)
        labels = wn.nsrm_mask(
            prediction, labels, image_labels, saliency=saliency, kernel_size=3,
            keep_ignored=True, restrict_to_image_labels=True,
        )  # fmt: skip
        return wn.ignore_sparse_labels(labels)

    images = make_images(0)
    saliency = images.saliency.masked_fill(images.saliency < 0.97, 0)
    inputs = (images.cam, saliency, images.prediction, images.image_labels)
    assert torch.equal(torch.compile(steps, fullgraph=True)(*inputs), steps(*inputs))
