"""The sparse-label rule: images with hardly any object are ignored whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.conventions import CONVENTIONS, Call, Convention
from tests.helpers import BATCHES, KINDS, Kind, assert_same, make_images, properties
from wsss_nonsalient import ignore_sparse_labels

NAMES = ("labels",)


@pytest.mark.parametrize("min_object_ratio", [None, 0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("object_ratio", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("batch", BATCHES)
def test_matches_the_reference(
    batch: tuple[int, ...],
    object_ratio: float,
    min_object_ratio: float | None,
    device: torch.device,
) -> None:
    options = {} if min_object_ratio is None else {"min_object_ratio": min_object_ratio}
    images = make_images(2, batch, object_ratio=object_ratio, size=(5, 4), device=device)
    actual = images.call(ignore_sparse_labels, NAMES, **options)
    assert actual.device == images.labels.device
    assert_same(actual, images.expect(reference.ignore_sparse_labels, NAMES, **options))


@pytest.mark.parametrize("num_objects", [0, 4, 5, 6])
def test_default_is_one_in_a_hundred_of_all_pixels(num_objects: int) -> None:
    labels = torch.zeros(20, 25, dtype=torch.uint8)
    labels[:, 5] = 255  # no objects, but pixels
    labels[0, -num_objects or 25 :] = 3
    expected = labels if num_objects >= 5 else torch.full_like(labels, 255)
    assert_same(ignore_sparse_labels(labels), expected)


@pytest.mark.parametrize("num_objects", range(1, 51))
def test_a_share_that_is_just_reached_is_enough(num_objects: int) -> None:
    labels = (torch.arange(50) < num_objects).long().view(5, 10)
    assert_same(ignore_sparse_labels(labels, min_object_ratio=num_objects / 50), labels)
    above = float(np.nextafter(num_objects / 50, 2))
    if above <= 1:
        assert (ignore_sparse_labels(labels, min_object_ratio=above) == 255).all()


@pytest.mark.parametrize(
    ("name", "ignore_index"),
    [("int8", -1), ("int16", 255), ("int32", 65535), ("int64", -1), ("uint16", 65535)],
)
def test_dtype_and_ignore_index(name: str, ignore_index: int) -> None:
    if not hasattr(torch, name):
        pytest.skip(f"torch has no {name}")
    labels = torch.tensor([[[0, ignore_index], [1, 2]], [[0, ignore_index], [ignore_index, 0]]])
    expected = labels.clone()
    expected[1] = ignore_index
    dtype = getattr(torch, name)
    actual = ignore_sparse_labels(labels.to(dtype), ignore_index=ignore_index)
    assert_same(actual, expected.to(dtype))


CALLS = {
    "defaults": lambda images: images.call(ignore_sparse_labels, NAMES),
    "some": lambda images: images.call(ignore_sparse_labels, NAMES, min_object_ratio=0.3),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@properties
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_keeps_to_the_conventions(
    convention: Convention, call: Call, device: torch.device, seed: int, kind: Kind
) -> None:
    convention(call, make_images(seed, kind=kind, device=device))


@properties
@given(seed=st.integers(0, 2**32), ratio=st.floats(0, 1))
def test_a_second_run_changes_nothing(seed: int, ratio: float) -> None:
    once = ignore_sparse_labels(make_images(seed).labels, min_object_ratio=ratio)
    assert_same(ignore_sparse_labels(once, min_object_ratio=ratio), once)


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"labels": [[0, 1]]}, TypeError, r"labels: expected a torch\.Tensor, got list"),
    ({"labels": torch.zeros(2, 2)}, TypeError, r"labels: expected an integer .*float32"),
    ({"labels": torch.zeros(2, 2).bool()}, TypeError, r"labels: .*, got torch\.bool"),
    ({"labels": torch.ones(4).long()}, ValueError, r"labels: expected .*H, W\), got \(4,\)"),
    ({"labels": torch.zeros(0, 4).long()}, ValueError, r"labels: expected H of at least 1"),
    ({"labels": torch.tensor([[0, -1]])}, ValueError, r"labels: expected labels 0 to .*, got -1"),
    ({"min_object_ratio": "1 %"}, TypeError, r"min_object_ratio: expected a number, got str '1 %'"),
    ({"min_object_ratio": 1.01}, ValueError, r"min_object_ratio: .* in \[0, 1\], got 1\.01"),
    ({"min_object_ratio": -0.01}, ValueError, r"min_object_ratio: .* in \[0, 1\], got -0\.01"),
    ({"ignore_index": None}, TypeError, r"ignore_index: expected an integer, got NoneType None"),
    ({"ignore_index": 0}, ValueError, r"ignore_index: .*no label, got 0: 0 is the background"),
    ({"ignore_index": -1}, ValueError, r"labels: .*ignore_index -1, got torch\.uint8"),
    ({"ignore_index": 256}, ValueError, r"labels: .*ignore_index 256, got torch\.uint8"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"labels": torch.zeros(2, 2, dtype=torch.uint8)}
    ignore_sparse_labels(**arguments)
    with pytest.raises(error, match=message):
        ignore_sparse_labels(**(arguments | change))
