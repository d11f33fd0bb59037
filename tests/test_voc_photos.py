"""examples/voc/pipeline/photos.py: lists as people write them, pictures of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from pipeline.photos import DataSet, Photo, image_labels, open_data_set, read_image, read_split

from tests.io_files import png_of
from wsss_nonsalient.io import VOC_CLASSES

IDS, CLASSES = "2007_1\n2007_2\n", "2007_1 0 14\n2007_2 3\n"


def folder(
    root: Path,
    ids: str | bytes = IDS,
    classes: str | bytes = CLASSES,
    masks: str = "SegmentationClassAug",
) -> DataSet:
    """A data set with these lists, of the split `train`."""
    lists = root / "ImageSets" / "Segmentation"
    for new in (lists, root / "JPEGImages", root / "saliency", root / masks):
        new.mkdir(parents=True)
    for path, text in ((lists / "train.txt", ids), (lists.parent / "train_cls.txt", classes)):
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return open_data_set(root)


def keys_and_classes(photos: list[Photo]) -> list[tuple[str, tuple[int, ...]]]:
    return [(photo.key, photo.classes) for photo in photos]


@pytest.mark.parametrize("inner", [".", "VOC2012"])
def test_data_set_is_the_folder_or_its_voc2012(tmp_path: Path, inner: str) -> None:
    folder(tmp_path / inner)
    assert open_data_set(tmp_path) == DataSet(tmp_path / inner, VOC_CLASSES)
    with pytest.raises(FileNotFoundError, match="saliency: expected a folder JPEGImages in it or"):
        open_data_set(tmp_path / inner / "saliency")


def test_class_names_of_the_data_set(tmp_path: Path) -> None:
    data = folder(tmp_path, classes="2007_1 0\n2007_2 2\n")
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfball\r\nred box\r\n\r\ntent")
    data = open_data_set(tmp_path)
    assert (data.class_names, data.num_classes) == (("ball", "red box", "tent"), 3)
    assert [photo.classes for photo in read_split(data, "train")] == [(0,), (2,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "expected the name of a class a line, got none"),
        ("a\nb\na\n", "a is there twice"),
        ("".join(f"c{i}\n" for i in range(255)), "expected at most 254 classes, got 255"),
    ],
)
def test_bad_class_names(tmp_path: Path, text: str, message: str) -> None:
    folder(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=f"classes.txt: {message}"):
        open_data_set(tmp_path)


def test_split_names_the_files_of_each_picture(tmp_path: Path) -> None:
    data = folder(tmp_path)
    assert read_split(data, "train")[0] == Photo(
        "2007_1",
        (0, 14),
        tmp_path / "JPEGImages" / "2007_1.jpg",
        tmp_path / "saliency" / "2007_1.png",
        tmp_path / "SegmentationClassAug" / "2007_1.png",
    )


def test_masks_of_a_folder_without_augmented_ones(tmp_path: Path) -> None:
    photos = read_split(folder(tmp_path, masks="SegmentationClass"), "train")
    assert photos[1].scoring_mask == tmp_path / "SegmentationClass" / "2007_2.png"


@pytest.mark.parametrize("name", ["2007_1.jpg", "2007_1.jpeg", "2007_1.png", "2007_1.JPG"])
def test_endings_of_pictures(tmp_path: Path, name: str) -> None:
    data = folder(tmp_path)
    (data.root / "JPEGImages" / name).touch()
    assert read_split(data, "train")[0].image.name == name


@pytest.mark.parametrize(
    ("ids", "classes"),
    [
        ("2007_1\n2007_2", "2007_1 0 14\n2007_2 3"),
        ("2007_1\r\n2007_2\r\n", "2007_1 0 14\r\n2007_2 3\r\n"),
        ("\n2007_1 \n\n\t2007_2\n\n", "\n  2007_1   14 0 14\n\n2007_2\t3 \n"),
        ("\ufeff2007_1\n2007_2\n", "\ufeff2007_1 0 14\n2007_2 3\n"),
        (IDS, "2007_2 3\nanother 7\n2007_1 14 0\n"),
    ],
    ids=["no final newline", "CRLF", "blanks", "byte order mark", "order and others"],
)
def test_lists_as_people_write_them(tmp_path: Path, ids: str, classes: str) -> None:
    photos = read_split(folder(tmp_path, ids, classes), "train")
    assert keys_and_classes(photos) == [("2007_1", (0, 14)), ("2007_2", (3,))]


def test_picture_without_a_class(tmp_path: Path) -> None:
    photos = read_split(folder(tmp_path, classes="2007_1\n2007_2 3\n"), "train")
    assert keys_and_classes(photos) == [("2007_1", ()), ("2007_2", (3,))]


@pytest.mark.parametrize("up", [False, True])
def test_list_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: bool) -> None:
    data, own = folder(tmp_path / "voc"), tmp_path / "own" / "lists"
    own.mkdir(parents=True)
    (own / "few.txt").write_text("2007_2\n")
    ((own.parent if up else own) / "few_cls.txt").write_text("2007_2 5\n")
    assert keys_and_classes(read_split(data, str(own / "few.txt"))) == [("2007_2", (5,))]
    monkeypatch.chdir(own)
    assert keys_and_classes(read_split(data, "few.txt")) == [("2007_2", (5,))]


def test_name_of_a_list_goes_before_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder(tmp_path / "voc")
    (tmp_path / "train").write_text("other\n")
    monkeypatch.chdir(tmp_path)
    assert len(read_split(data, "train")) == 2


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("", "train.txt lists no picture"),
        ("\r\n \n", "train.txt lists no picture"),
        ("2007_1\n\n2007_1\n", "train.txt, line 3: 2007_1 is in line 1 already"),
        ("2007_1\n../../secret\n", r"train.txt, line 2: expected an id.*got '../../secret'"),
        ("/etc/passwd\n", "train.txt, line 1: expected an id.*got '/etc/passwd'"),
        ("C:\\x\n", "train.txt, line 1: expected an id"),
        ("..\n", "train.txt, line 1: expected an id"),
        (".hidden\n", "train.txt, line 1: expected an id"),
        ("a\x1b[2J\n", r"train.txt, line 1: expected an id.*got 'a\\x1b\[2J'"),
        ("2007_1.jpg\n", "train.txt, line 1: expected an id.*without folder and ending"),
        ("2007_1 1\n", "train.txt, line 1: expected one id, got '2007_1 1'"),
        (b"2007_\xff\n", "train.txt: expected a text file in UTF-8"),
        ("2007_1\n".encode("utf-16"), "train.txt: expected a text file in UTF-8"),
    ],
)
def test_bad_lists_of_ids(tmp_path: Path, ids: str | bytes, message: str) -> None:
    data = folder(tmp_path, ids)
    with pytest.raises(ValueError, match=message):
        read_split(data, "train")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("2007_2 3\n", "train_cls.txt has no line for 1 of the 2 pictures in .*train.txt: 2007_1$"),
        ("2007_1 0\n2007_2 3\n2007_1 0\n", "train_cls.txt, line 3: 2007_1 is in line 1 already"),
        ("2007_1 0\n2007_2 20\n", "_cls.txt, line 2: 2007_2 has the unknown class '20', expected"),
        ("2007_1 -1\n2007_2 0\n", "line 1: 2007_1 has the unknown class '-1', expected 0 to 19$"),
        ("2007_1 cat\n2007_2 3\n", "line 1: 2007_1 has the unknown class 'cat'"),
        ("2007_1 1.0\n2007_2 3\n", "line 1: 2007_1 has the unknown class '1.0'"),
        ("2007_1 00\n2007_2 3\n", "line 1: 2007_1 has the unknown class '00'"),
        ("2007_1 0,14\n2007_2 3\n", "line 1: 2007_1 has the unknown class '0,14'"),
        ("2007_1 ²\n2007_2 3\n", r"line 1: 2007_1 has the unknown class '\\xb2'"),
        ("2007_1 0\n../x 3\n2007_2 1", "train_cls.txt, line 2: expected an id"),
        (b"\xff\n", "train_cls.txt: expected a text file in UTF-8"),
    ],
)
def test_bad_lists_of_classes(tmp_path: Path, classes: str | bytes, message: str) -> None:
    data = folder(tmp_path, classes=classes)
    with pytest.raises(ValueError, match=message):
        read_split(data, "train")


def test_classes_from_1_are_told(tmp_path: Path) -> None:
    data = folder(tmp_path, classes="2007_1 1 15\n2007_2 20\n")
    with pytest.raises(ValueError, match="expected 0 to 19; the file seems to count from 1"):
        read_split(data, "train")


def test_many_missing_lines_are_counted(tmp_path: Path) -> None:
    ids = "".join(f"id{i}\n" for i in range(30))
    data = folder(tmp_path, ids, "other 1\n")
    with pytest.raises(ValueError, match="no line for 30 of the 30 pictures.* id19, ...$"):
        read_split(data, "train")


def test_missing_lists(tmp_path: Path) -> None:
    data = folder(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="Segmentation/val.txt does not exist, nor is 'val'"
    ):
        read_split(data, "val")
    (tmp_path / "ImageSets" / "train_cls.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither .*/Segmentation/train_cls.txt nor "):
        read_split(data, "train")


def test_image_labels() -> None:
    path = Path("x")
    photos = [Photo("a", (0, 2), path, path, path), Photo("b", (), path, path, path)]
    expected = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    assert torch.equal(image_labels(photos, 3), expected)
    assert image_labels([], 3).shape == (0, 3)


RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY: npt.NDArray[np.uint8] = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7


def channels(pixels: npt.NDArray[Any]) -> torch.Tensor:
    """(H, W) or (H, W, 3) as (3, H, W)."""
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
    return torch.from_numpy(colours.transpose(2, 0, 1).copy())


def read(tmp_path: Path, image: Image.Image, **options: Any) -> torch.Tensor:
    path = tmp_path / "a.png"
    image.save(path, format=options.pop("format", "PNG"), **options)
    return read_image(path)


def test_rgb_gray_and_palette_pictures(tmp_path: Path) -> None:
    result = read(tmp_path, Image.fromarray(RGB))
    assert result.dtype == torch.uint8
    assert result.is_contiguous()
    assert torch.equal(result, channels(RGB))
    result.zero_()  # may be written to, without a warning
    assert torch.equal(read(tmp_path, Image.fromarray(GRAY)), channels(GRAY))
    bits = Image.fromarray(GRAY > 100)
    assert torch.equal(read(tmp_path, bits), channels(np.uint8(255) * (GRAY > 100)))
    colours = np.arange(256 * 3).reshape(256, 3).astype(np.uint8)
    palette = Image.fromarray(GRAY)
    palette.putpalette(colours.tobytes())
    assert torch.equal(read(tmp_path, palette), channels(colours[GRAY]))
    assert torch.equal(read(tmp_path, palette, transparency=bytes(256)), channels(colours[GRAY]))


def test_alpha_channel_is_left_out(tmp_path: Path) -> None:
    rgba = np.concatenate([RGB, GRAY[..., None]], axis=-1)
    assert torch.equal(read(tmp_path, Image.fromarray(rgba)), channels(RGB))
    gray = np.stack([GRAY, 255 - GRAY], axis=-1)
    assert torch.equal(read(tmp_path, Image.fromarray(gray)), channels(GRAY))


def test_16_bit_gray_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257], [300, 25700, 32896, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 1], [1, 100, 128, 255]], np.uint8)
    assert torch.equal(read(tmp_path, Image.fromarray(values)), channels(expected))


def test_16_bit_colours_are_right_within_a_level(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (4, 6, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    (tmp_path / "a.png").write_bytes(png_of(6, 4, 16, 2, rows))
    expected = channels(np.round(values / 257).astype(np.int64))
    assert (read_image(tmp_path / "a.png").long() - expected).abs().max() <= 1


def test_cmyk_and_gray_jpeg(tmp_path: Path) -> None:
    smooth = np.zeros((16, 24, 3), np.uint8)
    smooth[:, :12], smooth[:, 12:] = (200, 40, 60), (30, 180, 90)
    cmyk = Image.fromarray(smooth).convert("CMYK")
    for image in (cmyk, Image.fromarray(smooth)):
        result = read(tmp_path, image, format="JPEG", quality=100, subsampling=0)
        assert (result.long() - channels(smooth).long()).abs().float().mean() < 3
    gray = read(tmp_path, Image.fromarray(smooth[..., 0]), format="JPEG", quality=100)
    assert (gray.long() - channels(smooth[..., 0]).long()).abs().max() < 4


def test_orientation_in_exif_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert read(tmp_path, Image.fromarray(RGB), format="JPEG", exif=exif).shape == (3, 5, 7)


@pytest.mark.parametrize("ending", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0, 4, 40, 0.5, 0.95])
def test_damaged_pictures_are_named(tmp_path: Path, ending: str, kept: float) -> None:
    path, noise = tmp_path / "a.jpg", np.random.default_rng(2).integers(0, 256, (64, 64, 3))
    Image.fromarray(noise.astype(np.uint8)).save(path, format=ending)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    with pytest.raises(ValueError, match=r"a.jpg: expected a picture, got something else or a da"):
        read_image(path)


def test_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"a.jpg: expected a picture"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"b.jpg"):
        read_image(tmp_path / "b.jpg")
    with pytest.raises(OSError, match=tmp_path.name):
        read_image(tmp_path)
