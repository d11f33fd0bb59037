"""The console script over small folders that plain NumPy and Pillow write."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import wsss_nonsalient
from tests.conftest import DATA, golden
from tests.reference import Array
from wsss_nonsalient import (
    SegmentationScore,
    ignore_sparse_labels,
    initial_labels,
    normalize_cam,
    nsrm_mask,
    pom_refine,
    resize_cam,
)
from wsss_nonsalient.cli import main

SIZE = (12, 17)
COMMANDS = ("labels", "mask", "score", "convert", "inspect")


class Folders:
    """A small data set: what is in the files, and the files."""

    def __init__(
        self, root: Path, *, images: int = 4, num_classes: int = 20, map_size: Any = SIZE
    ) -> None:
        self.root, self.num_classes = root, num_classes
        random = np.random.default_rng(0)
        self.maps: dict[str, dict[int, Array]] = {}
        self.saliency: dict[str, Array] = {}
        self.predictions: dict[str, Array] = {}
        for k in range(images):
            name = f"2007_{k:06d}"
            classes = np.sort(random.choice(num_classes, 1 + k % 3, replace=False))
            self.maps[name] = {int(c): _blob(random, map_size) for c in classes}
            self.saliency[name] = _blob(random, SIZE)
            wide = np.uint8 if num_classes <= 254 else np.uint16
            labels = [0, *(classes + 1)]
            self.predictions[name] = random.choice(labels, SIZE).astype(wide)

    def write(self, *formats: str) -> Folders:
        for name, writer in WRITERS.items():
            if name in formats:
                (self.root / name).mkdir()
                for image_id, maps in self.maps.items():
                    writer(self.root / name, image_id, maps)
        for name, images in (("saliency", self.saliency), ("predictions", self.predictions)):
            (self.root / name).mkdir()
            for image_id, image in images.items():
                Image.fromarray(image).save(self.root / name / f"{image_id}.png")
        self.write_image_labels()
        return self

    def write_image_labels(self) -> None:
        lines = (" ".join([i, *map(str, maps)]) for i, maps in self.maps.items())
        (self.root / "cls.txt").write_text("\n".join(lines) + "\n")

    def labels(self, cams: str, out: str, *options: str) -> list[str]:
        """Arguments of the labels command."""
        arguments = {"cams": cams, "saliency": "saliency", "image-labels": "cls.txt", "out": out}
        paths = [f"--{name}={self.root / path}" for name, path in arguments.items()]
        return ["labels", *paths, f"--cam-format={cams}", *options]

    def mask(self, out: str, *options: str) -> list[str]:
        arguments = {"predictions": "predictions", "pseudo-labels": "labels", "out": out}
        paths = [f"--{name}={self.root / path}" for name, path in arguments.items()]
        return ["mask", *paths, f"--image-labels={self.root / 'cls.txt'}", *options]

    def read(self, out: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.root / out).glob("*.png"))}

    def label(self, out: str, image_id: str) -> Array:
        return read_png(self.root / out / f"{image_id}.png")

    def dense(self, image_id: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All C maps, saliency and image-level labels, as the label functions take them."""
        maps = self.maps[image_id]
        size = next(iter(maps.values()), np.zeros(SIZE)).shape
        cam = torch.zeros(self.num_classes, *size, dtype=torch.uint8)
        present = torch.zeros(self.num_classes)
        for c, own in maps.items():
            cam[c], present[c] = torch.from_numpy(own), 1
        return cam, torch.from_numpy(self.saliency[image_id]), present


