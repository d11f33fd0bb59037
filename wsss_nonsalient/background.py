"""Background evidence out of the class activation maps, for pictures without a saliency map."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import Sizes, check_positive, check_tensor
from ._present import class_maps, masked_maps
from ._values import (
    compute_dtype,
    in_unit_interval,
    is_eager_cpu,
    multi_hot,
    reads_values,
    unit_interval,
    verify,
)


def background_from_cam(cam: Tensor, image_labels: Tensor, *, power: float = 1.0) -> Tensor:
    r"""Background evidence of each pixel: how little the strongest map of a present class is.

    .. math:: b_{ij} = \bigl(1 - \max \{a^c_{ij} : c \text{ present}\}\bigr)^{\text{power}}

    A larger power takes evidence away from the background, most where maps are of middling
    strength. Without any present class all pixels are 1.

    ``1 - background_from_cam(...)`` goes where a saliency map goes, in :func:`initial_labels` and
    :func:`nsrm_mask`. In :func:`initial_labels`, a pixel whose strongest map is :math:`a` is then
    an object if :math:`a > (1 - a)^{\text{power}}` and :math:`a \ge` ``fg_threshold``: from
    :math:`a` = 0.5 on with power 1, from 0.32 on with power 3. Every other one is ignored unless
    :math:`(1 - a)^{\text{power}} > 1 -` ``saliency_threshold``: unless :math:`a` is below 0.125
    with power 1, below 0.044 with power 3.

    Source: the background score of Ahn and Kwak, CVPR 2018 (AffinityNet), where the power is called
    :math:`\alpha`. Not part of NSROM, which has saliency maps.

    Args:
        cam: (\*, C, H, W) class activation maps, floating point in [0, 1] or uint8 (value / 255).
            Only maps of classes in ``image_labels`` are read.
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        power: Above 0.

    Returns:
        (\*, H, W) in [0, 1], float64 for a float64 ``cam`` and float32 for any other.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; ``power`` is no number.
        ValueError: Shapes, sizes or devices differ; ``cam`` (present classes) has NaN or leaves
            [0, 1]; ``image_labels`` has values other than 0 and 1; ``power`` is not above 0 or
            infinite.

    Example:
        >>> cam = torch.tensor([[[0.0, 0.25, 0.5]], [[0.5, 0.0, 1.0]]])
        >>> background_from_cam(cam, torch.tensor([1, 0]))
        tensor([[1.0000, 0.7500, 0.5000]])
        >>> background_from_cam(cam, torch.tensor([1, 1]), power=2)
        tensor([[0.2500, 0.5625, 0.0000]])
    """
    sizes = Sizes()
    check_tensor("cam", cam, "* C H W", "image", sizes)
    check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)
    check_positive("power", power)
    strongest = _strongest_of_images if is_eager_cpu(cam) else _strongest_of_batch
    background = 1 - strongest(cam, image_labels, compute_dtype(cam))
    if power != 1:
        # in float64, since a CPU's float32 powers differ by where in memory a pixel is
        background = background.to(torch.float64).pow(power).to(background.dtype)
    return background.reshape(*cam.shape[:-3], *cam.shape[-2:])


def _strongest_of_images(cam: Tensor, image_labels: Tensor, dtype: torch.dtype) -> Tensor:
    """Largest value of a present class, (N, H, W), image by image: for a CPU."""
    images = class_maps(cam, image_labels, dtype)
    strongest = torch.zeros(len(images), *cam.shape[-2:], dtype=dtype)
    for result, maps in zip(strongest, images, strict=True):
        if maps:
            largest = maps[0][1]
            for _, one in maps[1:]:
                largest = torch.maximum(largest, one)
            result.copy_(unit_interval(largest, dtype))
    if reads_values(cam):
        verify(
            multi_hot("image_labels", image_labels),
            in_unit_interval("cam", *(one for maps in images for _, one in maps)),
        )
    return strongest


def _strongest_of_batch(cam: Tensor, image_labels: Tensor, dtype: torch.dtype) -> Tensor:
    """The same in one go: for a GPU, and compiled."""
    maps, _ = masked_maps(cam, image_labels, dtype)
    if reads_values(cam):
        verify(multi_hot("image_labels", image_labels), in_unit_interval("cam", maps))
    return maps.amax(dim=1)
