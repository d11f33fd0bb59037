"""From raw class maps to maps as an accumulator stores them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._frames import Frames
from ._values import compute_dtype, to_list


def storable_maps(
    cams: Tensor,
    pairs: Tensor,
    keys: Sequence[str],
    frames: Frames,
    size: tuple[int, int] | None,
    dtype: torch.dtype,
) -> Tensor:
    """Raw maps of (image, class) pairs (n, 2), as ``dtype``.

    They are normalised and put into the frame of their image on a grid of ``size``; None: they keep
    their size.
    """
    if not len(pairs):
        return torch.empty(0, *cams.shape[2:], dtype=dtype)
    selected = _selected(cams.detach(), pairs).to(compute_dtype(cams))
    flat = selected.flatten(1)
    lowest, highest = flat.amin(dim=1), flat.amax(dim=1)  # NaN goes through
    is_finite = to_list(lowest.isfinite() & highest.isfinite())
    if not all(is_finite):
        key = keys[int(pairs[is_finite.index(False), 0])]
        raise ValueError(f"cams: expected finite values, got NaN or infinity in {key!r}")
    # normalize_cam, with the largest values at hand
    maps = selected.clamp(min=0).div_(torch.where(highest > 0, highest, 1)[:, None, None])
    maps = frames.restore(maps, pairs[:, 0], size)
    if dtype == torch.uint8:
        maps = (maps * 255).round_().to(torch.int16)  # a step that makes the next one fast on a CPU
    return maps.to(dtype).cpu()


def _selected(cams: Tensor, pairs: Tensor) -> Tensor:
    """A copy of the maps of (image, class) pairs."""
    images, classes = pairs.to(cams.device).unbind(1)
    if not cams.is_contiguous():
        return cams[images, classes]
    return cams.flatten(0, 1).index_select(0, images * cams.shape[1] + classes)
