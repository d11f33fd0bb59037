"""nsrom dumps, one file a class: folders of them, and what writing replaces."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.io_files import HEIGHT, ID, WIDTH, assert_equal, levels, png, save, write_dumps
from wsss_nonsalient.io import CAMs, cam_ids, read_cams, read_saliency, write_cams


def test_nsrom_folders(tmp_path: Path) -> None:
    maps = levels(3)
    for number, pixels in zip((10, 9, 0), maps, strict=True):
        save(tmp_path, png(pixels), f"{ID}_{number}", ".png")
    save(tmp_path, png(maps[0][:2]), "a_b_11", ".png")
    (tmp_path / "._2007_000032_4.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    assert_equal(read_cams(tmp_path, ID), (0, 9, 10), maps[::-1])
    assert_equal(read_cams(tmp_path, "a_b"), (11,), maps[:1, :2])
    assert cam_ids(tmp_path) == [ID, "a_b"]
    with pytest.raises(FileNotFoundError, match="no CAM dump of 2007"):
        read_cams(tmp_path, "2007")
    with pytest.raises(FileNotFoundError, match=r"no file 2007_\{class\}\.png"):
        read_cams(tmp_path, "2007", format="nsrom")
    save(tmp_path, png(maps[0][:2]), f"{ID}_12", ".png")
    with pytest.raises(ValueError, match=rf"{ID}_12\.png: its size is \(2, 6\), that of class 0"):
        read_cams(tmp_path, ID)


def test_nsrom_notices_changes_of_a_remembered_folder(tmp_path: Path) -> None:
    write_dumps(tmp_path, "nsrom")
    os.utime(tmp_path, (1_000_000_000, 1_000_000_000))
    assert read_cams(tmp_path, ID).classes.tolist() == [3, 7]
    assert read_cams(tmp_path, ID).classes.tolist() == [3, 7]
    save(tmp_path, png(levels()[0]), f"{ID}_5", ".png")
    assert read_cams(tmp_path, ID).classes.tolist() == [3, 5, 7]
    (tmp_path / f"{ID}_3.png").unlink()
    assert read_cams(tmp_path, ID).classes.tolist() == [5, 7]


def test_nsrom_writing_removes_classes_that_are_gone(tmp_path: Path) -> None:
    for image_id in (ID, f"{ID}_b"):
        write_dumps(tmp_path, "nsrom", image_id)
    other = CAMs(torch.tensor([4]), torch.zeros(1, 2, 2))
    write_cams(tmp_path, ID, other, format="nsrom")
    assert read_cams(tmp_path, ID).classes.tolist() == [4]
    assert read_cams(tmp_path, f"{ID}_b").classes.tolist() == [3, 7]


def test_nsrom_writing_is_told_which_files_there_are(tmp_path: Path) -> None:
    other = CAMs(torch.tensor([4, 7]), torch.zeros(2, 2, 2))
    for replaces, left in (((), [3, 4, 7]), ((3,), [4, 7]), ((3, 7, 11), [4, 7]), (None, [4, 7])):
        write_dumps(tmp_path, "nsrom", ID)
        (tmp_path / f"{ID}_4.png").unlink(missing_ok=True)
        write_cams(tmp_path, ID, other, format="nsrom", replaces=replaces)
        files = sorted(tmp_path.iterdir())
        assert [path.name for path in files] == [f"{ID}_{c}.png" for c in left]
        assert not read_saliency(tmp_path / f"{ID}_7.png").any()


@pytest.mark.parametrize("new", [(3, 7), (7,), (3, 7, 9), (4,)])
def test_nsrom_writing_that_is_killed_mixes_no_maps(
    new: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment the files are those of before, or lack a class, or are the new ones."""
    old = {c: path.read_bytes() for c, path in nsrom_files(write_dumps(tmp_path, "nsrom"))}
    moments: list[dict[int, bytes]] = []

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            moments.append({c: path.read_bytes() for c, path in nsrom_files(tmp_path)})
            return result

        return call

    monkeypatch.setattr(Path, "unlink", watched(Path.unlink))
    monkeypatch.setattr(Path, "replace", watched(Path.replace))
    maps = torch.zeros(len(new), HEIGHT, WIDTH, dtype=torch.uint8)
    write_cams(tmp_path, ID, CAMs(torch.tensor(new), maps), format="nsrom")
    final = moments[-1]
    assert set(final) == set(new)
    assert not set(final.values()) & set(old.values())
    for files in moments:
        assert files in (old, final) or set(files) != set(new)


def nsrom_files(folder: Path) -> list[tuple[int, Path]]:
    return [(int(path.stem.rpartition("_")[2]), path) for path in sorted(folder.glob("*.png"))]
