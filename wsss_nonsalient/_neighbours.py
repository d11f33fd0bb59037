"""Affinities of pixels to neighbours at several distances, and means of maps weighted by them.

Neighbours are views of a padded map, one a distance and direction, so nothing is unfolded: a mean
over 48 neighbours is 48 fused products and sums of whole maps. Affinities are stored whole, as
float32; computing strips of rows, and storing half precision, was no faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_BANDWIDTH = 0.1  # times the local standard deviation
_LEAST_SCALE = 1e-8  # where all neighbours have one colour, and all differences are 0
_MAPS_AT_ONCE = 4  # about what a cache holds


def neighbours(maps: Tensor, dilations: Sequence[int]) -> list[Tensor]:
    """What the neighbours of each pixel hold: a view (N, C, H, W) a distance and direction.

    Beyond the border is what the nearest pixel of the border holds.
    """
    height, width = maps.shape[-2:]
    reach = [min(d, max(height, width) - 1) for d in dilations]  # beyond it is the border, too
    pad = max(reach)
    padded = functional.pad(maps, (pad, pad, pad, pad), mode="replicate")
    return [
        padded.narrow(-2, pad + d * down, height).narrow(-1, pad + d * right, width)
        for d in reach
        for down, right in DIRECTIONS
    ]


def affinities(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Affinities (K, N, 1, H, W) of the pixels of images (N, 3, H, W) to their K neighbours."""
    views = neighbours(image, dilations)
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for view in views:
        difference = view - image
        total += difference
        squares.addcmul_(difference, difference)
    number = len(views) + 1  # with the pixel itself, whose difference is 0
    variance = (squares / number).addcmul_(total, total, value=-1 / number**2)
    deviation = variance.clamp_(min=0).sqrt_()
    scale = -1 / (image.shape[1] * (_BANDWIDTH * deviation + _LEAST_SCALE))
    logits = image.new_empty((len(views), image.shape[0], 1, *image.shape[2:]))
    for view, logit in zip(views, logits, strict=True):
        logit.copy_((view - image).abs_().mul_(scale).sum(dim=1, keepdim=True))
    logits -= logits.amax(dim=0)
    weights = logits.exp_()
    weights /= weights.sum(dim=0)
    return weights


def repeated_mean(
    maps: Tensor, weights: Tensor, dilations: Sequence[int], iterations: int
) -> Tensor:
    """Maps (N, C, H, W), each replaced by the weighted mean of its neighbours again and again."""
    groups: list[Tensor] = []
    for group in maps.split(_MAPS_AT_ONCE, dim=1):
        refined = group
        for _ in range(iterations):
            refined = _mean(refined, weights, dilations)
        groups.append(refined)
    return torch.cat(groups, dim=1)


def _mean(maps: Tensor, weights: Tensor, dilations: Sequence[int]) -> Tensor:
    first, *others = neighbours(maps, dilations)
    mean = first * weights[0]
    for view, weight in zip(others, weights[1:], strict=True):
        mean.addcmul_(view, weight)
    return mean
