"""A PASCAL VOC folder with saliency maps: splits, photos, image-level labels, scoring masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsss_nonsalient.io import VOC_CLASSES


@dataclass(frozen=True)
class Photo:
    """One photo of a split; training reads `image` and `classes` only."""

    key: str
    classes: tuple[int, ...]
    image: Path
    saliency: Path
    scoring_mask: (
        Path  # the true segmentation: pseudo labels are scored with it, never made with it
    )


def find_root(path: Path) -> Path:
    """The folder that holds `JPEGImages`: `path` itself or its `VOC2012`."""
    for root in (path, path / "VOC2012"):
        if (root / "JPEGImages").is_dir():
            return root
    raise FileNotFoundError(f"no JPEGImages folder in {path}")


def read_split(root: Path, split: str) -> list[Photo]:
    """Photos of a split with their image-level labels.

    Args:
        root: the folder that holds `JPEGImages`, `SegmentationClassAug`, `saliency`, `ImageSets`.
        split: a name such as `train_balanced`, or the path of a list of ids. The labels come from
            `{split}_cls.txt` (`id c c ...`, classes 0 to 19), beside the list or one folder up.
    """
    ids_file = Path(split)
    if not ids_file.is_file():
        ids_file = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    keys = _read(ids_file).split()
    if not keys:
        raise ValueError(f"{ids_file} lists no photo")
    if len(set(keys)) < len(keys):
        raise ValueError(f"{ids_file} lists a photo twice")
    classes_file = ids_file.with_name(f"{ids_file.stem}_cls.txt")
    if not classes_file.is_file():
        classes_file = ids_file.parent.parent / classes_file.name
    classes = {
        words[0]: words[1:] for words in map(str.split, _read(classes_file).splitlines()) if words
    }
    return [_photo(root, key, classes, classes_file) for key in keys]


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return path.read_text()


def _photo(root: Path, key: str, classes: dict[str, list[str]], classes_file: Path) -> Photo:
    if key not in classes:
        raise ValueError(f"{classes_file} has no line for {key}")
    known = {str(c): c for c in range(len(VOC_CLASSES))}
    unknown = [word for word in classes[key] if word not in known]
    if unknown:
        raise ValueError(
            f"{classes_file}: {key} has the unknown class {unknown[0]!r}, "
            f"expected 0 to {len(VOC_CLASSES) - 1}"
        )
    return Photo(
        key,
        tuple(sorted({known[word] for word in classes[key]})),
        root / "JPEGImages" / f"{key}.jpg",
        root / "saliency" / f"{key}.png",
        root / "SegmentationClassAug" / f"{key}.png",
    )


def check_images(photos: Iterable[Photo]) -> None:
    """Raise for the first photo without an image."""
    for photo in photos:
        _size(photo.image)


def check_photos(photos: Iterable[Photo]) -> None:
    """Raise for the first photo whose image, saliency or mask is missing, or differs in size."""
    for photo in photos:
        size = _size(photo.image)
        for path in (photo.saliency, photo.scoring_mask):
            if _size(path) != size:
                raise ValueError(f"{path} is {_size(path)} pixels, but {photo.image} is {size}")


def _size(path: Path) -> tuple[int, int]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    with Image.open(path) as image:  # reads the header only
        return image.size


def image_labels(photos: Sequence[Photo]) -> Tensor:
    """Multi-hot image-level labels, float (N, 20)."""
    labels = torch.zeros(len(photos), len(VOC_CLASSES))
    for row, photo in zip(labels, photos, strict=True):
        row[list(photo.classes)] = 1
    return labels


def read_image(path: Path, size: int | None = None) -> Tensor:
    """RGB photo, uint8 (3, H, W), resized to (size, size) if `size` is given."""
    with Image.open(path) as file:
        image = file.convert("RGB")
        if size is not None:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
