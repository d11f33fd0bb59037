"""Pixel-adaptive refinement against a plain unfold version, and against a dense random field."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import Case, Contenders
from benchmarks.pictures import SIZE, blobs
from wsss_nonsalient import pixel_adaptive_refinement, random_walk_fill

DILATIONS = (1, 2, 4, 8, 12, 24)
ITERATIONS = 10


def cases(quick: bool) -> Iterator[Case]:
    """Few classes and many; four labels by both ways; ignored pixels by random walks."""
    yield maps_case(3, 3)
    yield labels_case(4)
    yield fill_case()
    if not quick:
        yield maps_case(21, 3)
        yield maps_case(21, 21)


def maps_case(classes: int, present: int) -> Case:
    """Ours reads the present classes only; the other has all, as such code usually does."""
    random = torch.Generator().manual_seed(0)
    cam, image = blobs(classes, SIZE, random), picture(random)
    image_labels = (torch.arange(classes) < present).to(torch.uint8)
    cam *= image_labels[:, None, None]
    runs: Contenders = {
        "ours": lambda: pixel_adaptive_refinement(cam, image, image_labels),
        "unfold": lambda: unfolded_refinement(cam, image),
    }

    def check() -> None:
        torch.testing.assert_close(runs["ours"](), runs["unfold"](), rtol=0, atol=1e-4)

    return Case(f"{present} of {classes} classes", runs, check, targets={"unfold": 10})


def labels_case(labels: int) -> Case:
    """Probabilities of some labels, the background among them; the results are not the same."""
    random = torch.Generator().manual_seed(0)
    probabilities = (8 * blobs(labels, SIZE, random)).softmax(dim=0)
    image = (255 * picture(random)).to(torch.uint8)
    ones = torch.ones(labels)
    runs: Contenders = {
        "ours": lambda: pixel_adaptive_refinement(probabilities, image, ones).argmax(dim=0),
        "ours, edges": lambda: pixel_adaptive_refinement(
            probabilities, image, ones, edge_threshold=0.2
        ).argmax(dim=0),
    }
    if find_spec("pydensecrf") is not None:
        sys.path.append(str(Path(__file__).resolve().parents[1] / "examples/voc"))
        from pipeline.crf import refine

        runs["pydensecrf2"] = lambda: refine(probabilities, image, iterations=ITERATIONS)
    return Case(f"labels of {labels} probabilities", runs, targets={"pydensecrf2": 1})


def fill_case() -> Case:
    """A label map with ignored pixels, in bands along the boundaries."""
    random = torch.Generator().manual_seed(0)
    image, scores = picture(random), blobs(4, SIZE, random)
    best = scores.topk(2, dim=0)
    labels = best.indices[0].masked_fill(best.values[0] - best.values[1] < 0.02, 255)
    runs: Contenders = {
        "ours": lambda: random_walk_fill(labels, image),
        "ours, edges": lambda: random_walk_fill(labels, image, edge_threshold=0.2),
    }
    share = float((labels == 255).float().mean())
    return Case(f"random walk, {share:.0%} ignored", runs)


def picture(random: torch.Generator) -> Tensor:
    """RGB (3, H, W) with areas of colours, their edges, and noise."""
    areas = (blobs(3, SIZE, random) * 4).round() / 4
    return (0.9 * areas + 0.1 * torch.rand(3, *SIZE, generator=random)).clamp(0, 1)


def unfolded_refinement(cam: Tensor, image: Tensor) -> Tensor:
    """The same means, by a tensor that holds all neighbours of all pixels."""
    neighbours = unfolded(image)  # (3, K, H, W)
    all_colours = torch.cat([image[:, None], neighbours], dim=1)
    deviation = all_colours.std(dim=1, correction=0, keepdim=True)
    unlike = (neighbours - image[:, None]).abs() / (0.1 * deviation + 1e-8)
    affinity = (-unlike.mean(dim=0)).softmax(dim=0)
    for _ in range(ITERATIONS):
        cam = (unfolded(cam) * affinity).sum(dim=1)
    return cam


def unfolded(maps: Tensor) -> Tensor:
    """(C, K, H, W): what each pixel's K neighbours hold."""
    found: list[Tensor] = []
    for d in DILATIONS:
        padded = functional.pad(maps[:, None], (d, d, d, d), mode="replicate")
        nine = functional.unfold(padded, 3, dilation=d).unflatten(2, SIZE)
        found.append(torch.cat([nine[:, :4], nine[:, 5:]], dim=1))
    return torch.cat(found, dim=1)
