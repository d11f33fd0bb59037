"""Label maps filled by random walks on the graph of a picture's pixels, through scikit-image."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ._values import from_array

_DECIMALS = 6  # of a probability: what differs by rounding alone is equal


def fill(
    labels: Tensor,
    ignored: Tensor,
    barrier: Tensor,
    image: Tensor,
    min_probability: float,
    beta: float,
) -> Tensor:
    """Labels (H, W) with ignored pixels filled where a walk by an image (3, H, W) is sure enough.

    Pixels of the barrier are no part of the graph. Arguments are on the CPU; NumPy, scipy and
    scikit-image are never traced by a compiler.
    """
    run: Callable[..., Tensor] = _fill
    if "torch._dynamo" in sys.modules:  # else nothing is being compiled, and it takes long to load
        run = torch.compiler.disable(_fill)  # pyright: ignore
    return run(labels, ignored, barrier, image, min_probability, beta)


def _fill(
    labels: Tensor,
    ignored: Tensor,
    barrier: Tensor,
    image: Tensor,
    min_probability: float,
    beta: float,
) -> Tensor:
    graph = ~barrier
    unknown = ignored & graph & _joined(graph & ~ignored, graph)
    filled = labels.clone()
    if not unknown.any():
        return filled
    seeds = graph & ~ignored & _joined(unknown, graph)
    values, numbers = _unique(labels[seeds])
    if len(values) == 1:
        filled[unknown] = values
        return filled
    # Nodes that no walk meets are left out too: scikit-image miscounts those without neighbours.
    nodes = torch.full_like(labels, -1, dtype=torch.int64)
    nodes[unknown] = 0
    nodes[seeds] = numbers + 1
    if image.amin() == image.amax():  # its deviation would be divided by
        image, beta = torch.arange(image.numel(), dtype=image.dtype).view_as(image), 0
    probability, index = _probabilities(image, nodes, beta)[:, unknown].max(dim=0)
    sure = probability >= min_probability
    filled[unknown] = torch.where(sure, values[index], labels[unknown])
    return filled


def _joined(starts: Tensor, graph: Tensor) -> Tensor:
    """Starts, and the pixels of the graph that steps along rows and columns lead to from them."""
    propagate: Any = import_module("scipy.ndimage").binary_propagation
    return from_array(propagate(starts.numpy(), mask=graph.numpy()))


def _probabilities(image: Tensor, nodes: Tensor, beta: float) -> Tensor:
    """That a walk from each node ends at each label, (labels, H, W)."""
    walk: Any = import_module("skimage.segmentation").random_walker
    colours = image.movedim(0, -1).numpy()
    # The direct solver is exact, and as fast as conjugate gradients of a tolerance that suffices.
    found = walk(
        colours, nodes.numpy(), beta=beta, mode="bf", return_full_prob=True, channel_axis=-1
    )
    return from_array(found.round(_DECIMALS))


def _unique(labels: Any) -> tuple[Tensor, Tensor]:
    """The different labels, and of each pixel the number of its label among these."""
    values, numbers = labels.unique(return_inverse=True)
    return values, numbers
