"""Pixel-adaptive refinement against loops, its properties, gradients and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests import reference_refine
from tests.helpers import (
    BATCHES,
    IMAGE_DTYPES,
    assert_refuses_value,
    assert_same,
    many_properties,
    properties,
    shares_memory,
    to_array,
)
from wsss_nonsalient import pixel_adaptive_refinement, resize_cam, value_checks
from wsss_nonsalient._edges import laplacian_of_gaussian
from wsss_nonsalient._neighbours import affinities

Arguments = dict[str, Any]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"iterations": 0},
    {"iterations": 3, "dilations": [2]},
    {"iterations": 2, "dilations": (1, 3, 100)},
    {"iterations": 4, "dilations": (1, 2, 3), "edge_threshold": 0.1},
    {"iterations": 2, "dilations": (5, 1), "edge_threshold": 0},
]
TOLERANCE = {torch.float64: 1e-9, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def make_arguments(
    seed: int,
    batch: tuple[int, ...] = (2,),
    *,
    num_classes: int = 3,
    size: tuple[int, int] = (6, 7),
    dtype: torch.dtype = torch.float64,
) -> Arguments:
    """Maps without structure, and pictures with steps, noise and areas of one colour."""
    random = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=random, dtype=torch.float64)

    def stored(values: Tensor) -> Tensor:
        return (values * 255).to(dtype) if dtype == torch.uint8 else values.to(dtype)

    picture = 0.2 * uniform(*batch, 3, *size) + 0.2
    picture[..., :, size[1] // 2 :] += 0.5 * uniform(*batch, 3, 1, 1)
    picture[..., : size[0] // 2, :] = 0.5 * uniform(*batch, 3, 1, 1)
    present = torch.rand((*batch, num_classes), generator=random) < 0.6
    return {
        "cam": stored(uniform(*batch, num_classes, *size)),
        "image": stored(picture),
        "image_labels": present,
    }


def expected(arguments: Arguments, **options: Any) -> Tensor:
    """What the reference gives, image by image."""
    batch = arguments["image_labels"].shape[:-1]
    results = [
        reference_refine.pixel_adaptive_refinement(
            *(to_array(tensor[index]) for tensor in arguments.values()), **options
        )
        for index in np.ndindex(batch)
    ]
    return torch.from_numpy(np.stack(results)).reshape(*batch, *results[0].shape)


def on(device: torch.device, arguments: Arguments) -> Arguments:
    return {name: tensor.to(device) for name, tensor in arguments.items()}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", IMAGE_DTYPES, ids=str)
def test_matches_the_reference(
    options: dict[str, Any], dtype: torch.dtype, device: torch.device
) -> None:
    arguments = make_arguments(0, dtype=dtype)
    actual = pixel_adaptive_refinement(**on(device, arguments), **options)
    assert actual.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert actual.device.type == device.type
    tolerance = TOLERANCE.get(dtype, 1e-5)
    torch.testing.assert_close(
        actual.cpu().double(), expected(arguments, **options), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (3, 4)])
@pytest.mark.parametrize("edge_threshold", [None, 0.05])
def test_any_batch_axes_and_sizes(
    batch: tuple[int, ...], size: tuple[int, int], edge_threshold: float | None
) -> None:
    arguments = make_arguments(1, batch, size=size)
    options: dict[str, Any] = {
        "iterations": 2,
        "dilations": (1, 4),
        "edge_threshold": edge_threshold,
    }
    torch.testing.assert_close(
        pixel_adaptive_refinement(**arguments, **options), expected(arguments, **options)
    )


@pytest.mark.parametrize("num_classes", [4, 5, 9])
def test_more_classes_than_are_averaged_at_once(num_classes: int) -> None:
    arguments = make_arguments(2, num_classes=num_classes, size=(4, 5))
    arguments["image_labels"][0] = True
    torch.testing.assert_close(
        pixel_adaptive_refinement(**arguments, iterations=1), expected(arguments, iterations=1)
    )


def test_an_image_of_another_dtype_than_the_maps() -> None:
    arguments = make_arguments(3)
    exact = pixel_adaptive_refinement(**arguments)
    arguments["cam"] = arguments["cam"].float()
    result = pixel_adaptive_refinement(**arguments)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, exact.float())


def test_the_response_is_the_reference_s() -> None:
    image = make_arguments(4, (), size=(7, 9))["image"]
    want = np.stack([reference_refine.laplacian_of_gaussian(c.numpy()) for c in image])
    torch.testing.assert_close(laplacian_of_gaussian(image[None])[0], torch.from_numpy(want))


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("height", [0.125, 0.5])
def test_a_straight_step_is_an_edge_of_its_height(axis: int, height: float) -> None:
    image = torch.full((1, 3, 30, 30), 0.25, dtype=torch.float64)
    image.narrow(axis, 15, 15)[:, 1] += height  # one channel is enough
    response = laplacian_of_gaussian(image)
    sides = response.narrow(axis, 14, 2).diff(dim=axis).abs()
    torch.testing.assert_close(sides[:, 1], torch.full_like(sides[:, 1], height))
    assert (sides[:, [0, 2]] < 1e-9).all()


@pytest.mark.parametrize(("threshold", "is_parted"), [(0.24, True), (0.26, False), (None, False)])
def test_nothing_goes_over_an_edge(threshold: float | None, is_parted: bool) -> None:
    image = torch.full((3, 30, 30), 0.5)
    image[:, :, 15:] = 0.75
    image[:, :, 20:] = 0.5  # beyond the stripe are pixels of the same colour
    cam = torch.zeros(1, 30, 30)
    cam[:, :, :15] = 1
    refined = pixel_adaptive_refinement(cam, image, torch.tensor([1]), edge_threshold=threshold)
    assert bool((refined == cam).all()) == is_parted


def test_a_pixel_parted_from_all_keeps_its_value() -> None:
    image = torch.zeros(3, 21, 21, dtype=torch.float64)
    image[:, 8:13, 8:13] = 1
    cam = torch.rand(1, 21, 21, dtype=torch.float64, generator=torch.manual_seed(0))
    refined = pixel_adaptive_refinement(
        cam, image, torch.tensor([1]), dilations=[8], edge_threshold=0.5
    )
    kept = refined == cam
    assert kept[0, 8:13, 8:13].all()
    assert kept.sum() == 25


@pytest.mark.parametrize("edge_threshold", [None, 0.0, 0.2])
@pytest.mark.parametrize("image", ["noise", "flat", "one pixel", "tiny steps"])
def test_affinities_sum_to_one(edge_threshold: float | None, image: str) -> None:
    """The border included; a pixel with 100 neighbours unlike it underflows in no channel."""
    picture = {
        "noise": torch.rand(1, 3, 17, 40, generator=torch.manual_seed(0)),
        "flat": torch.full((1, 3, 17, 40), 0.3),
        "one pixel": torch.zeros(1, 3, 17, 40).index_fill(3, torch.tensor([20]), 1e-6),
        "tiny steps": 0.5 + 1e-7 * torch.arange(40).expand(1, 3, 17, 40),
    }[image]
    weights = affinities(picture, range(1, 14), edge_threshold)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(1, 1, 17, 40), rtol=0, atol=1e-5)


@many_properties
@given(seed=st.integers(0, 2**32), edge_threshold=st.sampled_from([None, 0.0, 0.1]))
def test_properties(seed: int, edge_threshold: float | None) -> None:
    arguments = make_arguments(seed)
    options: dict[str, Any] = {
        "iterations": 3,
        "dilations": (1, 3),
        "edge_threshold": edge_threshold,
    }

    def refined(**changes: Tensor) -> Tensor:
        return pixel_adaptive_refinement(**(arguments | changes), **options)

    cam, present = arguments["cam"], arguments["image_labels"][..., None, None]
    result = refined()
    # The range of each map is kept, absent ones are zero.
    low, high = cam.amin(dim=(-2, -1)), cam.amax(dim=(-2, -1))
    assert ((result >= low[..., None, None] - 1e-12) | ~present).all()
    assert (result <= high[..., None, None] + 1e-12).all()
    assert (result[~present.expand_as(result)] == 0).all()
    # Constant maps stay, and a mean is linear.
    ones = torch.full_like(cam, 0.7) * present
    torch.testing.assert_close(refined(cam=torch.full_like(cam, 0.7)), ones)
    torch.testing.assert_close(refined(cam=0.25 * cam + 0.5), 0.25 * result + 0.5 * present)
    # Flips and turns commute; the scale and sign of colours do not matter without edges.
    turns: list[Callable[[Tensor], Tensor]] = [
        lambda t: t.flip(-1), lambda t: t.flip(-2), lambda t: t.mT,
    ]  # fmt: skip
    for turn in turns:
        turned = refined(cam=turn(cam), image=turn(arguments["image"]))
        torch.testing.assert_close(turned, turn(result))
    if edge_threshold is None:
        torch.testing.assert_close(refined(image=0.9 - 0.5 * arguments["image"]), result,
                                   rtol=1e-4, atol=1e-5)  # fmt: skip
    # Classes do not see each other, images neither.
    torch.testing.assert_close(
        refined(cam=cam.flip(-3), image_labels=arguments["image_labels"].flip(-1)), result.flip(-3)
    )
    assert_same(result, torch.stack([
        pixel_adaptive_refinement(*(t[i] for t in arguments.values()), **options) for i in range(2)
    ]))  # fmt: skip


@properties
@given(seed=st.integers(0, 2**32))
def test_probabilities_stay_probabilities(seed: int) -> None:
    """Of C + 1 labels, the background among them."""
    arguments = make_arguments(seed, (), num_classes=4)
    probabilities = (9 * arguments["cam"]).softmax(dim=0)
    refined = pixel_adaptive_refinement(probabilities, arguments["image"], torch.ones(4))
    torch.testing.assert_close(refined.sum(dim=0), torch.ones(6, 7, dtype=torch.float64))


def test_maps_of_ones_stay_in_range_and_keep_their_gradient() -> None:
    """Sums of affinities round to above 1; what leaves the function may be read by any other."""
    image = torch.rand(3, 40, 50, generator=torch.manual_seed(0))
    cam = torch.ones(1, 40, 50, requires_grad=True)
    refined = pixel_adaptive_refinement(cam, image, torch.tensor([1]))
    assert refined.max() <= 1
    assert refined.min() > 0.9999
    refined.sum().backward()
    assert cam.grad is not None
    assert cam.grad.sum().item() == pytest.approx(2000, rel=1e-4)
    resize_cam(refined.detach(), (3, 3))


@pytest.mark.parametrize("edge_threshold", [None, 0.1])
def test_gradient(edge_threshold: float | None) -> None:
    arguments = make_arguments(5, size=(4, 5))
    arguments["image_labels"] = torch.tensor([[1, 0, 1], [0, 1, 1]])

    def refined(cam: Tensor) -> Tensor:
        options: dict[str, Any] = {"dilations": (1, 3), "edge_threshold": edge_threshold}
        return pixel_adaptive_refinement(**(arguments | {"cam": cam}), iterations=2, **options)

    cam = (0.8 * arguments["cam"] + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(refined, cam)
    (gradient,) = torch.autograd.grad(refined(cam).sum(), cam)
    absent = arguments["image_labels"] == 0
    assert (gradient[absent] == 0).all()
    assert (gradient[~absent] != 0).any()


def test_absent_maps_are_never_read() -> None:
    arguments = make_arguments(6)
    result = pixel_adaptive_refinement(**arguments)
    absent = ~arguments["image_labels"][..., None, None]
    arguments["cam"] = arguments["cam"].masked_fill(absent, torch.nan).requires_grad_()
    again = pixel_adaptive_refinement(**arguments)
    assert_same(again.detach(), result)
    again.sum().backward()
    assert arguments["cam"].grad is not None
    assert arguments["cam"].grad.isfinite().all()


def test_no_iteration_gives_a_copy_of_the_maps() -> None:
    arguments = make_arguments(7)
    arguments["image_labels"][:] = True
    result = pixel_adaptive_refinement(**arguments, iterations=0)
    assert_same(result, arguments["cam"])
    assert not shares_memory(result, arguments["cam"])


def valid() -> dict[str, Any]:
    return {
        "cam": torch.full((2, 2, 9, 4), 0.5),
        "image": torch.full((2, 3, 9, 4), 0.5),
        "image_labels": torch.tensor([[0, 1], [1, 1]]),
        "iterations": 1,
    }


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cam": [1]}, TypeError, r"cam: expected a torch\.Tensor, got list \[1\]"),
    ({"image": torch.zeros(2, 3, 9, 4).int()}, TypeError, r"image: .* uint8 .*, got torch\.int32"),
    ({"image_labels": None}, TypeError, r"image_labels: expected a torch\.Tensor, got NoneType"),
    ({"image": torch.zeros(2, 1, 9, 4)}, ValueError,
     r"image: expected channels = 3, as RGB, got channels = 1 \(shape \(2, 1, 9, 4\)\)"),
    ({"image": torch.zeros(2, 9, 4, 3)}, ValueError, "image: expected channels = 3, as RGB, got"),
    ({"image": torch.zeros(3, 9, 4)}, ValueError, r"image: expected batch axes \(2,\), as cam"),
    ({"image": torch.zeros(2, 3, 8, 4)}, ValueError, "image: expected H = 9, as cam, .*resize_cam"),
    ({"image_labels": torch.ones(2, 3)}, ValueError, "image_labels: expected C = 2, as cam, got"),
    ({"image": torch.zeros(2, 3, 9, 4, device="meta")}, ValueError, "image: expected device cpu"),
    ({"iterations": 1.0}, TypeError, "iterations: expected an integer, got float 1.0"),
    ({"iterations": -1}, ValueError, "iterations: expected an integer of at least 0, got -1"),
    ({"dilations": 2}, TypeError, "dilations: expected a sequence of integers, got int 2"),
    ({"dilations": "12"}, TypeError, "dilations: expected a sequence of integers, got str '12'"),
    ({"dilations": ()}, ValueError, "dilations: expected at least one distance, got none"),
    ({"dilations": (1, 0)}, ValueError, "dilations: expected an integer of at least 1, got 0"),
    ({"dilations": (1, 1.5)}, TypeError, "dilations: expected an integer, got float 1.5"),
    ({"edge_threshold": "0.1"}, TypeError, "edge_threshold: expected a number, got str '0.1'"),
    ({"edge_threshold": 25}, ValueError, r"edge_threshold: expected a number in \[0, 1\], got 25"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    pixel_adaptive_refinement(**valid())
    with pytest.raises(error, match=f"^{message}"):
        pixel_adaptive_refinement(**(valid() | change))


@pytest.mark.parametrize("name", ["cam", "image", "image_labels"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1.5, -0.25, 2.0])
def test_refuses_values(name: str, value: float, device: torch.device) -> None:
    arguments = {name: value for name, value in valid().items() if name != "iterations"}
    assert_refuses_value(pixel_adaptive_refinement, arguments, name, value, device)
    arguments[name] = torch.full_like(arguments[name], value, dtype=torch.float32)
    with value_checks(False):
        pixel_adaptive_refinement(**arguments)