def _blob(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """An object with noise around it, in 8 bits, that seldom reaches 0 and 255."""
    y, x = np.mgrid[: size[0], : size[1]]
    centre, radius = random.uniform(0.2, 0.8, 2) * size, random.uniform(2, 8)
    distance = np.hypot(y - centre[0], x - centre[1])
    values = 250 * np.exp(-((distance / radius) ** 2)) + random.integers(0, 30, size)
    blob: Array = np.clip(values, 0, 255).astype(np.uint8)
    return blob


def read_png(path: Path) -> Array:
    with Image.open(path) as image:
        return np.array(image)


def _write_nsrom(folder: Path, image_id: str, maps: dict[int, Array]) -> None:
    for c, own in maps.items():
        Image.fromarray(own).save(folder / f"{image_id}_{c}.png")


def _write_psa(folder: Path, image_id: str, maps: dict[int, Array]) -> None:
    dump = {c: own.astype(np.float32) / np.float32(255) for c, own in maps.items()}
    np.save(folder / f"{image_id}.npy", np.array(dump, dtype=object))


def _write_irn(folder: Path, image_id: str, maps: dict[int, Array]) -> None:
    high_res = np.stack(list(maps.values())).astype(np.float32) / np.float32(255)
    dump = {
        "keys": torch.tensor(list(maps)),
        "cam": torch.from_numpy(high_res[:, ::4, ::4].copy()),
        "high_res": high_res,
    }
    np.save(folder / f"{image_id}.npy", np.array(dump, dtype=object))


WRITERS: dict[str, Callable[[Path, str, dict[int, Array]], None]] = {
    "nsrom": _write_nsrom,
    "psa": _write_psa,
    "irn": _write_irn,
}


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path).write(*WRITERS)


def run(*argv: str) -> int:
    """Exit code of a command line, as a shell sees it."""
    try:
        return main(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1


def library_label(
    folders: Folders,
    image_id: str,
    *,
    mode: Any = "minmax",
    pom: bool = True,
    ignore_index: int = 255,
    ratio: float = 0.01,
    quartile: Any = "linear",
    **thresholds: float,
) -> Array:
    """The same through the library's functions on all C maps."""
    cam, saliency, present = folders.dense(image_id)
    if mode != "none":
        cam = normalize_cam(cam, mode=mode)
    if cam.shape[-2:] != saliency.shape:
        cam = resize_cam(cam, saliency.shape)
    dtype = torch.uint8 if ignore_index == 255 else torch.int32
    labels = initial_labels(
        cam, saliency, present, dtype=dtype, ignore_index=ignore_index, **thresholds
    )
    if pom:
        labels = pom_refine(labels, cam, present, quartile=quartile, ignore_index=ignore_index)
    labels = ignore_sparse_labels(labels, min_object_ratio=ratio, ignore_index=ignore_index)
    result: Array = labels.numpy()
    return result


# labels


@pytest.mark.parametrize("cams", WRITERS)
def test_labels_are_those_of_the_library_on_all_classes(folders: Folders, cams: str) -> None:
    assert run(*folders.labels(cams, "out", "--num-classes=20")) == 0
    assert len(folders.read("out")) == len(folders.maps)
    seen = set()
    for image_id in folders.maps:
        label = folders.label("out", image_id)
        np.testing.assert_array_equal(label, library_label(folders, image_id))
        seen |= set(np.unique(label))
    assert {0, 255} < seen, "labels are too plain to test anything"


@pytest.mark.parametrize("options", [(), ("--normalize=max",), ("--normalize=none",)])
def test_one_label_from_every_format(folders: Folders, options: tuple[str, ...]) -> None:
    for cams in WRITERS:
        assert run(*folders.labels(cams, f"out_{cams}", *options)) == 0
    one, *others = (folders.read(f"out_{cams}") for cams in WRITERS)
    assert one
    assert all(other == one for other in others)


def test_labels_and_masks_of_the_released_implementation(tmp_path: Path) -> None:
    for name in ("cams", "oa_cams", "saliency", "predictions"):
        (tmp_path / name).mkdir()
    cases = {path.stem: golden(f"labels/{path.name}") for path in DATA.glob("labels/*.npz")}
    image_labels = ""
    for image_id, case in cases.items():
        classes = case["classes"].tolist()
        image_labels += " ".join([image_id, *map(str, classes)]) + "\n"
        for name, maps in (("cams", case["cam"]), ("oa_cams", case["oa_cam"])):
            own = dict(zip(classes, maps.numpy(), strict=True))
            _write_nsrom(tmp_path / name, image_id, own)
        for name, image in (("saliency", "saliency"), ("predictions", "prediction")):
            Image.fromarray(case[image].numpy()).save(tmp_path / name / f"{image_id}.png")
    (tmp_path / "cls.txt").write_text(image_labels)
    common = [f"--image-labels={tmp_path}/cls.txt", f"--saliency={tmp_path}/saliency"]
    common += ["--num-classes=20"]
    cams = (f"--cams={tmp_path}/cams", f"--oa-cams={tmp_path}/oa_cams", "--cam-format=nsrom")
    released = ("--quartile=nested-median", "--oa-cam-format=nsrom")
    labels = f"{tmp_path}/labels"
    assert run("labels", *cams, *released, f"--out={labels}", *common) == 0
    assert run("labels", *cams, *released, f"--out={tmp_path}/initial", "--no-pom", *common) == 0
    given = (f"--predictions={tmp_path}/predictions", f"--pseudo-labels={labels}")
    assert run("mask", *given, f"--out={tmp_path}/masked", *common) == 0
    for image_id, case in cases.items():
        for name, folder in (("initial", "initial"), ("refined", "labels"), ("masked", "masked")):
            label = read_png(tmp_path / folder / f"{image_id}.png")
            np.testing.assert_array_equal(label, case[name].numpy(), err_msg=f"{image_id} {name}")


def test_a_thousand_classes(tmp_path: Path) -> None:
    folders = Folders(tmp_path, num_classes=1000).write("psa")
    assert run(*folders.labels("psa", "labels", "--num-classes=1000")) == 0
    for image_id in folders.maps:
        label = folders.label("labels", image_id)
        expected = library_label(folders, image_id, ignore_index=65535)
        np.testing.assert_array_equal(label.astype(np.int32), expected)
    assert run(*folders.mask("masked", "--num-classes=1000", "--kernel-size=3")) == 0
    argv = ["score", f"--predictions={tmp_path}/masked", f"--targets={tmp_path}/predictions"]
    assert run(*argv, "--num-classes=1001") == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--normalize=max",), {"mode": "max"}),
        (("--normalize=none",), {"mode": "none"}),
        (("--no-pom",), {"pom": False}),
        (("--quartile=nested-median",), {"quartile": "nested-median"}),
        (("--sparse-ratio=0.5",), {"ratio": 0.5}),
        (("--sparse-ratio=0",), {"ratio": 0.0}),
        (("--fg-threshold=0.6",), {"fg_threshold": 0.6}),
        (("--conflict-threshold=1/2",), {"conflict_threshold": 0.5}),
        (("--attention-threshold=0.1",), {"attention_threshold": 0.1}),
        (("--saliency-threshold=64/255",), {"saliency_threshold": 64 / 255}),
    ],
)
def test_options_reach_the_library(
    folders: Folders, options: tuple[str, ...], expected: dict[str, Any]
) -> None:
    assert run(*folders.labels("psa", "out", *options)) == 0
    for image_id in folders.maps:
        label = folders.label("out", image_id)
        np.testing.assert_array_equal(label, library_label(folders, image_id, **expected))


