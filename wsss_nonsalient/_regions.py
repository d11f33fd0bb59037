"""Regions of a true label map: what is near an edge, and how large the object at a pixel is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ._masks import equals
from ._values import to_list
from .dilation import dilate


def boundary_band(target: Tensor, width: int) -> Tensor:
    """Where an edge between two labels is at most ``width`` pixels away, (*, H, W) bool.

    A pixel lies on an edge if one of its four neighbours has another label, ignored pixels being a
    label too: PASCAL VOC draws the outlines of objects with them. The edges are dilated by a square
    of side 2 * width - 1.
    """
    edges = torch.zeros_like(target, dtype=torch.bool)
    down = target[..., 1:, :] != target[..., :-1, :]
    right = target[..., :, 1:] != target[..., :, :-1]
    edges[..., 1:, :] |= down
    edges[..., :-1, :] |= down
    edges[..., :, 1:] |= right
    edges[..., :, :-1] |= right
    return dilate(edges, 2 * width - 1)


def object_size_bins(
    target: Tensor, edges: Sequence[float], ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Bin of the size of the object at each pixel, and how many objects a bin has.

    An object is a connected component of one class, corners connecting too; its size is its share
    of the image's area. Bin i has sizes from ``edges[i - 1]`` on, below ``edges[i]``.

    Returns:
        (N, H, W) int64 bins of a (N, H, W) label map, -1 where there is no object, and counts
        (len(edges) + 1,) int64 on the CPU.
    """
    ndimage: Any = import_module("scipy.ndimage")  # no stubs, and not needed for anything else
    inner = torch.tensor(edges, dtype=torch.float64)
    counts = torch.zeros(len(edges) + 1, dtype=torch.int64)
    bins = torch.full(target.shape, -1, dtype=torch.int64)
    for own, image in zip(bins, target.cpu(), strict=True):
        for value in _values_of(image) - {0, ignore_index}:
            numbered, _ = ndimage.label(equals(image, value).numpy(), structure=[[1] * 3] * 3)
            components = torch.as_tensor(numbered, dtype=torch.int64)
            areas = components.flatten().bincount().to(torch.float64)
            areas[0] = 0  # what is around the objects
            sizes = torch.bucketize(areas / image.numel(), inner, right=True)
            counts += sizes[1:].bincount(minlength=len(counts))
            own[components > 0] = sizes[components[components > 0]]
    return bins.to(target.device), counts


def _values_of(image: Tensor) -> set[int]:
    values: Tensor = image.unique()  # pyright: ignore
    return set(to_list(values))  # pyright: ignore[reportUnknownArgumentType]
