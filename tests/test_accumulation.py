"""OACAMAccumulator: the released accumulation, a plain reference, laws of merging, its errors."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import reference
from tests.conftest import golden
from wsss_nonsalient import OACAMAccumulator, normalize_cam, resize_cam

STORAGE = [torch.uint8, torch.float16, torch.float32]
Batch = tuple[list[str], Tensor, Tensor, Tensor]


def batches(number: int, *, seed: int = 0, size: tuple[int, int] = (3, 4)) -> list[Batch]:
    """Updates of 3 of 8 images of 5 classes each, with fixed labels an image."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(8, 5, generator=torch.Generator().manual_seed(99)) < 0.4).long()
    result = []
    for _ in range(number):
        images = torch.randperm(8, generator=generator)[:3]
        cams = torch.randn(3, 5, *size, generator=generator)
        logits = torch.randn(3, 5, generator=generator) * 3
        result.append(([f"image/{int(i)}" for i in images], cams, labels[images], logits))
    return result


def accumulated(updates: list[Batch], **kwargs: Any) -> OACAMAccumulator:
    accumulator = OACAMAccumulator(5, **kwargs)
    for update in updates:
        accumulator.update(*update)
    return accumulator


def assert_same(first: OACAMAccumulator, second: OACAMAccumulator) -> None:
    one, other = first.state_dict(), second.state_dict()
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = (
            torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name]
        )
        assert same, name


def test_equals_released_implementation(device: torch.device) -> None:
    arrays = golden("oacam.npz")
    accumulator = OACAMAccumulator(20)
    for epoch in range(1, 4):
        for batch in range(2):
            ids, cams, logits = (
                arrays[f"e{epoch}_b{batch}_{name}"] for name in ("ids", "cams", "logits")
            )
            accumulator.update(
                [f"img{int(i):03d}" for i in ids], cams.to(device), arrays["labels"][ids],
                logits.to(device), force_missing=epoch == 3,
            )  # fmt: skip
    stored = {
        (key, int(c)): maps
        for key in accumulator
        for c, maps in enumerate((accumulator.compute([key])[0] * 255).round())
        if not accumulator.missing([key], torch.eye(20)[c : c + 1]).any()
    }
    expected = {
        (name.split("_")[1], int(name.split("_")[2])): value
        for name, value in arrays.items()
        if name.startswith("png_")
    }
    assert stored.keys() == expected.keys()
    for owner, value in expected.items():
        assert torch.equal(stored[owner], value.float()), owner


@pytest.mark.parametrize("force_missing", [False, True])
@pytest.mark.parametrize("min_probability", [0.0, 0.1, 0.6])
def test_equals_reference(force_missing: bool, min_probability: float) -> None:
    updates = batches(6)
    accumulator = OACAMAccumulator(5, min_probability=min_probability)
    for update in updates:
        accumulator.update(*update, force_missing=force_missing)
    expected = reference.accumulate_oa_cams(
        [
            (keys, cams.numpy(), labels.numpy(), logits.numpy(), force_missing)
            for keys, cams, labels, logits in updates
        ],
        min_probability=min_probability,
    )
    state = accumulator.state_dict()
    owners = [
        k for k, n in zip(state["keys"], state["num_maps"].tolist(), strict=True) for _ in range(n)
    ]
    got = dict(zip(zip(owners, state["classes"].tolist(), strict=True), state["maps"], strict=True))
    assert got.keys() == expected.keys()
    for owner, value in expected.items():
        assert torch.equal(got[owner], torch.from_numpy(value)), owner


