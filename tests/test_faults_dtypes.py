"""A default dtype of float64, half-precision maps, and what only few models show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import wsss_nonsalient as wn
from tests.functions import FUNCTIONS
from tests.helpers import assert_same

HALVES = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def single_by_default() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "name", [n for n in FUNCTIONS if n not in ("GlobalReasoningUnit", "CAMHead")]
)
@pytest.mark.parametrize("uint8", [False, True])
def test_the_default_dtype_changes_nothing(name: str, uint8: bool) -> None:
    """Results have the dtypes that the documentation names, and the same values."""
    function = FUNCTIONS[name]
    arguments = function.arguments()
    for key, kind in function.kinds.items():
        if uint8 and kind in ("maps", "image", "picture"):
            arguments[key] = (arguments[key] * 255).byte()
    expected = function(arguments)
    torch.set_default_dtype(torch.float64)
    assert_same(function(arguments), expected)


def test_empty_accumulations_do_not_depend_on_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    accumulator = wn.OACAMAccumulator(2, map_size=(3, 4))
    zeros = torch.zeros(1, 2)
    accumulator.update(["a"], torch.zeros(1, 2, 3, 4), zeros, zeros)
    assert accumulator.compute(["a"]).dtype == torch.float32
    assert accumulator.compute([]).dtype == torch.float32


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_is_computed_in_single_and_rounded_once(dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    half = torch.rand(2, 3, 7, 13, generator=random).to(dtype)
    single = half.float()
    raw, target = half * 9 - 3, torch.rand(2, 3, 7, 13, generator=random)
    assert_same(wn.resize_cam(half, (31, 17)), wn.resize_cam(single, (31, 17)).to(dtype))
    for mode in ("max", "minmax"):
        exact = wn.normalize_cam(raw.float(), mode=mode)
        assert_same(wn.normalize_cam(raw, mode=mode), exact.to(dtype))
    exact = wn.integral_attention_loss(single, half.flip(-1).float())
    assert_same(wn.integral_attention_loss(half, half.flip(-1)), exact)
    assert_same(
        wn.integral_attention_loss(half.double(), target.to(dtype)).to(torch.float64),
        wn.integral_attention_loss(half.double(), target.to(dtype).double()),
    )
    logits, weight = half[..., 0, 0], half[0, :, 1, 1]
    labels = torch.tensor([[1, 0, 1], [0, 0, 1]])
    assert_same(
        wn.multilabel_soft_margin_loss(logits, labels, weight=weight),
        wn.multilabel_soft_margin_loss(logits.float(), labels, weight=weight.float()),
    )


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_maps_of_a_model_add_up_in_single(dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 5, 4, generator=random).to(dtype)

    def model(_: Tensor) -> wn.CAMOutput:
        return wn.CAMOutput(maps.mean(dim=(2, 3)), maps)

    images = torch.zeros(2, 3, 9, 7)
    full = functional.interpolate(maps.float().relu(), (9, 7), mode="bilinear")
    expected = wn.normalize_cam(full * 2 + full.flip(-1) * 2)
    torch.testing.assert_close(
        wn.multi_scale_cam(model, images, scales=(0.5, 1.0)), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("flip", [False, True])
def test_mirrored_images_are_those_that_a_model_with_an_orientation_sees(flip: bool) -> None:
    """A map that is strong on the left of whatever it is given."""

    def model(images: Tensor) -> wn.CAMOutput:
        maps = images * torch.linspace(1, 0, images.shape[3])
        return wn.CAMOutput(maps.mean(dim=(2, 3)), maps)

    images = torch.ones(1, 1, 3, 5)
    result = wn.multi_scale_cam(model, images, scales=(1,), flip=flip)
    ramp = torch.linspace(1, 0, 5)
    expected = torch.ones(5) if flip else ramp
    torch.testing.assert_close(result[0, 0], expected.expand(3, 5))


def test_a_model_sees_pictures_of_at_least_one_pixel() -> None:
    seen = []

    def model(images: Tensor) -> wn.CAMOutput:
        seen.append(tuple(images.shape[2:]))
        return wn.CAMOutput(images.mean(dim=(2, 3)), images)

    wn.multi_scale_cam(model, torch.ones(1, 1, 1, 9), scales=(0.001, 0.4, 1000), flip=False)
    assert seen == [(1, 1), (1, 4), (1000, 9000)]


def test_one_attended_pixel_and_one_other_are_means_of_one() -> None:
    logits = torch.tensor([[[[0.0, 0.0]]]])
    loss = wn.integral_attention_loss(logits, torch.tensor([[[[1.0, 0.0]]]]))
    assert loss.item() == pytest.approx(2 * 0.6931472)


@pytest.mark.parametrize("label", [9, -3])
def test_labels_out_of_range_without_checks_do_not_crash(label: int) -> None:
    """They are the caller's fault, and stay labels; memory that is not theirs is never read."""
    prediction = torch.tensor([[0, 1, label]], dtype=torch.int16)
    with wn.value_checks(False):
        result = wn.nsrm_mask(
            prediction, prediction, torch.tensor([1, 0]), restrict_to_image_labels=True
        )
    assert result.shape == (1, 3)
