"""Non-salient region masking (NSRM): in complex images, ignore all that is far from any object."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ._array_masks import replace
from ._checks import (
    Sizes,
    check_bool,
    check_ignore_index,
    check_integer,
    check_side,
    check_tensor,
)
from ._values import (
    TensorOrArray,
    in_label_range,
    in_unit_interval,
    is_eager_cpu,
    multi_hot,
    native_integers,
    reads_values,
    to_array,
    to_list,
    verify,
)
from .dilation import dilated


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
    ignore_index = check_ignore_index(ignore_index, dtypes, sizes["C"])

    if reads_values(prediction):
        claims = [
            multi_hot("image_labels", image_labels),
            in_label_range("prediction", native_integers(prediction), sizes["C"], ignore_index),
            in_label_range(
                "pseudo_labels", native_integers(pseudo_labels), sizes["C"], ignore_index
            ),
        ]
        if saliency is not None:
            claims.append(in_unit_interval("saliency", saliency))
        verify(*claims)
    native = native_integers(prediction)
    others = native_integers(pseudo_labels).to(native.dtype)
    void: Tensor | None = None
    if restrict_to_image_labels:
        native, void = _drop_absent(native, others, image_labels, ignore_index)
    is_complex = (image_labels != 0).sum(dim=-1) >= min_classes
    options = _Options(kernel_size, keep_ignored, ignore_index)
    if is_eager_cpu(prediction):
        result = _mask_images(native, others, saliency, is_complex, options)
    else:
        is_salient = None if saliency is None else saliency.detach() != 0
        masked = _masked(native, others, is_salient, options)
        result = torch.where(is_complex[..., None, None], masked, native)
    if void is not None:
        result = result.masked_fill(void, ignore_index)
    return result.to(prediction.dtype)


class _Options(NamedTuple):
    kernel_size: float
    keep_ignored: bool
    ignore_index: int


def _mask_images(
    prediction: Tensor,
    pseudo_labels: Tensor,
    saliency: Tensor | None,
    is_complex: Tensor,
    options: _Options,
) -> Tensor:
    """Complex images one by one, which stay in the cache, and no other: for a CPU."""
    shape = -1, *prediction.shape[-2:]
    result = prediction.clone(memory_format=torch.contiguous_format)
    labels, others = to_array(result.view(shape)), to_array(pseudo_labels.reshape(shape))
    salient = None if saliency is None else to_array(saliency.reshape(shape))
    for image in to_list(is_complex.flatten().nonzero().squeeze(1)):
        is_salient = None if salient is None else salient[image] != 0
        labels[image] = _masked(labels[image], others[image], is_salient, options)
    return result


def _masked(
    prediction: TensorOrArray,
    pseudo_labels: TensorOrArray,
    is_salient: TensorOrArray | None,
    options: _Options,
) -> TensorOrArray:
    """The labels of complex images, as tensors or as an array."""
    kernel_size, keep_ignored, ignore_index = options
    fills = prediction == 0
    merged = _replaced(prediction, fills & (pseudo_labels != ignore_index), pseudo_labels)
    mask = merged != 0
    if is_salient is not None:
        mask |= is_salient
    becomes_ignored = ~dilated(mask, kernel_size)
    if keep_ignored:
        becomes_ignored |= fills & (pseudo_labels == ignore_index)
    return _replaced(merged, becomes_ignored, ignore_index)


def _replaced(
    labels: TensorOrArray, mask: TensorOrArray, value: int | TensorOrArray
) -> TensorOrArray:
    if isinstance(labels, Tensor):
        return torch.where(mask, value, labels)
    return replace(labels, mask, value)


def _drop_absent(
    prediction: Tensor, pseudo_labels: Tensor, image_labels: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The prediction without classes that the image does not have, and where it is void.

    A void pixel has no label instead. It is background here, as its pseudo label is background or
    ignored, and is to be ignored in the end.
    """
    absent = functional.pad(image_labels == 0, (1, 0))  # channel 0: background
    index = prediction.masked_fill(prediction == ignore_index, 0)
    index = index.to(torch.int64).clamp(0, image_labels.shape[-1])
    is_absent = absent.gather(-1, index.flatten(-2)).view_as(prediction)
    void = is_absent & ((pseudo_labels == 0) | (pseudo_labels == ignore_index))
    return torch.where(is_absent, pseudo_labels.masked_fill(void, 0), prediction), void
