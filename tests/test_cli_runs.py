"""Exit codes, failures and resuming of the console script."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_nonsalient.cli._task import WorkersLostError

from .cli_folders import Folders, run


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
        (*labels, f"--saliency={root}/nowhere"): "nowhere does not exist",
        (*labels, "--oa-cam-format=irn"): "there is no --oa-cams",
        (*labels, f"--image-labels={root}/nowhere"): "nowhere does not exist",
        (*labels, f"--image-labels={root}/psa/2007_000000.npy"): "2007_000000.npy",
        (
            *labels,
            "--cam-format=auto",
            f"--cams={root}/saliency",
        ): "expected PNG files {id}_{cl",
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
        path.write_bytes(b"")
    assert run(*folders.labels("psa", "out")) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[1] == "60 of 60 images failed:"
    assert len(errors) == 53
    assert errors[-1] == "  and 10 more"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from here"),
        (WorkersLostError("it died"), 1, "labels: error: it died; run the same command again to"),
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
