"""Labels of what a network is sure of."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

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
    to_array,
)
from wsss_nonsalient import confident_labels, value_checks

THRESHOLDS: dict[str, Any] = {"background_threshold": 0.6, "object_threshold": 0.5}


def probabilities(images: Images) -> Tensor:
    return torch.cat((images.saliency.unsqueeze(-3), images.cam), dim=-3)


def label(images: Images, *, merged: bool = True, **options: Any) -> Tensor:
    pseudo_labels = images.labels if merged else None
    return confident_labels(
        probabilities(images),
        images.image_labels,
        pseudo_labels=pseudo_labels,
        **{**THRESHOLDS, **options},
    )


def expect(images: Images, *, merged: bool = True, **options: Any) -> Tensor:
    def function(*arrays: reference.Array) -> reference.Array:
        saliency, cam, labels, image_labels = arrays
        maps = torch.cat((torch.from_numpy(saliency)[None], torch.from_numpy(cam)))
        return reference.confident_labels(
            to_array(maps), image_labels, labels if merged else None, **{**THRESHOLDS, **options}
        )

    return images.expect(function, ("saliency", "cam", "labels", "image_labels"))


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", BATCHES)
def test_matches_the_reference(
    batch: tuple[int, ...], kind: Kind, dtype: torch.dtype, merged: bool, device: torch.device
) -> None:
    for seed in range(3):
        images = make_images(seed, batch, kind=kind, dtype=dtype, device=device)
        actual = label(images, merged=merged)
        assert actual.device == images.cam.device
        assert_same(actual.cpu(), expect(images, merged=merged))


def test_every_kind_of_label_occurs() -> None:
    images = make_images(0, (20,))
    assert set(label(images).unique().tolist()) == {0, 1, 2, 3, IGNORE}
    assert not torch.equal(label(images), label(images, merged=False))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_conventions(convention: Convention) -> None:
    convention(label, make_images(0))


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.95, 0.3), (1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.uint16])
def test_dtypes_and_thresholds(dtype: torch.dtype, thresholds: tuple[float, float]) -> None:
    images = make_images(1)
    labels = images.labels.long()
    images = images._replace(labels=labels.masked_fill(labels == IGNORE, 300))
    background, objects = thresholds
    options: dict[str, Any] = {"background_threshold": background, "object_threshold": objects}
    actual = label(images, dtype=dtype, ignore_index=300, **options)
    numpy_dtype = str(dtype).removeprefix("torch.")
    assert_same(actual, expect(images, dtype=numpy_dtype, ignore_index=300, **options))


def test_a_compiled_call_gives_the_same() -> None:
    images = make_images(3, (2, 3))
    maps = probabilities(images)

    def call(maps: Tensor, image_labels: Tensor, labels: Tensor) -> Tensor:
        return confident_labels(maps, image_labels, pseudo_labels=labels, **THRESHOLDS)

    compiled = torch.compile(call, fullgraph=True)(maps, images.image_labels, images.labels)
    assert_same(compiled, call(maps, images.image_labels, images.labels))


@properties
@given(st.integers(0, 10**6), st.floats(0.5, 1), st.floats(0.5, 1), st.floats(0.5, 1))
def test_higher_thresholds_never_label_more(
    seed: int, low: float, high: float, other: float
) -> None:
    low, high = sorted((low, high))
    images = make_images(seed)
    for value, fixed in (("background", "object"), ("object", "background")):
        more, fewer = (
            label(images, merged=False, **{f"{value}_threshold": t, f"{fixed}_threshold": other})
            for t in (low, high)
        )
        is_background = value == "background"
        labelled = [
            (one == 0) if is_background else (one != 0) & (one != IGNORE) for one in (more, fewer)
        ]
        assert not (labelled[1] & ~labelled[0]).any()
        assert torch.equal(more[labelled[1]], fewer[labelled[1]])


def test_the_dtype_is_that_of_the_pseudo_label() -> None:
    images = make_images(0)
    wide = images._replace(labels=images.labels.int())
    assert label(images, merged=False).dtype == torch.uint8
    assert_same(label(wide), label(images).int())
    assert_same(label(wide, dtype=torch.uint8), label(images))


def test_a_pseudo_label_only_replaces_background() -> None:
    images = make_images(0, (10,))
    alone, merged = label(images, merged=False), label(images)
    assert torch.equal(alone[alone != 0], merged[alone != 0])
    assert torch.equal(merged[alone == 0], images.labels[alone == 0])


def test_maps_of_absent_classes_are_not_read() -> None:
    images = make_images(0)
    maps = probabilities(images)
    absent = torch.cat((torch.zeros(3, 1, dtype=torch.bool), ~images.image_labels), dim=1)
    poisoned = maps.masked_fill(absent[..., None, None], torch.nan)
    assert_same(
        confident_labels(poisoned, images.image_labels), confident_labels(maps, images.image_labels)
    )


def test_pixels_without_any_probability_are_ignored() -> None:
    maps = torch.zeros(3, 1, 2)
    maps[2] = 1  # a class that the image does not have
    assert_same(
        confident_labels(maps, torch.tensor([1, 0])), torch.full((1, 2), IGNORE, dtype=torch.uint8)
    )


def test_an_image_without_a_class_is_background() -> None:
    maps = torch.tensor([0.1, 0.5, 0.4])[:, None, None].expand(3, 2, 2)
    assert not confident_labels(maps, torch.zeros(2)).any()


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5, 1.5])
@pytest.mark.parametrize("name", ["probabilities", "image_labels"])
def test_refuses_values(name: str, value: float, device: torch.device) -> None:
    if name == "image_labels" and not math.isfinite(value):
        value = 2.0
    arguments: dict[str, Any] = {
        "probabilities": torch.rand(3, 4, 5),
        "image_labels": torch.ones(2),
    }
    assert_refuses_value(confident_labels, arguments, name, value, device)
    arguments["probabilities"].view(-1)[0] = torch.nan
    with value_checks(False):
        confident_labels(**arguments)


def test_refuses() -> None:
    maps, present = torch.rand(3, 4, 5), torch.ones(2)
    with pytest.raises(ValueError, match=r"probabilities: expected C \+ 1 = 4 maps, the backgr"):
        confident_labels(maps, torch.ones(3))
    with pytest.raises(ValueError, match="object_threshold: expected at least 1 - background_thr"):
        confident_labels(maps, present, background_threshold=0.6)
    with pytest.raises(ValueError, match="background_threshold: expected a number in"):
        confident_labels(maps, present, background_threshold=95)
    with pytest.raises(ValueError, match="pseudo_labels: expected labels 0 to 2 or 255"):
        confident_labels(maps, present, pseudo_labels=torch.full((4, 5), 3))
    with pytest.raises(ValueError, match="pseudo_labels: expected H = 4, as probabilities, got H"):
        confident_labels(maps, present, pseudo_labels=torch.zeros(3, 5, dtype=torch.uint8))
    with pytest.raises(ValueError, match="dtype: expected a dtype that holds the labels"):
        confident_labels(maps, present, dtype=torch.int8)
    with pytest.raises(TypeError, match="probabilities: expected a floating-point"):
        confident_labels(maps.long(), present)
