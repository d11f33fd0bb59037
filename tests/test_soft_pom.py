"""Soft potential object mining: the reference, its hard limit, and what every weight keeps to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.conventions import CONVENTIONS, Convention
from tests.helpers import (
    BATCHES,
    IGNORE,
    IMAGE_DTYPES,
    KINDS,
    Images,
    Kind,
    assert_refuses_value,
    assert_same,
    make_images,
    properties,
)
from wsss_nonsalient import pom_refine, pom_weights

NAMES = ("cam", "labels", "image_labels")
REFINE = ("labels", "cam", "image_labels")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"softness": 0},
    {"softness": 1.0},
    {"softness": 0.05, "quartile": "nested-median"},
    {"rival_threshold": 0.4},  # a value of the tied images
    {"bg_threshold": 0.4, "rival_threshold": 0.8, "softness": 0.5},
]
hard = st.fixed_dictionaries(
    {
        "quartile": st.sampled_from(["linear", "nested-median"]),
        "bg_threshold": st.sampled_from([0.0, 0.3, 0.4, 0.8]),
        "rival_threshold": st.sampled_from([None, 0.0, 0.4, 0.7, 1.0]),
    }
)
seeds = st.integers(0, 2**32)
kinds = st.sampled_from(KINDS)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
def test_matches_the_reference(
    dtype: torch.dtype,
    batch: tuple[int, ...],
    kind: Kind,
    options: dict[str, Any],
    device: torch.device,
) -> None:
    images = make_images(5, batch, kind=kind, dtype=dtype, object_ratio=0.3, device=device)
    actual = images.call(pom_weights, NAMES, **options)
    expected = images.expect(reference.pom_weights, NAMES, **options)
    assert actual.device == images.cam.device
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(actual.cpu(), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
@properties
@given(seed=seeds, kind=kinds, options=hard)
def test_a_width_of_0_is_hard_mining(
    dtype: torch.dtype, device: torch.device, seed: int, kind: Kind, options: dict[str, Any]
) -> None:
    images = make_images(seed, kind=kind, dtype=dtype, object_ratio=0.3, device=device)
    refined = images.call(pom_refine, REFINE, **options)
    for softness in (0, 1e-300):
        weights = images.call(pom_weights, NAMES, softness=softness, **options)
        assert_same(weights, (refined != IGNORE).to(weights.dtype))


@properties
@given(seed=seeds, kind=kinds, options=hard, low=st.floats(0, 1), high=st.floats(0, 1))
def test_weights_lie_between_hard_mining_and_none(
    seed: int, kind: Kind, options: dict[str, Any], low: float, high: float, device: torch.device
) -> None:
    images = make_images(seed, kind=kind, object_ratio=0.3, device=device)
    refined = images.call(pom_refine, REFINE, **options)
    narrow, wide = (
        images.call(pom_weights, NAMES, softness=softness, **options)
        for softness in (min(low, high), max(low, high))
    )
    is_object = (images.labels != 0) & (images.labels != IGNORE)
    assert (narrow[is_object] == 1).all()
    assert (narrow[images.labels == IGNORE] == 0).all()
    assert (narrow >= 0).all()
    assert (narrow <= wide).all()
    assert (wide <= 1).all()
    # exactly the pixels that hard mining ignores weigh less
    assert torch.equal(wide == 1, refined != IGNORE) or max(low, high) == 0


@properties
@given(seed=seeds, options=hard)
def test_a_stronger_map_never_weighs_more(
    seed: int, options: dict[str, Any], device: torch.device
) -> None:
    """Of two background pixels of a single class, the one with the stronger map."""
    images = make_images(seed, num_classes=1, object_ratio=0.3, device=device)
    weights = images.call(pom_weights, NAMES, softness=0.3, **options)
    for cam, labels, weight in zip(images.cam[:, 0], images.labels, weights, strict=True):
        background = labels == 0
        order = cam[background].argsort()
        assert (weight[background][order].diff() <= 0).all()


@pytest.mark.parametrize("options", [{}, {"softness": 0}, {"rival_threshold": 0.5}])
@pytest.mark.parametrize("convention", CONVENTIONS)
@properties
@given(seed=seeds, kind=kinds)
def test_keeps_to_the_conventions(
    convention: Convention, options: dict[str, Any], device: torch.device, seed: int, kind: Kind
) -> None:
    def call(images: Images) -> torch.Tensor:
        return images.call(pom_weights, NAMES, **options)

    convention(call, make_images(seed, kind=kind, object_ratio=0.3, device=device))


@pytest.mark.parametrize("ignore_index", [-1, 65535])
def test_any_ignore_index(ignore_index: int) -> None:
    images = make_images(2)
    labels = images.labels.long().masked_fill(images.labels == IGNORE, ignore_index)
    expected = images.call(pom_weights, NAMES)
    images = images._replace(labels=labels)
    assert_same(images.call(pom_weights, NAMES, ignore_index=ignore_index), expected)


def arguments() -> dict[str, Any]:
    return {
        "cam": torch.full((2, 2, 5, 3), 0.5),
        "labels": torch.zeros(2, 5, 3, dtype=torch.uint8),
        "image_labels": torch.tensor([[0, 1], [1, 1]]),
    }


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"softness": None}, TypeError, r"softness: expected a number, got NoneType None"),
    ({"softness": 1.5}, ValueError, r"softness: expected a number in \[0, 1\], got 1\.5"),
    ({"softness": -0.1}, ValueError, r"softness: expected a number in \[0, 1\], got -0\.1"),
    ({"rival_threshold": 2}, ValueError, r"rival_threshold: expected .* in \[0, 1\], got 2"),
    ({"quartile": 3}, ValueError, r"quartile: expected one of 'linear', 'nested-median', got 3"),
    ({"labels": torch.full((2, 5, 3), 3)}, ValueError, r"labels: expected labels 0 to 2 or 255"),
    ({"labels": torch.zeros(2, 5, 4).int()}, ValueError, r"labels: expected W = 3, as cam"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    pom_weights(**arguments())
    with pytest.raises(error, match=message):
        pom_weights(**(arguments() | change))


@pytest.mark.parametrize("name", ["cam", "image_labels"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1.5, -0.25])
def test_refuses_values(name: str, value: float, device: torch.device) -> None:
    assert_refuses_value(pom_weights, arguments(), name, value, device)
