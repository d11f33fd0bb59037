"""A growing store of equally sized maps, one for each (image key, class)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class MapStore:
    """Maps in one tensor on the CPU; :meth:`maximum` is the only way in.

    Args:
        size: (height, width) of the maps; None until it is known.
        dtype: Of the maps.
    """

    def __init__(self, size: tuple[int, int] | None, dtype: torch.dtype) -> None:
        self.size = size
        self.dtype = dtype
        self.rows: dict[str, dict[int, int]] = {}  # key -> class -> row of maps
        self.num_maps = 0
        self._maps = torch.empty(0, 0, 0, dtype=dtype)  # has spare rows, unless new

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        """A copy of the maps in these rows, (len(rows), height, width)."""
        if not rows:
            return torch.empty(0, *(self.size or (0, 0)), dtype=self.dtype)
        return self._maps[torch.tensor(rows)]

    def owners(self) -> list[tuple[str, int, int]]:
        """(key, class, row) of every map, ordered by key and class."""
        return [
            (key, c, self.rows[key][c]) for key in sorted(self.rows) for c in sorted(self.rows[key])
        ]

    def add(self, keys: Sequence[str]) -> None:
        """Make keys known, with or without a map to come."""
        for key in keys:
            self.rows.setdefault(key, {})

    def maximum(self, owners: Sequence[tuple[str, int]], maps: Tensor) -> None:
        """Replace the map of each (key, class) by its maximum with the one given."""
        if not owners:
            return
        first_new = self.num_maps
        rows: list[int] = []
        for key, c in owners:
            row = self.rows[key].setdefault(c, self.num_maps)
            self.num_maps = max(self.num_maps, row + 1)
            rows.append(row)
        self._reserve(self.num_maps)
        self._maps[first_new : self.num_maps] = 0
        if len(set(rows)) == len(rows):
            self._maps[rows] = torch.maximum(self._maps[rows], maps)
            return
        for row, one_map in zip(rows, maps, strict=True):
            self._maps[row] = torch.maximum(self._maps[row], one_map)

    def _reserve(self, num_maps: int) -> None:
        old = self._maps
        if num_maps > len(old) and self.size is not None:
            self._maps = torch.empty(max(num_maps, 2 * len(old)), *self.size, dtype=self.dtype)
            if len(old):
                self._maps[: len(old)] = old
