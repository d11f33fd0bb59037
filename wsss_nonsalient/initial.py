"""Initial pseudo labels from OA-CAMs and a saliency map (NSROM)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._array_masks import above, as_integers, at_least, replace
from ._checks import WIDE_UNSIGNED, Sizes, check_ignore_index, check_number, check_tensor
from ._present import ClassArrays, class_arrays, masked_maps
from ._values import (
    Array,
    compute_dtype,
    from_array,
    in_unit_interval,
    is_eager_cpu,
    is_in_unit_interval,
    multi_hot,
    reads_values,
    to_array,
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
    ignore_index = check_ignore_index(ignore_index, {"dtype": dtype}, sizes["C"])

    thresholds = _Thresholds(
        fg_threshold, conflict_threshold, attention_threshold, saliency_threshold
    )
    label = _label_images if is_eager_cpu(cam) else _label_batch
    flat = saliency.reshape(-1, *saliency.shape[-2:])
    labels = label(cam, flat, image_labels, thresholds, ignore_index, dtype)
    return labels.reshape(saliency.shape)


class _Thresholds(NamedTuple):
    fg: float
    conflict: float
    attention: float
    saliency: float


def _label_images(
    cam: Tensor,
    saliency: Tensor,
    image_labels: Tensor,
    thresholds: _Thresholds,
    ignore_index: int,
    dtype: torch.dtype,
) -> Tensor:
    """Image by image and class by class, in few passes over little memory: for a CPU."""
    compute = compute_dtype(cam, saliency)
    images = class_arrays(cam, image_labels, compute)
    labels = torch.empty(saliency.shape, dtype=torch.int64 if dtype in WIDE_UNSIGNED else dtype)
    results = to_array(labels)
    narrow = np.dtype(np.uint8) if cam.shape[-3] < 256 else results.dtype
    in_range = True
    for result, maps, salient in zip(results, images, to_array(saliency), strict=True):
        evidence = to_array(unit_interval(from_array(salient), compute))
        winner, ignored, is_valid = _label_one(maps, evidence, thresholds, narrow)
        result[...] = replace(winner.astype(result.dtype, copy=False), ignored, ignore_index)
        in_range &= is_valid
    if reads_values(cam):
        maps_read = (from_array(one) for maps in images for _, one in maps)
        verify(
            multi_hot("image_labels", image_labels),
            in_unit_interval("cam", *maps_read, holds=in_range),
            in_unit_interval("saliency", saliency),
        )
    return labels.to(dtype)


def _label_one(
    maps: ClassArrays, saliency: Array, thresholds: _Thresholds, dtype: np.dtype[Any]
) -> tuple[Array, Array, bool]:
    """The winner of each pixel of an image, (H, W), where to ignore it, and whether maps are valid.

    What the foreground threshold sets to 0 never changes which map is the strongest, so the maps
    are compared as they are, and the strongest alone with the threshold. Values are checked while
    the maps are at hand.
    """
    background = 1 - saliency
    unsure = at_least(saliency, thresholds.saliency)
    if not maps:
        return np.zeros(saliency.shape, dtype), unsure, True
    counts = np.dtype(np.uint8 if len(maps) < 255 else np.uint16)
    confident = as_integers(_above(background, thresholds.conflict, thresholds.fg), counts)
    first, strongest = maps[0]
    winner = np.full(saliency.shape, first + 1, dtype)
    is_valid = True
    for c, one in maps:
        is_valid &= is_in_unit_interval(one)
        confident += as_integers(_above(one, thresholds.conflict, thresholds.fg), counts)
        if c != first:  # classes ascend, so a later one is the larger number
            wins = as_integers(one > strongest, dtype)
            np.maximum(winner, wins * dtype.type(c + 1), out=winner)
            own = None if strongest is maps[0][1] else strongest  # the caller's is not written to
            strongest = np.maximum(strongest, one, out=own)
    values = unit_interval(from_array(strongest), from_array(background).dtype)
    is_object = to_array(values) > background
    is_object &= at_least(strongest, thresholds.fg)
    unsure |= _above(strongest, thresholds.attention, thresholds.fg)
    ignored = (confident >= 2) | (unsure & ~is_object)
    return winner * as_integers(is_object, dtype), ignored, is_valid


def _above(maps: Array, threshold: float, fg_threshold: float) -> Array:
    """Where maps are above a threshold after values < fg_threshold became 0."""
    mask = above(maps, threshold)
    return mask if threshold >= fg_threshold else mask & at_least(maps, fg_threshold)


def _label_batch(
    cam: Tensor,
    saliency: Tensor,
    image_labels: Tensor,
    thresholds: _Thresholds,
    ignore_index: int,
    dtype: torch.dtype,
) -> Tensor:
    """All images and classes in one go: for a GPU, and compiled."""
    saliency = unit_interval(saliency.detach(), compute_dtype(cam, saliency))
    maps, _ = masked_maps(cam, image_labels, saliency.dtype)
    if reads_values(cam):
        verify(
            multi_hot("image_labels", image_labels),
            in_unit_interval("cam", maps),
            in_unit_interval("saliency", saliency),
        )
    background = 1 - saliency
    background = background.masked_fill(background < thresholds.fg, 0)
    maps = maps.masked_fill(maps < thresholds.fg, 0)

    strongest, index = maps.max(dim=1)  # the first of equal maps, so the lowest class
    labels = (index + 1).masked_fill(strongest <= background, 0)

    confident = (maps > thresholds.conflict).sum(dim=1) + (background > thresholds.conflict)
    labels = labels.masked_fill(confident >= 2, ignore_index)
    unsure = (saliency >= thresholds.saliency) | (strongest > thresholds.attention)
    return labels.masked_fill((labels == 0) & unsure, ignore_index).to(dtype)