@pytest.mark.parametrize("cams", WRITERS)
def test_maps_of_another_size_are_resized(tmp_path: Path, cams: str) -> None:
    folders = Folders(tmp_path, map_size=(5, 7)).write(cams)
    assert run(*folders.labels(cams, "out")) == 0
    for image_id in folders.maps:
        label = folders.label("out", image_id)
        np.testing.assert_array_equal(label, library_label(folders, image_id))


def test_an_image_without_any_class_needs_no_dump(folders: Folders) -> None:
    folders.maps = {"2007_000000": {}}
    (folders.root / "irn" / "2007_000000.npy").unlink()
    folders.write_image_labels()
    assert run(*folders.labels("irn", "out", "--sparse-ratio=0")) == 0
    expected = library_label(folders, "2007_000000", ratio=0.0)
    np.testing.assert_array_equal(folders.label("out", "2007_000000"), expected)
    assert set(np.unique(expected)) == {0, 255}


def test_a_missing_map_fails_or_is_zero(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    image_id = "2007_000001"
    lost = max(folders.maps[image_id])
    (folders.root / "nsrom" / f"{image_id}_{lost}.png").unlink()
    assert run(*folders.labels("nsrom", "out")) == 1
    assert f"{image_id}: no CAM of class {lost}" in capsys.readouterr().err
    assert run(*folders.labels("nsrom", "out2", "--missing-maps=zero")) == 0
    folders.maps[image_id][lost] = np.zeros(SIZE, np.uint8)
    expected = library_label(folders, image_id)
    np.testing.assert_array_equal(folders.label("out2", image_id), expected)


def test_a_dump_without_any_map_is_zeros_if_so_asked(folders: Folders) -> None:
    empty = np.array({}, dtype=object)
    np.save(folders.root / "psa" / "2007_000000.npy", empty)
    assert run(*folders.labels("psa", "out")) == 1
    assert run(*folders.labels("psa", "out2", "--missing-maps=zero", "--sparse-ratio=0")) == 0
    folders.maps["2007_000000"] = {c: np.zeros(SIZE, np.uint8) for c in folders.maps["2007_000000"]}
    expected = library_label(folders, "2007_000000", ratio=0.0)
    np.testing.assert_array_equal(folders.label("out2", "2007_000000"), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_maps_that_never_had_8_bits(folders: Folders, dtype: str) -> None:
    maps = np.random.default_rng(1).normal(size=SIZE).astype(dtype)  # some are below 0
    [c] = folders.maps["2007_000000"]
    np.save(folders.root / "psa" / "2007_000000.npy", np.array({c: maps}, dtype=object))
    assert run(*folders.labels("psa", "out", "--normalize=max", "--sparse-ratio=0")) == 0
    cam = normalize_cam(torch.from_numpy(maps.astype(np.float32))[None])
    saliency, present = torch.from_numpy(folders.saliency["2007_000000"]), torch.ones(1)
    expected = pom_refine(initial_labels(cam, saliency, present), cam, present).numpy()
    expected[expected == 1] = c + 1
    np.testing.assert_array_equal(folders.label("out", "2007_000000"), expected)
    assert run(*folders.labels("psa", "out2", "--normalize=none")) == 1


def test_classes_that_the_image_does_not_have_are_not_looked_at(folders: Folders) -> None:
    image_id = "2007_000002"
    folders.maps[image_id].pop(max(folders.maps[image_id]))
    folders.write_image_labels()
    assert run(*folders.labels("irn", "out")) == 0
    expected = library_label(folders, image_id)
    np.testing.assert_array_equal(folders.label("out", image_id), expected)


def test_image_labels_as_an_array_take_their_ids_from_the_list(folders: Folders) -> None:
    assert run(*folders.labels("irn", "text", "--num-classes=20")) == 0
    ids = sorted(folders.maps)[::-1]
    vectors = np.zeros((len(ids), 20), np.float32)
    for row, image_id in zip(vectors, ids, strict=True):
        row[list(folders.maps[image_id])] = 1
    np.save(folders.root / "cls_labels.npy", vectors)
    (folders.root / "ids.txt").write_text("\n".join(ids))
    array = f"--image-labels={folders.root}/cls_labels.npy"
    assert run(*folders.labels("irn", "array", array, "--num-classes=20")) == 2
    given = (array, "--num-classes=20", f"--list={folders.root}/ids.txt")
    assert run(*folders.labels("irn", "array", *given)) == 0
    assert folders.read("array") == folders.read("text")


def test_a_list_chooses_images(folders: Folders) -> None:
    (folders.root / "ids.txt").write_bytes(b"2007_000003\r\n2007_000001")
    assert run(*folders.labels("irn", "out", f"--list={folders.root}/ids.txt")) == 0
    assert set(folders.read("out")) == {"2007_000001.png", "2007_000003.png"}
    assert run(*folders.labels("irn", "out")) == 0
    assert len(folders.read("out")) == 4


# mask, score, convert, inspect


@pytest.mark.parametrize("with_saliency", [False, True])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {}),
        (("--kernel-size=3",), {"kernel_size": 3}),
        (("--kernel-size=4", "--min-classes=0"), {"kernel_size": 4, "min_classes": 0}),
        (("--kernel-size=3", "--keep-ignored"), {"kernel_size": 3, "keep_ignored": True}),
        (
            ("--kernel-size=3", "--restrict-to-image-labels"),
            {"kernel_size": 3, "restrict_to_image_labels": True},
        ),
    ],
)
def test_mask_is_that_of_the_library(
    folders: Folders, options: tuple[str, ...], expected: dict[str, Any], with_saliency: bool
) -> None:
    assert run(*folders.labels("psa", "labels")) == 0
    if with_saliency:
        options = (*options, f"--saliency={folders.root}/saliency")
    assert run(*folders.mask("out", "--num-classes=20", *options)) == 0
    for image_id in folders.maps:
        _, saliency, present = folders.dense(image_id)
        masked = nsrm_mask(
            torch.from_numpy(folders.predictions[image_id]),
            torch.from_numpy(folders.label("labels", image_id)),
            present,
            saliency=saliency if with_saliency else None,
            **expected,
        )
        wanted = ignore_sparse_labels(masked).numpy()
        np.testing.assert_array_equal(folders.label("out", image_id), wanted)


