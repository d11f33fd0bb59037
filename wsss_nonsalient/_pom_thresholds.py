"""Thresholds of potential object mining: medians and upper quartiles of parts of maps."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ._array_masks import above, levels
from ._values import Array, bits, from_array, to_list

Quartile = Literal["linear", "nested-median"]
QUARTILES: tuple[Quartile, ...] = ("linear", "nested-median")


def map_threshold(
    one_map: Array, labelled: Array, bg_threshold: float, quartile: Quartile
) -> float:
    """Threshold of one map (H, W) with its label's mask; +inf where it mines nothing.

    It is to be rounded to the map's dtype, as comparing with the map or storing it does.
    """
    values = one_map[labelled]
    if values.any():
        return _median_of(values)
    over = one_map[above(one_map, bg_threshold)]
    if quartile == "linear":
        return _upper_quartile_of(over)
    return _median_of(one_map[above(one_map, max(_median_of(over), bg_threshold))])


def _median_of(values: Array) -> float:
    """Mean of the two middle values; +inf without any."""
    if not len(values):
        return math.inf
    middle, is_even = divmod(len(values) - 1, 2)
    lower, upper = _ranked(values, middle)
    return (lower + upper) / 2 if is_even else lower


def _upper_quartile_of(values: Array) -> float:
    """75th percentile, linearly interpolated; +inf without any value."""
    if not len(values):
        return math.inf
    rank, quarters = divmod(3 * (len(values) - 1), 4)
    dtype = torch.float64 if values.dtype == np.float64 else torch.float32
    below, over = torch.tensor(_ranked(values, rank), dtype=dtype)
    return float(below.lerp(over, quarters / 4))


def _ranked(values: Array, rank: int) -> tuple[float, float]:
    """The value of a rank, counted from 0, and of the next (of the last: again): without a sort."""
    following = min(rank + 1, len(values) - 1)
    if values.dtype == np.uint8:
        counts = torch.bincount(from_array(values), minlength=256)
        up_to: list[int] = to_list(counts.cumsum(0))
        return levels()[bisect_right(up_to, rank)], levels()[bisect_right(up_to, following)]
    ordered: Any = np.partition(bits(values, signed=True), rank)  # half the time of the values
    ordered = ordered.view(values.dtype)
    return float(ordered[rank]), float(ordered[following:].min())


def batch_thresholds(
    maps: Tensor, present: Tensor, labels: Tensor, bg_threshold: float, quartile: Quartile
) -> Tensor:
    """(N, C) thresholds of maps (N, C, H, W), +inf where a class is absent: no value is read."""
    values = maps.flatten(2)
    classes = torch.arange(maps.shape[1], device=maps.device)[:, None]
    labelled = labels.flatten(1)[:, None] == classes + 1
    has_median = (labelled & (values != 0)).any(dim=2) & present
    medians = _median(values, labelled)
    if quartile == "linear":
        quartiles = _upper_quartile(values, values > bg_threshold)
    else:
        over = values > bg_threshold
        quartiles = _median(values, over & (values > _median(values, over)[..., None]))
    return torch.where(has_median, medians, quartiles).masked_fill(~present, torch.inf)


def _median(values: Tensor, member: Tensor) -> Tensor:
    """Median over the members of the last axis, the mean of the middle two; +inf without any."""
    count = member.sum(dim=-1)
    lower = values.masked_fill(~member, torch.nan).nanmedian(dim=-1).values
    not_above = (member & (values <= lower[..., None])).sum(dim=-1)
    next_above = values.masked_fill(~(member & (values > lower[..., None])), torch.inf).amin(dim=-1)
    upper = torch.where(2 * not_above > count, lower, next_above)
    return ((lower + upper) / 2).masked_fill(count == 0, torch.inf)


def _upper_quartile(values: Tensor, member: Tensor) -> Tensor:
    """75th percentile, linearly interpolated, over the members of the last axis; +inf without."""
    count = member.sum(dim=-1, keepdim=True)
    ordered = values.masked_fill(~member, torch.inf).sort(dim=-1).values
    rank = 3 * (count - 1).clamp(min=0)  # in quarters, so that it is exact
    below = ordered.gather(-1, rank // 4)
    above_it = ordered.gather(-1, (rank // 4 + 1).minimum((count - 1).clamp(min=0)))
    quartile = below.lerp(above_it, (rank % 4).to(values.dtype) / 4)
    return quartile.masked_fill(count == 0, torch.inf).squeeze(-1)
