"""Confident labels: what a segmentation network is sure of, for the next round of training."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import WIDE_UNSIGNED, Sizes, check_ignore_index, check_number, check_tensor
from ._masks import above, greater, is_set, replace
from ._present import class_maps, masked_maps
from ._values import (
    compute_dtype,
    in_label_range,
    in_unit_interval,
    is_eager_cpu,
    multi_hot,
    native_integers,
    reads_values,
    unit_interval,
    verify,
)


def confident_labels(
    probabilities: Tensor,
    image_labels: Tensor,
    *,
    pseudo_labels: Tensor | None = None,
    background_threshold: float = 0.95,
    object_threshold: float = 0.3,
    ignore_index: int = 255,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Training label of the second round from the probabilities that a network predicts.

    A network that was taught too much background is unsure where it calls objects background.
    Among the background and the classes Y of the image, with
    :math:`b = p_0 / (p_0 + \sum_{c \in Y} p_c)`:

    .. math:: y = \begin{cases}
            \operatorname{argmax}_{c \in Y} p_c & \text{if } 1 - b > T_{object} \\
            \text{background} & \text{if } b > T_{background} \\
            \text{ignore} & \text{otherwise}
        \end{cases}

    With ``pseudo_labels``, background gives way: an object pixel of the pseudo label takes its
    place, and an ignored pixel of the pseudo label stays ignored. Where all these probabilities
    are 0, the pixel is ignored. An image without a class has background only.

    This is no part of NSROM, whose second round takes :func:`nsrm_mask`.

    Args:
        probabilities: (\*, C + 1, H, W) of the background and of the classes, floating point in
            [0, 1] or uint8 (value / 255). Of the classes, only maps of those in ``image_labels``
            are read. :func:`pixel_adaptive_refinement` makes them follow the picture's edges.
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        pseudo_labels: (\*, H, W) integer labels that the network was trained on, or None.
        background_threshold: :math:`T_{background}`, in [0, 1].
        object_threshold: :math:`T_{object}`, in [0, 1]. Both add up to 1 at least, so that no pixel
            is both.
        ignore_index: Label of ignored pixels.
        dtype: Integer dtype of the result; None: that of ``pseudo_labels``, or uint8.

    Returns:
        (\*, H, W) label map: 0 background, c + 1 class c, ``ignore_index`` ignored.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option is no number.
        ValueError: Shapes, sizes or devices differ; ``probabilities`` (background and present
            classes) has NaN or leaves [0, 1]; ``image_labels`` has values other than 0 and 1;
            ``pseudo_labels`` has a value above C that is not ``ignore_index``; an option is out of
            range; a dtype cannot hold C or ``ignore_index``; ``ignore_index`` is a label.

    Example:
        >>> probabilities = torch.tensor([[[0.98, 0.8, 0.5, 0.1]], [[0.02, 0.2, 0.5, 0.9]]])
        >>> confident_labels(probabilities, torch.tensor([1]))
        tensor([[  0, 255,   1,   1]], dtype=torch.uint8)
    """
    sizes = Sizes()
    check_tensor("probabilities", probabilities, "* labels H W", "image", sizes)
    check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)
    if sizes["labels"] != sizes["C"] + 1:
        raise ValueError(
            f"probabilities: expected C + 1 = {sizes['C'] + 1} maps, the background's first, since "
            f"image_labels has C = {sizes['C']}, got {sizes['labels']} "
            f"(shape {tuple(probabilities.shape)})"
        )
    check_number("background_threshold", background_threshold)
    check_number("object_threshold", object_threshold)
    if background_threshold + object_threshold < 1:
        raise ValueError(
            "object_threshold: expected at least 1 - background_threshold, so that no pixel is "
            f"both, got {object_threshold} and {background_threshold}"
        )
    dtypes: dict[str, torch.dtype] = {}
    if pseudo_labels is not None:
        check_tensor("pseudo_labels", pseudo_labels, "* H W", "label", sizes)
        dtypes["pseudo_labels"] = pseudo_labels.dtype
    if dtype is None:
        dtype = torch.uint8 if pseudo_labels is None else pseudo_labels.dtype
    dtypes["dtype"] = dtype
    ignore_index = check_ignore_index(ignore_index, dtypes, sizes["C"])

    other = None
    if pseudo_labels is not None:
        other = native_integers(pseudo_labels).reshape(-1, *pseudo_labels.shape[-2:])
    background, strongest, objects = _evidence(probabilities, image_labels, other, ignore_index)
    total = background + objects
    share = objects / torch.where(total > 0, total, 1)
    native = torch.int64 if dtype in WIDE_UNSIGNED else dtype
    labels = torch.full_like(strongest, ignore_index, dtype=native)
    is_background = above(background / torch.where(total > 0, total, 1), background_threshold)
    labels = replace(labels, is_background, 0)
    labels = replace(labels, above(share, object_threshold), strongest.to(native))
    if other is not None:
        gives_way = is_background & is_set(other) & (is_set(labels) ^ 1)
        labels = replace(labels, gives_way, other.to(native))
    return labels.reshape(*probabilities.shape[:-3], *probabilities.shape[-2:]).to(dtype)


def _evidence(
    probabilities: Tensor, image_labels: Tensor, pseudo_labels: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(N, H, W) probability of the background, label of the strongest class, sum of the classes."""
    dtype = compute_dtype(probabilities)
    maps = probabilities[..., 1:, :, :]
    background = unit_interval(probabilities.detach()[..., 0, :, :], dtype)
    background = background.reshape(-1, *background.shape[-2:])
    if not is_eager_cpu(probabilities):
        present, _ = masked_maps(maps, image_labels, dtype)
        _verify(image_labels, pseudo_labels, ignore_index, background, present)
        objects = torch.zeros_like(background)
        for one in present.unbind(dim=1):  # in this order, so that all ways round alike
            objects = objects + one
        return background, present.argmax(dim=1) + 1, objects
    images = class_maps(maps, image_labels, dtype)
    read = (one for own in images for _, one in own)
    _verify(image_labels, pseudo_labels, ignore_index, background, *read)
    strongest = torch.zeros(background.shape, dtype=torch.int32)
    objects = torch.zeros_like(background)
    for label, total, own in zip(strongest, objects, images, strict=True):
        largest = torch.full_like(total, -1)
        for c, one in own:
            one_map = unit_interval(one, dtype)
            label.copy_(replace(label, greater(one_map, largest), c + 1))
            largest = torch.maximum(largest, one_map)
            total += one_map
    return background, strongest, objects


def _verify(
    image_labels: Tensor, pseudo_labels: Tensor | None, ignore_index: int, *maps: Tensor
) -> None:
    """All values in one read of the device."""
    if not reads_values(image_labels):
        return
    claims = [multi_hot("image_labels", image_labels), in_unit_interval("probabilities", *maps)]
    if pseudo_labels is not None:
        num_classes = image_labels.shape[-1]
        claims.append(in_label_range("pseudo_labels", pseudo_labels, num_classes, ignore_index))
    verify(*claims)
