"""From what a sample showed, a crop that may be mirrored, to the frame of the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._values import Claim, to_list, value_checks
from .cam import resize_cam

_STEPS = 1024  # edges of boxes are rounded to so many parts of a cell: float32 ones become exact


class Frames(NamedTuple):
    """How the samples of a batch were cut out of their images; None: they were not."""

    boxes: Tensor | None  #: (N, 4) float64 on the CPU
    flipped: Tensor | None  #: (N,) bool on the CPU

    def restore(self, maps: Tensor, images: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Maps (n, h, w) of samples (n,), in the frames of their images, on a grid of ``size``."""
        if self.flipped is not None:
            mirrored = self.flipped[images].to(maps.device)[:, None, None]
            maps = torch.where(mirrored, maps.flip(-1), maps)
        if size is None:
            return maps
        with value_checks(False):
            if self.boxes is None:
                return resize_cam(maps, size)
            return _placed(maps, self.boxes[images], size)


def valid_boxes(boxes: Tensor, keys: Sequence[str]) -> Claim:
    """Boxes that have an area and lie in the image."""
    low, high = boxes[:, :2], boxes[:, 2:]
    valid = ((low >= 0) & (low < high) & (high <= 1)).all(dim=1)

    def message() -> str:
        image = to_list(valid).index(False)
        box = ", ".join(f"{edge:g}" for edge in to_list(boxes[image]))
        return (
            "boxes: expected shares of the whole image, (x_min, y_min, x_max, y_max) with "
            f"0 <= min < max <= 1, got ({box}) for {keys[image]!r}"
        )

    return Claim(valid.all(), message)


def _placed(maps: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (n, h, w), each resampled into its box on the grid, (n, *size); 0 outside of it."""
    height, width = size
    cells = torch.tensor([width, height, width, height], dtype=torch.float64)
    edges = (boxes * cells * _STEPS).round() / _STEPS
    is_whole = ((edges[:, :2] == 0) & (edges[:, 2:] == cells[2:])).all(dim=1)
    if bool(is_whole.all()):
        return resize_cam(maps, size)
    placed = _cropped(maps, edges, size)
    if bool(is_whole.any()):
        whole = is_whole.nonzero().squeeze(1).to(maps.device)
        placed[whole] = resize_cam(maps[whole], size)
    return placed


def _cropped(maps: Tensor, edges: Tensor, size: tuple[int, int]) -> Tensor:
    left, top, right, bottom = edges.unbind(1)
    rows = _sampled(maps, top, bottom, size[0])
    return _sampled(rows.mT, left, right, size[1]).mT


def _sampled(maps: Tensor, start: Tensor, stop: Tensor, cells: int) -> Tensor:
    """Values (n, cells, w) of maps (n, h, w) at the centres of cells, along the rows' axis.

    The h rows of a map fill the cells from ``start`` to ``stop`` (both in cells): linearly between
    the rows' centres, constant beyond the outer ones, 0 where a cell's centre is outside.
    """
    length = maps.shape[1]
    centres = torch.arange(cells, dtype=torch.float64) + 0.5
    start, stop = start[:, None], stop[:, None]
    is_outside = (centres < start) | (centres >= stop)
    rows_per_cell = length / (stop - start).clamp(min=1 / _STEPS)
    position = ((centres - start) * rows_per_cell - 0.5).clamp(0, length - 1)
    lower = position.floor()
    upper = (lower + 1).clamp(max=length - 1)

    def on_device(values: Tensor) -> Tensor:
        return values.to(maps.device)[..., None]

    def taken(row: Tensor) -> Tensor:
        return maps.gather(1, on_device(row.to(torch.int64)).expand(-1, -1, maps.shape[2]))

    weight = on_device((position - lower).to(maps.dtype))
    return taken(lower).lerp(taken(upper), weight).masked_fill(on_device(is_outside), 0)
