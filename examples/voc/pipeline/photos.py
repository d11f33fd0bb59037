"""A data set in PASCAL VOC's folders: splits, pictures, image-level labels, scoring masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsss_nonsalient.io import VOC_CLASSES

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")  # the first there is counts
MASK_FOLDERS = ("SegmentationClassAug", "SegmentationClass")


@dataclass(frozen=True)
class Photo:
    """One picture of a split; training reads `image` and `classes` only.

    Attributes:
        key: Its id in the list.
        classes: Ascending image-level classes, from 0.
        image: The picture.
        saliency: Its saliency map in the data set, whose region the scores are of. Labels are made
            from what `data.saliency` names.
        scoring_mask: The true segmentation: labels are scored with it, never made with it.
    """

    key: str
    classes: tuple[int, ...]
    image: Path
    saliency: Path
    scoring_mask: Path


@dataclass(frozen=True)
class DataSet:
    """A folder with `JPEGImages`, and the names of the foreground classes."""

    root: Path
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of foreground classes."""
        return len(self.class_names)


def open_data_set(path: Path) -> DataSet:
    """The data set in `path`, or in its `VOC2012`.

    Its classes are those of `classes.txt`, one a line, or else PASCAL VOC's.

    Raises:
        FileNotFoundError: There is no `JPEGImages`.
        ValueError: `classes.txt` names a class twice, or none.
    """
    for root in (path, path / "VOC2012"):
        if (root / "JPEGImages").is_dir():
            return DataSet(root, _class_names(root / "classes.txt"))
    raise FileNotFoundError(f"{path}: expected a folder JPEGImages in it or in its VOC2012")


def _class_names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return VOC_CLASSES
    names = tuple(line for _, line in _lines(path))
    if not names:
        raise ValueError(f"{path}: expected the name of a class a line, got none")
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: {_first_double(names)} is there twice")
    if len(names) > 254:
        raise ValueError(f"{path}: expected at most 254 classes, got {len(names)}")
    return names


def read_split(data: DataSet, split: str) -> list[Photo]:
    """Pictures of a split with their image-level labels.

    Args:
        data: The data set.
        split: A name such as `train_aug`, for `ImageSets/Segmentation/{split}.txt`, or the path of
            a list of ids. The classes come from `{split}_cls.txt` (`id c c ...`, from 0), beside
            the list or one folder up.

    Raises:
        FileNotFoundError: The list or that of the classes does not exist.
        ValueError: An id comes twice, leads out of the folder or has no line of classes; a class
            is unknown.
    """
    ids_file = _list_file(data.root, split)
    keys = _read_ids(ids_file)
    classes_file = _classes_file(ids_file)
    classes = _read_classes(classes_file, data.num_classes)
    missing = [key for key in keys if key not in classes]
    if missing:
        raise ValueError(
            f"{classes_file} has no line for {len(missing)} of the {len(keys)} pictures in "
            f"{ids_file}: {', '.join(missing[:20])}{', ...' if len(missing) > 20 else ''}"
        )
    masks = next(
        (own for name in MASK_FOLDERS if (own := data.root / name).is_dir()),
        data.root / MASK_FOLDERS[0],
    )
    return [
        Photo(
            key,
            classes[key],
            _image_file(data.root / "JPEGImages", key),
            data.root / "saliency" / f"{key}.png",
            masks / f"{key}.png",
        )
        for key in keys
    ]


def _list_file(root: Path, split: str) -> Path:
    own = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    for path in (own, Path(split)):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{own} does not exist, nor is {split!r} the path of a list of ids")


def _classes_file(ids_file: Path) -> Path:
    name = f"{ids_file.stem}_cls.txt"
    places = [ids_file.parent / name, ids_file.absolute().parent.parent / name]
    for path in places:
        if path.is_file():
            return path
    raise FileNotFoundError(f"neither {places[0]} nor {places[1]}, the list of classes, exists")


def _read_ids(path: Path) -> list[str]:
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        if len(line.split()) > 1:
            raise ValueError(f"{path}, line {number}: expected one id, got {line[:80]!a}")
        _check_id(line, path, number)
        if line in seen:
            raise ValueError(f"{path}, line {number}: {line} is in line {seen[line]} already")
        seen[line] = number
    if not seen:
        raise ValueError(f"{path} lists no picture")
    return list(seen)


def _read_classes(path: Path, num_classes: int) -> dict[str, tuple[int, ...]]:
    known = {str(c): c for c in range(num_classes)}
    rows: dict[str, tuple[int, list[str]]] = {}
    for number, line in _lines(path):
        key, *words = line.split()
        _check_id(key, path, number)
        if key in rows:
            raise ValueError(f"{path}, line {number}: {key} is in line {rows[key][0]} already")
        rows[key] = number, words
    words_used = {word for _, words in rows.values() for word in words}
    for key, (number, words) in rows.items():
        unknown = [word for word in words if word not in known]
        if unknown:
            from_1 = str(num_classes) in words_used and "0" not in words_used
            raise ValueError(
                f"{path}, line {number}: {key} has the unknown class {unknown[0]!a}, expected "
                f"0 to {num_classes - 1}{'; the file seems to count from 1' if from_1 else ''}"
            )
    return {key: tuple(sorted({known[word] for word in rows[key][1]})) for key in rows}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank, whatever the line ends are."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a text file in UTF-8 ({error})") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def _check_id(key: str, path: Path, number: int) -> None:
    """Refuse an id that is no visible file name, which could lead out of the folders."""
    name = PurePosixPath(key).name == key == PureWindowsPath(key).name
    bare = key.isprintable() and not key.startswith(".") and not key.endswith(IMAGE_ENDINGS)
    if not (name and bare):
        raise ValueError(
            f"{path}, line {number}: expected an id, which is a file name without folder and "
            f"ending, got {key[:80]!a}"
        )


def _first_double(names: Sequence[str]) -> str:
    return next(name for i, name in enumerate(names) if name in names[:i])


def _image_file(folder: Path, key: str) -> Path:
    paths = [folder / f"{key}{ending}" for ending in IMAGE_ENDINGS]
    return next((path for path in paths if path.is_file()), paths[0])


def image_labels(photos: Sequence[Photo], num_classes: int) -> Tensor:
    """Multi-hot image-level labels, float32 (N, C)."""
    labels = torch.zeros(len(photos), num_classes)
    for row, photo in zip(labels, photos, strict=True):
        row[list(photo.classes)] = 1
    return labels


def read_image(path: Path) -> Tensor:
    """A picture as uint8 RGB (3, H, W).

    Gray, palette, RGBA, CMYK and 16-bit pictures become 8-bit RGB; 16-bit values are divided by 257
    (by 256 in those with colours, within one level), and an alpha channel is left out. An EXIF
    orientation is not applied: masks and saliency maps fit the pixels as they are stored.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no picture, or damaged.
    """
    try:
        with Image.open(path) as file:
            pixels = np.asarray(_rgb(file)).transpose(2, 0, 1)
    except Exception as error:  # whatever a damaged file makes Pillow raise
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(
            f"{path}: expected a picture, got something else or a damaged file ({error})"
        ) from error
    return torch.from_numpy(np.array(pixels, order="C"))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip at 255
        values = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray((values + 0.5).clip(0, 255).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    return image.convert("RGB")
