"""Empty, flat and very small maps and batches: finite results, and nothing is mined."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

import wsss_nonsalient as wn
from tests.functions import FUNCTIONS, LABEL_FUNCTIONS, SUMS, arguments_of
from tests.helpers import assert_same

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
FLAT = {
    "zero": 0.0,
    "negative": -1.0,
    "constant": 5.0,
    "largest half": 65504.0,
    "smallest half": 6e-8,
    "zero in half": 1e-8,
    "subnormal": 1e-42,
    "largest single": 3e38,
}
CASES = [(name, dtype) for name, dtype in product(FLAT, FLOATS)] + [
    (name, torch.uint8) for name in ("zero", "constant")
]


def flat_maps(name: str, dtype: torch.dtype) -> Tensor:
    value = torch.tensor(FLAT[name], dtype=torch.float64).to(dtype)
    if value.isinf():
        pytest.skip("too large for this dtype")
    return value.expand(1, 2, 7, 13).clone()


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
@pytest.mark.parametrize("mode", ["max", "minmax"])
@pytest.mark.parametrize("labelled", [False, True])
def test_flat_maps_mine_nothing(name: str, dtype: torch.dtype, mode: str, labelled: bool) -> None:
    raw = flat_maps(name, dtype)
    cam = wn.normalize_cam(raw, mode=mode)  # type: ignore[arg-type]
    expected = float(mode == "max" and bool((raw > 0).all()))
    assert torch.equal(cam, torch.full_like(cam, expected))
    image_labels = torch.ones(1, 2)
    labels = wn.initial_labels(cam, torch.zeros(1, 7, 13), image_labels)
    assert (labels == (255 if expected else 0)).all()  # a map of ones is in doubt everywhere
    labels = torch.zeros_like(labels)
    if labelled:
        labels[0, 2:4, 3:9] = 2
    assert_same(wn.pom_refine(labels, cam, image_labels), labels)
    assert_same(wn.pom_refine(labels, cam, image_labels, quartile="nested-median"), labels)


@pytest.mark.parametrize(("name", "dtype"), CASES[:-2], ids=str)
@pytest.mark.parametrize("storage", [torch.uint8, torch.float16, torch.float32], ids=str)
def test_flat_maps_accumulate(name: str, dtype: torch.dtype, storage: torch.dtype) -> None:
    raw = flat_maps(name, dtype)
    accumulator = wn.OACAMAccumulator(2, map_size=(5, 4), dtype=storage)
    ones = torch.ones(1, 2)
    for _ in range(2):
        accumulator.update(["a"], raw, ones, ones, force_missing=True)
    assert not accumulator.missing(["a"], ones).any()  # a map of zeros is a map
    assert torch.equal(accumulator.compute(["a"]), torch.full((1, 2, 5, 4), float(raw.amax() > 0)))


@pytest.mark.parametrize("value", [-2.0, 0.0, 3.0])
def test_flat_maps_of_a_model(value: float) -> None:
    def model(images: Tensor) -> wn.CAMOutput:
        maps = torch.full((len(images), 2, 3, 4), value)
        return wn.CAMOutput(maps.mean(dim=(2, 3)), maps)

    cams = wn.multi_scale_cam(model, torch.randn(2, 3, 7, 13))
    torch.testing.assert_close(cams, torch.full((2, 2, 7, 13), float(value > 0)))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e4])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (7, 13)])
def test_flat_features(value: float, training: bool, size: tuple[int, int]) -> None:
    """A channel without any variance: the batch norm divides by its epsilon, not by 0."""
    torch.manual_seed(0)
    head = wn.CAMHead(3, 2, hidden_channels=4, num_nodes=5).train(training)
    features = torch.full((2, 3, *size), value, requires_grad=True)
    logits, cams = head(features)
    (logits.sum() + cams.sum()).backward()
    assert features.grad is not None
    assert all(t.isfinite().all() for t in (logits, cams, features.grad))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


SHAPES = [
    ((1,), 1, (1, 1)),
    ((2,), 1, (1, 13)),
    ((2,), 2, (1, 1)),
    ((3,), 2, (13, 1)),
    ((0,), 3, (7, 13)),
    ((0,), 1, (1, 1)),
]


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "multi_scale_cam"])
@pytest.mark.parametrize(("batch", "num_classes", "size"), SHAPES)
def test_smallest_batches_classes_and_images(
    name: str, batch: tuple[int, ...], num_classes: int, size: tuple[int, int]
) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments(batch=batch, num_classes=num_classes, size=size)
    result = function(arguments)
    assert not result.isnan().any()
    assert name in SUMS or result.shape[0] == batch[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 13), (7, 13)])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_smallest_batches_at_several_scales(batch: int, size: tuple[int, int]) -> None:
    function = FUNCTIONS["multi_scale_cam"]
    result = function(function.arguments(batch=(batch,), size=size))
    assert result.shape == (batch, 3, *size)
    assert result.isfinite().all()


@pytest.mark.parametrize("name", [name for name, _ in arguments_of("multi-hot")])
def test_batches_without_any_label(name: str) -> None:
    """No map is looked at; what is not an object stays what it is."""
    function = FUNCTIONS[name]
    arguments = function.arguments()
    labels = "image_labels" if "image_labels" in arguments else "target"
    arguments[labels] = torch.zeros_like(arguments[labels])
    if "cam" in arguments:
        arguments["cam"] = torch.full_like(arguments["cam"], torch.nan)
    if name in LABEL_FUNCTIONS and "labels" in arguments:
        result = function(arguments)
        if name == "pom_thresholds":
            assert result.isposinf().all()
        elif name == "pom_weights":
            assert_same(result, (arguments["labels"] != 255).float())
        else:
            assert_same(result, arguments["labels"])
    elif name == "background_from_cam":
        assert (function(arguments) == 1).all()
    elif name == "initial_labels":
        salient = arguments["saliency"] >= 32 / 255
        assert_same(function(arguments), salient.to(torch.uint8) * 255)
    elif name.startswith("OACAMAccumulator.update"):
        arguments["cams"] = torch.full_like(arguments["cams"], torch.nan)
        assert (function(arguments) == 0).all()
    else:
        assert function(arguments).isfinite().all()
