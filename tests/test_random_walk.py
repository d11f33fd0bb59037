"""Filling by random walks against a dense system, degenerate cases, properties and errors."""

from __future__ import annotations

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
    IGNORE,
    IMAGE_DTYPES,
    assert_refuses_value,
    assert_same,
    properties,
    shares_memory,
    to_array,
)
from wsss_nonsalient import random_walk_fill

Arguments = dict[str, Any]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"min_probability": 0.0},
    {"min_probability": 0.8},
    {"min_probability": 1.0},
    {"beta": 0},
    {"beta": 3000.0, "min_probability": 0.7},
    {"edge_threshold": 0.1},
    {"edge_threshold": 0, "min_probability": 0.6},
]


def make_arguments(
    seed: int,
    batch: tuple[int, ...] = (2,),
    *,
    size: tuple[int, int] = (7, 8),
    ignored: float = 0.7,
    dtype: torch.dtype = torch.float64,
) -> Arguments:
    """Noisy pictures of two parts; labels 0, 1 and 7, most of them ignored."""
    random = torch.Generator().manual_seed(seed)
    picture = 0.3 * torch.rand((*batch, 3, *size), generator=random, dtype=torch.float64)
    picture[..., size[1] // 2 :] += 0.6
    labels = torch.tensor([0, 1, 7])[torch.randint(3, (*batch, *size), generator=random)]
    labels[torch.rand((*batch, *size), generator=random) < ignored] = IGNORE
    image = (picture * 255).to(dtype) if dtype == torch.uint8 else picture.to(dtype)
    return {"labels": labels.to(torch.uint8), "image": image}


def expected(arguments: Arguments, **options: Any) -> Tensor:
    """What the reference gives, image by image."""
    shape = arguments["labels"].shape
    results = [
        reference_refine.random_walk_fill(
            *(to_array(tensor[index]) for tensor in arguments.values()), **options
        )
        for index in np.ndindex(shape[:-2])
    ]
    return torch.from_numpy(np.stack(results)).reshape(shape)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", IMAGE_DTYPES, ids=str)
def test_matches_the_reference(
    options: dict[str, Any], dtype: torch.dtype, device: torch.device
) -> None:
    arguments = make_arguments(0, dtype=dtype)
    result = random_walk_fill(**{n: t.to(device) for n, t in arguments.items()}, **options)
    assert result.device.type == device.type
    assert_same(result.cpu(), expected(arguments, **options))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (5, 6)])
@pytest.mark.parametrize("edge_threshold", [None, 0.1])
def test_any_batch_axes_and_sizes(
    batch: tuple[int, ...], size: tuple[int, int], edge_threshold: float | None
) -> None:
    for seed in range(4):
        arguments = make_arguments(seed, batch, size=size, ignored=0.2 + 0.25 * seed)
        result = random_walk_fill(**arguments, edge_threshold=edge_threshold)
        assert_same(result, expected(arguments, edge_threshold=edge_threshold))


def test_one_label_is_certain_across_strong_edges() -> None:
    """Where a walk can end at one label only, its probability is exactly 1."""
    arguments = make_arguments(849384565, ignored=0.98)
    assert set(arguments["labels"][1].unique().tolist()) == {0, IGNORE}
    assert (random_walk_fill(**arguments, min_probability=1.0)[1] == 0).all()


@properties
@given(
    seed=st.integers(0, 2**32),
    ignored=st.sampled_from([0.1, 0.5, 0.9, 0.98]),
    # at exactly 1, the rounding of the reference's dense system decides across strong edges
    options=st.sampled_from([one for one in OPTIONS if one.get("min_probability") != 1]),
)
def test_labels_that_are_not_ignored_stay(
    seed: int, ignored: float, options: dict[str, Any]
) -> None:
    arguments = make_arguments(seed, ignored=ignored)
    labels, copies = arguments["labels"], {n: t.clone() for n, t in arguments.items()}
    result = random_walk_fill(**arguments, **options)
    assert_same(result, expected(arguments, **options))
    assert not shares_memory(result, labels)
    for name, tensor in arguments.items():
        assert_same(tensor, copies[name])
    assert_same(result[labels != IGNORE], labels[labels != IGNORE])
    assert set(result.unique().tolist()) <= set(labels.unique().tolist())
    if options.get("min_probability", 0.5) == 0 and "edge_threshold" not in options:
        for filled, own in zip(result, labels, strict=True):
            assert (filled != IGNORE).all() or (own == IGNORE).all()


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_by_hand(threshold: float | None) -> None:
    """The walk stays where it is bright, or dark; no label is behind the second edge."""
    image = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.8, 0.8, 0.8, 0.8, 0.1, 0.1, 0.1]).expand(3, 1, 11)
    labels = torch.tensor([[5, 255, 255, 255, 255, 255, 2, 255, 255, 255, 255]])
    barred = [5, 5, 5, 255, 2, 2, 2, 255, 255, 255, 255]
    free = [5, 5, 5, 5, 2, 2, 2, 2, 2, 2, 2]
    result = random_walk_fill(labels, image, edge_threshold=threshold)
    assert result.tolist() == [free if threshold is None else barred]


@pytest.mark.parametrize(("least", "middle"), [(0.5, 0), (0.51, 255)])
def test_ties_and_thresholds(least: float, middle: int) -> None:
    """Between two labels, either is met with one half: the lower one, or ignored."""
    labels = torch.tensor([[3, 255, 255, 255, 0]])
    result = random_walk_fill(labels, torch.full((3, 1, 5), 0.3), min_probability=least)
    assert result.tolist() == [[3, 3, middle, 0, 0]]


