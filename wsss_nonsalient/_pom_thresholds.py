"""Thresholds of potential object mining: medians and upper quartiles of parts of maps.

On a CPU the values are counted into a histogram whose bins are in the order of the values. The
counts tell in which bin the value of a rank lies: of a uint8 map that is the value, of a
floating-point map the few values in that bin are sorted. No map is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Literal

import torch
from torch import Tensor

from ._masks import above, equals, groups_with_any, levels
from ._values import to_list

Quartile = Literal["linear", "nested-median"]
QUARTILES: tuple[Quartile, ...] = ("linear", "nested-median")
_BINS = 256


def map_threshold(
    one_map: Tensor, labelled: Tensor, bg_threshold: float, quartile: Quartile
) -> float:
    """Threshold of one map (H, W) with its label's mask; +inf where it mines nothing.

    It is to be rounded to the map's dtype, as comparing with the map or storing it does.
    """
    part = _Part(one_map, labelled)
    if part.has_positive():
        return part.median()
    over = _Part(one_map, above(one_map, bg_threshold))
    if quartile == "linear":
        return over.upper_quartile()
    return _Part(one_map, above(one_map, max(over.median(), bg_threshold))).median()


class _Part:
    """Order statistics of a part of a map."""

    def __init__(self, one_map: Tensor, mask: Tensor) -> None:
        self.values, self.member = groups_with_any(one_map, mask)
        self.keys = self.member.to(torch.int16).mul_(_BINS).add_(_binned(self.values))
        counts = torch.bincount(self.keys, minlength=2 * _BINS)
        #: How many values are in each bin or below it.
        self.up_to: list[int] = to_list(counts[_BINS:].cumsum(0))

    def has_positive(self) -> bool:
        """Whether there is a value that is not 0."""
        if self.up_to[0] < self.up_to[-1]:
            return True
        if self.values.dtype == torch.uint8 or self.up_to[-1] == 0:
            return False
        return bool((self.values * self.member).amax() > 0)  # small values are in bin 0 too

    def median(self) -> float:
        """Mean of the two middle values; +inf without any."""
        count = self.up_to[-1]
        return sum(self._ranked((count - 1) // 2, count // 2)) / 2 if count else math.inf

    def upper_quartile(self) -> float:
        """75th percentile, linearly interpolated; +inf without any value."""
        last, dtype = self.up_to[-1] - 1, self.values.dtype
        if last < 0:
            return math.inf
        rank, quarters = divmod(3 * last, 4)
        ends = self._ranked(rank, min(rank + 1, last))
        dtype = torch.float32 if dtype == torch.uint8 else dtype
        below, over = torch.tensor(ends, dtype=dtype)
        return float(below.lerp(over, quarters / 4))

    def _ranked(self, *ranks: int) -> list[float]:
        """The values of these ranks, counted from 0."""
        bins = [bisect_right(self.up_to, rank) for rank in ranks]
        if self.values.dtype == torch.uint8:
            return [levels()[number] for number in bins]
        values = {number: self._sorted(number) for number in set(bins)}
        below = [0, *self.up_to]
        return [values[b][rank - below[b]] for b, rank in zip(bins, ranks, strict=True)]

    def _sorted(self, number: int) -> list[float]:
        """The values in a bin, in order."""
        own = equals(self.keys, _BINS + number).nonzero().squeeze(1)
        return to_list(self.values.index_select(0, own).sort().values)


def _binned(values: Tensor) -> Tensor:
    """Bins of values, uint8 and in the order of the values: 256 of uint8, 128 of floats."""
    if values.dtype == torch.uint8:
        return values
    codes = (values * 127).to(torch.int8)  # a conversion to uint8 is not vectorised
    return codes.view(torch.uint8).bitwise_and_(127)  # also of values that were not checked


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
