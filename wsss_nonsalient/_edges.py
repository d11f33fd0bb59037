r"""Edges of a picture: zero crossings of its Laplacian of Gaussian (Marr and Hildreth, 1980).

An edge runs between two adjacent pixels, not through a pixel. With the response of each colour
channel

.. math:: L = \frac{\nabla^2 G_s * I}{|g_s''(0)|}

(g one row of G), there is an edge of strength :math:`|L_p - L_q|` between p and q where L is
positive in one of them and not in the other. A long straight step of height h along the rows or
columns is an edge of strength h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Step = tuple[int, int]  #: one pixel down and right, each -1, 0 or 1
STEPS: tuple[Step, ...] = (
    (-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1),
)  # fmt: skip

_SCALE = 1.5  # standard deviation s of the Gaussian, in pixels
_RADIUS = 6  # where its kernels end: 4 s


def laplacian_of_gaussian(image: Tensor) -> Tensor:
    """The response L of each channel of images (N, C, H, W)."""
    smooth, curve = _kernels()
    padded = functional.pad(image, (_RADIUS,) * 4, mode="replicate")
    down = _convolve(_convolve(padded, curve, dim=-2), smooth, dim=-1)
    return down.add_(_convolve(_convolve(padded, smooth, dim=-2), curve, dim=-1))


def _kernels() -> tuple[list[float], list[float]]:
    """Gaussian of sum 1, and its second derivative of sum 0, divided by its value at 0."""
    offsets = range(-_RADIUS, _RADIUS + 1)
    heights = [math.exp(-(x**2) / (2 * _SCALE**2)) for x in offsets]
    smooth = [height / math.fsum(heights) for height in heights]
    curve = [g * (x**2 / _SCALE**2 - 1) for x, g in zip(offsets, smooth, strict=True)]
    surplus = math.fsum(curve)
    curve = [k - surplus * g for k, g in zip(curve, smooth, strict=True)]
    return smooth, [k / -curve[_RADIUS] for k in curve]


def _convolve(maps: Tensor, kernel: list[float], dim: int) -> Tensor:
    """By sums of views, in full precision, which convolutions on a GPU do not have by default."""
    size = maps.shape[dim] - 2 * _RADIUS
    first, *others = (maps.narrow(dim, i, size) for i in range(len(kernel)))
    total = first * kernel[0]
    for view, factor in zip(others, kernel[1:], strict=True):
        total.add_(view, alpha=factor)
    return total


def crossings(response: Tensor, threshold: float) -> dict[Step, Tensor]:
    """Where a step goes over an edge stronger than ``threshold`` in some channel.

    For each step, bool (N, 1, H - |down|, W - |right|): the entry of a pair of pixels is at the
    upper row and the left column of the two.
    """
    found: dict[Step, Tensor] = {}
    height, width = response.shape[-2:]
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows, columns = height - down, width - abs(right)
        one = response.narrow(-2, 0, rows).narrow(-1, max(-right, 0), columns)
        other = response.narrow(-2, down, rows).narrow(-1, max(right, 0), columns)
        strong = ((one > 0) != (other > 0)) & ((one - other).abs() > threshold)
        found[down, right] = found[-down, -right] = strong.any(dim=1, keepdim=True)
    return found


def beside_edges(image: Tensor, threshold: float) -> Tensor:
    """Pixels with an edge below or to their right, bool (N, 1, H, W).

    Without them, no step along rows or columns goes over an edge.
    """
    edges = crossings(laplacian_of_gaussian(image), threshold)
    right = functional.pad(edges[0, 1], (0, 1))
    below = functional.pad(edges[1, 0], (0, 0, 0, 1))
    return right | below


def ways_over_edges(image: Tensor, lengths: Sequence[int], threshold: float) -> list[Tensor]:
    """Whether ways from each pixel go over an edge: bool (N, 1, H, W) a length and direction.

    Beyond the border is what the nearest pixel of the border has.
    """
    height, width = image.shape[-2:]
    pad = max(lengths)
    response = functional.pad(laplacian_of_gaussian(image), (pad,) * 4, mode="replicate")
    edges = crossings(response, threshold)
    found: dict[tuple[int, Step], Tensor] = {}
    for step in STEPS:
        down, right = step
        blocked = torch.zeros_like(image[:, :1], dtype=torch.bool)
        for length in range(pad + 1):
            if length:
                top = pad + (length - 1) * down + min(down, 0)
                left = pad + (length - 1) * right + min(right, 0)
                last = edges[step].narrow(-2, top, height).narrow(-1, left, width)
                blocked = blocked | last
            if length in lengths:
                found[length, step] = blocked
    return [found[length, step] for length in lengths for step in STEPS]
