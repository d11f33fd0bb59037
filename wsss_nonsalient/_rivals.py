"""Where a class other than a map's own is strong: what keeps that map from mining there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._masks import above


def rivals_of_images(maps: Sequence[Tensor], threshold: float) -> list[Tensor]:
    """For each map (H, W) of an image, where another one is above it, uint8: for a CPU."""
    claims = [above(one, threshold) for one in maps]
    once = twice = torch.zeros((), dtype=torch.uint8)
    for claim in claims:
        twice = twice | (once & claim)
        once = once | claim
    return [twice | (once & (claim ^ 1)) for claim in claims]


def rivals_of_batch(maps: Tensor, threshold: float) -> Tensor:
    """The same for maps (N, C, H, W) at once, bool: for a GPU, and compiled."""
    claims = (maps > threshold).to(torch.int32)
    return claims.sum(dim=1, keepdim=True) > claims
