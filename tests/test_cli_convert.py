"""``wsss-nonsalient convert``: there and back, and resuming."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsss_nonsalient._atomic_write import atomic_write
from wsss_nonsalient.cli._journal import read_journal

from .cli_folders import SIZE, WRITERS, Folders, read_png, run


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


def stopping(at: int) -> Callable[[Path], Any]:
    """Writes files, but is interrupted at one of them."""
    count = itertools.count(1)

    def stop(path: Path) -> Any:
        if next(count) == at:
            raise KeyboardInterrupt
        return atomic_write(path)

    return stop


@pytest.mark.parametrize("at", [1, 4, 7])
def test_one_file_a_class_resumes(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = Folders(tmp_path, images=6).write("psa")
    assert run(*folders.convert("psa", "whole")) == 0
    whole = folders.read("whole")
    with monkeypatch.context() as context:
        context.setattr("wsss_nonsalient.io._nsrom.atomic_write", stopping(at))
        assert run(*folders.convert("psa", "out")) == 130
    assert len(folders.read("out")) == at - 1
    capsys.readouterr()
    assert run(*folders.convert("psa", "out")) == 0
    assert folders.read("out") == whole
    images = sum(1 for k in range(6) if sum(1 + i % 3 for i in range(k + 1)) < at)
    assert f"{6 - images} written" in capsys.readouterr().out
    assert run(*folders.convert("psa", "out")) == 0
    assert "0 written" in capsys.readouterr().out


def test_a_class_that_was_removed_is_written_again(folders: Folders) -> None:
    assert run(*folders.convert("psa", "out")) == 0
    whole = folders.read("out")
    (folders.root / "out" / next(iter(whole))).unlink()
    assert run(*folders.convert("psa", "out")) == 0
    assert folders.read("out") == whole


def test_overwriting_leaves_no_class_of_before(folders: Folders) -> None:
    out = folders.root / "out"
    assert run(*folders.convert("psa", "out")) == 0
    whole = folders.read("out")
    for name in ("2007_000001_19.png", "stranger_0.png"):
        (out / name).write_bytes(next(iter(whole.values())))
    assert run(*folders.convert("psa", "out", "--overwrite")) == 0
    assert set(folders.read("out")) == {*whole, "stranger_0.png"}


def test_an_overwriting_run_that_was_killed_is_not_taken_as_done(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*folders.convert("psa", "out")) == 0
    for image_id, maps in folders.maps.items():
        others = {(c + 1) % 20: own[::-1] for c, own in maps.items()}
        WRITERS["psa"](folders.root / "psa", image_id, others)
    assert run(*folders.convert("psa", "whole")) == 0
    unlink, count = Path.unlink, itertools.count()

    def stop(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".png" and next(count) == 3:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as context:
        context.setattr(Path, "unlink", stop)
        assert run(*folders.convert("psa", "out", "--overwrite")) == 130
    assert run(*folders.convert("psa", "out")) == 2
    assert "no record of what made it" in capsys.readouterr().err
    assert run(*folders.convert("psa", "out", "--overwrite")) == 0
    assert folders.read("out") == folders.read("whole")


@pytest.mark.parametrize("at", [2, 3])
def test_dumps_that_change_before_a_run_goes_on(
    folders: Folders, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an image that was half written, no class stays that it does not have any more."""
    with monkeypatch.context() as context:
        context.setattr("wsss_nonsalient.io._nsrom.atomic_write", stopping(at + 1))
        assert run(*folders.convert("psa", "out")) == 130
    half = "2007_000001"
    written = [name for name in folders.read("out") if name.startswith(half)]
    assert len(written) == at - 1
    new = next(c for c in range(20) if f"{half}_{c}.png" not in written)
    WRITERS["psa"](folders.root / "psa", half, {new: np.full(SIZE, 7, np.uint8)})
    assert run(*folders.convert("psa", "out")) == 0
    names = {name for name in folders.read("out") if name.startswith(half)}
    assert names == ({f"{half}_{new}.png"} if at == 2 else set(written))


@pytest.mark.parametrize("damage", [b"", b'["2007_0', b"\xff\n", b"3\n", b"[]\n", b"[1, 2]\n"])
def test_a_journal_that_a_kill_cut_off(folders: Folders, damage: bytes) -> None:
    assert run(*folders.convert("psa", "out")) == 0
    whole = folders.read("out")
    journal = folders.root / "out" / ".wsss-nonsalient.done"
    journal.write_bytes(journal.read_bytes()[:-5] + damage)
    assert run(*folders.convert("psa", "out")) == 0
    assert folders.read("out") == whole
    assert len(read_journal(journal)) == 4


LISTINGS: list[str] = []


def note_listing(event: str, _: tuple[Any, ...]) -> None:
    if event in ("os.listdir", "os.scandir"):
        LISTINGS.append(event)


def test_folders_are_not_listed_for_every_image(tmp_path: Path) -> None:
    sys.addaudithook(note_listing)  # there is no way to take it away again
    counts: list[list[int]] = []
    for images in (3, 30):
        root = tmp_path / str(images)
        root.mkdir()
        folders = Folders(root, images=images).write("psa", "nsrom")
        os.utime(root / "nsrom", (0, 0))  # not just being written
        own: list[int] = []
        for options in ((), (), ("--overwrite",), ("--dry-run",)):
            for cams, to in (("psa", "nsrom"), ("nsrom", "psa")):
                LISTINGS.clear()
                assert run(*folders.convert(cams, f"out_{to}", *options, to=to)) == 0
                own.append(len(LISTINGS))
        counts.append(own)
    assert counts[0] == counts[1]
    assert all(0 < count < 8 for count in counts[0])
