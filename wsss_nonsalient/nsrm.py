"""Non-salient region masking (NSRM): in complex images, ignore all that is far from any object."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ._checks import (
    Sizes,
    check_bool,
    check_ignore_index,
    check_integer,
    check_side,
    check_tensor,
)
from ._masks import equals, is_eager_cpu, is_set, replace
from ._values import (
    from_array,
    in_label_range,
    in_unit_interval,
    multi_hot,
    native_integers,
    reads_values,
    verify,
)

_Array = np.ndarray[Any, np.dtype[Any]]
_Values = TypeVar("_Values", Tensor, _Array)


def nsrm_mask(
    prediction: Tensor,
    pseudo_labels: Tensor,
    image_labels: Tensor,
    *,
    saliency: Tensor | None = None,
    kernel_size: float = 30,
    min_classes: int = 2,
    keep_ignored: bool = False,
    restrict_to_image_labels: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    r"""Training label of the second round: prediction and pseudo label, masked in complex images.

    In images with at least ``min_classes`` classes, :math:`e` is the prediction, with the pseudo
    label's object pixels put where the prediction is background. With the binary mask
    :math:`m = [e \ne 0]`, joined with :math:`[s \ne 0]` if ``saliency`` is given:

    .. math:: y_{ij} = \begin{cases} e_{ij} & \text{if } \operatorname{dilate}(m)_{ij} \\
              \text{ignore} & \text{otherwise} \end{cases}

    Images with fewer classes keep their prediction.

    Source: Yao et al., CVPR 2021. The released implementation gives ``saliency`` and
    runs :func:`ignore_sparse_labels` after it.

    Args:
        prediction: (\*, H, W) integer labels that a segmentation network predicts. A pixel of
            ``ignore_index`` is not background: it stays ignored and counts in :math:`m`.
        pseudo_labels: (\*, H, W) integer labels, from :func:`pom_refine`.
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        saliency: (\*, H, W) floating point in [0, 1] or uint8, or None.
        kernel_size: Side of the square that dilates the mask: an integer of at least 1, in pixels,
            or a float in (0, 1), relative to the longer side, see :func:`dilate`.
        min_classes: Images with at least this many classes are complex.
        keep_ignored: In complex images, ignored pixels of the pseudo label stay ignored where the
            prediction is background (by default they are taught as background again, as in the
            released implementation). They do not enter :math:`m`.
        restrict_to_image_labels: In every image, a predicted class that the image does not have
            counts as no prediction: the pseudo label's object pixel takes its place, else the pixel
            is ignored and does not enter :math:`m`. Classes of the pseudo label are not looked at.
        ignore_index: Label of ignored pixels.

    Returns:
        (\*, H, W) label maps of the dtype of ``prediction``.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option has a wrong type.
        ValueError: Shapes, sizes or devices differ; a label is above C and not ``ignore_index``;
            ``image_labels`` has values other than 0 and 1; ``saliency`` has NaN or leaves [0, 1];
            a label dtype cannot hold C or ``ignore_index``; an option is out of range.

    Example:
        >>> prediction = torch.tensor([[0, 0, 0, 2, 0, 0, 0]])
        >>> pseudo_labels = torch.tensor([[1, 0, 0, 0, 255, 0, 0]])
        >>> nsrm_mask(prediction, pseudo_labels, torch.tensor([1, 1]), kernel_size=3)
        tensor([[  1,   0,   0,   2,   0, 255, 255]])
    """
    sizes = Sizes()
    check_tensor("prediction", prediction, "* H W", "label", sizes)
    check_tensor("pseudo_labels", pseudo_labels, "* H W", "label", sizes)
    check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)
    if saliency is not None:
        check_tensor("saliency", saliency, "* H W", "image", sizes)
    check_side("kernel_size", kernel_size)
    check_integer("min_classes", min_classes, minimum=0)
    check_bool("keep_ignored", keep_ignored)
    check_bool("restrict_to_image_labels", restrict_to_image_labels)
    dtypes = {"prediction": prediction.dtype, "pseudo_labels": pseudo_labels.dtype}
    check_ignore_index(ignore_index, dtypes, sizes["C"])

    result_dtype = prediction.dtype
    prediction, pseudo_labels = native_integers(prediction), native_integers(pseudo_labels)
    if reads_values(prediction):
        claims = [
            multi_hot("image_labels", image_labels),
            in_label_range("prediction", prediction, sizes["C"], ignore_index),
            in_label_range("pseudo_labels", pseudo_labels, sizes["C"], ignore_index),
        ]
        if saliency is not None and saliency.is_floating_point():
            claims.append(in_unit_interval("saliency", saliency.detach()))
        verify(*claims)
    pseudo_labels = pseudo_labels.to(prediction.dtype)

    void: int | Tensor = 0
    if restrict_to_image_labels:
        prediction, void = _drop_absent(prediction, pseudo_labels, image_labels, ignore_index)
    is_complex = ((image_labels != 0).sum(dim=-1) >= min_classes).to(torch.uint8)[..., None, None]
    if is_eager_cpu(prediction) and not is_complex.any():
        return prediction.to(result_dtype, copy=True)
    is_predicted = is_set(prediction)
    is_ignored = equals(pseudo_labels, ignore_index)
    fills = is_complex & (is_predicted ^ 1)
    # a filled pixel was 0, so adding sets it
    merged = prediction + pseudo_labels * (fills & (is_ignored ^ 1)).to(prediction.dtype)
    mask = is_set(merged) & (void ^ 1)
    if saliency is not None:
        mask |= is_set(saliency)
    becomes_ignored = is_complex & (dilate(mask, kernel_size) ^ 1)
    if keep_ignored:
        becomes_ignored |= fills & is_ignored
    return replace(merged, becomes_ignored, ignore_index).to(result_dtype)


def _drop_absent(
    prediction: Tensor, pseudo_labels: Tensor, image_labels: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The prediction without classes that the image does not have, and where it became ignored."""
    absent = functional.pad((image_labels == 0).to(torch.uint8), (1, 0))  # channel 0: background
    index = replace(prediction, equals(prediction, ignore_index), 0)
    index = index.to(torch.int64).clamp(0, image_labels.shape[-1])
    is_absent = absent.gather(-1, index.flatten(-2)).view_as(prediction)
    void = is_absent & ((is_set(pseudo_labels) ^ 1) | equals(pseudo_labels, ignore_index))
    kept = replace(prediction, is_absent, pseudo_labels)
    return replace(kept, void, ignore_index), void


