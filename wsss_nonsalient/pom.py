"""Potential object mining (POM): background that the CAM believes to be object becomes ignored."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ._checks import Sizes, check_choice, check_ignore_index, check_number, check_tensor
from ._present import PresentMaps, present_maps
from ._values import (
    compute_dtype,
    in_label_range,
    in_unit_interval,
    is_traced,
    multi_hot,
    native_integers,
    reads_values,
    verify,
)

Quartile = Literal["linear", "nested-median"]
_QUARTILES: tuple[Quartile, ...] = ("linear", "nested-median")


def pom_thresholds(
    cam: Tensor,
    labels: Tensor,
    image_labels: Tensor,
    *,
    bg_threshold: float = 0.3,
    quartile: Quartile = "linear",
    ignore_index: int = 255,
) -> Tensor:
    r"""Class-wise thresholds of potential object mining.

    For each present class c with label pixels :math:`\{(i, j) : l_{ij} = c\}` whose CAM values are
    not all 0, the threshold is the median of these values; otherwise it is the upper quartile of
    the values above ``bg_threshold``:

    .. math::
        T_c = \begin{cases}
            \operatorname{median} \{a^c_{ij} : l_{ij} = c\} & \text{if such pixels exist} \\
            \operatorname{quartile}_{3} \{a^c_{ij} : a^c_{ij} > T_{bg}\} & \text{otherwise}
        \end{cases}

    The median of an even count is the mean of the two middle values. A class without any value to
    go by, and a class that the image does not have, gets :math:`+\infty`: it mines nothing.

    Source: Yao et al., CVPR 2021, eq. 5 and 6. The released implementation takes
    ``quartile="nested-median"``.

    Args:
        cam: (\*, C, H, W) class activation maps, floating point in [0, 1] or uint8 (value / 255).
            Only maps of classes in ``image_labels`` are read.
        labels: (\*, H, W) integer label maps (0 background, c + 1 class c).
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        bg_threshold: :math:`T_{bg}`, in [0, 1].
        quartile: ``"linear"`` is the 75th percentile with linear interpolation;
            ``"nested-median"`` the median of the values strictly above the median (none: +inf).
        ignore_index: Label of ignored pixels.

    Returns:
        (\*, C) thresholds, float64 for a float64 ``cam`` and float32 for any other.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option has a wrong type.
        ValueError: Shapes, sizes or devices differ; ``cam`` (present classes) has NaN or leaves
            [0, 1]; ``image_labels`` has values other than 0 and 1; ``labels`` has a value above C
            that is not ``ignore_index``; an option is out of range.

    Example:
        >>> cam = torch.tensor([[[0.2, 0.4, 0.6, 0.9]], [[0.1, 0.4, 0.5, 0.8]]])
        >>> labels = torch.tensor([[0, 1, 1, 0]])
        >>> pom_thresholds(cam, labels, torch.tensor([1, 1]))
        tensor([0.5000, 0.6500])
    """
    present = _checked(cam, labels, image_labels, bg_threshold, quartile, ignore_index)
    thresholds = _thresholds(present, _flat(labels), bg_threshold, quartile)
    scattered = thresholds.new_full((thresholds.shape[0], cam.shape[-3]), torch.inf)
    return scattered.scatter(1, present.classes, thresholds).reshape(image_labels.shape)


def pom_refine(
    labels: Tensor,
    cam: Tensor,
    image_labels: Tensor,
    *,
    bg_threshold: float = 0.3,
    quartile: Quartile = "linear",
    ignore_index: int = 255,
) -> Tensor:
    r"""Potential object mining: ignore background pixels that the CAM believes to be object.

    .. math::
        l_{ij} \leftarrow \text{ignore} \quad \text{if } l_{ij} = 0 \text{ and }
        a^c_{ij} > T_c \text{ for some present class } c

    with :math:`T_c` of :func:`pom_thresholds`. Such a pixel never gets class c: the method would
    rather drop a gradient than teach a wrong class. No other pixel changes.

    Source: Yao et al., CVPR 2021, eq. 5-7. The released implementation takes
    ``quartile="nested-median"`` and runs :func:`ignore_sparse_labels` after it, not before.

    Args:
        labels: (\*, H, W) integer label maps (0 background, c + 1 class c).
        cam: (\*, C, H, W) class activation maps, floating point in [0, 1] or uint8 (value / 255).
            Only maps of classes in ``image_labels`` are read.
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        bg_threshold: :math:`T_{bg}`, in [0, 1].
        quartile: Upper quartile for classes without label pixels: ``"linear"`` or
            ``"nested-median"``, see :func:`pom_thresholds`.
        ignore_index: Label of ignored pixels.

    Returns:
        (\*, H, W) label maps of the same dtype.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option has a wrong type.
        ValueError: As for :func:`pom_thresholds`; or the dtype of ``labels`` cannot hold
            ``ignore_index``.

    Example:
        >>> cam = torch.tensor([[[0.2, 0.4, 0.6, 0.9]]])
        >>> pom_refine(torch.tensor([[0, 1, 1, 0]]), cam, torch.tensor([1]))
        tensor([[  0,   1,   1, 255]])
    """
    present = _checked(cam, labels, image_labels, bg_threshold, quartile, ignore_index)
    flat = _flat(labels)
    thresholds = _thresholds(present, flat, bg_threshold, quartile)
    mined = (present.maps > thresholds[..., None, None]).any(dim=1) & (flat == 0)
    return flat.masked_fill(mined, ignore_index).reshape(labels.shape).to(labels.dtype)


def _checked(
    cam: Tensor,
    labels: Tensor,
    image_labels: Tensor,
    bg_threshold: float,
    quartile: Quartile,
    ignore_index: int,
) -> PresentMaps:
    sizes = Sizes()
    check_tensor("cam", cam, "* C H W", "image", sizes)
    check_tensor("labels", labels, "* H W", "label", sizes)
    check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)
    check_number("bg_threshold", bg_threshold)
    check_choice("quartile", quartile, _QUARTILES)
    check_ignore_index(ignore_index, {"labels": labels.dtype}, sizes["C"])
    present = present_maps(cam, image_labels, compute_dtype(cam))
    if reads_values(cam):
        verify(
            multi_hot("image_labels", image_labels),
            in_label_range("labels", native_integers(labels), sizes["C"], ignore_index),
            in_unit_interval("cam", present.maps),
        )
    return present


def _flat(labels: Tensor) -> Tensor:
    return native_integers(labels).reshape(-1, *labels.shape[-2:])


def _thresholds(
    present: PresentMaps, labels: Tensor, bg_threshold: float, quartile: Quartile
) -> Tensor:
    """(N, K) thresholds of the present classes; +inf in the padding."""
    values = present.maps.flatten(2)
    labelled = labels.flatten(1)[:, None] == present.classes[..., None] + 1
    has_median = (labelled & (values != 0)).any(dim=2) & present.present
    medians = _median(values, labelled)
    needs_quartile = present.present & ~has_median
    if not is_traced() and values.device.type == "cpu" and not needs_quartile.any():
        quartiles = medians
    elif quartile == "linear":
        quartiles = _upper_quartile(values, values > bg_threshold)
    else:
        above = values > bg_threshold
        quartiles = _median(values, above & (values > _median(values, above)[..., None]))
    thresholds = torch.where(has_median, medians, quartiles)
    return thresholds.masked_fill(~present.present, torch.inf)


def _median(values: Tensor, member: Tensor) -> Tensor:
    """Median over the members of the last axis, the mean of the middle two; +inf without any."""
    count = member.sum(dim=-1)
    lower = values.masked_fill(~member, torch.nan).nanmedian(dim=-1).values
    not_above = (member & (values <= lower[..., None])).sum(dim=-1)
    next_above = values.masked_fill(~(member & (values > lower[..., None])), torch.inf).amin(dim=-1)
    upper = torch.where(2 * not_above > count, lower, next_above)
    return ((lower + upper) / 2).masked_fill(count == 0, torch.inf)


def _upper_quartile(values: Tensor, member: Tensor) -> Tensor:
    """75th percentile, linearly interpolated, over the members of the last axis; +inf without."""
    count = member.sum(dim=-1, keepdim=True)
    ordered = values.masked_fill(~member, torch.inf).sort(dim=-1).values
    rank = 3 * (count - 1).clamp(min=0)  # in quarters, so that it is exact
    below = ordered.gather(-1, rank // 4)
    above = ordered.gather(-1, (rank // 4 + 1).minimum((count - 1).clamp(min=0)))
    quartile = below.lerp(above, (rank % 4).to(values.dtype) / 4)
    return quartile.masked_fill(count == 0, torch.inf).squeeze(-1)
