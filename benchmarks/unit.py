"""The global reasoning unit against the published order of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Case
from benchmarks.published_unit import PublishedOrder
from wsss_nonsalient import GloRe

SHAPES = (
    (5, 512, 32, 32, 64),
    (1, 512, 32, 32, 64),
    (1, 512, 64, 64, 64),
    (4, 2048, 41, 41, 256),
    (1, 256, 128, 128, 64),
)


def cases(quick: bool) -> Iterator[Case]:
    """Evaluation and a training step, at shapes of networks in use."""
    for images, channels, height, width, num_nodes in SHAPES[:2] if quick else SHAPES:
        torch.manual_seed(0)
        ours = GloRe(channels, num_nodes, zero_init=False, normalize=True)
        published = PublishedOrder(ours)
        x = torch.randn(images, channels, height, width)
        name = f"{images}x{channels}x{height}x{width}, M {num_nodes}"
        for kind, runner, target in (
            ("evaluation", evaluation, 1.3),
            ("training", training, 1.0),
        ):
            runs = {"ours": runner(ours, x), "published order": runner(published, x)}
            targets = {"published order": target}
            for threads in (2,) if quick else (2, 1):
                yield Case(
                    f"{kind} {name}, {threads} thread{'s'[: threads - 1]}",
                    runs,
                    same(runs),
                    threads=threads,
                    targets=targets,
                )


def evaluation(unit: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """A forward pass without autograd."""

    def run() -> Tensor:
        with torch.no_grad():
            result: Tensor = unit.eval()(x)
        return result

    return run


def training(unit: nn.Module, x: Tensor) -> Callable[[], list[Tensor]]:
    """Forward and backward, to the input and to all parameters."""
    parameters = list(unit.parameters())
    seed = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()

    def run() -> list[Tensor]:
        return list(torch.autograd.grad(unit.train()(leaf), [leaf, *parameters], seed))

    return run


def same(runs: dict[str, Callable[[], Any]]) -> Callable[[], None]:
    """Equal but for the rounding of sums in another order."""

    def check() -> None:
        actual, expected = (run() for run in runs.values())
        pairs = (
            zip(actual, expected, strict=True) if isinstance(actual, list) else [(actual, expected)]
        )
        for one, other in pairs:
            error, scale = (one - other).abs().max(), other.abs().max()
            if error > 1e-3 * scale + 1e-5:
                raise AssertionError(f"the units differ by {float(error)} of {float(scale)}")

    return check
