"""Potential object mining (POM): background that the CAM believes to be object becomes ignored."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ._array_masks import above, replace
from ._pom_inputs import batch_to_mine, check_mining, images_to_mine, verify_mining
from ._pom_thresholds import Quartile as Quartile
from ._pom_thresholds import map_threshold
from ._rivals import rivals_of_batch, rivals_of_images
from ._values import Array, compute_dtype, from_array, is_eager_cpu, is_in_unit_interval


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
    ignore_index = check_mining(cam, labels, image_labels, bg_threshold, quartile, ignore_index)
    if is_eager_cpu(cam):
        images, flat = images_to_mine(cam, labels, image_labels)
        found = torch.full((len(images), cam.shape[-3]), torch.inf, dtype=compute_dtype(cam))
        for row, maps, one in zip(found, images, flat, strict=True):
            for c, one_map in maps:
                row[c] = map_threshold(one_map, one == c + 1, bg_threshold, quartile)
        verify_mining(cam, labels, image_labels, ignore_index, images)
    else:
        _, _, found = batch_to_mine(cam, labels, image_labels, bg_threshold, quartile, ignore_index)
    return found.reshape(image_labels.shape)


def pom_refine(
    labels: Tensor,
    cam: Tensor,
    image_labels: Tensor,
    *,
    bg_threshold: float = 0.3,
    quartile: Quartile = "linear",
    rival_threshold: float | None = None,
    ignore_index: int = 255,
) -> Tensor:
    r"""Potential object mining: ignore background pixels that the CAM believes to be object.

    .. math::
        l_{ij} \leftarrow \text{ignore} \quad \text{if } l_{ij} = 0 \text{ and }
        a^c_{ij} > T_c \text{ for some present class } c

    with :math:`T_c` of :func:`pom_thresholds`. Such a pixel never gets class c: the method would
    rather drop a gradient than teach a wrong class. No other pixel changes.

    With ``rival_threshold`` :math:`T_r`, the map of class c mines only where no other present class
    is strong: the condition becomes :math:`a^c_{ij} > T_c` and :math:`a^d_{ij} \le T_r` for every
    present :math:`d \ne c`. A pixel that two classes claim strongly then stays background.

    Source: Yao et al., CVPR 2021, eq. 5-7. The released implementation takes
    ``quartile="nested-median"`` and runs :func:`ignore_sparse_labels` after it, not before.
    ``rival_threshold`` is not part of it. :func:`pom_weights` is a soft variant.

    Args:
        labels: (\*, H, W) integer label maps (0 background, c + 1 class c).
        cam: (\*, C, H, W) class activation maps, floating point in [0, 1] or uint8 (value / 255).
            Only maps of classes in ``image_labels`` are read.
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        bg_threshold: :math:`T_{bg}`, in [0, 1].
        quartile: Upper quartile for classes without label pixels: ``"linear"`` or
            ``"nested-median"``, see :func:`pom_thresholds`.
        rival_threshold: :math:`T_r`, in [0, 1]; None (and 1): other classes do not matter.
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
    ignore_index = check_mining(
        cam, labels, image_labels, bg_threshold, quartile, ignore_index, rival_threshold
    )
    if is_eager_cpu(cam):
        return _refine_images(
            labels, cam, image_labels, bg_threshold, quartile, rival_threshold, ignore_index
        )
    maps, flat, found = batch_to_mine(
        cam, labels, image_labels, bg_threshold, quartile, ignore_index
    )
    believed = maps > found[..., None, None]
    if rival_threshold is not None:
        believed &= ~rivals_of_batch(maps, rival_threshold)
    mined = believed.any(dim=1) & (flat == 0)
    return flat.masked_fill(mined, ignore_index).reshape(labels.shape).to(labels.dtype)


def _refine_images(
    labels: Tensor,
    cam: Tensor,
    image_labels: Tensor,
    bg_threshold: float,
    quartile: Quartile,
    rival_threshold: float | None,
    ignore_index: int,
) -> Tensor:
    """Image by image and class by class, as arrays: for a CPU."""
    images, flat = images_to_mine(cam, labels, image_labels)
    refined: Array = np.empty(flat.shape, flat.dtype)
    in_range = True
    for result, maps, one in zip(refined, images, flat, strict=True):
        believed: Array = np.zeros(one.shape, bool)
        rivals: list[Array] = []
        if rival_threshold is not None:
            rivals = rivals_of_images([one_map for _, one_map in maps], rival_threshold)
        for position, (c, one_map) in enumerate(maps):
            mines = above(one_map, map_threshold(one_map, one == c + 1, bg_threshold, quartile))
            believed |= mines & ~rivals[position] if rivals else mines
            in_range &= is_in_unit_interval(one_map)  # while the map is at hand
        result[...] = replace(one, believed & (one == 0), ignore_index)
    verify_mining(cam, labels, image_labels, ignore_index, images, in_range)
    return from_array(refined).reshape(labels.shape).to(labels.dtype)
