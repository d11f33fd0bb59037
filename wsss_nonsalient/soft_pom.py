"""Soft potential object mining: weights of a loss in place of ignored pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import check_number
from ._pom_inputs import batch_to_mine, check_mining, images_to_mine, verify_mining
from ._pom_thresholds import Quartile, map_threshold
from ._present import ClassArrays
from ._rivals import rivals_of_batch, rivals_of_images
from ._values import Array, compute_dtype, from_array, is_eager_cpu, unit_interval


def pom_weights(
    cam: Tensor,
    labels: Tensor,
    image_labels: Tensor,
    *,
    softness: float = 0.2,
    bg_threshold: float = 0.3,
    quartile: Quartile = "linear",
    rival_threshold: float | None = None,
    ignore_index: int = 255,
) -> Tensor:
    r"""Weight of each pixel in a cross-entropy: the soft variant of :func:`pom_refine`.

    The weight of a background pixel falls with how far the map of a present class exceeds its
    threshold :math:`T_c` of :func:`pom_thresholds`, and is 0 from :math:`T_c + s` on:

    .. math::
        w_{ij} = \begin{cases}
            \min \bigl\{1, \max \{0, 1 - e_{ij} / s\}\bigr\} & \text{if } l_{ij} = 0,
                \quad e_{ij} = \max \{a^c_{ij} - T_c : c \text{ present}\} \\
            0 & \text{if } l_{ij} \text{ is ignored} \\
            1 & \text{otherwise}
        \end{cases}

    The limit :math:`s \to 0`, which is what ``softness=0`` computes, is :func:`pom_refine`: the
    weight is 0 exactly where that ignores, and 1 elsewhere. Without any :math:`T_c` to go by,
    :math:`e` is :math:`-\infty` and the weight 1.

    Train on the labels that went in, not on refined ones:
    ``(weights * cross_entropy(logits, labels, ignore_index=255, reduction="none")).sum() /
    weights.sum()``.

    Source: none; not part of NSROM. The thresholds are those of Yao et al., CVPR 2021, eq. 5 and 6.

    Args:
        cam: (\*, C, H, W) class activation maps, floating point in [0, 1] or uint8 (value / 255).
            Only maps of classes in ``image_labels`` are read.
        labels: (\*, H, W) integer label maps (0 background, c + 1 class c).
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        softness: Width s of the ramp in units of the maps, in [0, 1].
        bg_threshold: :math:`T_{bg}` of :func:`pom_thresholds`, in [0, 1].
        quartile: Upper quartile for classes without label pixels: ``"linear"`` or
            ``"nested-median"``, see :func:`pom_thresholds`.
        rival_threshold: In [0, 1]: a class c counts in :math:`e_{ij}` only where no other present
            class's map is above it, as in :func:`pom_refine`. None: everywhere.
        ignore_index: Label of ignored pixels.

    Returns:
        (\*, H, W) weights in [0, 1], float64 for a float64 ``cam`` and float32 for any other.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option has a wrong type.
        ValueError: As for :func:`pom_refine`; or ``softness`` is out of range.

    Example:
        >>> cam = torch.tensor([[[0.25, 0.5, 0.625, 0.75, 0.25]]])
        >>> labels = torch.tensor([[0, 1, 0, 0, 255]])
        >>> pom_weights(cam, labels, torch.tensor([1]), softness=0.25)
        tensor([[1.0000, 1.0000, 0.5000, 0.0000, 0.0000]])
    """
    ignore_index = check_mining(
        cam, labels, image_labels, bg_threshold, quartile, ignore_index, rival_threshold
    )
    check_number("softness", softness)
    if is_eager_cpu(cam):
        images, arrays = images_to_mine(cam, labels, image_labels)
        flat = from_array(arrays)
        excess = torch.full(flat.shape, -torch.inf, dtype=compute_dtype(cam))
        for result, maps, one in zip(excess, images, arrays, strict=True):
            thresholds = [
                map_threshold(one_map, one == c + 1, bg_threshold, quartile) for c, one_map in maps
            ]
            _raise_to_excess(result, maps, thresholds, rival_threshold)
        verify_mining(cam, labels, image_labels, ignore_index, images)
    else:
        all_maps, flat, found = batch_to_mine(
            cam, labels, image_labels, bg_threshold, quartile, ignore_index
        )
        over = all_maps - found[..., None, None]
        if rival_threshold is not None:
            over = over.masked_fill(rivals_of_batch(all_maps, rival_threshold), -torch.inf)
        excess = over.amax(dim=1)
    weights = torch.where(flat == 0, _ramp(excess, softness), (flat != ignore_index).to(excess))
    return weights.reshape(labels.shape)


def _raise_to_excess(
    excess: Tensor, maps: ClassArrays, thresholds: list[float], rival_threshold: float | None
) -> None:
    """Raise ``excess`` (H, W) to how far the maps of an image are above their thresholds."""
    rivals: list[Array] = []
    if rival_threshold is not None:
        rivals = rivals_of_images([one_map for _, one_map in maps], rival_threshold)
    for position, ((_, one_map), threshold) in enumerate(zip(maps, thresholds, strict=True)):
        values = unit_interval(from_array(one_map), excess.dtype)
        over = values - torch.tensor(threshold, dtype=excess.dtype)
        if rivals:
            over = over.masked_fill(from_array(rivals[position]), -torch.inf)
        torch.maximum(excess, over, out=excess)


def _ramp(excess: Tensor, softness: float) -> Tensor:
    """1 up to an excess of 0, from there down to 0 at an excess of ``softness``."""
    # a tensor: a GPU divides by a Python number through its rounded reciprocal
    width = torch.full((), softness, dtype=excess.dtype, device=excess.device)
    return torch.where(excess > 0, (1 - excess / width).clamp(min=0), 1)
