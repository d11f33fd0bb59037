"""CAM head, normalisation, resizing and multi-scale inference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests import reference
from wsss_nonsalient import (
    CAMHead,
    CAMOutput,
    GlobalReasoningUnit,
    multi_scale_cam,
    normalize_cam,
    resize_cam,
    value_checks,
)

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("hidden_channels", [None, 6])
@pytest.mark.parametrize("num_nodes", [None, 3])
def test_head_is_what_its_docs_say(hidden_channels: int | None, num_nodes: int | None) -> None:
    head = CAMHead(4, 5, hidden_channels=hidden_channels, num_nodes=num_nodes)
    for module in head.modules():
        if isinstance(module, GlobalReasoningUnit):
            nn.init.ones_(module.blocker.weight)
    features = torch.randn(2, 4, 7, 9)
    x = features
    convolutions = [m for m in head.features.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == (0 if hidden_channels is None else 3)
    for i, convolution in enumerate(convolutions):
        x = functional.conv2d(x, convolution.weight, convolution.bias, padding=1)
        x = functional.relu(x) if i < 2 else x
    if num_nodes is not None:
        unit = head.reasoning
        assert isinstance(unit, GlobalReasoningUnit)
        assert unit.num_nodes == num_nodes
        x = unit(x)
    cams = functional.conv2d(x.relu(), head.classifier.weight, head.classifier.bias)
    output = head(features)
    assert isinstance(output, CAMOutput)
    torch.testing.assert_close(output.cams, cams)
    torch.testing.assert_close(output.logits, cams.mean(dim=(2, 3)))
    output.logits.sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_head_defaults() -> None:
    head = CAMHead(8, 20)
    assert head.features[0].out_channels == 512
    assert isinstance(head.reasoning, GlobalReasoningUnit)
    assert head.reasoning.num_nodes == 64
    with pytest.raises(ValueError, match="num_classes: expected an integer of at least 1, got 0"):
        CAMHead(8, 0)
    with pytest.raises(ValueError, match="hidden_channels: expected an integer of at least 1"):
        CAMHead(8, 20, hidden_channels=0)
    with pytest.raises(ValueError, match="features: expected channels = 8, as in_channels, got"):
        head(torch.zeros(1, 9, 4, 4))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.uint8])
@pytest.mark.parametrize("mode", ["max", "minmax"])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_normalize_equals_reference(
    dtype: torch.dtype, mode: str, batch: tuple[int, ...], device: torch.device
) -> None:
    torch.manual_seed(0)
    cam = (torch.randn(*batch, 3, 5, 4) * 30 + 20).clamp(min=0 if dtype == torch.uint8 else -99)
    cam = cam.to(device, dtype)
    before = cam.clone()
    result = normalize_cam(cam, mode=mode)  # type: ignore[arg-type]
    assert torch.equal(cam, before)
    assert result.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert result.min() >= 0
    assert result.max() <= 1
    exact = cam.double() if dtype == torch.float64 else cam.float()
    flat = exact.cpu().flatten(0, -4) if batch else exact.cpu()[None]
    for image, got in zip(flat, result.reshape(-1, 3, 5, 4), strict=True):
        expected = torch.from_numpy(reference.normalize_cam(image.numpy(), mode=mode))  # type: ignore[arg-type]
        assert torch.equal(got.cpu(), expected.to(result.dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mode", ["max", "minmax"])
@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, (0, 0)), (-2.0, (0, 0)), (3.0, (1, 0)), (6e-8, (1, 0))]
)
def test_flat_maps(dtype: torch.dtype, mode: str, value: float, expected: tuple[int, int]) -> None:
    cam = torch.full((2, 1, 3, 3), value, dtype=dtype, requires_grad=True)
    result = normalize_cam(cam, mode=mode)  # type: ignore[arg-type]
    assert (result == expected[mode == "minmax"]).all()
    result.sum().backward()
    assert cam.grad is not None
    assert cam.grad.isfinite().all()


def test_normalize_of_extreme_half_precision() -> None:
    cam = torch.tensor([[[-60000.0, 0.0, 60000.0]]], dtype=torch.float16)
    assert normalize_cam(cam, mode="minmax").tolist() == [[[0.0, 0.5, 1.0]]]


def test_normalize_announces_an_overflow() -> None:
    cam = torch.tensor([[[-3e38, 3e38, 0.0]]])
    with pytest.raises(ValueError, match="cam, largest minus smallest value: expected finite"):
        normalize_cam(cam, mode="minmax")


def test_normalize_is_differentiable() -> None:
    cam = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalize_cam, (cam,))
    assert torch.autograd.gradcheck(lambda x: normalize_cam(x, mode="minmax"), (cam,))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.uint8])
@pytest.mark.parametrize("batch", [(), (0,), (3,), (2, 2)])
@pytest.mark.parametrize("size", [(7, 13), (14, 5), (3, 4), (1, 1), (6, 5)])
def test_resize_equals_interpolate(
    dtype: torch.dtype, batch: tuple[int, ...], size: tuple[int, int], device: torch.device
) -> None:
    torch.manual_seed(0)
    cam = torch.randint(0, 256, (*batch, 5, 6, 5), device=device)
    cam = cam.to(dtype) if dtype == torch.uint8 else (cam / 255).to(dtype)
    result = resize_cam(cam, size)
    assert result.shape == (*batch, 5, *size)
    assert result.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    unit = (
        cam.float() / 255
        if dtype == torch.uint8
        else cam.to(torch.promote_types(dtype, torch.float32))
    )
    expected = functional.interpolate(unit.reshape(-1, 5, 6, 5), size, mode="bilinear")
    torch.testing.assert_close(result, expected.reshape(result.shape).to(result.dtype))
    for one, alone in zip(result.reshape(-1, 5, *size), cam.reshape(-1, 5, 6, 5), strict=True):
        assert torch.equal(resize_cam(alone, size), one)


def test_resize_keeps_orientation_and_clamps() -> None:
    ramp = torch.arange(13.0).expand(1, 7, 13) / 12
    resized = resize_cam(ramp, (14, 26))
    torch.testing.assert_close(resized[0, 0], resized[0, -1])
    assert (resized[0, 0].diff() >= 0).all()
    assert resize_cam(torch.tensor([[[-1.0, 3.0]]]), (1, 2)).tolist() == [[[0.0, 1.0]]]
    same = torch.rand(1, 3, 3)
    assert resize_cam(same, (3, 3)).data_ptr() != same.data_ptr()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_not_finite_is_refused(value: float) -> None:
    cam = torch.zeros(2, 3, 4, 4)
    cam[1, 2, 3, 3] = value
    with pytest.raises(ValueError, match="cam: expected finite values, got 1 that are NaN or inf"):
        normalize_cam(cam)
    with pytest.raises(ValueError, match="cam: expected finite values, got 1 that are NaN or inf"):
        resize_cam(cam, (2, 2))
    with value_checks(False):
        normalize_cam(cam)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cam: expected shape \(\*, C, H, W\), got \(4, 4\)"):
        normalize_cam(torch.zeros(4, 4))
    with pytest.raises(TypeError, match="cam: expected a floating-point tensor.*got torch.int64"):
        normalize_cam(torch.zeros(1, 4, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match="cam: expected a torch.Tensor, got ndarray"):
        normalize_cam(np.zeros((1, 4, 4)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode: expected one of 'max', 'minmax', got 'l2'"):
        normalize_cam(torch.zeros(1, 4, 4), mode="l2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"size: expected two integers \(height, width\), got 8"):
        resize_cam(torch.zeros(1, 4, 4), 8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size: expected an integer of at least 1, got 0"):
        resize_cam(torch.zeros(1, 4, 4), (0, 4))


class _Model(nn.Module):
    """Colour channels as class maps at half size, with batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> CAMOutput:
        self.sizes.append(tuple(images.shape[2:]))
        cams = functional.avg_pool2d(self.dropout(self.norm(images)), 2)
        return CAMOutput(cams.mean(dim=(2, 3)), cams)


