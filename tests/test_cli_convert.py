"""``wsss-nonsalient convert``: there and back, and resuming."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsss_nonsalient.cli._journal import read_journal
from wsss_nonsalient.io._files import atomic_write

from .cli_folders import (
    Folders,
    read_png,
    run,
)


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


def convert(folders: Folders, out: str, *options: str, source: str = "psa") -> list[str]:
    where = [f"--cams={folders.root / source}", f"--out={folders.root / out}"]
    return ["convert", *where, f"--cam-format={source}", "--to=nsrom", *options]


@pytest.mark.parametrize("at", [1, 4, 7])
def test_one_file_a_class_resumes(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = Folders(tmp_path, images=6).write("psa")
    assert run(*convert(folders, "whole")) == 0
    whole = folders.read("whole")
    written = 0

    def stop(path: Path) -> Any:
        nonlocal written
        written += 1
        if written == at:
            raise KeyboardInterrupt
        return atomic_write(path)

    with monkeypatch.context() as context:
        context.setattr("wsss_nonsalient.io._nsrom.atomic_write", stop)
        assert run(*convert(folders, "out")) == 130
    assert len(folders.read("out")) == at - 1
    capsys.readouterr()
    assert run(*convert(folders, "out")) == 0
    assert folders.read("out") == whole
    images = sum(1 for k in range(6) if sum(1 + i % 3 for i in range(k + 1)) < at)
    assert f"{6 - images} written" in capsys.readouterr().out
    assert run(*convert(folders, "out")) == 0
    assert "0 written" in capsys.readouterr().out


def test_a_class_that_was_removed_is_written_again(folders: Folders) -> None:
    assert run(*convert(folders, "out")) == 0
    whole = folders.read("out")
    (folders.root / "out" / next(iter(whole))).unlink()
    assert run(*convert(folders, "out")) == 0
    assert folders.read("out") == whole


def test_overwriting_leaves_no_class_of_before(folders: Folders) -> None:
    out = folders.root / "out"
    assert run(*convert(folders, "out")) == 0
    whole = folders.read("out")
    for name in ("2007_000001_19.png", "stranger_0.png"):
        (out / name).write_bytes(next(iter(whole.values())))
    assert run(*convert(folders, "out", "--overwrite")) == 0
    assert set(folders.read("out")) == {*whole, "stranger_0.png"}


def test_a_journal_that_a_kill_cut_off(folders: Folders) -> None:
    assert run(*convert(folders, "out")) == 0
    whole = folders.read("out")
    journal = folders.root / "out" / ".wsss-nonsalient.done"
    journal.write_bytes(journal.read_bytes()[:-5])
    assert run(*convert(folders, "out")) == 0
    assert folders.read("out") == whole
    assert len(read_journal(journal)) == 4


def test_the_folder_is_not_listed_for_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = 0

    iterdir = Path.iterdir

    def count(folder: Path) -> Iterator[Path]:
        nonlocal listed
        listed += 1
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", count)
    counts = []
    for images in (3, 30):
        listed = 0
        (tmp_path / str(images)).mkdir()
        folders = Folders(tmp_path / str(images), images=images).write("psa")
        assert run(*convert(folders, "out")) == 0
        counts.append(listed)
    assert counts[0] == counts[1]
