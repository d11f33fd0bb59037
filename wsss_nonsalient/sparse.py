"""Labels with hardly any object: ignored whole."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checks import Sizes, check_ignore_index, check_number, check_tensor
from ._masks import equals, is_set, replace
from ._values import in_label_range, native_integers, reads_values, verify


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
    ignore_index = check_ignore_index(ignore_index, {"labels": labels.dtype})
    native = native_integers(labels)
    if reads_values(labels):
        highest = torch.iinfo(native.dtype).max
        verify(in_label_range("labels", native, highest, ignore_index))
    objects = is_set(native) & (equals(native, ignore_index) ^ 1)
    objects = objects.sum(dim=(-2, -1), keepdim=True, dtype=torch.int32)
    num_pixels = labels.shape[-2] * labels.shape[-1]
    sparse = objects.to(torch.float64) / num_pixels < min_object_ratio
    return replace(native, sparse.to(torch.uint8), ignore_index).to(labels.dtype)