def test_multi_scale_of_one_scale_is_the_plain_cam() -> None:
    model = _Model().eval()
    images = torch.randn(2, 3, 8, 12)
    expected = functional.interpolate(model(images).cams.relu(), (8, 12), mode="bilinear")
    result = multi_scale_cam(model, images, scales=(1.0,), flip=False)
    torch.testing.assert_close(result, normalize_cam(expected))
    assert not result.requires_grad


def test_multi_scale_averages_scales_and_flips() -> None:
    model = _Model().eval()
    images = torch.randn(2, 3, 8, 12)
    total = torch.zeros(2, 3, 8, 12)
    for size in ((4, 6), (8, 12), (12, 18)):
        scaled = functional.interpolate(images, size, mode="bilinear")
        for mirror in (False, True):
            cams = model(scaled.flip(3) if mirror else scaled).cams.relu()
            full = functional.interpolate(cams, (8, 12), mode="bilinear")
            total += full.flip(3) if mirror else full
    model.sizes.clear()
    result = multi_scale_cam(model, images, scales=(0.5, 1, 1.5))
    torch.testing.assert_close(result, normalize_cam(total))
    assert model.sizes == [(4, 6), (4, 6), (8, 12), (8, 12), (12, 18), (12, 18)]
    mirrored = multi_scale_cam(model, images.flip(3), scales=(0.5, 1, 1.5))
    torch.testing.assert_close(mirrored, result.flip(3))


