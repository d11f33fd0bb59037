"""Where a class other than a map's own is strong: what keeps that map from mining there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ._array_masks import above
from ._values import Array


def rivals_of_images(maps: Sequence[Array], threshold: float) -> list[Array]:
    """For each map (H, W) of an image, where another one is above it, bool: for a CPU."""
    claims = [above(one, threshold) for one in maps]
    once = twice = np.zeros((), bool)
    for claim in claims:
        twice = twice | (once & claim)
        once = once | claim
    return [twice | (once & ~claim) for claim in claims]


def rivals_of_batch(maps: Tensor, threshold: float) -> Tensor:
    """The same for maps (N, C, H, W) at once, bool: for a GPU, and compiled."""
    claims = (maps > threshold).to(torch.int32)
    return claims.sum(dim=1, keepdim=True) > claims
