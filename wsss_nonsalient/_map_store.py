"""A growing store of equally sized maps, one for each (image key, class), and what goes into it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._values import compute_dtype, to_list, value_checks
from .cam import resize_cam


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
        self._maps = torch.empty(0, 0, 0, dtype=dtype)  # has spare rows at its end

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        """A copy of the maps in these rows, (len(rows), height, width)."""
        if not rows:
            return torch.empty(0, *(self.size or (0, 0)), dtype=self.dtype)
        return self._maps[torch.tensor(rows)]

    def owners(self) -> list[tuple[str, int, int]]:
        """(key, class, row) of every map, ordered by key and class."""
        return [(k, c, self.rows[k][c]) for k in sorted(self.rows) for c in sorted(self.rows[k])]

    def maximum(self, keys: Sequence[str], owners: Sequence[tuple[str, int]], maps: Tensor) -> None:
        """Make keys known, and take the maximum of the map of each (key, class) and the one given.

        A map that is not stored counts as 0. Whatever fails, fails before anything changes.
        """
        new: dict[tuple[str, int], int] = {}
        rows: list[int] = []
        for key, c in owners:
            row = self.rows.get(key, {}).get(c)
            if row is None:
                row = new.setdefault((key, c), self.num_maps + len(new))
            rows.append(row)
        if rows:
            self._reserve(self.num_maps + len(new), (int(maps.shape[1]), int(maps.shape[2])))
            self._maps[self.num_maps : self.num_maps + len(new)] = 0
            self._accumulate(rows, maps)
        for key in keys:
            self.rows.setdefault(key, {})
        for (key, c), row in new.items():
            self.rows[key][c] = row
        self.num_maps += len(new)

    def _accumulate(self, rows: list[int], maps: Tensor) -> None:
        if len(set(rows)) == len(rows):
            index = torch.tensor(rows)
            larger = torch.maximum(self._maps.index_select(0, index), maps)
            self._maps.index_copy_(0, index, larger)
            return
        for row, one_map in zip(rows, maps, strict=True):
            self._maps[row] = torch.maximum(self._maps[row], one_map)

    def _reserve(self, num_maps: int, size: tuple[int, int]) -> None:
        old = self._maps
        if num_maps > len(old) or old.is_inference():  # a deepcopy may have made it so
            grown = torch.empty(max(num_maps, 2 * len(old)), *size, dtype=self.dtype)
            if len(old):
                grown[: len(old)] = old
            self._maps, self.size = grown, size


def storable_maps(
    cams: Tensor,
    pairs: Sequence[tuple[int, int]],
    keys: Sequence[str],
    size: tuple[int, int] | None,
    dtype: torch.dtype,
) -> Tensor:
    """Raw maps of (image, class) pairs, normalised, resized to ``size`` and in their storage."""
    if not pairs:
        return torch.empty(0, *cams.shape[2:], dtype=dtype)
    selected = _selected(cams.detach(), pairs).to(compute_dtype(cams))
    flat = selected.flatten(1)
    lowest, highest = flat.amin(dim=1), flat.amax(dim=1)  # NaN goes through
    is_finite = to_list(lowest.isfinite() & highest.isfinite())
    if not all(is_finite):
        key = keys[pairs[is_finite.index(False)][0]]
        raise ValueError(f"cams: expected finite values, got NaN or infinity in {key!r}")
    # normalize_cam, with the largest values at hand
    maps = selected.clamp(min=0).div_(torch.where(highest > 0, highest, 1)[:, None, None])
    if size is not None:
        with value_checks(False):
            maps = resize_cam(maps, size)
    if dtype == torch.uint8:
        maps = (maps * 255).round_().to(torch.int16)  # a step that makes the next one fast on a CPU
    return maps.to(dtype).cpu()


def _selected(cams: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """A copy of the maps of (image, class) pairs."""
    images, classes = torch.tensor(pairs, device=cams.device).unbind(1)
    if not cams.is_contiguous():
        return cams[images, classes]
    return cams.flatten(0, 1).index_select(0, images * cams.shape[1] + classes)
