"""The maps of the classes that an image has, out of all C: what every label function works on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._values import Array, to_array, to_list, unit_interval

ClassMaps = list[tuple[int, Tensor]]  #: (class, (H, W) map) of the classes of one image, ascending
ClassArrays = list[tuple[int, Array]]


def class_maps(cam: Tensor, image_labels: Tensor, dtype: torch.dtype) -> list[ClassMaps]:
    """Maps of the present classes of each image, without a copy: the cost does not depend on C.

    For a CPU: it reads ``image_labels``. Maps are detached, label functions run without autograd.
    Floating-point maps come as ``dtype``; uint8 ones stay, but for a ``dtype`` of float64.
    """
    images = cam.detach().reshape(-1, *cam.shape[-3:])
    is_kept = _is_kept(cam, dtype)
    return [
        [(c, (image[c] if is_kept else unit_interval(image[c], dtype)).contiguous()) for c in own]
        for image, own in zip(images, _classes(image_labels), strict=True)
    ]


def class_arrays(cam: Tensor, image_labels: Tensor, dtype: torch.dtype) -> list[ClassArrays]:
    """The same, of a tensor on a CPU, as arrays."""
    if not _is_kept(cam, dtype):
        images = class_maps(cam, image_labels, dtype)
        return [[(c, to_array(one)) for c, one in image] for image in images]
    arrays: Any = to_array(cam.reshape(-1, *cam.shape[-3:]))  # maps of an array take less to get
    return [
        [(c, np.ascontiguousarray(image[c])) for c in own]
        for image, own in zip(arrays, _classes(image_labels), strict=True)
    ]


def _is_kept(cam: Tensor, dtype: torch.dtype) -> bool:
    return cam.dtype == dtype or (cam.dtype == torch.uint8 and dtype != torch.float64)


def _classes(image_labels: Tensor) -> list[list[int]]:
    """The classes of each image, ascending."""
    present = image_labels.reshape(-1, image_labels.shape[-1]) != 0
    found: list[list[int]] = [[] for _ in range(len(present))]
    pairs: list[tuple[int, int]] = to_list(present.nonzero())
    for image, c in pairs:
        found[image].append(c)
    return found


def masked_maps(cam: Tensor, image_labels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """All maps (N, C, H, W) as ``dtype`` in [0, 1], 0 where a class is absent, and who is present.

    For a GPU, where reading the classes would synchronise, and for a compiled graph, whose shapes
    are fixed.
    """
    num_images = math.prod(cam.shape[:-3])
    cam = cam.detach().reshape(num_images, *cam.shape[-3:])
    present = image_labels.reshape(num_images, cam.shape[1]) != 0
    maps = unit_interval(cam, dtype)
    return maps.masked_fill(~present[..., None, None], 0), present