@pytest.mark.parametrize("ignored", ["leave-out", "wrong"])
def test_score_is_that_of_the_library(
    folders: Folders, ignored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*folders.labels("psa", "labels")) == 0
    capsys.readouterr()
    root = folders.root
    argv = ["score", f"--predictions={root}/labels", f"--targets={root}/predictions"]
    argv += [f"--saliency={root}/saliency", f"--ignored={ignored}", "--num-classes=21"]
    assert run(*argv, f"--json={root}/scores.json") == 0
    scores = json.loads((root / "scores.json").read_text())
    table = capsys.readouterr().out
    whole, region = SegmentationScore(21), SegmentationScore(21)
    for image_id, target in folders.predictions.items():
        prediction = torch.from_numpy(folders.label("labels", image_id))
        whole.update(prediction, torch.from_numpy(target))
        where = torch.from_numpy(folders.saliency[image_id]) < 32
        region.update(prediction, torch.from_numpy(target), region=where)
    for name, score in (("all", whole), ("non_salient", region)):
        results = score.compute()
        mean_iou = results.mean_iou if ignored == "leave-out" else results.mean_iou_strict
        own = scores[name]
        assert own["mean_iou"] == mean_iou
        iou = [value for value in own["per_class_iou"] if value is not None]
        assert np.isclose(np.mean(iou), mean_iou)
        for field in ("missed", "objects_ignored", "confused", "false_objects", "ignored"):
            assert own[field] == getattr(results, field), field
        assert f"{100 * mean_iou:.2f}" in table
    assert scores["images"] == len(folders.maps)
    assert scores["ignored"] == ignored
    assert "aeroplane" in table or "bicycle" in table
    assert len({len(line) for line in table.splitlines()[2:]}) == 1, "columns are not aligned"


