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

from ._edges import STEPS, ways_over_edges

_BANDWIDTH = 0.1  # times the local standard deviation
_LEAST_SCALE = 1e-8  # where all neighbours have one colour, and all differences are 0
_MAPS_AT_ONCE = 4  # about what a cache holds


def affinities(
    image: Tensor, dilations: Sequence[int], edge_threshold: float | None = None
) -> Tensor:
    """Affinities (K + 1, N, 1, H, W) of pixels of images (N, 3, H, W); over K + 1 they sum to one.

    The first K are those of the neighbours. The last, of the pixel itself, is 0, but 1 where edges
    part it from all its neighbours.
    """
    views = _neighbours(image, dilations)
    scale = -1 / (image.shape[1] * (_BANDWIDTH * _deviation(image, views) + _LEAST_SCALE))
    weights = image.new_empty((len(views) + 1, image.shape[0], 1, *image.shape[2:]))
    logits, itself = weights[:-1], weights[-1]
    for view, logit in zip(views, logits, strict=True):
        logit.copy_((view - image).abs_().mul_(scale).sum(dim=1, keepdim=True))
    if edge_threshold is not None:
        over_edges = ways_over_edges(image, _reach(image, dilations), edge_threshold)
        for logit, mask in zip(logits, over_edges, strict=True):
            logit.masked_fill_(mask, -torch.inf)
    largest = logits.amax(dim=0)
    logits -= largest.masked_fill_(largest.isinf(), 0)
    logits.exp_()
    total = logits.sum(dim=0)
    itself.copy_(total == 0)
    logits /= total + itself
    return weights


def repeated_mean(
    maps: Tensor, weights: Tensor, dilations: Sequence[int], iterations: int
) -> Tensor:
    """Maps (N, C, H, W), each replaced by the weighted mean of its neighbours again and again."""
    groups: list[Tensor] = []
    for first in range(0, maps.shape[1], _MAPS_AT_ONCE):
        refined = maps[:, first : first + _MAPS_AT_ONCE]
        for _ in range(iterations):
            refined = _mean(refined, weights, dilations)
        groups.append(refined)
    return torch.cat(groups, dim=1)


def _mean(maps: Tensor, weights: Tensor, dilations: Sequence[int]) -> Tensor:
    first, *others = [*_neighbours(maps, dilations), maps]
    mean = first * weights[0]
    for view, weight in zip(others, weights[1:], strict=True):
        mean.addcmul_(view, weight)
    return mean


def _neighbours(maps: Tensor, dilations: Sequence[int]) -> list[Tensor]:
    """What the neighbours of each pixel hold: a view (N, C, H, W) a distance and direction.

    Beyond the border is what the nearest pixel of the border holds.
    """
    height, width = maps.shape[-2:]
    reach = _reach(maps, dilations)
    pad = max(reach)
    padded = functional.pad(maps, (pad, pad, pad, pad), mode="replicate")
    return [
        padded.narrow(-2, pad + d * down, height).narrow(-1, pad + d * right, width)
        for d in reach
        for down, right in STEPS
    ]


def _reach(maps: Tensor, dilations: Sequence[int]) -> list[int]:
    """Distances; beyond the longer side there is only the border, however far one goes."""
    return [min(d, max(maps.shape[-2:]) - 1) for d in dilations]


def _deviation(image: Tensor, views: Sequence[Tensor]) -> Tensor:
    """Standard deviation of each channel over a pixel and its neighbours."""
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for view in views:
        difference = view - image  # that of the pixel itself is 0
        total += difference
        squares.addcmul_(difference, difference)
    number = len(views) + 1
    variance = (squares / number).addcmul_(total, total, value=-1 / number**2)
    return variance.clamp_(min=0).sqrt_()
