"""Losses: every kind of target and logit that people hand over, and the exact gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import wsss_nonsalient as wn

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
TARGETS = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *FLOATS,
]  # fmt: skip
SIZES = [0.0, 1.0, 18.0, 88.0, 104.0, 200.0, 1e4]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("target_dtype", TARGETS, ids=str)
@pytest.mark.parametrize("present", ["all", "none", "some"])
def test_soft_margin_gradient(dtype: torch.dtype, target_dtype: torch.dtype, present: str) -> None:
    """(sigma - y) / C at every size of logit, whatever the target's dtype."""
    values = torch.tensor([s * sign for s in SIZES for sign in (1, -1)], dtype=torch.float64)
    logits = torch.stack([values, -values]).to(dtype).requires_grad_()
    target = torch.zeros(2, len(values))
    if present != "none":
        target[:, :: 1 if present == "all" else 3] = 1
    loss = wn.multilabel_soft_margin_loss(logits, target.to(target_dtype), reduction="sum")
    loss.backward()
    exact = (logits.detach().double().sigmoid() - target) / len(values)
    assert loss.isfinite()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, exact.to(dtype), rtol=1e-3, atol=1e-7)
    wrong = (exact.abs() > 0.4 / len(values)) & (logits.detach().abs() > 18)
    assert (logits.grad[wrong] != 0).all()  # what is far off goes on learning


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("target_dtype", [*FLOATS, torch.uint8], ids=str)
@pytest.mark.parametrize("attended", ["all", "none", "some"])
def test_integral_gradient(dtype: torch.dtype, target_dtype: torch.dtype, attended: str) -> None:
    """t (sigma - 1) / |P| on attended pixels and sigma / |N| on the others."""
    values = torch.tensor([s * sign for s in SIZES for sign in (1, -1)], dtype=torch.float64)
    logits = values.repeat(2, 1, 3, 1).to(dtype).requires_grad_()
    target = torch.zeros(logits.shape)
    if attended != "none":
        target[..., :: 1 if attended == "all" else 3] = 51 / 255
    if target_dtype == torch.uint8:
        given = (target * 255).round().to(torch.uint8)
    else:
        given = target.to(target_dtype)
    loss = wn.integral_attention_loss(logits, given)
    loss.backward()
    positive, sigma = target > 0, logits.detach().double().sigmoid()
    weight = given.double() / (255 if target_dtype == torch.uint8 else 1)
    exact = torch.where(
        positive,
        weight * (sigma - 1) / positive.sum().clamp(min=1),
        sigma / (~positive).sum().clamp(min=1),
    )
    assert loss.isfinite()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, exact.to(dtype), rtol=2e-3, atol=1e-6)


SHAPES = [(4, 1), (3, 4), (4,), (4, 3, 1), (1, 4, 3), (2, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_targets_of_another_shape_are_never_broadcast(shape: tuple[int, ...]) -> None:
    logits = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="^target: expected"):
        wn.multilabel_soft_margin_loss(logits, torch.zeros(shape))
    maps, attended = logits[..., None, None], torch.zeros(*shape, 1, 1)
    with pytest.raises(ValueError, match="^target: expected"):
        wn.integral_attention_loss(maps, attended)


def test_class_numbers_in_place_of_multi_hot_are_told() -> None:
    with pytest.raises(ValueError, match="one entry a class"):
        wn.multilabel_soft_margin_loss(torch.zeros(4, 3), torch.tensor([[0], [2], [1], [1]]))
    with pytest.raises(ValueError, match="multi-hot labels, exactly 0 or 1, got 2"):
        wn.multilabel_soft_margin_loss(torch.zeros(1, 3), torch.tensor([[0, 2, 1]]))
    with pytest.raises(ValueError, match="multi-hot labels, exactly 0 or 1, got -1"):
        wn.multilabel_soft_margin_loss(torch.zeros(1, 3), torch.tensor([[0, -1, 1]]))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_soft_targets_are_refused_in_every_dtype(dtype: torch.dtype) -> None:
    target = torch.tensor([[1.0, 0.9, 0.0]], dtype=dtype)
    with pytest.raises(ValueError, match="target: expected multi-hot"):
        wn.multilabel_soft_margin_loss(torch.zeros(1, 3), target)


def test_one_class_is_a_target_as_any_other() -> None:
    logits, target = torch.tensor([[2.0], [-3.0]]), torch.tensor([[1], [0]])
    expected = functional.binary_cross_entropy_with_logits(logits, target.float())
    torch.testing.assert_close(wn.multilabel_soft_margin_loss(logits, target), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    logits = torch.tensor([[200.0, -200.0, 18.0]])
    target = torch.tensor([[0, 1, 1]])

    def losses() -> tuple[Tensor, Tensor]:
        soft = wn.multilabel_soft_margin_loss(logits, target)
        maps = logits[..., None, None]
        return soft, wn.integral_attention_loss(maps, target[..., None, None].float())

    expected = losses()
    with torch.autocast("cpu", dtype=dtype):
        assert losses() == expected
