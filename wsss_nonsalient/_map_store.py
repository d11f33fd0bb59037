"""A growing store of equally sized maps, one for each (image key, class)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._map_index import Integers, MapIndex
from ._values import to_list


class MapStore:
    """Maps in one tensor on the CPU; :meth:`maximum` is the only way in.

    Args:
        size: (height, width) of the maps; None until it is known.
        dtype: Of the maps.
    """

    def __init__(self, size: tuple[int, int] | None, dtype: torch.dtype) -> None:
        self.size = size
        self.dtype = dtype
        self.index = MapIndex()
        self._maps = torch.empty(0, 0, 0, dtype=dtype)  # has spare rows at its end

    def __getitem__(self, rows: Integers) -> Tensor:
        """A copy of the maps in these rows, (len(rows), height, width)."""
        if not len(rows):
            return torch.empty(0, *(self.size or (0, 0)), dtype=self.dtype)
        return self._maps[torch.as_tensor(rows)]

    def maximum(
        self, keys: Sequence[str], images: Integers, classes: Integers, maps: Tensor
    ) -> None:
        """Make keys known; take the maximum of each map and the stored one of its image and class.

        ``images`` are positions in ``keys``. A map that is not stored counts as 0. Whatever fails,
        fails before anything changes.
        """
        placement = self.index.place(keys, images, classes)
        if len(images):
            start = self.index.num_maps
            stop = start + len(placement.new_images)
            self._reserve(stop, (int(maps.shape[1]), int(maps.shape[2])))
            self._accumulate(torch.as_tensor(placement.rows), maps, start, stop)
        self.index.commit(placement)

    def _accumulate(self, rows: Tensor, maps: Tensor, start: int, stop: int) -> None:
        """Take the maximum in ``rows``, of which those from ``start`` to ``stop`` are new."""
        if stop - start == len(rows):  # all are new, and different
            self._maps.index_copy_(0, rows, maps)
            return
        self._maps[start:stop] = 0
        if len(set(to_list(rows))) == len(rows):
            larger = torch.maximum(self._maps.index_select(0, rows), maps)
            self._maps.index_copy_(0, rows, larger)
            return
        for row, one_map in zip(to_list(rows), maps, strict=True):
            self._maps[row] = torch.maximum(self._maps[row], one_map)

    def _reserve(self, num_maps: int, size: tuple[int, int]) -> None:
        old = self._maps
        if num_maps > len(old) or old.is_inference():  # a deepcopy may have made it so
            grown = torch.empty(max(num_maps, 2 * len(old)), *size, dtype=self.dtype)
            if len(old):
                grown[: len(old)] = old
            self._maps, self.size = grown, size
