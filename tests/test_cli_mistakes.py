"""What a user may get wrong on the command line, and the one line that says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .cli_folders import SIZE, WRITERS, Folders, run

Mistake = Callable[[Folders], Sequence[str]]


def with_files(folders: Folders, **files: bytes) -> Folders:
    for name, content in files.items():
        (folders.root / name).write_bytes(content)
    return folders


def options(folders: Folders, *pairs: str) -> list[str]:
    """Options of paths below the folders' root."""
    return [f"--{name}={folders.root / path}" for name, path in zip(pairs[::2], pairs[1::2])]  # noqa: B905


def score(folders: Folders, *pairs: str) -> list[str]:
    return ["score", "--num-classes=21", *options(folders, *pairs)]


MISTAKES: dict[str, tuple[Mistake, str]] = {
    "CAMs and saliency swapped": (
        lambda f: f.labels("psa", "out", *options(f, "cams", "saliency", "saliency", "psa")),
        "--cams: {root}/saliency has no CAM dump in the format psa of any of the 4 images "
        "(2007_000000, 2007_000001 and 2 more); it has 4 .png",
    ),
    "saliency folder without saliency": (
        lambda f: f.labels("psa", "out", *options(f, "saliency", "irn")),
        "--saliency: {root}/irn has no ID.png of any of the 4 images",
    ),
    "empty saliency folder": (
        lambda f: f.labels("psa", "out", *options(f, "saliency", "empty")),
        "it has nothing",
    ),
    "empty folder of dumps": (
        lambda f: f.labels("psa", "out", "--cam-format=auto", *options(f, "cams", "empty")),
        "--cams: {root}/empty: expected CAM dumps (npy, npz or png files), got none",
    ),
    "dumps of several kinds": (
        lambda f: f.labels("psa", "out", "--cam-format=auto", *options(f, "cams", "mixed")),
        "got a mixture of .png and .npy files; name one: --cam-format",
    ),
    "other dumps for the initial label": (
        lambda f: f.labels("psa", "out", *options(f, "oa-cams", "saliency"), "--oa-cam-format=irn"),
        "--oa-cams: {root}/saliency has no CAM dump in the format irn",
    ),
    "a list of ids as image-level labels": (
        lambda f: f.labels("psa", "out", *options(f, "image-labels", "ids.txt")),
        "--image-labels: no image in {root}/ids.txt has a class; is it a list of ids?",
    ),
    "a folder as a list": (
        lambda f: f.labels("psa", "out", *options(f, "list", "empty")),
        "{root}/empty: expected a file, got a folder",
    ),
    "a folder of dumps as image-level labels": (
        lambda f: f.labels("psa", "out", *options(f, "image-labels", "irn")),
        "{root}/irn: expected VOC annotations {{id}}.xml, got none",
    ),
    "a file as a folder": (
        lambda f: f.labels("psa", "out", *options(f, "saliency", "cls.txt")),
        "argument --saliency: {root}/cls.txt is a file, expected a folder; see wsss-nonsalient",
    ),
    "a file as the output": (
        lambda f: f.labels("psa", "cls.txt"),
        "--out: {root}/cls.txt is a file, expected a folder",
    ),
    "a list of other images": (
        lambda f: f.labels("psa", "out", *options(f, "list", "unicode.txt")),
        "{root}/unicode.txt: 1 of 2 ids are not in {root}/cls.txt: straße_猫",
    ),
    "dumps as pseudo labels": (
        lambda f: f.mask("out", *options(f, "pseudo-labels", "irn")),
        "--pseudo-labels: {root}/irn has no ID.png",
    ),
    "targets of other images": (
        lambda f: score(f, "predictions", "predictions", "targets", "empty"),
        "--targets: {root}/empty has no ID.png",
    ),
    "nothing to score": (
        lambda f: score(f, "predictions", "empty", "targets", "predictions"),
        "{root}/empty: no image to work on",
    ),
    "processes beside a cluster": (
        lambda f: f.labels("psa", "out", "--jobs=2", "--dask=tcp://127.0.0.1:1"),
        "--jobs: not with --dask",
    ),
    "a PNG of no class among nsrom dumps": (
        lambda f: f.convert("psa", "predictions", "--overwrite"),
        "{root}/predictions: expected PNG files {{id}}_{{class}}.png with a class such as 7",
    ),
    "image-level labels that lack images": (
        lambda f: f.convert("psa", "out", *options(f, "image-labels", "ids.txt")),
        "{root}/ids.txt: 2 of 4 images are not in it",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(
    folders: Folders, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = b"2007_000000\r\n2007_000001\r\n"
    with_files(folders, **{"ids.txt": ids, "unicode.txt": "2007_000000\nstraße_猫\n".encode()})
    for folder in ("empty", "mixed", "labels"):
        (folders.root / folder).mkdir()
    for cams in ("psa", "nsrom"):
        WRITERS[cams](folders.root / "mixed", "a", {0: np.zeros(SIZE, np.uint8)})
    before = {path: path.stat().st_mtime_ns for path in sorted(folders.root.rglob("*"))}
    argv, message = MISTAKES[name]
    assert run(*argv(folders)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message.format(root=folders.root) in captured.err
    assert {p: p.stat().st_mtime_ns for p in sorted(folders.root.rglob("*"))} == before


def test_the_wrong_format_says_which_one_it_may_be(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*folders.labels("irn", "out", "--cam-format=psa")) == 1
    assert "expected int as dictionary keys, got 'keys'; it looks like irn" in (
        capsys.readouterr().err
    )
    assert run(*folders.labels("psa", "out", "--cam-format=irn", "--overwrite")) == 1
    assert "; it looks like psa" in capsys.readouterr().err


def test_a_folder_never_mixes_two_settings(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    with_files(folders, **{"ids.txt": b"2007_000003\r\n2007_000001"})
    labels = folders.labels("psa", "out")
    assert run(*labels) == 0
    before = folders.read("out")
    other = (*labels, "--no-pom", "--overwrite")
    assert run(*other, *options(folders, "list", "ids.txt")) == 2
    assert "has 2 other files, such as 2007_000000.png" in capsys.readouterr().err
    assert folders.read("out") == before
    assert run(*labels, "--overwrite", *options(folders, "list", "ids.txt")) == 0
    assert folders.read("out") == before
    assert run(*other) == 0
    (folders.root / "out" / ".wsss-nonsalient.json").write_bytes(b"\xff")
    assert run(*other[:-1]) == 2
    assert "was filled with other options (command: None there, labels now" in (
        capsys.readouterr().err
    )


def test_a_folder_of_one_format_takes_no_other(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*folders.convert("psa", "out")) == 0
    before = folders.read("out")
    assert run(*folders.convert("psa", "out", to="irn")) == 2
    assert "(to: nsrom there, irn now)" in capsys.readouterr().err
    assert run(*folders.convert("psa", "out", "--overwrite", to="irn")) == 2
    assert f"has {len(before)} other files" in capsys.readouterr().err
    assert folders.read("out") == before
    assert not list((folders.root / "out").glob("*.npy"))


def test_a_folder_that_was_emptied_takes_other_options(folders: Folders) -> None:
    assert run(*folders.labels("psa", "out")) == 0
    for path in (folders.root / "out").glob("*.png"):
        path.unlink()
    assert run(*folders.labels("psa", "out", "--no-pom")) == 0


def test_pictures_of_unknown_origin_are_not_gone_on_with(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders.root / "out").mkdir()
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(folders.root / "out" / "other.png")
    for extra in ((), ("--overwrite",)):
        assert run(*folders.labels("psa", "out", *extra)) == 2
    errors = capsys.readouterr().err
    assert "has other.png and no record of what made it" in errors
    assert "has 1 other files, such as other.png" in errors


def test_a_folder_that_cannot_be_written(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders.root / "out").mkdir()

    def read_only(path: Path, mode: str) -> Any:
        if mode == "xb":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return open(path, mode)

    monkeypatch.setattr("wsss_nonsalient._atomic_write.open", read_only, raising=False)
    assert run(*folders.labels("psa", "out")) == 2
    out = folders.root / "out"
    assert capsys.readouterr().err == (
        f"wsss-nonsalient labels: error: {out}/.wsss-nonsalient.json: Permission denied\n"
    )


def test_ids_that_a_terminal_cannot_print(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, maps = "straße_猫", folders.maps["2007_000000"]
    WRITERS["psa"](folders.root / "psa", name, maps)
    (folders.root / "saliency" / "2007_000000.png").rename(
        folders.root / "saliency" / f"{name}.png"
    )
    folders.maps = {name: maps}
    (folders.root / "cls.txt").write_text(f"{name} {next(iter(maps))}\r\n", encoding="utf-8-sig")
    assert run(*folders.labels("psa", name)) == 0
    assert list(folders.read(name)) == [f"{name}.png"]
    stream = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert run("inspect", f"{folders.root}/cls.txt", f"{folders.root}/irn") == 0
    stream.flush()
    assert b"stra\\xdfe_\\u732b" in stream.buffer.getvalue()


def test_hidden_files_are_no_images(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    (folders.root / "predictions" / "._2007_000000.png").write_bytes(b"what macOS leaves")
    assert run(*score(folders, "predictions", "predictions", "targets", "predictions")) == 0
    assert "4 images" in capsys.readouterr().out
