"""Initial pseudo labels from OA-CAMs and a saliency map (NSROM)."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import Sizes, check_ignore_index, check_number, check_tensor
from ._present import PresentMaps, present_maps
from ._values import (
    compute_dtype,
    in_label_range,
    in_unit_interval,
    multi_hot,
    native_integers,
    reads_values,
    unit_interval,
    verify,
)


def initial_labels(
    cam: Tensor,
    saliency: Tensor,
    image_labels: Tensor,
    *,
    fg_threshold: float = 0.3,
    conflict_threshold: float = 0.9,
    attention_threshold: float = 0.8,
    saliency_threshold: float = 32 / 255,
    ignore_index: int = 255,
    dtype: torch.dtype = torch.uint8,
) -> Tensor:
    r"""Initial pseudo label of each pixel from class activation maps and saliency.

    With background :math:`b = 1 - s` and the maps :math:`a^c` of the present classes, all values
    below ``fg_threshold`` set to 0:

    1. where two or more of :math:`\{b, a^c\}` exceed ``conflict_threshold``: ignored;
    2. else the largest wins: :math:`\arg\max \{b, a^c\}` (ties: background, then the lowest class;
       all zero: background);
    3. a background pixel with :math:`s \ge` ``saliency_threshold``, or with some
       :math:`a^c >` ``attention_threshold``, is ignored.

    Source: Yao et al., CVPR 2021, with the defaults of the released implementation,
    which runs :func:`ignore_sparse_labels` after it.

    Args:
        cam: (\*, C, H, W) floating point in [0, 1] or uint8 (value / 255): OA-CAMs, min-max
            normalised in the paper (``normalize_cam(mode="minmax")``). Only maps of classes in
            ``image_labels`` are read.
        saliency: (\*, H, W) floating point in [0, 1] or uint8 (value / 255). Half precision rounds
            32 / 255 to below the threshold: hand over 8-bit maps as uint8 or float32.
        image_labels: (\*, C) multi-hot, bool, integer or floating point, exactly 0 or 1.
        fg_threshold: Values below it become 0.
        conflict_threshold: Two or more values above it make a pixel ambiguous.
        attention_threshold: A map above it forbids the background label.
        saliency_threshold: A saliency of at least this forbids the background label.
        ignore_index: Label of ignored pixels.
        dtype: Integer dtype of the result.

    Returns:
        (\*, H, W) label map: 0 background, c + 1 class c, ``ignore_index`` ignored.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option is no number.
        ValueError: Shapes, sizes or devices differ; ``cam`` (present classes) or ``saliency`` has
            NaN or leaves [0, 1]; ``image_labels`` has values other than 0 and 1; an option is out
            of range; ``dtype`` cannot hold C or ``ignore_index``; ``ignore_index`` is a label.

    Example:
        >>> cam = torch.tensor([[[0.95, 0.6, 0.2, 0.1]]])
        >>> saliency = torch.tensor([[1.0, 0.5, 0.5, 0.0]])
        >>> initial_labels(cam, saliency, torch.tensor([1]))
        tensor([[  1,   1, 255,   0]], dtype=torch.uint8)
    """
    sizes = Sizes()
    check_tensor("cam", cam, "* C H W", "image", sizes)
    check_tensor("saliency", saliency, "* H W", "image", sizes)
    check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)
    check_number("fg_threshold", fg_threshold)
    check_number("conflict_threshold", conflict_threshold)
    check_number("attention_threshold", attention_threshold)
    check_number("saliency_threshold", saliency_threshold, hint="; is it n / 255?")
    check_ignore_index(ignore_index, {"dtype": dtype}, sizes["C"])

    precision = compute_dtype(cam, saliency)
    present = present_maps(cam, image_labels, precision)
    saliency = unit_interval(saliency.detach(), precision)
    if reads_values(cam):
        verify(
            multi_hot("image_labels", image_labels),
            in_unit_interval("cam", present.maps),
            in_unit_interval("saliency", saliency),
        )
    labels = _initial_labels(
        present,
        saliency.reshape(-1, *saliency.shape[-2:]),
        fg_threshold,
        conflict_threshold,
        attention_threshold,
        saliency_threshold,
        ignore_index,
    )
    return labels.reshape(saliency.shape).to(dtype)


def _initial_labels(
    present: PresentMaps,
    saliency: Tensor,
    fg_threshold: float,
    conflict_threshold: float,
    attention_threshold: float,
    saliency_threshold: float,
    ignore_index: int,
) -> Tensor:
    background = 1 - saliency
    background = background.masked_fill(background < fg_threshold, 0)
    maps = present.maps.masked_fill(present.maps < fg_threshold, 0)

    strongest, index = maps.max(dim=1)  # the first of equal maps, so the lowest class
    winner = present.classes.gather(1, index.flatten(1)).view_as(index) + 1
    labels = winner.masked_fill(strongest <= background, 0)

    confident = (maps > conflict_threshold).sum(dim=1) + (background > conflict_threshold)
    labels = labels.masked_fill(confident >= 2, ignore_index)
    unsure = (saliency >= saliency_threshold) | (strongest > attention_threshold)
    return labels.masked_fill((labels == 0) & unsure, ignore_index)


def ignore_sparse_labels(
    labels: Tensor, *, min_object_ratio: float = 0.01, ignore_index: int = 255
) -> Tensor:
    r"""Ignore images whole whose labels have hardly any object.

    An image whose object pixels (neither 0 nor ignored) are fewer than ``min_object_ratio`` of all
    its pixels becomes ``ignore_index`` everywhere: a label without objects would teach a network
    that everything is background.

    Source: the released implementation of NSROM, which applies it after each label step (POM runs
    on the initial label *before* it).

    Args:
        labels: (\*, H, W) integer label maps.
        min_object_ratio: Smallest share of object pixels, in [0, 1].
        ignore_index: Label of ignored pixels.

    Returns:
        (\*, H, W) label maps of the same dtype.

    Raises:
        TypeError: ``labels`` is not an integer tensor; an option has a wrong type.
        ValueError: ``min_object_ratio`` is out of range; ``ignore_index`` is 0 or does not fit; a
            label is negative and not ``ignore_index``.

    Example:
        >>> labels = torch.tensor([[[0, 0], [0, 3]], [[0, 0], [0, 0]]])
        >>> ignore_sparse_labels(labels)
        tensor([[[  0,   0],
                 [  0,   3]],
        <BLANKLINE>
                [[255, 255],
                 [255, 255]]])
    """
    check_tensor("labels", labels, "* H W", "label", Sizes())
    check_number("min_object_ratio", min_object_ratio)
    check_ignore_index(ignore_index, {"labels": labels.dtype})
    native = native_integers(labels)
    if reads_values(labels):
        highest = torch.iinfo(native.dtype).max
        verify(in_label_range("labels", native, highest, ignore_index))
    objects = ((native != 0) & (native != ignore_index)).sum(dim=(-2, -1), keepdim=True)
    num_pixels = labels.shape[-2] * labels.shape[-1]
    sparse = objects.to(torch.float64) / num_pixels < min_object_ratio
    return native.masked_fill(sparse, ignore_index).to(labels.dtype)
