"""``wsss-nonsalient inspect``."""

from __future__ import annotations

import numpy as np
import pytest

from .cli_folders import SIZE, Folders, run


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
    assert "empty\n  not a folder that this program reads: it has nothing" in errors
    assert "1 .jpg" in errors
    assert "b.json: expected a JSON object" in errors