def dilate(mask: Tensor, kernel_size: float) -> Tensor:
    r"""Dilation by a ``kernel_size`` x ``kernel_size`` square, as OpenCV's ``dilate`` does it.

    .. math:: d_{ij} = \max \{ m_{i + u, j + v} : -\lfloor k / 2 \rfloor \le u, v \le
              \lceil k / 2 \rceil - 1 \}

    An odd square is centred; an even one, as in OpenCV, reaches one pixel further down and right of
    a lone pixel than up and left: size 30 around row 40 sets rows 26 to 55. Pixels outside the
    picture are not set.

    A float :math:`r` in (0, 1) is relative to the picture: the odd integer nearest to :math:`r`
    times its longer side, :math:`k = 2 \lfloor r \max(H, W) / 2 \rfloor + 1`. So 0.06 is a square
    of 31 in a picture of 375 x 500, and of 61 in one of twice its size.

    Args:
        mask: (\*, H, W) bool, or integer: then the largest value in the square.
        kernel_size: Side k of the square, an integer of at least 1, or r, a float in (0, 1).

    Returns:
        (\*, H, W) of the dtype of ``mask``.

    Raises:
        TypeError: ``mask`` is not a bool or integer tensor; ``kernel_size`` is no number.
        ValueError: ``mask`` has fewer than two axes; ``kernel_size`` is an integer below 1, or
            another number and not in (0, 1).

    Example:
        >>> dilate(torch.tensor([[False, False, True, False, False]]), 2)
        tensor([[False, False,  True,  True, False]])
        >>> dilate(torch.tensor([[False, False, True, False, False]]), 0.6)
        tensor([[False,  True,  True,  True, False]])
    """
    check_tensor("mask", mask, "* H W", "mask", Sizes())
    check_side("kernel_size", kernel_size)
    height, width = mask.shape[-2:]
    side = _side(kernel_size, max(height, width))
    if side == 1 or mask.numel() == 0:
        return mask.clone()
    values = mask.to(torch.uint8) if mask.dtype == torch.bool else mask
    reach = _reach(side, height), _reach(side, width)
    images = values.reshape(-1, height, width)
    if is_eager_cpu(values):  # a call of NumPy takes half the time
        dilated = from_array(_dilated_arrays(images.numpy(), *reach))
    else:
        dilated = _dilated_tensors(images, *reach)
    return dilated.reshape(mask.shape).to(mask.dtype)


def _dilated_tensors(images: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Dilation of (N, H, W) that looks so many rows up and down, and columns left and right."""
    lowest = torch.iinfo(images.dtype).min
    padded = functional.pad(images, (*columns, *rows), value=lowest)
    flat = _sliding_max(padded.flatten(), sum(rows) + 1, padded.stride(1), torch.maximum)
    flat = _sliding_max(flat, sum(columns) + 1, 1, torch.maximum)
    return flat.as_strided(images.shape, padded.stride()).contiguous()


def _dilated_arrays(images: _Array, rows: tuple[int, int], columns: tuple[int, int]) -> _Array:
    """The same in NumPy, whose calls take half the time."""
    (top, bottom), (left, right), (count, height, width) = rows, columns, images.shape
    shape = count, top + height + bottom, left + width + right
    padded: Any = np.full(shape, np.iinfo(images.dtype).min, images.dtype)
    padded[:, top : top + height, left : left + width] = images
    flat: _Array = _sliding_max(padded.reshape(-1), top + bottom + 1, shape[2], np.maximum)
    flat = _sliding_max(flat, left + right + 1, 1, np.maximum)
    dilated: Any = np.ndarray(images.shape, flat.dtype, flat, 0, padded.strides)
    result: _Array = dilated.copy()
    return result


def _side(kernel_size: float, longer_side: int) -> int:
    """Side of the square in pixels."""
    if isinstance(kernel_size, numbers.Integral):
        return int(kernel_size)
    return 2 * int(kernel_size * longer_side / 2) + 1


def _reach(kernel_size: int, size: int) -> tuple[int, int]:
    """How far a square looks up (or left) and down (or right), no further than a picture goes."""
    return min(kernel_size // 2, size), min((kernel_size - 1) // 2, size)


def _sliding_max(
    values: _Values, window: int, stride: int, maximum: Callable[[_Values, _Values], _Values]
) -> _Values:
    """Largest of ``window`` values that lie ``stride`` apart, by doubling: O(log window) passes.

    ``values`` has one axis: rows follow each other, with padding between them that keeps a window
    out of the next row's picture. One axis, since shorter ones are slower to step through.
    """
    width = 1
    while width < window:
        step = min(width, window - width)
        values = maximum(values[: -step * stride], values[step * stride :])
        width += step
    return values
