"""examples/voc/pipeline/validation.py: whatever is wrong is told at once, with the file's name."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from pipeline import validation
from pipeline.photos import Photo
from pipeline.validation import check_writable, validate

from wsss_nonsalient.io import write_label

CLASSES = 3
SIZE = (12, 20)


def photo(root: Path, key: str = "a", size: tuple[int, int] = SIZE) -> Photo:
    """A sound picture of the classes 0 and 2."""
    made = Photo(
        key, (0, 2), root / f"{key}.jpg", root / f"{key}_saliency.png", root / f"{key}_mask.png"
    )
    dice = np.random.default_rng(0)
    Image.fromarray(dice.integers(0, 256, (*size, 3), dtype=np.uint8)).save(made.image)
    Image.fromarray(dice.integers(0, 256, size, dtype=np.uint8)).save(made.saliency)
    labels = torch.from_numpy(dice.choice([0, 1, 3, 255], size))
    write_label(made.scoring_mask, labels.to(torch.uint8))
    return made


def check(*photos: Photo, **options: bool) -> None:
    options = {"saliency": True, "masks": True, "allow_no_class": False} | options
    validate(photos, CLASSES, **options)


def test_sound_data_sets_pass(tmp_path: Path) -> None:
    check(photo(tmp_path), photo(tmp_path, "b", (13, 9)))
    check()


@pytest.mark.parametrize("name", ["image", "saliency", "scoring_mask"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    broken = photo(tmp_path)
    path: Path = getattr(broken, name)
    path.unlink()
    with pytest.raises(ValueError, match=f"1 faults in the 1 pictures.*\n  {path} does not exist$"):
        check(broken)


def test_files_that_are_not_needed_are_not_read(tmp_path: Path) -> None:
    broken = photo(tmp_path)
    broken.saliency.unlink()
    check(broken, saliency=False)
    broken.scoring_mask.unlink()
    check(broken, saliency=False, masks=False)
    with pytest.raises(ValueError, match="a_mask.png does not exist"):
        check(broken, saliency=False)


@pytest.mark.parametrize("name", ["saliency", "scoring_mask"])
def test_maps_of_another_size(tmp_path: Path, name: str) -> None:
    broken, other = photo(tmp_path), photo(tmp_path, "b", (20, 12))
    path: Path = getattr(broken, name)
    getattr(other, name).replace(path)
    message = f"{path}: it is 12 x 20 pixels, but the picture is 20 x 12 pixels"
    with pytest.raises(ValueError, match=message):
        check(broken)


def test_truncated_jpeg(tmp_path: Path) -> None:
    broken = photo(tmp_path)
    broken.image.write_bytes(broken.image.read_bytes()[:-200])
    with pytest.raises(ValueError, match="a.jpg: expected a picture.*truncated"):
        check(broken)


@pytest.mark.parametrize("name", ["saliency", "scoring_mask"])
def test_truncated_png(tmp_path: Path, name: str) -> None:
    broken = photo(tmp_path)
    path: Path = getattr(broken, name)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"{path}: it is a truncated PNG file"):
        check(broken)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16"])
def test_pictures_of_every_kind_pass(tmp_path: Path, mode: str) -> None:
    made = photo(tmp_path)
    with Image.open(made.image) as file:
        if mode == "I;16":
            image = Image.fromarray(np.asarray(file.convert("L")).astype(np.uint16) * 257)
        else:
            image = file.convert(mode)
    image.save(made.image, format="JPEG" if mode == "CMYK" else "PNG")
    check(made)


def test_masks_that_are_no_labels(tmp_path: Path) -> None:
    broken = photo(tmp_path)
    Image.new("RGB", SIZE[::-1]).save(broken.scoring_mask)
    with pytest.raises(ValueError, match="a_mask.png: .*got RGB: colours are no labels"):
        check(broken)
    Image.new("L", SIZE[::-1]).save(broken.scoring_mask, format="JPEG")
    with pytest.raises(ValueError, match="a_mask.png: it is a JPEG file"):
        check(broken)


def test_mask_with_unknown_labels(tmp_path: Path) -> None:
    broken = photo(tmp_path)
    labels = torch.zeros(SIZE, dtype=torch.uint8)
    labels[0, :8] = torch.tensor([254, 4, 5, 6, 7, 8, 3, 255])
    write_label(broken.scoring_mask, labels)
    with pytest.raises(
        ValueError, match="a_mask.png: expected the labels 0 to 3 and 255, got 4, 5, 6, 7, 8, ...$"
    ):
        check(broken)


def test_saliency_in_colours(tmp_path: Path) -> None:
    broken = photo(tmp_path)
    broken.saliency.unlink()
    broken.scoring_mask.rename(broken.saliency)
    with pytest.raises(ValueError, match="a_saliency.png: .*is it a label map or a picture"):
        check(broken, masks=False)


def test_picture_without_a_class(tmp_path: Path) -> None:
    empty = replace(photo(tmp_path), classes=())
    with pytest.raises(ValueError, match="a.jpg: it has no class in the list of classes"):
        check(empty)
    message = r"1 of 2 pictures have no class:\n  .*a.jpg$"
    with pytest.warns(UserWarning, match=message):
        check(empty, photo(tmp_path, "b"), allow_no_class=True)


def test_unknown_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a.jpg: it has the class 3, expected 0 to 2"):
        check(replace(photo(tmp_path), classes=(1, 3)))


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    first, second = photo(tmp_path), photo(tmp_path, "b")
    first.saliency.unlink()
    second.image.write_bytes(b"")
    second.scoring_mask.write_bytes(b"")
    with pytest.raises(ValueError, match="3 faults in the 2 pictures of the data set") as caught:
        check(first, second, first)
    for name in ("a_saliency.png does not", "b.jpg: expected", "b_mask.png: it is empty"):
        assert name in str(caught.value)


def test_many_faults_are_counted(tmp_path: Path) -> None:
    sound = photo(tmp_path)
    photos = [replace(sound, image=tmp_path / f"no{i}.jpg") for i in range(30)]
    with pytest.raises(ValueError, match="30 faults") as caught:
        check(*photos)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1].strip() == "and 10 more"


def test_out_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "runs" / "demo")
    check_writable(tmp_path / "runs" / "demo")
    assert list((tmp_path / "runs" / "demo").iterdir()) == []


@pytest.mark.parametrize("inner", [".", "out"])
def test_file_in_place_of_the_out_folder(tmp_path: Path, inner: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / inner
    with pytest.raises(OSError, match="cannot write to this folder: ") as caught:
        check_writable(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_full_disk_and_read_only_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(_: int) -> NoReturn:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    message = f"cannot write to this folder: {os.strerror(code)}: '{tmp_path}'"
    with pytest.raises(OSError, match=message) as caught:
        check_writable(tmp_path)
    assert caught.value.errno == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_disk_that_is_full_indeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Path) -> BinaryIO:
        return open("/dev/full", "wb")

    monkeypatch.setattr(validation, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space left on device"):
        check_writable(tmp_path)


@pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 0)() == 0, reason="root writes to read-only folders"
)
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=str(tmp_path)):
            check_writable(tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)
