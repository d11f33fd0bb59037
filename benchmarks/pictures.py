"""Maps and masks like those of real images: smooth blobs, with exact zeros."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from wsss_nonsalient import initial_labels, normalize_cam

SIZE = (375, 500)  # a typical VOC image


class Pictures(NamedTuple):
    """Arguments of the label functions."""

    cam: Tensor
    saliency: Tensor
    image_labels: Tensor
    prediction: Tensor


def pictures(
    images: int,
    classes: int,
    present: int,
    dtype: torch.dtype,
    size: tuple[int, int] = SIZE,
    label_dtype: torch.dtype | None = None,
) -> Pictures:
    """A batch of images of ``present`` of ``classes`` classes each; maps of the others are zero.

    Labels are uint8 if ``classes`` fit, else int16.
    """
    random = torch.Generator().manual_seed(0)
    image_labels = torch.zeros(images, classes)
    cam = torch.zeros(images, classes, *size, dtype=dtype)
    saliency = torch.empty(images, *size)
    for image in range(images):
        chosen = torch.randperm(classes, generator=random)[:present]
        image_labels[image, chosen] = 1
        maps = normalize_cam(blobs(present, size, random) - 0.3)
        cam[image, chosen] = _stored(maps, dtype)
        saliency[image] = ((blobs(1, size, random)[0] - 0.5) * 4).clamp(0, 1)
    saliency = _stored(saliency, dtype)
    labels = initial_labels(cam, saliency, image_labels, ignore_index=-1, dtype=torch.int16)
    kind = label_dtype or (torch.uint8 if classes < 255 else torch.int16)
    prediction = labels.clamp(min=0).to(kind).roll(20, dims=-1)
    return Pictures(cam, saliency, image_labels, prediction)


def blobs(number: int, size: tuple[int, int], random: torch.Generator) -> Tensor:
    """(number, H, W) smooth random maps in [0, 1]."""
    coarse = torch.rand(number, 1, 12, 16, generator=random)
    return functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)[:, 0]


def _stored(maps: Tensor, dtype: torch.dtype) -> Tensor:
    return (maps * 255).round().to(dtype) if dtype == torch.uint8 else maps.to(dtype)
