"""Where the map of an image and a class is in a store: three integers a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[Any]


class Placement(NamedTuple):
    """Where maps go, and what the index will know afterwards."""

    rows: Integers  #: one a map
    new_keys: dict[str, int]  #: key -> number
    new_images: Integers  #: image and class of each new row, in order of the rows
    new_classes: Integers


class MapIndex:
    """Rows of maps by image and class.

    Images are numbered as they come. The maps of an image are a linked list from the newest to
    the oldest, and many images' lists are followed at once.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}  # key -> number of the image
        self.num_maps = 0
        # these have spare room at their ends
        self._newest: Integers = np.empty(1, np.int32)  # of an image, a row; -1: none
        self._image: Integers = np.empty(1, np.int32)  # of a row
        self._class: Integers = np.empty(1, np.int32)
        self._older: Integers = np.empty(1, np.int32)  # the image's next row; -1: none

    def place(self, keys: Sequence[str], images: Integers, classes: Integers) -> Placement:
        """Rows for the maps of (``keys[image]``, class) pairs; nothing is changed yet."""
        known, new_keys = self.numbers, dict[str, int]()
        for key in keys:
            if key not in known:
                new_keys.setdefault(key, len(known) + len(new_keys))
        numbers = np.array([known[k] if k in known else new_keys[k] for k in keys], np.int64)
        numbers = numbers[images]
        rows = self._find(np.where(numbers < len(known), numbers, -1), classes)
        missing = rows < 0
        codes = (numbers[missing] << 32) | classes[missing]
        new, which = np.unique(codes, return_inverse=True)
        rows[missing] = self.num_maps + which
        return Placement(rows, new_keys, new >> 32, new & (2**32 - 1))

    def commit(self, placement: Placement) -> None:
        """Take in what :meth:`place` found last."""
        _, new_keys, images, classes = placement
        count = len(self.numbers) + len(new_keys)
        newest = _with_room(self._newest, count)
        newest[len(self.numbers) : count] = -1
        start, stop = self.num_maps, self.num_maps + len(images)
        columns = [_with_room(old, stop) for old in (self._image, self._class, self._older)]
        own_rows = np.arange(start, stop)
        continues = np.zeros(len(images), bool)  # the row before is of the same image
        continues[1:] = images[1:] == images[:-1]
        older = np.where(continues, own_rows - 1, newest[images])
        for column, values in zip(columns, (images, classes, older), strict=True):
            column[start:stop] = values
        newest[images] = own_rows  # the last row of an image is the one that stays
        self._newest, (self._image, self._class, self._older) = newest, columns
        self.num_maps = stop
        self.numbers.update(new_keys)

    def maps_of(self, keys: Sequence[str]) -> tuple[Integers, Integers, Integers]:
        """Position in ``keys``, class and row of all their maps; unknown keys have none."""
        position = np.arange(len(keys))
        rows = self._newest_of(np.array([self.numbers.get(key, -1) for key in keys], np.int64))
        found: list[tuple[Integers, Integers]] = []
        while len(rows := rows[own := rows >= 0]):
            position = position[own]
            found.append((position, rows))
            rows = self._older[rows]
        if not found:
            return position[:0], rows, rows
        positions, all_rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return positions, self._class[all_rows].astype(np.int64), all_rows

    def owners(self) -> tuple[list[str], Integers, Integers, Integers]:
        """Keys in order, and position in them, class and row of all maps, in that order."""
        keys = sorted(self.numbers)
        rank = np.empty(len(keys), np.int64)
        rank[[self.numbers[key] for key in keys]] = np.arange(len(keys))
        images, classes = rank[self._image[: self.num_maps]], self._class[: self.num_maps]
        rows = np.lexsort((classes, images))
        return keys, images[rows], classes[rows].astype(np.int64), rows

    def _find(self, numbers: Integers, classes: Integers) -> Integers:
        """Row of each (image, class), -1 where there is none; image -1 has none."""
        rows = self._newest_of(numbers)
        while (other := (rows >= 0) & (self._class[rows] != classes)).any():
            rows[other] = self._older[rows[other]]
        return rows

    def _newest_of(self, numbers: Integers) -> Integers:
        return np.where(numbers >= 0, self._newest[numbers], -1).astype(np.int64)


def _with_room(values: Integers, count: int) -> Integers:
    """The array, or a longer copy if it is shorter than ``count``."""
    if count <= len(values):
        return values
    grown = np.empty(max(count, 2 * len(values)), values.dtype)
    grown[: len(values)] = values
    return grown