@pytest.mark.parametrize("dtype", STORAGE)
@pytest.mark.parametrize("cam_dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_storage_error_does_not_compound(dtype: torch.dtype, cam_dtype: torch.dtype) -> None:
    updates = [(k, c.to(cam_dtype), y, x.to(cam_dtype)) for k, c, y, x in batches(20)]
    accumulator = accumulated(updates, dtype=dtype, min_probability=0.0)
    exact = {key: torch.zeros(5, 3, 4) for key in accumulator}
    for keys, cams, labels, _ in updates:
        for key, image, present in zip(keys, cams, labels, strict=True):
            image = normalize_cam(image.float()) * present[:, None, None]
            exact[key] = torch.maximum(exact[key], image)
    error = (accumulator.compute(list(exact)) - torch.stack(list(exact.values()))).abs().max()
    assert error <= {torch.uint8: 0.5 / 255, torch.float16: 2**-11, torch.float32: 0}[dtype] + 1e-7


def test_order_of_updates_and_repeated_keys() -> None:
    updates = batches(6)
    assert_same(accumulated(updates), accumulated(updates[::-1]))
    keys = [key for batch in updates for key in batch[0]]
    whole = tuple(torch.cat([batch[i] for batch in updates]) for i in (1, 2, 3))  # type: ignore[misc]
    assert_same(accumulated([(keys, *whole)]), accumulated(updates))  # type: ignore[list-item]


def test_resizes_to_map_size() -> None:
    cams = torch.randn(2, 5, 7, 4)
    labels, logits = torch.ones(2, 5), torch.ones(2, 5)
    accumulator = OACAMAccumulator(5, map_size=(3, 6), dtype=torch.float32)
    accumulator.update(["a", "b"], cams, labels, logits)
    assert torch.equal(accumulator.compute(["a", "b"]), resize_cam(normalize_cam(cams), (3, 6)))
    accumulator.update(["c"], torch.randn(1, 5, 2, 2), labels[:1], logits[:1])
    assert accumulator.map_size == (3, 6)


def test_classes_that_are_absent_or_improbable_have_no_map() -> None:
    accumulator = OACAMAccumulator(3)
    labels = torch.tensor([[1, 1, 0]])
    logits = torch.tensor([[-2.3, 0.0, 9.0]])  # sigmoid(-2.3) < 0.1
    cams = torch.full((1, 3, 2, 2), 4.0)
    cams[0, 2] = torch.nan  # an absent class is never looked at
    accumulator.update(["a"], cams, labels, logits)
    assert accumulator.missing(["a"], labels).tolist() == [[True, False, False]]
    assert accumulator.compute(["a"]).amax(dim=(2, 3)).tolist() == [[0, 1, 0]]
    accumulator.update(["a"], cams, labels, logits, force_missing=True)
    assert not accumulator.missing(["a"], labels).any()
    accumulator.update(["a"], -cams.nan_to_num(), labels, logits.abs())
    assert accumulator.compute(["a"]).amax(dim=(2, 3)).tolist() == [[1, 1, 0]]


def test_a_probability_of_min_probability_is_enough() -> None:
    accumulator, ones = OACAMAccumulator(1, min_probability=0.5), torch.ones(1, 1)
    accumulator.update(["a"], torch.ones(1, 1, 2, 2), ones, torch.zeros(1, 1))
    assert not accumulator.missing(["a"], ones).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_of_half_precision_are_not_rounded(dtype: torch.dtype) -> None:
    accumulator, ones = OACAMAccumulator(1, min_probability=0.5), torch.ones(1, 1)
    logits = torch.full((1, 1), -1e-4, dtype=dtype)
    assert logits.sigmoid().item() == 0.5  # rounded
    accumulator.update(["a"], torch.ones(1, 1, 2, 2), ones, logits)
    assert accumulator.missing(["a"], ones).all()


def test_forced_maps_are_not_forced_again() -> None:
    labels, logits = torch.tensor([[1]]), torch.tensor([[-9.0]])
    accumulator = OACAMAccumulator(1)
    for values in ([1.0, 0.5], [0.0, 1.0]):
        accumulator.update(["a"], torch.tensor([[[values]]]), labels, logits, force_missing=True)
    assert accumulator.compute(["a"]).flatten().tolist() == [1.0, pytest.approx(128 / 255)]


def test_a_key_that_comes_twice_is_forced_once() -> None:
    cams = torch.tensor([[[[1.0, 0.2]]], [[[0.2, 1.0]]]])
    for logits, expected in (([-9, -9], [1, 0.2]), ([9, -9], [1, 0.2]), ([-9, 9], [1, 1])):
        accumulator = OACAMAccumulator(1)
        accumulator.update(
            ["a", "a"],
            cams,
            torch.ones(2, 1),
            torch.tensor(logits)[:, None] / 1,
            force_missing=True,
        )
        assert accumulator.compute(["a"]).flatten().tolist() == pytest.approx(expected)


def test_out_of_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = accumulated(batches(2))
    before = accumulator.state_dict()

    def fail(*_: object, **__: object) -> Tensor:
        raise MemoryError

    ones = torch.ones(50, 5)
    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(MemoryError):
        accumulator.update([f"new {i}" for i in range(50)], torch.ones(50, 5, 3, 4), ones, ones)
    monkeypatch.undo()
    after = OACAMAccumulator(5)
    after.load_state_dict(before)
    assert_same(accumulator, after)


def test_is_a_collection_of_keys() -> None:
    keys = ["2007_000032", "a/b c.jpg", "猫", "x" * 300, ""]
    accumulator = OACAMAccumulator(2, map_size=(1, 1))
    zeros = torch.zeros(5, 2)
    accumulator.update(keys, torch.zeros(5, 2, 1, 1), zeros, zeros)
    assert list(accumulator) == sorted(keys)
    assert len(accumulator) == 5
    assert "猫" in accumulator
    assert 7 not in accumulator
    assert accumulator.compute(["猫"]).sum() == 0
    assert "5 images, 0 maps" in repr(accumulator)


def test_keeps_no_graph_and_works_in_inference_mode() -> None:
    keys, cams, labels, logits = batches(1)[0]
    cams.requires_grad_()
    accumulator = OACAMAccumulator(5)
    with torch.inference_mode():
        accumulator.update(keys, cams * 1, labels, logits)
    accumulator.update(keys, cams * 2, labels, logits)
    with torch.inference_mode():
        copied = copy.deepcopy(accumulator)
    copied.update(keys, cams * 3, labels, logits)
    assert not accumulator.compute(keys).requires_grad
    before = accumulator.compute(keys)
    before += 1
    assert accumulator.compute(keys).max() <= 1


def test_empty_batch_and_no_present_class() -> None:
    accumulator = OACAMAccumulator(5)
    accumulator.update([], torch.zeros(0, 5, 2, 3), torch.zeros(0, 5), torch.zeros(0, 5))
    assert len(accumulator) == 0
    accumulator.update(["none"], torch.zeros(1, 5, 7, 7), torch.zeros(1, 5), torch.zeros(1, 5))
    assert list(accumulator) == ["none"]
    assert accumulator.map_size is None  # no map was stored
    keys, cams, labels, logits = batches(1)[0]
    accumulator.update(keys, cams, labels, logits.abs())
    assert accumulator.compute([]).shape == (0, 5, 3, 4)
    assert accumulator.compute(["none"]).sum() == 0


@pytest.mark.parametrize("dtype", STORAGE)
def test_merging_is_commutative_associative_idempotent(dtype: torch.dtype) -> None:
    updates = batches(9)
    parts = [updates[:3], updates[3:6], updates[6:]]

    def merged(*order: int) -> OACAMAccumulator:
        result = accumulated(parts[order[0]], dtype=dtype)
        for i in order[1:]:
            result.merge(accumulated(parts[i], dtype=dtype))
        return result

    whole = accumulated(updates, dtype=dtype)
    assert_same(merged(0, 1, 2), whole)
    assert_same(merged(2, 0, 1), whole)
    right = accumulated(parts[1], dtype=dtype)
    right.merge(accumulated(parts[2], dtype=dtype))
    left = accumulated(parts[0], dtype=dtype)
    left.merge(right)
    assert_same(left, whole)
    whole.merge(copy.deepcopy(whole))
    whole.merge(whole)
    whole.merge(OACAMAccumulator(5, dtype=dtype))
    assert_same(left, whole)
    empty = OACAMAccumulator(5, dtype=dtype)
    empty.merge(whole)
    assert_same(empty, whole)


def test_state_dict_is_a_copy_that_loads() -> None:
    accumulator = accumulated(batches(4))
    state = accumulator.state_dict()
    other = OACAMAccumulator(5)
    other.load_state_dict(state)
    state["maps"].fill_(255)
    assert_same(accumulator, other)
    accumulator.synchronize()  # one process: nothing to do
    assert_same(accumulator, other)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_classes", 6, "state: expected num_classes = 5, got 6"),
        ("map_size", (3, 5), "maps have shape"),
        ("map_size", 3, "map_size has the wrong type int"),
        ("map_size", (3.0, 4.0), "not two positive integers or None"),
        ("map_size", (0, 0), "not two positive integers or None"),
        ("keys", ["a"], "num_maps and classes are not int64, one a key"),
        ("keys", [1] * 8, "keys are not distinct strings"),
        ("classes", torch.full((12,), 5), "does not add up"),
        ("maps", torch.zeros(2, 3, 4), "maps have shape"),
    ],
)
def test_wrong_states_are_refused(name: str, value: object, message: str) -> None:
    accumulator = accumulated(batches(4))
    before = accumulator.state_dict()
    with pytest.raises(ValueError, match=message):
        accumulator.load_state_dict({**before, name: value})
    with pytest.raises(ValueError, match="state: expected"):
        accumulator.load_state_dict({"maps": 1})
    overflowing = torch.full_like(before["num_maps"], 2**62)
    with pytest.raises(ValueError, match="does not add up"):
        accumulator.load_state_dict({**before, "num_maps": overflowing})
    for wrong in ({"classes": before["classes"] * 0}, {"classes": before["classes"] - 5}):
        with pytest.raises(ValueError, match="two maps of one class|classes are not all in 0..4"):
            accumulator.load_state_dict({**before, **wrong})
    assert torch.equal(accumulator.state_dict()["maps"], before["maps"])