@pytest.mark.parametrize("edge_threshold", [None, 0.1])
@pytest.mark.parametrize("value", [0, 4, 255])
def test_one_label_everywhere(value: int, edge_threshold: float | None) -> None:
    arguments = make_arguments(1, ())
    arguments["labels"] = torch.full_like(arguments["labels"], value)
    result = random_walk_fill(**arguments, edge_threshold=edge_threshold)
    assert_same(result, arguments["labels"])


@pytest.mark.parametrize("value", [0, 4])
def test_one_label_alone_fills_all(value: int) -> None:
    arguments = make_arguments(1, ())
    arguments["labels"] = torch.full_like(arguments["labels"], 255)
    arguments["labels"][3, 4] = value
    result = random_walk_fill(**arguments, min_probability=1)
    assert (result == value).all()


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_picture_of_one_colour(level: float) -> None:
    """The nearest label in steps, more or less: nothing is divided by a deviation of 0."""
    arguments = make_arguments(2)
    arguments["image"] = torch.full_like(arguments["image"], level)
    assert_same(random_walk_fill(**arguments), expected(arguments))


@pytest.mark.parametrize(
    ("name", "ignore_index"),
    [("int8", -1), ("int16", 255), ("int32", 65535), ("int64", -1), ("uint16", 65535)],
)
def test_dtype_and_ignore_index(name: str, ignore_index: int) -> None:
    if not hasattr(torch, name):
        pytest.skip(f"torch has no {name}")
    arguments = make_arguments(3)
    wide = random_walk_fill(**arguments, min_probability=0.6).long()
    assert (wide == IGNORE).any()
    labels = arguments["labels"].long()
    arguments["labels"] = labels.masked_fill(labels == 255, ignore_index).to(getattr(torch, name))
    result = random_walk_fill(**arguments, min_probability=0.6, ignore_index=ignore_index)
    assert_same(result, wide.masked_fill(wide == 255, ignore_index).to(getattr(torch, name)))


def test_labels_may_be_any_numbers() -> None:
    labels = torch.tensor([[2**40, 255, 255, 3, 255, 10**12]])
    result = random_walk_fill(labels, torch.rand(3, 1, 6, generator=torch.manual_seed(0)))
    assert set(result.flatten().tolist()) == {2**40, 3, 10**12}


def test_runs_within_a_compiled_function() -> None:
    """By leaving the graph: NumPy and scipy are not traced."""
    arguments = make_arguments(4)

    def filled(labels: Tensor, image: Tensor) -> Tensor:
        return random_walk_fill(labels, image, edge_threshold=0.2) + 0

    torch.compiler.reset()
    compiled = torch.compile(filled, backend="eager")
    assert_same(compiled(**arguments), filled(**arguments))


def test_runs_without_autograd_and_under_inference_mode() -> None:
    arguments = make_arguments(5)
    result = random_walk_fill(**arguments)
    learnt = arguments["image"].clone().requires_grad_()
    assert_same(random_walk_fill(arguments["labels"], learnt), result)
    with torch.inference_mode():
        assert_same(random_walk_fill(**make_arguments(5)).clone(), result)


def valid() -> dict[str, Any]:
    return {
        "labels": torch.full((2, 9, 4), 255, dtype=torch.uint8),
        "image": torch.full((2, 3, 9, 4), 0.5),
    }


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"labels": torch.zeros(2, 9, 4)}, TypeError, r"labels: expected an integer tensor, got torch"),
    ({"image": None}, TypeError, r"image: expected a torch\.Tensor, got NoneType None"),
    ({"image": torch.zeros(2, 3, 9, 4).int()}, TypeError, r"image: .* uint8 .*, got torch\.int32"),
    ({"image": torch.zeros(2, 4, 9, 4)}, ValueError,
     r"image: expected channels = 3, as RGB, got channels = 4 \(shape \(2, 4, 9, 4\)\)"),
    ({"image": torch.zeros(3, 9, 4)}, ValueError, r"image: expected batch axes \(2,\), as labels"),
    ({"image": torch.zeros(2, 3, 8, 4)}, ValueError, "image: expected H = 9, as labels, got H = 8"),
    ({"image": torch.zeros(2, 3, 9, 4, device="meta")}, ValueError, "image: expected device cpu"),
    ({"labels": torch.full((2, 9, 4), -3)}, ValueError, "labels: expected labels 0 to .*, got -3"),
    ({"min_probability": 1.5}, ValueError, r"min_probability: expected a number in \[0, 1\], got"),
    ({"beta": -1}, ValueError, r"beta: expected a number in \[0, 1e\+06\], got -1"),
    ({"beta": torch.inf}, ValueError, r"beta: expected a number in \[0, 1e\+06\], got inf"),
    ({"beta": True}, TypeError, "beta: expected a number, got bool True"),
    ({"edge_threshold": -0.1}, ValueError, r"edge_threshold: expected a number in \[0, 1\], got"),
    ({"ignore_index": 0}, ValueError, "ignore_index: expected a value that is no label, got 0"),
    ({"ignore_index": 256}, ValueError, "labels: expected a dtype that holds the labels"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    random_walk_fill(**valid())
    with pytest.raises(error, match=f"^{message}"):
        random_walk_fill(**(valid() | change))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1.5, -0.25])
def test_refuses_values(value: float, device: torch.device) -> None:
    assert_refuses_value(random_walk_fill, valid(), "image", value, device)
