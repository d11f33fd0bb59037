"""Slow references in plain loops of the refinement by colours, one image at a time, in NumPy only.

They share no code with the library and favour being obviously right over speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from tests.reference import Array

Pixel = tuple[int, int]

_DIRECTIONS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def _as_unit(values: Array) -> Array:
    return values / 255 if values.dtype == np.uint8 else values.astype(np.float64)


def _inside(y: int, x: int, shape: tuple[int, ...]) -> Pixel:
    """The pixel, or the nearest one of the border."""
    return min(max(y, 0), shape[-2] - 1), min(max(x, 0), shape[-1] - 1)


def _neighbours(
    pixel: Pixel, dilations: Sequence[int], shape: tuple[int, ...]
) -> list[list[Pixel]]:
    """Ways of one-pixel steps to each neighbour, from the pixel on."""
    y, x = pixel
    return [
        [_inside(y + step * down, x + step * right, shape) for step in range(d + 1)]
        for d in dilations
        for down, right in _DIRECTIONS
    ]


def laplacian_of_gaussian(channel: Array) -> Array:
    """Response of (H, W), scaled so that a straight step of 1 differs by 1 between its sides."""
    offsets, s = range(-6, 7), 1.5
    norm = math.fsum(math.exp(-(i**2) / (2 * s**2)) for i in offsets)
    g = {i: math.exp(-(i**2) / (2 * s**2)) / norm for i in offsets}
    second = {i: (i**2 / s**4 - 1 / s**2) * g[i] for i in offsets}
    excess = math.fsum(second.values())
    second = {i: value - excess * g[i] for i, value in second.items()}
    out = np.zeros(channel.shape)
    for y, x in np.ndindex(channel.shape):
        for i in offsets:
            for j in offsets:
                value = channel[_inside(y + i, x + j, channel.shape)]
                out[y, x] += (second[i] * g[j] + g[i] * second[j]) * value / abs(second[0])
    return out


def _is_edge(responses: Sequence[Array], p: Pixel, q: Pixel, threshold: float) -> bool:
    return any(
        (one[p] > 0) != (one[q] > 0) and abs(one[p] - one[q]) > threshold for one in responses
    )


def _affinities(
    image: Array, p: Pixel, ways: list[list[Pixel]], responses: Sequence[Array], threshold: float
) -> Iterator[tuple[Pixel, float]]:
    """Neighbours of a pixel and what they count for it."""
    own = image[(slice(None), *p)]
    colours = np.array([own, *(image[(slice(None), *way[-1])] for way in ways)])
    sigma = np.sqrt(((colours - colours.mean(axis=0)) ** 2).mean(axis=0))
    near: list[tuple[Pixel, float]] = []
    for way, colour in zip(ways, colours[1:], strict=True):
        if not any(_is_edge(responses, a, b, threshold) for a, b in pairwise(way)):
            unlike = [abs(own[c] - colour[c]) / (0.1 * sigma[c] + 1e-8) for c in range(3)]
            near.append((way[-1], -sum(unlike) / 3))
    if not near:
        yield p, 1.0
        return
    most = max(value for _, value in near)
    total = math.fsum(math.exp(value - most) for _, value in near)
    for q, value in near:
        yield q, math.exp(value - most) / total


def pixel_adaptive_refinement(
    cam: Array, image: Array, image_labels: Array, *, iterations: int = 10,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24), edge_threshold: float | None = None,
) -> Array:  # fmt: skip
    """Maps ``(C, H, W)``, float64, averaged over neighbours of like colours."""
    image = _as_unit(image)
    maps = _as_unit(cam)
    maps[np.asarray(image_labels) == 0] = 0
    shape = maps.shape[1:]
    responses = [] if edge_threshold is None else [laplacian_of_gaussian(c) for c in image]
    weights = {
        p: list(
            _affinities(image, p, _neighbours(p, dilations, shape), responses, edge_threshold or 0)
        )
        for p in np.ndindex(shape)
    }
    for _ in range(iterations):
        old = maps.copy()
        for c in range(len(maps)):
            for p, near in weights.items():
                maps[(c, *p)] = sum(weight * old[(c, *q)] for q, weight in near)
    return maps


def random_walk_fill(
    labels: Array, image: Array, *, min_probability: float = 0.5, beta: float = 130.0,
    edge_threshold: float | None = None, ignore_index: int = 255,
) -> Array:  # fmt: skip
    """The label map with ignored pixels filled, by a dense system of all pixels."""
    image = _as_unit(image)
    responses = [] if edge_threshold is None else [laplacian_of_gaussian(c) for c in image]
    height, width = labels.shape
    pairs = [
        ((y, x), (y + down, x + right))
        for y, x in np.ndindex(labels.shape)
        for down, right in ((1, 0), (0, 1))
        if y + down < height and x + right < width
    ]
    barrier = {p for p, q in pairs if _is_edge(responses, p, q, edge_threshold or 0)}
    pixels = [p for p in np.ndindex(labels.shape) if p not in barrier]
    number = {p: i for i, p in enumerate(pixels)}
    laplacian = np.zeros((len(pixels), len(pixels)))
    for p, q in pairs:
        if p in number and q in number:
            unlike = sum((channel[p] - channel[q]) ** 2 for channel in image)
            alike = image.std() * 10 * math.sqrt(3)
            weight = 1e-10 + (math.exp(-beta * unlike / alike) if alike else 1)
            i, j = number[p], number[q]
            laplacian[[i, j], [i, j]] += weight
            laplacian[[i, j], [j, i]] -= weight
    known = [i for i, p in enumerate(pixels) if labels[p] != ignore_index]
    values = sorted({int(labels[pixels[i]]) for i in known})
    reached = set(known)
    while grown := {int(j) for i in reached for j in np.flatnonzero(laplacian[i])} - reached:
        reached |= grown
    unknown = sorted(reached - set(known))
    out = labels.copy()
    ends = np.array([[float(labels[pixels[i]] == value) for value in values] for i in known])
    if len(values) == 1:
        ends[:] = 1
    if not unknown:
        return out
    found = np.linalg.solve(
        laplacian[np.ix_(unknown, unknown)], -laplacian[np.ix_(unknown, known)] @ ends
    )
    for i, probabilities in zip(unknown, found.round(6), strict=True):
        if probabilities.max() >= min_probability:
            out[pixels[i]] = values[int(probabilities.argmax())]
    return out
