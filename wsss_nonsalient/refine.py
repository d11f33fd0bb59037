"""Refinement of maps and labels by the colours of the picture, so that they follow its edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._checks import (
    Sizes,
    check_ignore_index,
    check_integer,
    check_number,
    check_tensor,
    described,
)
from ._edges import beside_edges
from ._neighbours import affinities, repeated_mean
from ._random_walk import fill
from ._values import (
    compute_dtype,
    in_label_range,
    in_unit_interval,
    is_traced,
    multi_hot,
    native_integers,
    reads_values,
    to_list,
    unit_interval,
    verify,
)


def pixel_adaptive_refinement(
    cam: Tensor,
    image: Tensor,
    image_labels: Tensor,
    *,
    iterations: int = 10,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
    edge_threshold: float | None = None,
) -> Tensor:
    r"""Refine class maps by local affinities of colour, in the way of PAMR.

    In each iteration, the map of a present class becomes at each pixel p the mean of what its
    neighbours hold, weighted by how alike their colours are:

    .. math::
        a_p \leftarrow \sum_{q \in N(p)} \alpha_{pq} a_q, \qquad
        \alpha_{pq} = \operatorname*{softmax}_{q \in N(p)}
            \left( -\frac{1}{3} \sum_c \frac{|I_{cp} - I_{cq}|}{w \sigma_{cp}} \right)

    :math:`N(p)` are the pixels in 8 directions at each distance in ``dilations``; beyond the border
    is the nearest pixel of the border. :math:`\sigma_{cp}` is the standard deviation of colour
    channel c over p and :math:`N(p)`, and w = 0.1. Affinities sum to one, so constant maps stay,
    and maps that sum to one over the classes still do. The affinities are computed once and take
    8 * len(dilations) maps of memory. Differentiable with respect to ``cam``.

    With ``edge_threshold``, q is left out of :math:`N(p)` where the straight way from p to q goes
    over an edge, after :math:`\sigma` is taken; a pixel that keeps no neighbour keeps its value.
    Edges are zero crossings of the Laplacian of Gaussian (Marr and Hildreth, 1980): with
    :math:`L_c = \nabla^2 G_s * I_c / |g_s''(0)|`, s = 1.5 pixels and g one row of G, there is one
    between adjacent pixels of which :math:`L_c` is positive in one only, and differs by more than
    ``edge_threshold``, for some channel. A straight step of height h along rows or columns has a
    difference of h.

    Label probabilities with a background channel can be refined too, with an ``image_labels`` of
    ones (or one that is 1 for the background and the classes of the image).

    Source: Araslanov and Roth, CVPR 2020, sec. 3.3 (pixel-adaptive mask refinement).

    Args:
        cam: (\*, C, H, W) maps, floating point in [0, 1] or uint8 (value / 255). Only maps of
            classes in ``image_labels`` are read.
        image: (\*, 3, H, W) RGB, floating point in [0, 1] or uint8 (value / 255).
        image_labels: (\*, C) multi-hot, exactly 0 or 1.
        iterations: How often neighbours are averaged.
        dilations: Distances of the neighbours, in pixels.
        edge_threshold: Height of the steps of colour, in [0, 1], over which nothing is exchanged;
            None for no such limit.

    Returns:
        (\*, C, H, W) in [0, 1], 0 where a class is absent, of the dtype of ``cam``; float32 for
        uint8.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option has a wrong type.
        ValueError: Shapes, sizes or devices differ; ``cam`` (present classes) or ``image`` has NaN
            or leaves [0, 1]; ``image_labels`` has values other than 0 and 1; an option is out of
            range.

    Example:
        >>> image = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).expand(3, 1, 6)
        >>> cam = torch.tensor([[[0.9, 0.6, 0.6, 0.6, 0.0, 0.0]]])
        >>> pixel_adaptive_refinement(cam, image, torch.tensor([1]), dilations=[1])
        tensor([[[0.7145, 0.7142, 0.7140, 0.1433, 0.1430, 0.1425]]])
    """
    _check_maps(cam, image, image_labels, iterations, dilations)
    _check_edge_threshold(edge_threshold)
    steps = _Steps(iterations, dilations, edge_threshold)
    refine = _refine_batch if is_traced() or cam.is_meta else _refine_images
    refined = refine(cam, image, image_labels, steps)
    dtype = cam.dtype if cam.is_floating_point() else compute_dtype(cam)
    return refined.reshape(cam.shape).to(dtype)


def random_walk_fill(
    labels: Tensor,
    image: Tensor,
    *,
    min_probability: float = 0.5,
    beta: float = 130.0,
    edge_threshold: float | None = None,
    ignore_index: int = 255,
) -> Tensor:
    r"""Give ignored pixels the label that a random walk over the picture reaches first.

    The pixels are a graph in which each is joined with its four neighbours, the more the more alike
    their colours are:

    .. math::
        w_{pq} = \exp \left( -\frac{\beta}{10 \sqrt{3}\, \sigma} \sum_c (I_{cp} - I_{cq})^2 \right)
            + 10^{-10}

    with :math:`\sigma` the standard deviation of all values of the image. From each ignored pixel,
    a walk goes on with probabilities proportional to the weights until it meets a pixel that has a
    label; the probability that this is label l solves a linear system in the graph's Laplacian. The
    most probable label is taken if its probability, to six decimals, is at least
    ``min_probability`` (ties: the lowest). All other pixels keep their label, also those from which
    no walk meets any.

    With ``edge_threshold``, the pixel above or to the left of an edge is no part of the graph, so
    that no walk crosses it; such a pixel stays what it is. The edges are those of
    :func:`pixel_adaptive_refinement`.

    Runs on the CPU, by scikit-image's ``random_walker`` and scipy's direct sparse solver.

    Source: Grady, IEEE TPAMI 28 (11), 2006.

    Args:
        labels: (\*, H, W) integer label maps.
        image: (\*, 3, H, W) RGB, floating point in [0, 1] or uint8 (value / 255).
        min_probability: Below it, a pixel stays ignored; in [0, 1].
        beta: How much colours hinder a walk, in [0, 1e6].
        edge_threshold: Height of the steps of colour, in [0, 1], over which no walk goes; None for
            no such limit.
        ignore_index: Label of ignored pixels.

    Returns:
        (\*, H, W) label maps of the same dtype.

    Raises:
        TypeError: An argument is not a tensor or has a wrong dtype; an option has a wrong type.
        ValueError: Shapes, sizes or devices differ; a label is negative and not ``ignore_index``;
            ``image`` has NaN or leaves [0, 1]; an option is out of range; the dtype of ``labels``
            cannot hold ``ignore_index``.

    Example:
        >>> image = torch.tensor([0.1, 0.1, 0.2, 0.8, 0.8, 0.8]).expand(3, 1, 6)
        >>> labels = torch.tensor([[0, 255, 255, 255, 255, 4]])
        >>> random_walk_fill(labels, image)
        tensor([[0, 0, 0, 4, 4, 4]])
    """
    sizes = Sizes(channels=(3, "RGB"))
    check_tensor("labels", labels, "* H W", "label", sizes)
    check_tensor("image", image, "* channels H W", "image", sizes)
    check_number("min_probability", min_probability)
    check_number("beta", beta, high=1e6)
    _check_edge_threshold(edge_threshold)
    ignore_index = check_ignore_index(ignore_index, {"labels": labels.dtype})
    native = native_integers(labels)
    if reads_values(labels):
        verify(
            in_label_range("labels", native, torch.iinfo(native.dtype).max, ignore_index),
            in_unit_interval("image", image.detach()),
        )
    if labels.is_meta:
        return torch.empty_like(labels)
    flat = native.cpu().reshape(-1, *labels.shape[-2:])
    pictures = image.detach().cpu().reshape(-1, *image.shape[-3:])
    filled = torch.empty_like(flat)
    for result, one, picture in zip(filled, flat, pictures, strict=True):
        colours = unit_interval(picture, torch.float64)
        barrier = torch.zeros_like(one, dtype=torch.bool)
        if edge_threshold is not None:
            barrier = beside_edges(colours[None], edge_threshold)[0, 0]
        result.copy_(fill(one, one == ignore_index, barrier, colours, min_probability, beta))
    return filled.reshape(labels.shape).to(labels.device, labels.dtype)


class _Steps(NamedTuple):
    iterations: int
    dilations: Sequence[int]
    edge_threshold: float | None

    def refine(self, maps: Tensor, image: Tensor) -> Tensor:
        """Maps (N, C, H, W) by images (N, 3, H, W)."""
        weights = affinities(image, self.dilations, self.edge_threshold)
        means = repeated_mean(maps, weights, self.dilations, self.iterations)
        excess = (means - 1).clamp_(min=0)  # of rounding, which must not stop a gradient
        return means - excess.detach()


def _check_maps(
    cam: Tensor, image: Tensor, image_labels: Tensor, iterations: int, dilations: Sequence[int]
) -> None:
    sizes = Sizes(channels=(3, "RGB"))
    check_tensor("cam", cam, "* C H W", "image", sizes)
    check_tensor("image", image, "* channels H W", "image", sizes)
    check_tensor("image_labels", image_labels, "* C", "multi-hot", sizes)
    check_integer("iterations", iterations, minimum=0)
    if not isinstance(dilations, Sequence) or isinstance(dilations, str):
        raise TypeError(f"dilations: expected a sequence of integers, got {described(dilations)}")
    if len(dilations) == 0:
        raise ValueError("dilations: expected at least one distance, got none")
    for dilation in dilations:
        check_integer("dilations", dilation, minimum=1)


def _check_edge_threshold(edge_threshold: float | None) -> None:
    if edge_threshold is not None:
        check_number("edge_threshold", edge_threshold)


def _refine_images(cam: Tensor, image: Tensor, image_labels: Tensor, steps: _Steps) -> Tensor:
    """Image by image, and of each the classes that it has."""
    dtype = compute_dtype(cam, image)
    count = math.prod(cam.shape[:-3])
    maps = cam.reshape(count, *cam.shape[-3:])
    pictures = image.detach().reshape(count, *image.shape[-3:])
    present = image_labels.reshape(count, cam.shape[-3]) != 0
    classes: list[list[int]] = [[] for _ in range(count)]
    pairs: list[tuple[int, int]] = to_list(present.nonzero())
    for index, c in pairs:
        classes[index].append(c)
    chosen = [unit_interval(one[own], dtype) for one, own in zip(maps, classes, strict=True)]
    if reads_values(cam):
        verify(
            multi_hot("image_labels", image_labels),
            in_unit_interval("cam", *(one.detach() for one in chosen)),
            in_unit_interval("image", pictures),
        )
    refined = torch.zeros(maps.shape, dtype=dtype, device=cam.device)
    for index, own in enumerate(classes):
        if own:
            picture = unit_interval(pictures[index : index + 1], dtype)
            refined[index, own] = steps.refine(chosen[index][None], picture)[0]
    return refined


def _refine_batch(cam: Tensor, image: Tensor, image_labels: Tensor, steps: _Steps) -> Tensor:
    """All images and classes in one go, for a compiled graph, whose shapes are fixed."""
    dtype = compute_dtype(cam, image)
    count = math.prod(cam.shape[:-3])
    absent = image_labels.reshape(count, cam.shape[-3], 1, 1) == 0
    maps = unit_interval(cam.reshape(count, *cam.shape[-3:]), dtype).masked_fill(absent, 0)
    picture = unit_interval(image.detach().reshape(count, *image.shape[-3:]), dtype)
    return steps.refine(maps, picture)
