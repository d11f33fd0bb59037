"""Maps of crops and mirrored samples, put back into the frame of the whole image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests import reference
from tests.helpers import properties
from wsss_nonsalient import OACAMAccumulator, normalize_cam, resize_cam

GRID = (6, 9)
seeds = st.integers(0, 2**32)


def accumulated(cams: Tensor, size: tuple[int, int] = GRID, **options: Any) -> Tensor:
    """Maps of images of one class each, after one update."""
    accumulator = OACAMAccumulator(1, map_size=size, dtype=torch.float32)
    ones, keys = torch.ones(len(cams), 1), [f"image {i}" for i in range(len(cams))]
    accumulator.update(keys, cams[:, None], ones, ones, **options)
    return accumulator.compute(keys)[:, 0]


def raw_maps(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_boxes(seed: int, number: int) -> Tensor:
    corners = torch.rand(number, 2, 2, generator=torch.Generator().manual_seed(seed))
    low, high = corners.aminmax(dim=1)
    return torch.cat([low, (high + 0.01).clamp(max=1)], dim=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(6, 9), (1, 1), (1, 5), (3, 2), (14, 25)])
@pytest.mark.parametrize("size", [GRID, (1, 1), (13, 1), (32, 40)])
def test_equals_the_reference(
    size: tuple[int, int], shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> None:
    cams = raw_maps(1, 7, *shape).to(dtype)
    boxes = random_boxes(2, 7)
    boxes[5] = torch.tensor([0, 0, 1, 1])  # as a whole image
    boxes[6] = torch.tensor([0.2, 0.3, 0.2001, 0.3001])  # less than a cell
    flipped = torch.tensor([False, True, False, True, False, True, False])
    actual = accumulated(cams.to(device), size, boxes=boxes.to(device), flipped=flipped.to(device))
    expected = [
        reference.place_map(one.numpy(), box.tolist(), size, flipped=bool(mirrored))
        for one, box, mirrored in zip(normalize_cam(cams[:, None].float())[:, 0], boxes, flipped,
                                      strict=True)
    ]  # fmt: skip
    torch.testing.assert_close(
        actual, torch.from_numpy(np.stack(expected)).float(), rtol=0, atol=2e-6
    )
    assert (actual[6] > 0).sum() <= 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mirror", [False, True])
@properties
@given(seed=seeds, height=st.integers(1, 70), width=st.integers(1, 70), data=st.data())
def test_a_crop_of_whole_cells_is_put_back_bit_for_bit(
    dtype: torch.dtype, mirror: bool, seed: int, height: int, width: int, data: st.DataObject
) -> None:
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    whole = raw_maps(seed, height, width)
    crop = whole[None, top:bottom, left:right]
    box = torch.tensor([[left / width, top / height, right / width, bottom / height]], dtype=dtype)
    restored = accumulated(
        crop.flip(-1) if mirror else crop,
        (height, width),
        boxes=box,
        flipped=torch.tensor([mirror]),
    )
    expected = torch.zeros(1, height, width)
    expected[:, top:bottom, left:right] = normalize_cam(crop)
    assert torch.equal(restored, expected)


@pytest.mark.parametrize("shape", [GRID, (4, 5), (17, 23)])
def test_the_box_of_a_whole_image_changes_nothing(
    shape: tuple[int, int], device: torch.device
) -> None:
    cams = raw_maps(3, 4, *shape).to(device)
    boxes = torch.tensor([0.0, 0, 1, 1], device=device).expand(4, 4)
    plain = accumulated(cams)
    assert torch.equal(accumulated(cams, boxes=boxes), plain)
    mixed = boxes.clone()
    mixed[1] = torch.tensor([0.25, 0.25, 0.5, 0.75])
    others = torch.tensor([0, 2, 3])
    assert torch.equal(accumulated(cams, boxes=mixed)[others], plain[others])
    assert not torch.equal(accumulated(cams, boxes=mixed)[1], plain[1])
    assert torch.equal(plain, resize_cam(normalize_cam(cams.cpu()), GRID))


@pytest.mark.parametrize("map_size", [None, GRID])
def test_mirrored_maps_are_mirrored_back(map_size: tuple[int, int] | None) -> None:
    cams = raw_maps(4, 5, 1, *GRID)
    flipped = torch.tensor([True, False, True, True, False])
    seen = torch.where(flipped[:, None, None, None], cams.flip(-1), cams)
    ones = torch.ones(5, 1)
    accumulator = OACAMAccumulator(1, map_size=map_size, dtype=torch.float32)
    accumulator.update(list("abcde"), seen, ones, ones, flipped=flipped)
    assert torch.equal(accumulator.compute(list("abcde")), normalize_cam(cams))


@properties
@given(seed=seeds)
def test_a_batch_is_its_samples_one_by_one(seed: int) -> None:
    cams, boxes = raw_maps(seed, 6, 4, 5), random_boxes(seed, 6)
    boxes[2] = torch.tensor([0, 0, 1, 1])
    flipped = torch.rand(6, generator=torch.Generator().manual_seed(seed)) < 0.5
    whole = accumulated(cams, boxes=boxes, flipped=flipped)
    for i in range(6):
        one = slice(i, i + 1)
        alone = accumulated(cams[one], boxes=boxes[one], flipped=flipped[one])
        assert torch.equal(alone, whole[one])


@properties
@given(seed=seeds, columns=st.integers(1, 9))
def test_mirroring_everything_mirrors_the_result(seed: int, columns: int) -> None:
    """Image, crop and box mirrored: the accumulated map is mirrored."""
    boxes = random_boxes(seed, 3).double()
    mirrored = torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], dim=1)
    cams = raw_maps(seed, 3, 4, columns)
    torch.testing.assert_close(
        accumulated(cams.flip(-1), (6, 8), boxes=mirrored),
        accumulated(cams, (6, 8), boxes=boxes).flip(-1),
        rtol=0, atol=1e-6,
    )  # fmt: skip


def test_a_centre_on_the_edge_belongs_to_the_box_that_begins_there() -> None:
    """Two boxes that share an edge through the centres of a column: each cell is in one of them."""
    boxes = torch.tensor([[0.125, 0, 0.625, 1], [0.625, 0, 1, 1]])
    cams = torch.ones(2, 3, 5)
    expected = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])[:, None].expand(2, 2, 4)
    assert torch.equal(accumulated(cams, (2, 4), boxes=boxes), expected)
    turned = accumulated(cams.mT, (4, 2), boxes=boxes[:, [1, 0, 3, 2]])
    assert torch.equal(turned, expected.mT)


def test_crops_of_one_image_add_up_to_the_whole() -> None:
    """Four quarters in one batch and over two: the maximum, cell by cell."""
    quarters = torch.tensor(
        [[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]]
    )
    cams, ones = raw_maps(5, 4, 1, 3, 4).abs(), torch.ones(4, 1)
    accumulator = OACAMAccumulator(1, map_size=(6, 8), dtype=torch.float32)
    for part in (slice(0, 3), slice(2, 4)):
        keys = ["a"] * len(cams[part])
        accumulator.update(keys, cams[part], ones[part], ones[part], boxes=quarters[part])
    a, b, c, d = normalize_cam(cams)[:, 0]
    expected = torch.cat([torch.cat([a, b], dim=1), torch.cat([c, d], dim=1)])
    assert torch.equal(accumulator.compute(["a"])[0, 0], expected)


def test_several_classes_take_the_box_of_their_image() -> None:
    cams = torch.ones(2, 3, 2, 2)
    present = torch.tensor([[1, 0, 1], [0, 1, 0]])
    boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    accumulator = OACAMAccumulator(3, map_size=(2, 4))
    accumulator.update(["a", "b"], cams, present, torch.ones(2, 3), boxes=boxes)
    left, right = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 0, 1, 1])
    rows = accumulator.compute(["a", "b"])[:, :, 0]
    assert torch.equal(rows[0], torch.stack([left, 0 * left, left]))
    assert torch.equal(rows[1], torch.stack([0 * left, right, 0 * left]))


def test_improbable_crops_are_left_out_and_a_box_may_be_far_smaller_than_a_cell() -> None:
    accumulator = OACAMAccumulator(1, map_size=(2, 2))
    ones, box = torch.ones(1, 1), torch.tensor([[0.0, 0.0, 1e-6, 1e-6]])
    accumulator.update(["a"], torch.ones(1, 1, 3, 3), ones, -9 * ones, boxes=box)
    assert accumulator.missing(["a"], ones).all()
    accumulator.update(["a"], torch.ones(1, 1, 3, 3), ones, ones, boxes=box)
    assert not accumulator.missing(["a"], ones).any()
    assert (accumulator.compute(["a"]) == 0).all()


def test_inputs_stay_and_may_be_empty() -> None:
    boxes, flipped = random_boxes(0, 3), torch.tensor([True, False, True])
    before = boxes.clone(), flipped.clone()
    accumulated(raw_maps(0, 3, 4, 5), boxes=boxes, flipped=flipped)
    assert torch.equal(boxes, before[0])
    assert torch.equal(flipped, before[1])
    accumulated(raw_maps(0, 0, 4, 5), boxes=boxes[:0], flipped=flipped[:0])


BOX = [0.1, 0.2, 0.6, 0.9]
ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"boxes": [BOX, BOX]}, TypeError, r"boxes: expected a torch\.Tensor, got list"),
    ({"boxes": torch.ones(2, 4).int()}, TypeError, r"boxes: expected a floating-point tensor"),
    ({"boxes": torch.ones(4)}, ValueError, r"boxes: expected shape \(N, xyxy\), got \(4,\)"),
    ({"boxes": torch.ones(2, 5)}, ValueError,
     r"boxes: expected xyxy = 4, as \(x_min, y_min, x_max, y_max\), got xyxy = 5"),
    ({"boxes": torch.ones(3, 4)}, ValueError, r"boxes: expected N = 2, as cams, got N = 3"),
    ({"flipped": torch.ones(2)}, TypeError, r"flipped: expected a bool tensor, got torch\.float32"),
    ({"flipped": [True, False]}, TypeError, r"flipped: expected a torch\.Tensor, got list"),
    ({"flipped": torch.ones(1).bool()}, ValueError, r"flipped: expected N = 2, as cams, got N = 1"),
    *(
        ({"boxes": torch.tensor([BOX, wrong])}, ValueError,
         r"boxes: expected shares of the whole image, \(x_min, y_min, x_max, y_max\) with "
         rf"0 <= min < max <= 1, got \({got}\) for 'second'")
        for wrong, got in (
            ([-0.1, 0, 1, 1], "-0.1, 0, 1, 1"),
            ([0, 0, 1, 1.01], "0, 0, 1, 1.01"),
            ([0.5, 0, 0.5, 1], "0.5, 0, 0.5, 1"),
            ([0, 0.6, 1, 0.5], "0, 0.6, 1, 0.5"),
            ([12, 40, 240, 300], "12, 40, 240, 300"),
            ([torch.nan, 0, 1, 1], "nan, 0, 1, 1"),
            ([0, 0, torch.inf, 1], "0, 0, inf, 1"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_refuses(change: dict[str, Any], error: type[Exception], message: str) -> None:
    accumulator = OACAMAccumulator(1, map_size=(2, 2))
    ones = torch.ones(2, 1)
    with pytest.raises(error, match=message):
        accumulator.update(["first", "second"], torch.ones(2, 1, 3, 3), ones, ones, **change)
    assert len(accumulator) == 0


def test_boxes_need_a_grid() -> None:
    accumulator = OACAMAccumulator(1)
    ones, boxes = torch.ones(1, 1), torch.tensor([BOX])
    for _ in range(2):
        with pytest.raises(ValueError, match="boxes: expected an accumulator with map_size"):
            accumulator.update(["a"], torch.ones(1, 1, 3, 3), ones, ones, boxes=boxes)
        accumulator.update(["a"], torch.ones(1, 1, 3, 3), ones, ones)