@pytest.mark.parametrize(
    "labels", [[[1, 0, 1], [0, 1, 0]], [[0, 0, 0], [1, 1, 1]], [[0, 0, 0]] * 2]
)
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_multi_scale_of_present_classes(labels: list[list[int]], dtype: torch.dtype) -> None:
    model = _Model().eval()
    images = torch.randn(2, 3, 8, 12)
    present = torch.tensor(labels)
    expected = multi_scale_cam(model, images) * present[..., None, None]
    found = multi_scale_cam(model, images, image_labels=present.to(dtype))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_multi_scale_of_a_model_that_changes_its_input() -> None:
    def model(images: Tensor) -> CAMOutput:
        cams = images.mul_(2).sub_(0.5)
        return CAMOutput(cams.mean(dim=(2, 3)), cams)

    images = torch.rand(1, 3, 8, 8)
    before = images.clone()
    result = multi_scale_cam(model, images, scales=(1.0,))
    assert torch.equal(images, before)
    torch.testing.assert_close(result, normalize_cam(before * 2 - 0.5))
    half = functional.interpolate(before, (4, 4), mode="bilinear") * 2 - 0.5
    result = multi_scale_cam(model, images, scales=(0.5,))
    expected = functional.interpolate(half.relu(), (8, 8), mode="bilinear")
    torch.testing.assert_close(result, normalize_cam(expected))


def test_multi_scale_restores_the_mode_of_each_module() -> None:
    model = _Model().train()
    model.norm.eval()
    images = torch.randn(1, 3, 8, 8)
    first = multi_scale_cam(model, images)
    assert torch.equal(multi_scale_cam(model, images), first)
    assert model.training
    assert model.dropout.training
    assert not model.norm.training


def test_multi_scale_refuses() -> None:
    model = _Model()
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="scales: expected positive factors, at least one"):
        multi_scale_cam(model, images, scales=())
    with pytest.raises(ValueError, match="scales: expected a number in .*, got 0"):
        multi_scale_cam(model, images, scales=(1.0, 0.0))
    with pytest.raises(ValueError, match="cams of the model: expected N = 1, as images, got N = 2"):
        multi_scale_cam(lambda x: CAMOutput(x[:, :, 0, 0], torch.cat([x, x])), images)
    with pytest.raises(ValueError, match=r"images: expected shape \(N, channels, H, W\)"):
        multi_scale_cam(model, images[0])
    with pytest.raises(ValueError, match="image_labels: expected N = 1, as images, got N = 2"):
        multi_scale_cam(model, images, image_labels=torch.ones(2, 3))
    with pytest.raises(ValueError, match="image_labels: expected multi-hot labels, exactly 0 or 1"):
        multi_scale_cam(model, images, image_labels=torch.full((1, 3), 2))
    with pytest.raises(ValueError, match="cams of the model: expected C = 4, as image_labels"):
        multi_scale_cam(model, images, image_labels=torch.ones(1, 4))
    with pytest.raises(TypeError, match="flip: expected a bool, got int 3"):
        multi_scale_cam(model, images, flip=3)  # type: ignore[arg-type]
