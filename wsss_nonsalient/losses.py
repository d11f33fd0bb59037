"""Losses of the classifier (NSROM eq. 4) and of the integral attention model (OAA)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from ._checks import Sizes, check_choice, check_tensor
from ._values import (
    compute_dtype,
    finite,
    in_unit_interval,
    multi_hot,
    reads_values,
    unit_interval,
    verify,
)

Reduction = Literal["mean", "sum", "none"]
_REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")


def multilabel_soft_margin_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Multi-label soft margin loss: mean over the classes of binary cross-entropy with logits.

    .. math:: \ell = -\frac{1}{C} \sum_c w_c \left[ y_c \log \sigma(x_c)
              + (1 - y_c) \log (1 - \sigma(x_c)) \right]

    It does not saturate: the gradient is :math:`w_c (\sigma(x_c) - y_c) / C` for any logit.

    Source: Yao et al., CVPR 2021, eq. 4.

    Args:
        logits: (\*, C) floating point; half precision is computed in float32.
        target: (\*, C) multi-hot, bool, integer or floating point, exactly 0 or 1 (checked on the
            CPU; on a GPU under ``value_checks(True)``).
        weight: (C,) weight of each class, or None.
        reduction: ``"mean"`` or ``"sum"`` over the images, or ``"none"``.

    Returns:
        A scalar, or (\*,) for ``"none"``; float64 for float64 logits, else float32.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype.
        ValueError: Shapes or devices differ; ``target`` has values other than 0 and 1; the mean of
            an empty batch is asked for; ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> multilabel_soft_margin_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
        tensor(0.6931)
    """
    sizes = Sizes()
    check_tensor("logits", logits, "* C", "float", sizes)
    check_tensor("target", target, "* C", "multi-hot", sizes)
    if weight is not None:
        check_tensor("weight", weight, "C", "float", sizes)
    check_choice("reduction", reduction, _REDUCTIONS)
    if reduction == "mean" and logits.numel() == 0:
        raise ValueError(f"logits: expected at least one image, got shape {tuple(logits.shape)}")
    if reads_values(target, in_training_step=True):
        claims = [multi_hot("target", target)]
        if weight is not None:
            claims.append(finite("weight", weight))
        verify(*claims)

    x = logits.to(compute_dtype(logits))
    y = target.to(x.dtype)
    losses = -(y * functional.logsigmoid(x) + (1 - y) * functional.logsigmoid(-x))
    if weight is not None:
        losses = losses * weight.to(x.dtype)
    return _reduce(losses.mean(dim=-1), reduction)


def integral_attention_loss(
    logits: Tensor, target: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""Loss of the integral attention model on accumulated maps.

    With :math:`P` the locations and classes with :math:`t > 0` and :math:`N` those with
    :math:`t = 0`, over the whole batch:

    .. math:: \ell = -\frac{1}{|P|} \sum_P t \log \sigma(x)
              - \frac{1}{|N|} \sum_N \log (1 - \sigma(x))

    A side without members drops out. The means run over the whole batch, so the loss of a batch is
    not the mean of its images' losses. It does not saturate at large logits, as the released
    implementation does above 18.

    Source: Jiang et al., ICCV 2019 (OAA), as NSROM uses it.

    Args:
        logits: (\*, C, H, W) raw class maps, floating point; half precision is computed in float32.
        target: (\*, C, H, W) accumulated maps, floating point in [0, 1] or uint8 (value / 255)
            (checked on the CPU; on a GPU under ``value_checks(True)``).
        reduction: ``"mean"`` is the loss above; ``"sum"`` is the sum of the terms
            :math:`-t \log \sigma(x)` and :math:`-\log (1 - \sigma(x))` over P and N; ``"none"``
            gives the terms.

    Returns:
        A scalar, or (\*, C, H, W) for ``"none"``; float64 for float64 logits, else float32.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype.
        ValueError: Shapes or devices differ; ``target`` has NaN or leaves [0, 1]; ``reduction`` is
            unknown.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 1, 1, 3)
        >>> integral_attention_loss(logits, torch.tensor([[[[0.5, 1.0, 0.0]]]]))
        tensor(1.2130)
    """
    sizes = Sizes()
    check_tensor("logits", logits, "* C H W", "float", sizes)
    check_tensor("target", target, "* C H W", "image", sizes)
    check_choice("reduction", reduction, _REDUCTIONS)
    if reads_values(target, in_training_step=True) and target.is_floating_point():
        verify(in_unit_interval("target", target))

    x = logits.to(compute_dtype(logits))
    t = unit_interval(target, x.dtype)
    attended = target > 0
    positive = -t * functional.logsigmoid(x)  # 0 where t is
    negative = -functional.logsigmoid(-x).masked_fill(attended, 0)
    if reduction != "mean":
        return _reduce(positive + negative, reduction)
    num_positive = attended.sum()
    num_negative = attended.numel() - num_positive
    return positive.sum() / num_positive.clamp(min=1) + negative.sum() / num_negative.clamp(min=1)


def _reduce(losses: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses


class MultiLabelSoftMarginLoss(nn.Module):
    r"""Module of :func:`multilabel_soft_margin_loss`.

    Args:
        weight: (C,) weight of each class, or None; kept as a buffer.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    weight: Tensor | None

    def __init__(self, *, weight: Tensor | None = None, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_choice("reduction", reduction, _REDUCTIONS)
        self.register_buffer("weight", weight)
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        r"""Loss of logits and multi-hot targets.

        Args:
            logits: (\*, C) floating point.
            target: (\*, C) multi-hot, exactly 0 or 1.

        Returns:
            A scalar, or (\*,) for the reduction ``"none"``.

        Raises:
            TypeError: As for :func:`multilabel_soft_margin_loss`.
            ValueError: As for :func:`multilabel_soft_margin_loss`.
        """
        return multilabel_soft_margin_loss(
            logits, target, weight=self.weight, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Options, for ``repr``."""
        return f"reduction={self.reduction!r}"


class IntegralAttentionLoss(nn.Module):
    r"""Module of :func:`integral_attention_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_choice("reduction", reduction, _REDUCTIONS)
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        r"""Loss of class maps and accumulated maps.

        Args:
            logits: (\*, C, H, W) raw class maps, floating point.
            target: (\*, C, H, W) accumulated maps, floating point in [0, 1] or uint8.

        Returns:
            A scalar, or (\*, C, H, W) for the reduction ``"none"``.

        Raises:
            TypeError: As for :func:`integral_attention_loss`.
            ValueError: As for :func:`integral_attention_loss`.
        """
        return integral_attention_loss(logits, target, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Options, for ``repr``."""
        return f"reduction={self.reduction!r}"
