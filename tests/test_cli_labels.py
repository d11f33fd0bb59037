"""``wsss-nonsalient labels`` against the library's functions on all classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import DATA, golden
from wsss_nonsalient import (
    initial_labels,
    normalize_cam,
    pom_refine,
)

from .cli_folders import SIZE, WRITERS, Folders, library_label, read_png, run


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
            WRITERS["nsrom"](tmp_path / name, image_id, own)
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
    folders.maps["2007_000000"] = {}
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
