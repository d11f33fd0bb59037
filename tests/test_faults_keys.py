"""Keys of images: any text is one, and no two are taken for the same."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.test_accumulation import assert_same
from wsss_nonsalient import OACAMAccumulator

KEYS = [
    "2007_000032",
    "2007_000032.jpg",
    "VOC2012/JPEGImages/2007_000032",
    "../../etc/passwd",
    "..",
    ".",
    "",
    " ",
    " a",
    "a ",
    "a",
    "A",
    "C:\\pictures\\a",
    "new\nline",
    "tab\t",
    "nul\0",
    "'quoted\"",
    "{braces} %s",
    "\ufeffmark",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "图像/猫",
    "😀",
    "\u202eright to left",
    "7",
    "007",
    "x" * 300,
    "词" * 300,
]


def filled(keys: list[str]) -> OACAMAccumulator:
    """Each key with a map of its own."""
    accumulator = OACAMAccumulator(1)
    maps = torch.ones(len(keys), 1, 1, 9)
    for i in range(len(keys)):
        maps[i, 0, 0, 1:] = torch.tensor([float(b) for b in f"{i:08b}"])
    ones = torch.ones(len(keys), 1)
    accumulator.update(keys, maps, ones, ones)
    return accumulator


def test_every_key_has_its_own_map_and_is_saved(tmp_path: Path) -> None:
    accumulator = filled(KEYS)
    assert list(accumulator) == sorted(KEYS)
    accumulator.save(tmp_path / "maps")
    loaded = OACAMAccumulator(1).load(tmp_path / "maps")
    for own in (accumulator, loaded):
        assert list(own) == sorted(KEYS)
        numbers = own.compute(KEYS)[:, 0, 0, 1:] @ torch.tensor([2.0**b for b in range(7, -1, -1)])
        assert numbers.tolist() == list(range(len(KEYS)))
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]
    reverse = filled(KEYS)
    reverse.merge(loaded)
    assert_same(reverse, accumulator)


@pytest.mark.parametrize(
    "keys",
    [[7, 8], [b"a", b"b"], [None, "a"], [Path("a"), Path("b")], [("a",), ("b",)], [1.0, 2.0]],
)
def test_what_is_no_string_is_refused(keys: Any) -> None:
    accumulator = filled(["a", "b"])
    ones = torch.ones(2, 1)
    for call in (
        lambda: accumulator.update(keys, torch.ones(2, 1, 1, 9), ones, ones),
        lambda: accumulator.compute(keys),
        lambda: accumulator.missing(keys, ones),
    ):
        with pytest.raises(TypeError, match="^keys: expected strings, got "):
            call()
    assert len(accumulator) == 2


@pytest.mark.parametrize("keys", ["ab", b"ab", {"a", "b"}, iter("ab"), None, 7, np.array(["a"])])
def test_what_is_no_sequence_is_refused(keys: Any) -> None:
    accumulator = filled(["a", "b"])
    ones = torch.ones(2, 1)
    for call in (
        lambda: accumulator.update(keys, torch.ones(2, 1, 1, 9), ones, ones),
        lambda: accumulator.compute(keys),
        lambda: accumulator.missing(keys, ones),
    ):
        with pytest.raises(TypeError, match="^keys: expected "):
            call()
    assert list(accumulator) == ["a", "b"]


@pytest.mark.parametrize("key", ["\ud800", "a\udc80", "\udfff猫"])
def test_text_that_cannot_be_saved_is_refused_at_once(key: str) -> None:
    ones = torch.ones(1, 1)
    with pytest.raises(ValueError, match="^keys: expected strings that UTF-8 can encode, got"):
        OACAMAccumulator(1).update([key], torch.ones(1, 1, 1, 2), ones, ones)
    with pytest.raises(ValueError, match="^run_id: expected a string that UTF-8 can encode, got"):
        OACAMAccumulator(1, run_id=key)


def test_strings_of_numpy_are_strings(tmp_path: Path) -> None:
    keys = list(np.array(["a", "猫"]))
    accumulator = filled(keys)
    accumulator.save(tmp_path / "maps")
    assert list(OACAMAccumulator(1).load(tmp_path / "maps")) == ["a", "猫"]


def test_a_key_that_comes_several_times_accumulates_as_often() -> None:
    maps = torch.rand(6, 1, 3, 4)
    keys, ones = ["a", "b", "a", "a", "b", "a"], torch.ones(6, 1)
    at_once, one_by_one = OACAMAccumulator(1), OACAMAccumulator(1)
    at_once.update(keys, maps, ones, ones)
    for key, own in zip(keys, maps, strict=True):
        one_by_one.update([key], own[None], ones[:1], ones[:1])
    assert_same(at_once, one_by_one)
    assert torch.equal(at_once.compute(["a", "a"])[0], at_once.compute(["a"])[0])


def test_an_order_of_keys_that_does_not_depend_on_the_system() -> None:
    keys = ["b", "A", "a", "é", "Z", "猫", "1", ""]
    assert list(filled(keys)) == list(filled(keys[::-1])) == sorted(keys)