def test_convert_there_and_back(folders: Folders) -> None:
    root, steps = folders.root, ("nsrom", "npz", "irn", "psa", "puzzlecam", "npz", "nsrom")
    folder = root / "nsrom"
    for k, (source, to) in enumerate(itertools.pairwise(steps)):
        out = root / f"step{k}"
        argv = ["convert", f"--cams={folder}", f"--cam-format={source}"]
        assert run(*argv, f"--to={to}", f"--out={out}") == 0
        folder = out
    names = sorted(path.name for path in (root / "nsrom").iterdir())
    assert sorted(path.name for path in folder.glob("*.png")) == names
    for name in names:
        np.testing.assert_array_equal(read_png(folder / name), read_png(root / "nsrom" / name))


def test_convert_resumes_and_refuses_what_wsol_cannot_hold(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders.root
    argv = ["convert", f"--cams={root}/irn", "--cam-format=irn", "--to=npz", f"--out={root}/out"]
    assert run(*argv) == 0
    assert "4 images: 4 written to" in capsys.readouterr().out
    assert run(*argv) == 0
    assert "0 written" in capsys.readouterr().out
    argv = ["convert", f"--cams={root}/irn", "--cam-format=irn", "--to=wsol", f"--out={root}/wsol"]
    assert run(*argv) == 1
    assert "2 of 4 images failed" in capsys.readouterr().err
    argv = ["convert", f"--cams={root}/wsol", "--cam-format=wsol", "--to=npz", f"--out={root}/back"]
    assert run(*argv) == 2
    assert "--image-labels: needed" in capsys.readouterr().err
    assert run(*argv, f"--image-labels={root}/cls.txt") == 0
    assert len(list((root / "back").glob("*.npz"))) == 2


def test_inspect_says_what_is_there_and_what_lacks(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders.root
    assert run(*folders.labels("psa", "labels")) == 0
    (root / "saliency" / "2007_000003.png").unlink()
    (root / "list.txt").write_text("2007_000000\n2007_000001\n")
    (root / "broken.npy").write_bytes(b"nothing")
    capsys.readouterr()
    names = ("cls.txt", "irn", "nsrom", "saliency", "labels", "list.txt")
    files = ("irn/2007_000000.npy", "saliency/2007_000000.png", "labels/2007_000000.png")
    assert run("inspect", *(f"{root}/{name}" for name in (*names, *files))) == 0
    out = capsys.readouterr().out
    for text in (
        "cls.txt: image-level labels",
        "4 images, 2 of two or more classes, 0 of none",
        "irn: CAM dumps, format irn",
        "nsrom: CAM dumps, format nsrom",
        "saliency: label maps or saliency maps (gray)",
        "labels: label maps\n",
        "list.txt: list of ids",
        "17 x 12 pixels",
        "of 4 ids in",
        "saliency lacks 1: 2007_000003",
        "list.txt lacks 2: 2007_000002, 2007_000003",
        "irn has all",
        "2007_000000.npy: CAM dump",
    ):
        assert text in out
    assert run("inspect", f"{root}/broken.npy", f"{root}/irn") == 1
    captured = capsys.readouterr()
    assert "broken.npy" in captured.err
    assert "format irn" in captured.out


def test_inspect_of_the_other_kinds(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders.root
    for name in ("wsol", "xml", "empty", "pictures"):
        (root / name).mkdir()
    np.save(root / "wsol" / "a.npy", np.zeros(SIZE, np.float32))
    objects = "<object><name>cat</name><bndbox/></object>"
    (root / "xml" / "a.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "a.json").write_text('{"a": [3, 4, 5, 9], "b": []}')
    (root / "b.json").write_text("[]")
    np.save(root / "cls_labels.npy", np.array({"a": np.eye(20)[2]}, dtype=object))
    (root / "pictures" / "a.jpg").write_bytes(b"")
    assert run("convert", f"--cams={root}/irn", "--to=npz", f"--out={root}/npz") == 0
    capsys.readouterr()
    names = ("wsol", "xml", "a.json", "cls_labels.npy", "npz", "npz/2007_000000.npz")
    assert run("inspect", "--samples=2", *(f"{root}/{name}" for name in names)) == 0
    out = capsys.readouterr().out
    for text in (
        "wsol: CAM dumps, format wsol",
        "xml: image-level labels",
        "classes 7\n",
        "classes 3-5, 9\n",
        "2 images, 1 of two or more classes, 1 of none",
        "cls_labels.npy: image-level labels",
        "npz: CAM dumps, format npz",
        "(2 images read)",
        "2007_000000.npz: CAM dump\n",
    ):
        assert text in out
    assert run("inspect", *(f"{root}/{name}" for name in ("empty", "pictures", "b.json"))) == 1
    errors = capsys.readouterr().err
    assert "empty\n  not a folder that this program reads: empty" in errors
    assert "1 .jpg" in errors
    assert "b.json: expected a JSON object" in errors


# exit codes, failures, resuming


def test_bad_use_is_exit_code_2_and_says_why(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders.root
    (root / "ids.txt").write_text("2007_000000\nnever_seen\n")
    (root / "empty.txt").write_text("")
    labels = folders.labels("psa", "out")
    (root / "labels").mkdir()
    convert = ("convert", f"--cams={root}/irn", "--cam-format=irn")
    cases = {
        (): "COMMAND",
        ("labels",): "--cams",
        ("paint",): "paint",
        ("inspect",): "PATH",
        ("inspect", f"{root}/nowhere"): "nowhere does not exist",
        (*labels, "--fg-threshold=1.5"): r"expected a number in [0, 1] or a/b, got '1.5'",
        (*labels, "--jobs=0"): "--jobs",
        (*labels, "--num-classes=1"): "is out of range for --num-classes 1",
        (*labels, f"--list={root}/ids.txt"): "1 of 2 ids are not in",
        (*labels, f"--list={root}/empty.txt"): "empty.txt",
        (*labels, "--ignore-index=3"): "--ignore-index 3 is a label",
        (*labels, "--ignore-index=256"): "8 bits",
        (*labels, f"--saliency={root}/nowhere"): "nowhere is not a folder",
        (*labels, "--oa-cam-format=irn"): "there is no --oa-cams",
        (*labels, f"--image-labels={root}/nowhere"): "nowhere does not exist",
        (*labels, f"--image-labels={root}/psa/2007_000000.npy"): "2007_000000.npy",
        (*labels, "--cam-format=auto", f"--cams={root}/saliency"): "say it with --cam-format",
        (*folders.mask("predictions"), f"--pseudo-labels={root}/saliency"): "--out",
        (*labels, f"--out={root}/saliency", "--overwrite"): "is the folder of --saliency",
        (*labels, f"--out={root}/predictions"): "has 2007_000000.png and no record",
        (*convert, "--to=nsrom", f"--out={root}/saliency"): "has 2007_000000.png and no record",
        (*convert, "--to=npz", f"--out={root}/psa/../irn"): "is the folder of --cams",
        (*folders.mask("out"), "--min-classes=-1"): "of at least 0",
        (*labels, "--fg-threshold=1/0"): "expected a number in [0, 1] or a/b, got '1/0'",
        ("score", f"--predictions={root}", f"--targets={root}", "--num-classes=21"): "no image",
        (
            "score",
            f"--predictions={root}/saliency",
            f"--targets={root}",
            "--num-classes=21",
            f"--json={root}/nowhere/a.json",
        ): "nowhere is not a folder",
    }
    inputs = folders.read("saliency") | folders.read("predictions")
    for argv, message in cases.items():
        assert run(*argv) == 2, argv
        captured = capsys.readouterr()
        assert "error:" in captured.err
        assert message in captured.err
        assert captured.out == ""
    assert folders.read("saliency") | folders.read("predictions") == inputs
    assert not (root / "out").exists()
    assert run(*folders.labels("psa", "cls.txt/out")) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_a_corrupt_image_does_not_stop_the_others(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders.root
    (root / "psa" / "2007_000001.npy").write_bytes(b"\x93NUMPY nothing of this")
    (root / "saliency" / "2007_000002.png").unlink()
    assert run(*folders.labels("psa", "out")) == 1
    captured = capsys.readouterr()
    assert "4 images: 2 written to" in captured.out
    assert "2 failed" in captured.out
    assert "2 of 4 images failed:" in captured.err
    assert f"2007_000001: {root}/psa/2007_000001.npy: " in captured.err
    assert f"2007_000002: {root}/saliency/2007_000002.png: No such file" in captured.err
    assert set(folders.read("out")) == {"2007_000000.png", "2007_000003.png"}


def test_what_is_there_is_skipped_unless_overwritten(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = folders.labels("psa", "out")
    assert run(*labels) == 0
    before = folders.read("out")
    kept, lost = folders.root / "out/2007_000000.png", folders.root / "out/2007_000001.png"
    kept.write_bytes(b"mine")
    lost.unlink()
    capsys.readouterr()
    assert run(*labels) == 0
    assert "4 images: 1 written" in capsys.readouterr().out
    assert kept.read_bytes() == b"mine"
    assert lost.read_bytes() == before[lost.name]
    assert run(*labels, "--overwrite") == 0
    assert folders.read("out") == before


def test_a_folder_of_other_options_is_not_gone_on_with(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = folders.labels("psa", "out")
    assert run(*labels) == 0
    before = folders.read("out")
    assert run(*labels, "--fg-threshold=0.9") == 2
    assert "fg_threshold: 0.3 there, 0.9 now" in capsys.readouterr().err
    assert folders.read("out") == before
    assert run(*labels, "--fg-threshold=0.9", "--overwrite") == 0
    assert folders.read("out") != before


def test_dry_run_finds_everything_and_writes_nothing(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders.root
    labels = folders.labels("irn", "out", "--dry-run")
    assert run(*labels) == 0
    assert "4 images: 4 checked, nothing written" in capsys.readouterr().out
    (root / "irn" / "2007_000000.npy").unlink()
    (root / "saliency" / "2007_000001.png").write_bytes(b"")
    assert run(*labels) == 1
    errors = capsys.readouterr().err
    assert "2007_000000: " in errors
    assert "2007_000001: " in errors
    assert not (root / "out").exists()

    assert run(*folders.labels("psa", "labels", "--no-pom")) == 1
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(root / "predictions" / "2007_000002.png")
    capsys.readouterr()
    assert run(*folders.mask("masked", "--dry-run")) == 1
    errors = capsys.readouterr().err
    assert "2007_000002: " in errors
    assert "expected H = 3" in errors
    assert not (root / "masked").exists()


def test_a_long_list_of_failures_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = Folders(tmp_path, images=60).write("psa")
    for path in (tmp_path / "saliency").iterdir():
        path.unlink()
    assert run(*folders.labels("psa", "out")) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[1] == "60 of 60 images failed:"
    assert len(errors) == 53
    assert errors[-1] == "  and 10 more"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from here"),
        (BrokenExecutor("it died"), 1, "it died\nthe same command goes on from here"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_what_ends_a_run_early(
    folders: Folders,
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("wsss_nonsalient.cli._outputs.outcomes", fail)
    assert run(*folders.labels("psa", "out")) == code
    assert message in capsys.readouterr().err


def test_a_terminal_gets_a_progress_bar(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(*folders.labels("psa", "one")) == 0
    assert "4/4" in capsys.readouterr().err
    assert run(*folders.labels("psa", "two", "--quiet")) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert run(*folders.labels("psa", "three")) == 0
    assert "no progress bar: tqdm is not installed" in capsys.readouterr().err


# processes


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "wsss_nonsalient", *argv]


def environment() -> dict[str, str]:
    package = Path(wsss_nonsalient.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("argv", [("--version",), *((name, "--help") for name in COMMANDS)])
def test_version_and_help(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*argv) == 0
    out = capsys.readouterr().out
    if argv == ("--version",):
        assert out == f"wsss-nonsalient {wsss_nonsalient.__version__}\n"
    else:
        assert "example" in out
        assert all(len(line) <= 100 for line in out.splitlines())


def test_python_m_is_the_same_program() -> None:
    result = subprocess.run(
        command("--version"), capture_output=True, text=True, check=True, env=environment()
    )
    assert result.stdout == f"wsss-nonsalient {wsss_nonsalient.__version__}\n"
    result = subprocess.run(
        command("labels", "--cams", "nowhere"), capture_output=True, text=True, env=environment()
    )
    assert result.returncode == 2


@pytest.mark.parametrize(("delay", "jobs"), [(0.0, 1), (0.1, 1), (0.05, 2)])
def test_killed_and_started_again(tmp_path: Path, delay: float, jobs: int) -> None:
    pytest.importorskip("joblib")
    folders = Folders(tmp_path, images=300).write("psa")
    assert run(*folders.labels("psa", "whole")) == 0
    argv = command(*folders.labels("psa", "out", f"--jobs={jobs}"))
    process = subprocess.Popen(argv, env=environment())
    deadline = time.monotonic() + 60
    while not folders.read("out") and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    assert 0 < len(folders.read("out")) < 300
    assert run(*folders.labels("psa", "out")) == 0
    assert folders.read("out") == folders.read("whole")


def test_two_processes_give_what_one_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("joblib")
    folders = Folders(tmp_path, images=12).write("irn")
    (tmp_path / "irn" / "2007_000005.npy").write_bytes(b"")
    assert run(*folders.labels("irn", "one")) == 1
    one = capsys.readouterr()
    assert run(*folders.labels("irn", "two", "--jobs=2")) == 1
    two = capsys.readouterr()
    assert two.err == one.err
    assert folders.read("two") == folders.read("one")
    argv = ["score", f"--predictions={tmp_path}/one", f"--targets={tmp_path}/predictions"]
    assert run(*argv, "--num-classes=21") == 0
    scores = capsys.readouterr().out
    assert run(*argv, "--num-classes=21", "--jobs=2") == 0
    assert capsys.readouterr().out == scores


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as started:
        yield started.scheduler_address


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_gives_what_one_process_gives(
    tmp_path: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = Folders(tmp_path, images=12).write("psa")
    (tmp_path / "saliency" / "2007_000007.png").write_bytes(b"")
    assert run(*folders.labels("psa", "one")) == 1
    one = capsys.readouterr()
    assert run(*folders.labels("psa", "dask", f"--dask={cluster}")) == 1
    dask = capsys.readouterr()
    assert dask.err == one.err
    assert folders.read("dask") == folders.read("one")


@pytest.mark.parametrize(
    ("module", "option"), [("joblib", "--jobs=2"), ("distributed", "--dask=x")]
)
def test_a_missing_package_is_named(
    folders: Folders,
    module: str,
    option: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setitem(sys.modules, module, None)
    assert run(*folders.labels("psa", "out", option)) == 2
    assert f"{module} is not installed; pip install" in capsys.readouterr().err
    assert run(*folders.labels("psa", "out")) == 0
