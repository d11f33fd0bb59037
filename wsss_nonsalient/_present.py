"""The maps of the classes that an image has, out of all C: what every label function works on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ._values import is_traced, to_list, unit_interval


class PresentMaps(NamedTuple):
    """Maps of the present classes of N images, padded to the largest number K of them."""

    maps: Tensor  #: (N, K, H, W) in [0, 1], 0 in the padding
    classes: Tensor  #: (N, K) class of each map, ascending within an image
    present: Tensor  #: (N, K) False in the padding


def present_maps(cam: Tensor, image_labels: Tensor, dtype: torch.dtype) -> PresentMaps:
    """Gather the present classes' maps of ``cam`` (*, C, H, W) as ``dtype`` in [0, 1].

    The maps are detached: label functions run without autograd. On the CPU K is the largest number
    of classes that an image has, so the cost does not depend on C. Elsewhere K = C: reading the
    number from a GPU would synchronise, and a compiled graph has fixed shapes.
    """
    num_images = math.prod(cam.shape[:-3])
    cam = cam.detach().reshape(num_images, *cam.shape[-3:])
    present = image_labels.reshape(num_images, cam.shape[1]) != 0
    if is_traced() or cam.device.type != "cpu":
        classes = torch.arange(cam.shape[1], device=cam.device).expand(num_images, -1)
        maps = unit_interval(cam, dtype)
    else:
        counts = to_list(present.sum(dim=1))
        classes = present.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        classes = classes[:, : max([1, *counts])]
        present = present.gather(1, classes)
        maps = unit_interval(cam[torch.arange(num_images)[:, None], classes], dtype)
        if all(count == classes.shape[1] for count in counts):
            return PresentMaps(maps, classes, present)
    return PresentMaps(maps.masked_fill(~present[..., None, None], 0), classes, present)
