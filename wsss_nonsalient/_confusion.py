"""Confusion matrices: how many pixels of each true label are predicted as each.

Ignored pixels get a row, and a column, of their own after the classes', so that all pixels are
counted in one go.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._array_masks import replace
from ._values import Array, bits, from_array, is_eager_cpu, to_array

_PART = 2**17  #: pixels that are counted at once on a CPU: they fit its cache
#: Neighbours, which mostly are alike, are counted in places of their own: a CPU waits for one
#: addition to a place before the next.
_LANES = 4


def confusion_matrix(
    prediction: Tensor, target: Tensor, region: Tensor | None, num_classes: int, ignore_index: int
) -> tuple[Tensor, bool]:
    """Counts (num_classes + 1, num_classes + 1) int64 on the CPU, and whether all labels are some.

    What is neither a label nor ``ignore_index`` counts as ignored. Pixels outside of ``region``
    (bool) count as pixels with an ignored target.
    """
    count = _count_arrays if is_eager_cpu(target) else _count_tensors
    counts, are_labels = count(prediction, target, region, num_classes, ignore_index)
    return counts.cpu().view(num_classes + 1, num_classes + 1), are_labels


def _count_arrays(
    prediction: Tensor, target: Tensor, region: Tensor | None, num_classes: int, ignore_index: int
) -> tuple[Tensor, bool]:
    """The counts, part by part, and whether all labels are some: for a CPU."""
    side = num_classes + 1
    num_cells = side * side
    # counters are added up for each part, so there are to be few of them beside its pixels
    num_lanes, size = (_LANES, _PART) if _LANES * num_cells <= _PART else (1, max(_PART, num_cells))
    size = max(1, min(size, target.numel()))
    dtype = np.dtype(np.int16 if num_lanes * num_cells <= 2**15 else np.int64)
    columns = _Numbers(prediction, num_classes, ignore_index, dtype, size)
    rows = _Numbers(target, num_classes, ignore_index, dtype, size)
    regions = None if region is None else to_array(region.flatten())
    lanes: Any = np.tile(np.arange(num_lanes, dtype=dtype) * num_cells, -(-size // num_lanes))
    counts = torch.zeros(num_lanes * num_cells, dtype=torch.int64, device="cpu")
    for start in range(0, target.numel(), size):
        part = slice(start, start + size)
        cells = rows.of(part)
        if regions is not None:
            cells = replace(cells, ~regions[part], num_classes)
        cells *= side
        cells += columns.of(part)
        cells += lanes[: len(cells)]
        counts += torch.bincount(from_array(cells), minlength=num_lanes * num_cells)
    counts = counts.view(num_lanes, num_cells).sum(dim=0)
    return counts, rows.are_labels and columns.are_labels


class _Numbers:
    """Labels with ``num_classes`` in place of all that are none, part by part."""

    def __init__(
        self,
        labels: Tensor,
        num_classes: int,
        ignore_index: int,
        dtype: np.dtype[Any],
        part_size: int,
    ) -> None:
        if num_classes > torch.iinfo(labels.dtype).max:
            labels = labels.to(torch.int64)
        self.labels = to_array(labels.flatten())
        self.ignore_index, self.num_classes, self.dtype = ignore_index, num_classes, dtype
        self.are_labels = True  #: whether all others up to now were ``ignore_index``
        # an array: of bytes and one number NumPy takes ten times as long for the minimum
        self.largest: Any = np.full(part_size, num_classes, bits(self.labels, signed=False).dtype)

    def of(self, part: slice) -> Array:
        labels = self.labels[part]
        unsigned = bits(labels, signed=False)  # negative labels are the largest
        numbers: Array = np.empty(len(labels), self.dtype)
        np.minimum(unsigned, self.largest[: len(labels)], out=numbers, casting="unsafe")
        are_others: Any = (numbers == self.num_classes) == (labels == self.ignore_index)
        self.are_labels &= bool(are_others.all())
        return numbers


def _count_tensors(
    prediction: Tensor, target: Tensor, region: Tensor | None, num_classes: int, ignore_index: int
) -> tuple[Tensor, bool]:
    """The same in one go: for a GPU."""
    side = num_classes + 1
    are_labels = torch.ones((), dtype=torch.bool, device=target.device)
    numbered: list[Tensor] = []
    for labels in (prediction.to(torch.int64), target.to(torch.int64)):
        is_class = (labels >= 0) & (labels < num_classes)
        are_labels &= (is_class ^ (labels == ignore_index)).all()
        numbered.append(torch.where(is_class, labels, num_classes))
    column, row = numbered
    if region is not None:
        row = torch.where(region, row, num_classes)
    cells = (row * side + column).flatten()
    return torch.bincount(cells, minlength=side * side), bool(are_labels)
