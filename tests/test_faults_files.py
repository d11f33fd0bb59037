"""Files of strangers that lead elsewhere, disks that are full, folders that cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.test_accumulation import accumulated, batches
from wsss_nonsalient import _atomic_write
from wsss_nonsalient.io import (
    CAMs,
    list_ids,
    read_cams,
    read_image_labels,
    read_label,
    read_saliency,
    write_cams,
    write_image_labels,
    write_label,
)

from .cli_folders import Folders, run

LABELS = torch.tensor([[0, 1, 255]], dtype=torch.uint8)
MAPS = CAMs(torch.tensor([3]), torch.tensor([[[0, 128, 255]]], dtype=torch.uint8))
WRITERS: dict[str, Callable[[Path], None]] = {
    "a.png": lambda path: write_label(path, LABELS),
    "labels.txt": lambda path: write_image_labels(path, {"a": [1]}),
    "labels.json": lambda path: write_image_labels(path, {"a": [1]}),
    "maps.npz": lambda path: accumulated(batches(2)).save(path),
    "a.npy": lambda path: write_cams(path.parent, "a", MAPS, format="psa"),
    "a.npz": lambda path: write_cams(path.parent, "a", MAPS, format="npz"),
    "a_3.png": lambda path: write_cams(path.parent, "a", MAPS, format="nsrom"),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    name: str, code: int, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((os, "fsync", fail) if call == "fsync" else (Path, "replace", fail)))
    with pytest.raises(OSError, match=os.strerror(code)):
        WRITERS[name](path)
    if name == "a_3.png":  # what an image has in many files is removed before it is replaced
        assert not list(tmp_path.iterdir())
        return
    assert path.read_bytes() == before
    assert [own.name for own in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_names_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, _: str) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))

    monkeypatch.setattr(_atomic_write, "open", read_only, raising=False)
    with pytest.raises(PermissionError) as caught:
        WRITERS[name](tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_is_followed_and_stays(name: str, tmp_path: Path) -> None:
    """A link to a file elsewhere is the user's: what it points to is replaced, not the link."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    folder.mkdir()
    path = folder / name
    path.symlink_to(elsewhere)
    if name == "a_3.png":
        pytest.skip("the files of nsrom are listed, and those of an image replaced as a whole")
    WRITERS[name](path)
    assert path.is_symlink()
    assert elsewhere.stat().st_size > 0
    assert [own.name for own in folder.iterdir()] == [name]


OUTSIDE = [
    "../x",
    "../../x",
    "/etc/passwd",
    "a/../../x",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "C:x",
    "~/x",
]


@pytest.mark.parametrize("image_id", OUTSIDE[:-1])
def test_ids_of_a_list_lead_out_of_no_folder(image_id: str, tmp_path: Path) -> None:
    """A list of a stranger: no file outside the folder is read, written or removed."""
    folders = Folders(tmp_path / "data" / "set")
    folders.root.mkdir(parents=True)
    folders.write("psa", "nsrom")
    outside = tmp_path / "x.png"
    outside.write_bytes(b"precious")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    listed = folders.root / "ids.txt"
    listed.write_text(f"2007_000000\n{image_id}\n")
    before[listed] = listed.stat().st_mtime_ns
    before[folders.root] = folders.root.stat().st_mtime_ns
    if image_id.strip():
        with pytest.raises(ValueError, match="file names"):
            list_ids(listed)
        for argv in (
            folders.labels("psa", "out", f"--list={listed}"),
            folders.convert("nsrom", "out", f"--list={listed}", to="psa"),
        ):
            assert run(*argv) == 2
    (folders.root / "cls.txt").write_text(f"2007_000000 1\n{image_id} 2\n")
    if len(image_id.split()) == 1:
        assert run(*folders.labels("psa", "out")) == 2
        with pytest.raises(ValueError, match=str(folders.root)):
            read_image_labels(folders.root / "cls.txt")
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    changed = {path for path in {**before, **after} if before.get(path) != after.get(path)}
    assert changed <= {folders.root / "cls.txt"}


def _picture(mode: str, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    values = np.arange(77, dtype=np.uint8).reshape(7, 11)
    Image.fromarray(values).convert(mode).save(stream, format=kind, **options)
    return stream.getvalue()


FOREIGN = {
    "jpeg": _picture("L", "JPEG"),
    "rgba": _picture("RGBA", "PNG"),
    "rgb": _picture("RGB", "PNG"),
    "gif": _picture("P", "GIF"),
    "tiff": _picture("L", "TIFF"),
    "webp": _picture("RGB", "WEBP", lossless=True),
    "bmp": _picture("L", "BMP"),
    "empty": b"",
    "one byte": b"\x89",
    "signature": b"\x89PNG\r\n\x1a\n",
    "text": b"2007_000032 1\n",
    "npy": b"\x93NUMPY\x01\x00",
    "zip": b"PK\x05\x06" + bytes(18),
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    "reader",
    [read_label, read_saliency, lambda path: read_cams(path.parent, "a", format="nsrom")],
    ids=["label", "saliency", "cams"],
)
def test_a_wrong_type_under_a_right_name(name: str, reader: Any, tmp_path: Path) -> None:
    if name == "rgb" and reader is read_saliency:
        pytest.skip("equal channels are gray, as some tools write saliency")
    path = tmp_path / ("a.png" if reader in (read_label, read_saliency) else "a_3.png")
    path.write_bytes(FOREIGN[name])
    with pytest.raises(ValueError, match=f"^{path}: "):
        reader(path)


@pytest.mark.parametrize("target", ["a pipe", "a folder", "a loop", "nothing"])
def test_what_is_no_file_under_a_right_name(target: str, tmp_path: Path) -> None:
    """Never waited for and never followed round and round."""
    path = tmp_path / "a.png"
    if target == "a pipe":
        os.mkfifo(path)
    elif target == "a folder":
        path.mkdir()
    else:
        path.symlink_to(path if target == "a loop" else tmp_path / "nowhere")
    for reader in (read_label, read_saliency, list_ids, read_image_labels):
        with pytest.raises((OSError, ValueError), match=r"a\.png"):
            reader(path)