@pytest.mark.parametrize("own", [None, (3, 4)])
@pytest.mark.parametrize("loaded", [None, (3, 4)])
def test_a_state_without_maps_has_a_size_all_the_same(own: Any, loaded: Any) -> None:
    accumulator = OACAMAccumulator(5, map_size=own)
    accumulator.load_state_dict(OACAMAccumulator(5, map_size=loaded).state_dict())
    assert accumulator.map_size == (own or loaded)


def test_failed_updates_change_nothing() -> None:
    keys, cams, labels, logits = batches(1)[0]
    labels = torch.ones_like(labels)
    accumulator = OACAMAccumulator(5)
    nan = cams.clone()
    nan[2, 4, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=f"cams: expected finite values, got.* in '{keys[2]}'"):
        accumulator.update(keys, nan, labels, logits.abs())
    with pytest.raises(ValueError, match="logits: expected finite values, got 15"):
        accumulator.update(keys, cams, labels, logits * torch.nan)
    with pytest.raises(ValueError, match="image_labels: expected multi-hot labels.*got 2"):
        accumulator.update(keys, cams, labels * 2, logits)
    with pytest.raises(ValueError, match="keys: expected 3, one an image, got 2"):
        accumulator.update(keys[:2], cams, labels, logits)
    with pytest.raises(ValueError, match="logits: expected C = 5, as cams, got C = 4"):
        accumulator.update(keys, cams, labels, logits[:, :4])
    with pytest.raises(ValueError, match="expected C = 5, as num_classes, got 4"):
        accumulator.update(keys, cams[:, :4], labels[:, :4], logits[:, :4])
    with pytest.raises(TypeError, match="keys: expected strings, got int 7"):
        accumulator.update([7, 8, 9], cams, labels, logits)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="keys: expected a sequence of strings, got str 'abc'"):
        accumulator.update("abc", cams, labels, logits)
    with pytest.raises(ValueError, match="keys: expected strings that UTF-8 can encode, got"):
        accumulator.update(["a", "b", "\udc80"], cams, labels, logits)
    with pytest.raises(TypeError, match="force_missing: expected a bool"):
        accumulator.update(keys, cams, labels, logits, force_missing=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cams: expected a floating-point tensor, got torch.uint8"):
        accumulator.update(keys, cams.to(torch.uint8), labels, logits)
    assert len(accumulator) == 0
    assert accumulator.map_size is None


def test_second_size_is_refused_and_names_the_key() -> None:
    accumulator = accumulated(batches(1))
    with pytest.raises(
        ValueError, match=r"cams: expected maps of \(3, 4\).*got \(4, 3\) for 'new'"
    ):
        accumulator.update(["new"], torch.zeros(1, 5, 4, 3), torch.zeros(1, 5), torch.zeros(1, 5))
    assert "new" not in accumulator


def test_wrong_arguments_are_refused() -> None:
    accumulator = accumulated(batches(1))
    with pytest.raises(KeyError, match="keys: no update has seen 'nobody'"):
        accumulator.compute(["nobody"])
    with pytest.raises(ValueError, match="size of the maps is not known"):
        OACAMAccumulator(5).compute([])
    with pytest.raises(ValueError, match="image_labels: expected C = 5, as num_classes, got 2"):
        accumulator.missing(["nobody"], torch.zeros(1, 2))
    with pytest.raises(TypeError, match="other: expected an OACAMAccumulator, got dict"):
        accumulator.merge({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other: expected num_classes = 5, got 4"):
        accumulator.merge(OACAMAccumulator(4))
    with pytest.raises(ValueError, match="other: expected dtype = torch.uint8, got torch.float32"):
        accumulator.merge(OACAMAccumulator(5, dtype=torch.float32))
    with pytest.raises(ValueError, match=r"other: expected map_size = \(3, 4\), got \(4, 4\)"):
        accumulator.merge(OACAMAccumulator(5, map_size=(4, 4)))
    with pytest.raises(TypeError, match="dtype: expected a torch.dtype, got str 'uint8'"):
        OACAMAccumulator(5, dtype="uint8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype: expected one of"):
        OACAMAccumulator(5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"min_probability: expected a number in \[0, 1\], got 10"):
        OACAMAccumulator(5, min_probability=10)
    with pytest.raises(TypeError, match="map_size: expected two integers"):
        OACAMAccumulator(5, map_size=32)  # type: ignore[arg-type]
