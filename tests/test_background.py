"""Background evidence out of CAMs: the reference, its use as saliency, and errors."""

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
from wsss_nonsalient import background_from_cam, initial_labels, nsrm_mask

NAMES = ("cam", "image_labels")
POWERS = [1, 2, 0.5, 3.7]


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", IMAGE_DTYPES)
def test_matches_the_reference(
    dtype: torch.dtype, batch: tuple[int, ...], kind: Kind, power: float, device: torch.device
) -> None:
    images = make_images(3, batch, kind=kind, dtype=dtype, device=device)
    actual = images.call(background_from_cam, NAMES, power=power)
    expected = images.expect(reference.background_from_cam, NAMES, power=power)
    assert actual.device == images.cam.device
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    if power == 1:
        assert_same(actual, expected)
    else:
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-6, atol=1e-7)


def test_an_image_without_a_class_is_background(device: torch.device) -> None:
    cam = torch.full((2, 3, 4, 5), torch.nan, device=device)
    cam[0, 1] = 0.25
    image_labels = torch.tensor([[0, 1, 0], [0, 0, 0]], device=device)
    background = background_from_cam(cam, image_labels, power=7)
    assert (background[0] == 0.75**7).all()
    assert (background[1] == 1).all()


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("convention", CONVENTIONS)
@properties
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_keeps_to_the_conventions(
    convention: Convention, power: float, device: torch.device, seed: int, kind: Kind
) -> None:
    def call(images: Images) -> torch.Tensor:
        return images.call(background_from_cam, NAMES, power=power)

    convention(call, make_images(seed, kind=kind, device=device))


@properties
@given(seed=st.integers(0, 2**32), power=st.floats(0.1, 30), more=st.floats(0, 10))
def test_stays_in_range_and_falls_with_power_and_maps(seed: int, power: float, more: float) -> None:
    images = make_images(seed)
    background = images.call(background_from_cam, NAMES, power=power)
    assert background.min() >= 0
    assert background.max() <= 1
    assert (images.call(background_from_cam, NAMES, power=power + more) <= background).all()
    stronger = images._replace(cam=images.cam.sqrt())
    assert (stronger.call(background_from_cam, NAMES, power=power) <= background).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_goes_where_saliency_goes(dtype: torch.dtype, device: torch.device) -> None:
    images = make_images(8, (4,), dtype=dtype, device=device)
    saliency = 1 - images.call(background_from_cam, NAMES, power=2)
    labels = initial_labels(images.cam, saliency, images.image_labels)
    assert {0, 1, 2, 3, IGNORE} >= set(labels.unique().tolist())
    nsrm_mask(images.prediction, labels, images.image_labels, saliency=saliency)


@pytest.mark.parametrize(("power", "wins", "is_background"), [(1, 0.5, 0.125), (3, 0.3177, 0.0437)])
def test_initial_labels_without_saliency_are_thresholds_of_the_map(
    power: float, wins: float, is_background: float
) -> None:
    """What the docstring says of the strongest map's value."""
    cam = torch.linspace(0, 1, 2001, dtype=torch.float64)[None, None]
    present = torch.tensor([1])
    saliency = 1 - background_from_cam(cam, present, power=power)
    labels = initial_labels(cam, saliency, present)[0]
    assert cam[0, 0][labels == 1].min().item() == pytest.approx(wins, abs=1e-3)
    assert cam[0, 0][labels == 0].max().item() == pytest.approx(is_background, abs=1e-3)


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cam": None}, TypeError, r"cam: expected a torch\.Tensor, got NoneType None"),
    ({"cam": torch.zeros(2, 3, 4, 5).int()}, TypeError, r"cam: .* uint8 .*, got torch\.int32"),
    ({"cam": torch.zeros(4, 5)}, ValueError, r"cam: expected shape \(\*, C, H, W\), got \(4, 5\)"),
    ({"image_labels": torch.ones(2, 4)}, ValueError, r"image_labels: expected C = 3, as cam"),
    ({"image_labels": torch.ones(3)}, ValueError, r"image_labels: expected batch axes \(2,\)"),
    ({"power": "1"}, TypeError, r"power: expected a number, got str '1'"),
    ({"power": True}, TypeError, r"power: expected a number, got bool True"),
    ({"power": 0}, ValueError, r"power: expected a number above 0, got 0"),
    ({"power": -1.0}, ValueError, r"power: expected a number above 0, got -1\.0"),
    ({"power": float("inf")}, ValueError, r"power: expected a number above 0, got inf"),
    ({"power": float("nan")}, ValueError, r"power: expected a number above 0, got nan"),
]


def arguments() -> dict[str, Any]:
    return {"cam": torch.full((2, 3, 4, 5), 0.5), "image_labels": torch.ones(2, 3)}


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    background_from_cam(**arguments())
    with pytest.raises(error, match=message):
        background_from_cam(**(arguments() | change))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1.5, -0.25])
def test_refuses_values(name: str, value: float, device: torch.device) -> None:
    assert_refuses_value(background_from_cam, arguments(), name, value, device)
