"""Errors word for word: the argument, what was expected and what came, and nothing else."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wsss_nonsalient as wn
from tests.test_accumulation import accumulated, batches

MAPS, PIXELS = torch.zeros(1, 2, 3, 4), torch.zeros(1, 3, 4)
INTEGERS = PIXELS.to(torch.uint8)
MULTI_HOT = torch.zeros(1, 2)
LONG = [0] * 30


def update(**changes: Any) -> None:
    arguments = {"keys": ["a"], "cams": MAPS, "image_labels": MULTI_HOT, "logits": MULTI_HOT}
    wn.OACAMAccumulator(2).update(**{**arguments, **changes})


def count(**changes: Any) -> None:
    wn.SegmentationScore(3).update(**{"prediction": INTEGERS, "target": INTEGERS, **changes})


def second_size(number: int) -> None:
    accumulator = wn.OACAMAccumulator(2, dtype=torch.float32)
    accumulator.update(["a"], MAPS, MULTI_HOT + 1, MULTI_HOT)
    keys, labels = [f"k{i}" for i in range(number)], torch.zeros(number, 2)
    accumulator.update(keys, torch.zeros(number, 2, 5, 5), labels, labels)


def unknown_keys(number: int) -> None:
    accumulated(batches(1)).compute([f"k{i}" for i in range(number)])


MESSAGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: wn.normalize_cam(LONG),  # type: ignore[arg-type]
     "cam: expected a torch.Tensor, got list [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ..."),
    (lambda: wn.normalize_cam("x" * 38),  # type: ignore[arg-type]
     f"cam: expected a torch.Tensor, got str '{'x' * 38}'"),
    (lambda: wn.normalize_cam("x" * 39),  # type: ignore[arg-type]
     f"cam: expected a torch.Tensor, got str '{'x' * 36}..."),
    (lambda: wn.normalize_cam(MAPS.long()),
     "cam: expected a floating-point tensor in [0, 1] or a uint8 tensor, got torch.int64"),
    (lambda: wn.normalize_cam(PIXELS[0]), "cam: expected shape (*, C, H, W), got (3, 4)"),
    (lambda: wn.normalize_cam(MAPS[:, :0]),
     "cam: expected C of at least 1, got shape (1, 0, 3, 4)"),
    (lambda: wn.normalize_cam(MAPS, mode="mean"),  # type: ignore[arg-type]
     "mode: expected one of 'max', 'minmax', got 'mean'"),
    (lambda: wn.normalize_cam(MAPS * torch.nan),
     "cam: expected finite values, got 24 that are NaN or infinite"),
    (lambda: wn.normalize_cam((MAPS + 1).cumsum(-1) * 3e38 - 3e38, mode="minmax"),
     "cam: expected finite values, got 18 that are NaN or infinite"),
    (lambda: wn.resize_cam(PIXELS[0], (2, 2)), "cam: expected shape (*, C, H, W), got (3, 4)"),
    (lambda: wn.resize_cam(MAPS.int(), (2, 2)),
     "cam: expected a floating-point tensor in [0, 1] or a uint8 tensor, got torch.int32"),
    (lambda: wn.resize_cam(MAPS[..., :0], (2, 2)),
     "cam: expected W of at least 1, got shape (1, 2, 3, 0)"),
    (lambda: wn.resize_cam(MAPS, 7),  # type: ignore[arg-type]
     "size: expected two integers (height, width), got 7"),
    (lambda: wn.resize_cam(MAPS, (7, 0)), "size: expected an integer of at least 1, got 0"),
    (lambda: wn.initial_labels(MAPS, PIXELS, torch.zeros(1, 3)),
     "image_labels: expected C = 2, as cam, got C = 3 (shape (1, 3)); maps and image-level labels "
     "have foreground classes only, no background channel"),
    (lambda: wn.initial_labels(MAPS, PIXELS, torch.zeros(1, 1)),
     "image_labels: expected C = 2, as cam, got C = 1 (shape (1, 1)); maps and image-level labels "
     "have foreground classes only, no background channel"),
    (lambda: wn.initial_labels(torch.zeros(1, 5, 3, 4), PIXELS, torch.zeros(1, 1)),
     "image_labels: expected C = 5, as cam, got C = 1 (shape (1, 1)); image-level labels are "
     "multi-hot, one entry a class"),
    (lambda: wn.initial_labels(torch.zeros(1, 5, 3, 4), PIXELS, torch.zeros(1, 3)),
     "image_labels: expected C = 5, as cam, got C = 3 (shape (1, 3))"),
    (lambda: wn.initial_labels(MAPS[:, :1], PIXELS, MULTI_HOT),
     "image_labels: expected C = 1, as cam, got C = 2 (shape (1, 2))"),
    (lambda: wn.initial_labels(MAPS, PIXELS[:, :2], MULTI_HOT),
     "saliency: expected H = 3, as cam, got H = 2 (shape (1, 2, 4)); resize one of them first "
     "(resize_cam for maps)"),
    (lambda: wn.initial_labels(MAPS, PIXELS[None], MULTI_HOT),
     "saliency: expected batch axes (1,), as cam, got (1, 1) (shape (1, 1, 3, 4), read as "
     "(*, H, W))"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT, saliency_threshold=32),
     "saliency_threshold: expected a number in [0, 1], got 32; is it n / 255?"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT, fg_threshold=True),
     "fg_threshold: expected a number, got bool True"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT, conflict_threshold=-1),
     "conflict_threshold: expected a number in [0, 1], got -1"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT, attention_threshold=2),
     "attention_threshold: expected a number in [0, 1], got 2"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT, dtype=torch.float32),
     "dtype: expected an integer dtype, got torch.float32"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT, ignore_index=2),
     "ignore_index: expected a value that is no label, got 2: 0 to 2 are labels"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT, dtype=torch.int8),
     "dtype: expected a dtype that holds the labels 0 to 2 and ignore_index 255, got torch.int8 "
     "with -128 to 127"),
    (lambda: wn.initial_labels(MAPS + 2, PIXELS, MULTI_HOT + 1),
     "cam: expected values in [0, 1], got 2; see normalize_cam"),
    (lambda: wn.initial_labels(MAPS, PIXELS * torch.nan, MULTI_HOT + 1),
     "saliency: expected values in [0, 1], got NaN"),
    (lambda: wn.initial_labels(MAPS, PIXELS, MULTI_HOT + 2),
     "image_labels: expected multi-hot labels, exactly 0 or 1, got 2.0"),
    (lambda: wn.ignore_sparse_labels(INTEGERS, ignore_index=0),
     "ignore_index: expected a value that is no label, got 0: 0 is the background"),
    (lambda: wn.ignore_sparse_labels(INTEGERS, min_object_ratio=3),
     "min_object_ratio: expected a number in [0, 1], got 3"),
    (lambda: wn.pom_refine(INTEGERS + 7, MAPS, MULTI_HOT),
     "labels: expected labels 0 to 2 or 255 (ignored), got 7"),
    (lambda: wn.pom_refine(INTEGERS, MAPS, MULTI_HOT, quartile="third"),  # type: ignore[arg-type]
     "quartile: expected one of 'linear', 'nested-median', got 'third'"),
    (lambda: wn.nsrm_mask(INTEGERS, INTEGERS + 7, MULTI_HOT),
     "pseudo_labels: expected labels 0 to 2 or 255 (ignored), got 7"),
    (lambda: wn.nsrm_mask(INTEGERS, INTEGERS, MULTI_HOT, kernel_size=0),
     "kernel_size: expected an integer of at least 1 or a float in (0, 1), got 0"),
    (lambda: wn.nsrm_mask(INTEGERS, INTEGERS, MULTI_HOT, keep_ignored=1),  # type: ignore[arg-type]
     "keep_ignored: expected a bool, got int 1"),
    (lambda: wn.dilate(PIXELS, 3), "mask: expected a bool or integer tensor, got torch.float32"),
    (lambda: wn.dilate(INTEGERS[0, 0], 3), "mask: expected shape (*, H, W), got (4,)"),
    (lambda: wn.dilate(INTEGERS, 2.5),
     "kernel_size: expected an integer of at least 1 or a float in (0, 1), got 2.5"),
    (lambda: wn.integral_attention_loss(MAPS[0, 0], MAPS),
     "logits: expected shape (*, C, H, W), got (3, 4)"),
    (lambda: wn.integral_attention_loss(MAPS, MAPS[..., :2]),
     "target: expected W = 4, as logits, got W = 2 (shape (1, 2, 3, 2)); resize one of them first "
     "(resize_cam for maps)"),
    (lambda: wn.integral_attention_loss(MAPS, MAPS, reduction="avg"),  # type: ignore[arg-type]
     "reduction: expected one of 'mean', 'sum', 'none', got 'avg'"),
    (lambda: wn.multilabel_soft_margin_loss(MULTI_HOT[:0], MULTI_HOT[:0]),
     "logits: expected at least one image, got shape (0, 2)"),
    (lambda: wn.multi_scale_cam(lambda x: x, MAPS, scales=0.5),  # type: ignore[arg-type,return-value]
     "scales: expected positive factors, at least one, got 0.5"),
    (lambda: wn.multi_scale_cam(lambda x: x, MAPS, scales="12"),  # type: ignore[arg-type,return-value]
     "scales: expected positive factors, at least one, got '12'"),
    (lambda: wn.multi_scale_cam(lambda x: x, MAPS, scales=(1000.5,)),  # type: ignore[return-value,arg-type]
     "scales: expected a number in [0.001, 1000], got 1000.5"),
    (lambda: wn.OACAMAccumulator(5).compute([]),
     "keys: the size of the maps is not known before the first is stored"),
    (lambda: wn.OACAMAccumulator(5).missing(["a"], MAPS),
     "image_labels: expected shape (N, C), got (1, 2, 3, 4)"),
    (lambda: wn.OACAMAccumulator(2).missing(["a"], MULTI_HOT + 2),
     "image_labels: expected multi-hot labels, exactly 0 or 1, got 2.0"),
    (lambda: wn.OACAMAccumulator(2).missing(["a"], MULTI_HOT.to("meta")),
     "image_labels: expected values, got a tensor on the device meta, without any"),
    (lambda: update(cams=MAPS.to("meta")),
     "cams: expected values, got a tensor on the device meta, without any"),
    (lambda: update(cams=PIXELS), "cams: expected shape (N, C, H, W), got (1, 3, 4)"),
    (lambda: update(cams=MAPS.int()), "cams: expected a floating-point tensor, got torch.int32"),
    (lambda: update(image_labels=MAPS), "image_labels: expected shape (N, C), got (1, 2, 3, 4)"),
    (lambda: update(image_labels=torch.zeros(1, 3)),
     "image_labels: expected C = 2, as cams, got C = 3 (shape (1, 3)); maps and image-level labels "
     "have foreground classes only, no background channel"),
    (lambda: update(image_labels=MULTI_HOT.to("meta")),
     "image_labels: expected values, got a tensor on the device meta, without any"),
    (lambda: update(image_labels=MULTI_HOT - 1),
     "image_labels: expected multi-hot labels, exactly 0 or 1, got -1.0"),
    (lambda: update(logits=MULTI_HOT[0]), "logits: expected shape (N, C), got (2,)"),
    (lambda: update(logits=MULTI_HOT.int()),
     "logits: expected a floating-point tensor, got torch.int32"),
    (lambda: update(logits=MULTI_HOT.to("meta")),
     "logits: expected values, got a tensor on the device meta, without any"),
    (lambda: update(image_labels=MULTI_HOT + 1, logits=MULTI_HOT * torch.nan),
     "logits: expected finite values, got 2 that are NaN or infinite"),
    (lambda: update(image_labels=MULTI_HOT + 1, cams=MAPS + torch.inf),
     "cams: expected finite values, got NaN or infinity in 'a'"),
    (lambda: update(force_missing=1), "force_missing: expected a bool, got int 1"),
    (lambda: update(keys="a"), "keys: expected a sequence of strings, got str 'a'"),
    (lambda: update(cams=torch.zeros(1, 3, 3, 4), image_labels=torch.zeros(1, 3),
                    logits=torch.zeros(1, 3)),
     "image_labels: expected C = 2, as num_classes, got 3"),
    (lambda: count(prediction=PIXELS), "prediction: expected an integer tensor, got torch.float32"),
    (lambda: count(prediction=INTEGERS[0, 0]), "prediction: expected shape (*, H, W), got (4,)"),
    (lambda: count(prediction=INTEGERS.to("meta")),
     "prediction: expected values, got a tensor on the device meta, without any"),
    (lambda: count(prediction=INTEGERS + 3),
     "prediction: expected labels 0 to 2 or 255 (ignored), got 3"),
    (lambda: count(target=PIXELS), "target: expected an integer tensor, got torch.float32"),
    (lambda: count(target=INTEGERS[0]),
     "target: expected batch axes (1,), as prediction, got () (shape (3, 4), read as (*, H, W))"),
    (lambda: count(target=INTEGERS.to("meta")),
     "target: expected values, got a tensor on the device meta, without any"),
    (lambda: count(target=INTEGERS + 9), "target: expected labels 0 to 2 or 255 (ignored), got 9"),
    (lambda: count(region=INTEGERS), "region: expected a bool tensor, got torch.uint8"),
    (lambda: count(region=INTEGERS[..., :1].bool()),
     "region: expected W = 4, as prediction, got W = 1 (shape (1, 3, 1)); resize one of them first "
     "(resize_cam for maps)"),
    (lambda: update(keys=["a", "b"]), "keys: expected 1, one an image, got 2"),
    (lambda: second_size(1),
     "cams: expected maps of (3, 4), as those stored before, got (5, 5) for 'k0'; give map_size to "
     "resize all maps to one grid"),
    (lambda: second_size(3),
     "cams: expected maps of (3, 4), as those stored before, got (5, 5) for 'k0', 'k1', 'k2'; give "
     "map_size to resize all maps to one grid"),
    (lambda: second_size(5),
     "cams: expected maps of (3, 4), as those stored before, got (5, 5) for 'k0', 'k1', 'k2' and 2 "
     "more; give map_size to resize all maps to one grid"),
    (lambda: wn.OACAMAccumulator(0), "num_classes: expected an integer of at least 1, got 0"),
    (lambda: wn.GlobalReasoningUnit(4, 4, zero_init=1),  # type: ignore[arg-type]
     "zero_init: expected a bool, got int 1"),
    (lambda: wn.value_checks(1).__enter__(),  # type: ignore[arg-type]
     "enabled: expected a bool, got int 1"),
    (lambda: unknown_keys(4), "keys: no update has seen 'k0', 'k1', 'k2' and 1 more"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[text[:40] for _, text in MESSAGES])
def test_error(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)) as caught:
        call()
    assert caught.value.args[0] == message


def changed(**changes: Any) -> dict[str, Any]:
    return {**accumulated(batches(4), dtype=torch.float32).state_dict(), **changes}


STATES: list[tuple[Callable[[], Any], str]] = [
    (lambda: [1], "state: expected ['classes', 'keys', 'map_size', 'maps', 'num_classes', "
     "'num_maps', 'run_id'], got list"),
    (lambda: {"maps": 1}, "state: expected ['classes', 'keys', 'map_size', 'maps', 'num_classes', "
     "'num_maps', 'run_id'], got ['maps']"),
    (lambda: changed(keys="abc"), "state: keys has the wrong type str"),
    (lambda: changed(keys=["a"] * 8), "state: keys are not distinct strings"),
    (lambda: changed(keys=list(range(8))), "state: keys are not distinct strings"),
    (lambda: changed(map_size=(3,)), "state: map_size is (3,), not two positive integers or None"),
    (lambda: changed(num_maps=changed()["num_maps"].int()),
     "state: num_maps and classes are not int64, one a key and one a map"),
    (lambda: changed(num_maps=changed()["num_maps"] * 0),
     "state: num_maps does not add up to the number of classes"),
    (lambda: changed(num_maps=changed()["num_maps"] + torch.tensor([-9, 9] + [0] * 5)),
     "state: num_maps does not add up to the number of classes"),
    (lambda: changed(classes=changed()["classes"].clamp(max=4).masked_fill(
        changed()["classes"] == changed()["classes"].max(), 5)),
     "state: classes are not all in 0..4"),
    (lambda: changed(classes=changed()["classes"] * 0), "state: a key has two maps of one class"),
    (lambda: changed(maps=changed()["maps"] * 1.5), "state: maps have NaN or leave [0, 1]"),
    (lambda: changed(maps=changed()["maps"] - 0.1), "state: maps have NaN or leave [0, 1]"),
    (lambda: changed(maps=changed()["maps"] * torch.nan), "state: maps have NaN or leave [0, 1]"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "message"), STATES, ids=[str(i) for i in range(len(STATES))])
def test_states(state: Callable[[], Any], message: str) -> None:
    accumulator = accumulated(batches(4), dtype=torch.float32)
    with pytest.raises(ValueError, match="^state: ") as caught:
        accumulator.load_state_dict(state())
    assert str(caught.value) == message


def test_classes_of_two_keys_may_be_the_same() -> None:
    """What is not allowed twice is a class of one key."""
    state = changed(
        keys=["a", "b"],
        num_maps=torch.tensor([2, 2]),
        classes=torch.tensor([0, 4, 4, 0]),
        maps=torch.rand(4, 3, 4),
    )
    accumulator = wn.OACAMAccumulator(5, dtype=torch.float32)
    accumulator.load_state_dict(state)
    assert torch.equal(accumulator.compute(["b"])[0, 4], state["maps"][2])


def _npy(array: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


CLASSES = np.zeros(1, np.int64)
FILES: list[tuple[dict[str, bytes], str]] = [
    ({"header.json": json.dumps({"format": "another 1"}).encode()},
     "ValueError: its format is 'another 1', not 'wsss_nonsalient.OACAMAccumulator 1'"),
    ({"classes.npy": _npy(CLASSES, (2, 0))}, "ValueError: classes has npy version (2, 0)"),
    ({"classes.npy": _npy(CLASSES.astype(">i8"))},
     "ValueError: classes has dtype >i8 or column order"),
    ({"classes.npy": _npy(CLASSES.astype(np.float64))},
     "ValueError: classes has dtype float64 or column order"),
    ({"maps.npy": _npy(np.asfortranarray(np.zeros((1, 2, 3), np.uint8)))},
     "ValueError: maps has dtype uint8 or column order"),
    ({"classes.npy": _npy(CLASSES)[:-1]}, "ValueError: classes has shape (1,), but 7 bytes"),
    ({"classes.npy": b"compressed"}, "ValueError: classes.npy is compressed"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "message"), FILES, ids=[text[12:50] for _, text in FILES])
def test_files(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    ones = torch.ones(1, 1)
    accumulator = wn.OACAMAccumulator(1)
    accumulator.update(["a"], torch.ones(1, 1, 2, 3), ones, ones)
    accumulator.save(tmp_path / "good")
    with (
        zipfile.ZipFile(tmp_path / "good") as good,
        zipfile.ZipFile(tmp_path / "bad", "w") as bad,
    ):
        for name in good.namelist():
            data = members.get(name, good.read(name))
            kind = zipfile.ZIP_DEFLATED if data == b"compressed" else zipfile.ZIP_STORED
            bad.writestr(name, data, kind)
    with pytest.raises(ValueError, match="^/") as caught:
        accumulator.load(tmp_path / "bad")
    assert str(caught.value) == (
        f"{tmp_path / 'bad'}: expected a file of OACAMAccumulator.save, got something else or a "
        f"damaged one ({message})"
    )
