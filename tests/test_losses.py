"""Losses: PyTorch's own, the plain reference, the released integral loss, exact gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests import reference
from tests.conftest import golden
from wsss_nonsalient import (
    IntegralAttentionLoss,
    MultiLabelSoftMarginLoss,
    integral_attention_loss,
    multilabel_soft_margin_loss,
    value_checks,
)

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target_dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_soft_margin_equals_torch(
    reduction: str, weighted: bool, target_dtype: torch.dtype, device: torch.device
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 5, dtype=torch.float64, device=device) * 5
    target = torch.randint(0, 2, (4, 5), device=device)
    weight = torch.rand(5, dtype=torch.float64, device=device) if weighted else None
    expected = functional.multilabel_soft_margin_loss(logits, target, weight, reduction=reduction)
    target = target.to(target_dtype)
    loss = multilabel_soft_margin_loss(logits, target, weight=weight, reduction=reduction)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected)
    module = MultiLabelSoftMarginLoss(weight=weight, reduction=reduction)  # type: ignore[arg-type]
    assert torch.equal(module(logits, target), loss)


def test_soft_margin_equals_reference_and_takes_any_batch_axes() -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64)
    target = torch.randint(0, 2, (2, 3, 4))
    losses = multilabel_soft_margin_loss(logits, target, reduction="none")
    assert losses.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            expected = reference.multilabel_soft_margin_loss(
                logits[i, j].numpy(), target[i, j].numpy()
            )
            assert losses[i, j].item() == pytest.approx(expected, abs=1e-12)
            alone = multilabel_soft_margin_loss(logits[i, j], target[i, j])
            assert alone.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [0.0, 18.0, 30.0, 200.0, 1e4])
def test_soft_margin_is_exact_and_never_saturates(dtype: torch.dtype, size: float) -> None:
    logits = torch.tensor([[size, size, -size, -size]], dtype=dtype, requires_grad=True)
    target = torch.tensor([[1, 0, 1, 0]])
    loss = multilabel_soft_margin_loss(logits, target)
    loss.backward()
    x = logits.detach().double()
    exact = (torch.logaddexp(x, torch.zeros_like(x)) - target * x).mean()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert logits.grad is not None
    torch.testing.assert_close(
        logits.grad, ((x.sigmoid() - target) / 4).to(dtype), rtol=1e-3, atol=1e-7
    )


@pytest.mark.parametrize("case", [0, 1, 2])
def test_integral_loss_equals_released_implementation(case: int, device: torch.device) -> None:
    arrays = golden("integral_loss.npz")
    logits = arrays[f"logits{case}"].to(device).requires_grad_()
    loss = integral_attention_loss(logits, arrays[f"target{case}"].to(device))
    loss.backward()
    assert loss.item() == pytest.approx(arrays[f"loss{case}"].item(), abs=1e-5)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.cpu(), arrays[f"grad{case}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_integral_loss_equals_reference(share: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64) * 10
    target = torch.rand(2, 3, 4, 5, dtype=torch.float64) * (torch.rand(2, 3, 4, 5) < share)
    expected = reference.integral_attention_loss(logits.numpy(), target.numpy())
    assert integral_attention_loss(logits, target).item() == pytest.approx(expected, abs=1e-12)
    terms = integral_attention_loss(logits, target, reduction="none")
    summed = integral_attention_loss(logits, target, reduction="sum")
    assert terms.shape == logits.shape
    torch.testing.assert_close(terms.sum(), summed)
    assert torch.equal(IntegralAttentionLoss(reduction="sum")(logits, target), summed)
    mean = sum(
        (terms[side].mean() for side in (target > 0, target == 0) if side.any()), Tensor([0])
    )
    assert mean.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [18.0, 200.0, 1e4])
def test_integral_loss_is_exact_and_never_saturates(dtype: torch.dtype, size: float) -> None:
    logits = torch.tensor([[[[size, -size, size, -size]]]], dtype=dtype, requires_grad=True)
    target = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    loss = integral_attention_loss(logits, target)
    loss.backward()
    x = logits.detach().double()
    terms = torch.logaddexp(x, torch.zeros_like(x)) - target * x
    assert loss.item() == pytest.approx((terms.sum() / 2).item(), rel=1e-6)
    assert logits.grad is not None
    torch.testing.assert_close(
        logits.grad, ((x.sigmoid() - target) / 2).to(dtype), rtol=1e-3, atol=1e-7
    )


def test_integral_loss_keeps_tiny_targets_positive() -> None:
    target = torch.tensor([[[[1e-50, 0.0]]]], dtype=torch.float64)
    loss = integral_attention_loss(torch.zeros(1, 1, 1, 2), target)
    assert loss.item() == pytest.approx(0.6931472)


def test_integral_loss_reads_uint8_maps() -> None:
    logits = torch.randn(1, 2, 3, 3)
    target = torch.randint(0, 256, (1, 2, 3, 3), dtype=torch.uint8)
    expected = integral_attention_loss(logits, target.float() / 255)
    assert torch.equal(integral_attention_loss(logits, target), expected)


def test_gradients() -> None:
    logits = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 3, 2, 2, dtype=torch.float64).sub(0.5).clamp(min=0)
    assert torch.autograd.gradcheck(lambda x: integral_attention_loss(x, target), (logits,))
    labels = torch.randint(0, 2, (2, 3, 2, 2))
    assert torch.autograd.gradcheck(lambda x: multilabel_soft_margin_loss(x, labels), (logits,))


def test_empty_batch() -> None:
    with pytest.raises(ValueError, match="logits: expected at least one image"):
        multilabel_soft_margin_loss(torch.zeros(0, 3), torch.zeros(0, 3))
    assert multilabel_soft_margin_loss(
        torch.zeros(0, 3), torch.zeros(0, 3), reduction="none"
    ).shape == (0,)
    assert integral_attention_loss(torch.zeros(0, 3, 2, 2), torch.zeros(0, 3, 2, 2)) == 0


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (torch.tensor([[0.5, 0.0]]), ValueError, r"target: expected multi-hot labels.*got 0\.5"),
        (torch.tensor([[2, 0]]), ValueError, "target: expected multi-hot labels.*got 2"),
        (torch.tensor([[torch.nan, 0]]), ValueError, "target: expected multi-hot labels.*got nan"),
        (torch.tensor([[1]]), ValueError, "target: expected C = 2, as logits, got C = 1"),
        (torch.tensor([1, 0]), ValueError, r"target: expected batch axes \(1,\), as logits"),
        ([[1, 0]], TypeError, "target: expected a torch.Tensor, got list"),
    ],
)
def test_soft_margin_refuses(target: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        multilabel_soft_margin_loss(torch.zeros(1, 2), target)


@pytest.mark.parametrize("value", [-0.1, 1.1, torch.nan, torch.inf])
def test_integral_loss_refuses_targets_out_of_range(value: float) -> None:
    target = torch.tensor([[[[value]]]])
    with pytest.raises(ValueError, match=r"target: expected values in \[0, 1\], got"):
        integral_attention_loss(torch.zeros(1, 1, 1, 1), target)
    with value_checks(False):
        integral_attention_loss(torch.zeros(1, 1, 1, 1), target)


def test_options_are_checked() -> None:
    zeros = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="reduction: expected one of 'mean', 'sum', 'none', got"):
        multilabel_soft_margin_loss(zeros, zeros, reduction="avg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduction: expected one of"):
        MultiLabelSoftMarginLoss(reduction="avg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduction: expected one of"):
        IntegralAttentionLoss(reduction="avg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight: expected C = 2, as logits, got C = 3"):
        multilabel_soft_margin_loss(zeros, zeros, weight=torch.ones(3))
    with pytest.raises(
        TypeError, match="logits: expected a floating-point tensor, got torch.int64"
    ):
        multilabel_soft_margin_loss(zeros.long(), zeros)
    with pytest.raises(ValueError, match="weight: expected finite values"):
        multilabel_soft_margin_loss(zeros, zeros, weight=torch.tensor([1.0, torch.nan]))
    assert "weight" in MultiLabelSoftMarginLoss(weight=torch.ones(2)).state_dict()
    assert repr(IntegralAttentionLoss()) == "IntegralAttentionLoss(reduction='mean')"
    assert repr(MultiLabelSoftMarginLoss()) == "MultiLabelSoftMarginLoss(reduction='mean')"
