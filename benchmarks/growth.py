"""How our time grows with pixels, classes and images; ratios are to the first of each curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.labels import steps
from benchmarks.measure import Case
from benchmarks.pictures import SIZE, pictures

Point = tuple[int, int, int, torch.dtype, tuple[int, int]]


def cases(quick: bool) -> Iterator[Case]:
    """One curve a case: over all classes, pixels and images."""
    few = 2 if quick else 5
    for dtype in (torch.float32, torch.uint8):
        kind = str(dtype)[6:]
        classes = [(1, c, 3, dtype, SIZE) for c in (3, 20, 80, 1000)[:few]]
        # labels of 1,000 classes don't fit uint8: all points of this curve have int16 labels
        yield curve(f"classes, {kind}, int16 labels", classes, torch.int16)
        sizes = [(125, 167), (250, 333), (375, 500), (750, 1000), (1500, 2000)]
        yield curve(f"pixels, {kind}", [(1, 20, 3, dtype, size) for size in sizes[:few]])
        yield curve(f"images, {kind}", [(n, 20, 3, dtype, SIZE) for n in (1, 4, 16, 64)[:few]])


def curve(name: str, points: list[Point], label_dtype: torch.dtype | None = None) -> Case:
    """The three label functions at each point; ratios are to the time of the first."""
    runs: dict[str, Callable[[], Tensor]] = {}
    for images, classes, present, dtype, size in points:
        inputs = pictures(images, classes, present, dtype, size, label_dtype)
        label = f"{images} x {size[0]} x {size[1]}, {present} of {classes}"
        runs[label] = lambda inputs=inputs: steps(inputs)  # type: ignore[misc]
    return Case(name, dict(runs))
