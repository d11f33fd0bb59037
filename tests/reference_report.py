"""A slow reference of the label report in plain loops over pixels, in NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .reference import Array, _as_unit, _present, _share, segmentation_score

IGNORE = 255


def boundary_band(target: Array, width: int) -> Array:
    """Where a pixel on an edge is fewer than ``width`` rows and columns away."""
    height, across = target.shape
    edges = []
    for i, j in np.ndindex(target.shape):
        around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        inside = [(y, x) for y, x in around if 0 <= y < height and 0 <= x < across]
        if any(target[y, x] != target[i, j] for y, x in inside):
            edges.append((i, j))
    band = np.zeros(target.shape, dtype=np.bool_)
    for i, j in np.ndindex(target.shape):
        band[i, j] = any(max(abs(i - y), abs(j - x)) < width for y, x in edges)
    return band


def objects_of(target: Array) -> list[list[tuple[int, int]]]:
    """Pixels of each connected component of each class, corners connecting too."""
    left = {(i, j) for i, j in np.ndindex(target.shape) if target[i, j] not in (0, IGNORE)}
    found = []
    while left:
        waiting, pixels = [min(left)], []
        left.remove(waiting[0])
        while waiting:
            i, j = waiting.pop()
            pixels.append((i, j))
            for near in [(i + y, j + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]:
                if near in left and target[near] == target[i, j]:
                    left.remove(near)
                    waiting.append(near)
        found.append(pixels)
    return found


def size_bins(
    labels: Sequence[Array], targets: Sequence[Array], edges: Sequence[float]
) -> list[dict[str, float]]:
    """For each bin of size: objects, pixels, and the four shares of these."""
    counts = [dict.fromkeys(("objects", "pixels", *SHARES), 0) for _ in range(len(edges) + 1)]
    for label, target in zip(labels, targets, strict=True):
        for pixels in objects_of(target):
            own = counts[sum(len(pixels) / target.size >= edge for edge in edges)]
            own["objects"] += 1
            own["pixels"] += len(pixels)
            for place in pixels:
                own[_kind(int(label[place]), int(target[place]))] += 1
    return [
        {**own, **{name: _share(own[name], own["pixels"]) for name in SHARES}} for own in counts
    ]


SHARES = ("missed", "ignored", "right", "confused")


def _kind(label: int, target: int) -> str:
    if label == target:
        return "right"
    return {0: "missed", IGNORE: "ignored"}.get(label, "confused")


def by_class(
    labels: Sequence[Array], targets: Sequence[Array], num_classes: int
) -> dict[str, list[float]]:
    """For each label: pixels, IoUs, and shares; background has no missed and confused ones."""
    pairs = [
        (int(p), int(t))
        for label, target in zip(labels, targets, strict=True)
        for p, t in zip(label.flat, target.flat, strict=True)
        if t != IGNORE
    ]
    found: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for c in range(num_classes):
        own = [p for p, t in pairs if t == c]
        judged = [(p, t) for p, t in pairs if p != IGNORE]
        either = sum(c in pair for pair in judged)
        strict = sum(p == c or t == c for p, t in pairs)
        hits = sum(p == c for p in own)
        add("pixels", len(own))
        add("iou", _share(hits, either))
        add("iou_strict", _share(hits, strict))
        for name in SHARES:
            background = c == 0 and name in ("missed", "confused")
            number = sum(_kind(p, c) == name for p in own)
            add(name, math.nan if background else _share(number, len(own)))
        false = sum(p == c for p, t in pairs if t == 0)
        add("false_objects", _share(false, sum(t == 0 for _, t in pairs)) if c else math.nan)
    return found


def calibration(
    targets: Sequence[Array], cams: Sequence[Array], image_labels: Sequence[Array], num_bins: int
) -> dict[str, Any]:
    """Reliability curve over the values of present classes, and its expected error."""
    inside: list[list[tuple[float, bool]]] = [[] for _ in range(num_bins)]
    for target, cam, present in zip(targets, cams, image_labels, strict=True):
        levels = cam.astype(np.float64) / 255 if cam.dtype == np.uint8 else cam
        for c in _present(present):
            for i, j in np.ndindex(target.shape):
                if target[i, j] != IGNORE:
                    value = float(levels[c, i, j])
                    k = sum(value > edge / num_bins for edge in range(1, num_bins))
                    inside[k].append((value, bool(target[i, j] == c + 1)))
    means = [_share(math.fsum(v for v, _ in own), len(own)) for own in inside]
    right = [_share(sum(hit for _, hit in own), len(own)) for own in inside]
    total = sum(map(len, inside))
    gaps = [abs(m - r) * len(own) for m, r, own in zip(means, right, inside, strict=True) if own]
    return {
        "pixels": [len(own) for own in inside],
        "mean_value": means,
        "true_share": right,
        "expected_error": _share(math.fsum(gaps), total),
    }


def regions(
    labels: Sequence[Array], targets: Sequence[Array], num_classes: int, *,
    saliency: Sequence[Array], width: int, threshold: float = 32 / 255,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Scores within each region, all pictures being laid out in one row of pixels."""
    bands = [boundary_band(target, width) for target in targets]
    salient = [_as_unit(one) >= np.float32(threshold) for one in saliency]
    places = {
        "boundary": bands,
        "interior": [~own for own in bands],
        "salient": salient,
        "non_salient": [~own for own in salient],
    }
    label, target = (np.concatenate([x.ravel() for x in own]) for own in (labels, targets))
    return {
        name: segmentation_score(
            label, target, num_classes, region=np.concatenate([x.ravel() for x in own])
        )
        for name, own in places.items()
    }
