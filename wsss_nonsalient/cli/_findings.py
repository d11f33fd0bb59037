"""What a file or folder of this field is, found out by looking at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from .._values import to_list
from ..io import (
    CAMs,
    cam_ids,
    detect_cam_format,
    list_ids,
    read_cams,
    read_image_labels,
    read_label,
)
from ..io._files import read_file
from ..io._png import parse_png
from ._inputs import counted_endings, some

Item = TypeVar("Item")


@dataclass
class Finding:
    """What a path is."""

    path: Path
    kind: str
    lines: list[str] = field(default_factory=list[str])
    ids: Sequence[str] | None = None
    is_reference: bool = False  #: whether its ids are those that other paths should have


def look_at(path: Path, samples: int) -> Finding:
    """Find out what a path is.

    Raises:
        OSError: It cannot be read.
        ValueError: It is nothing of this field, damaged, or could be two things.
    """
    if path.is_dir():
        return _folder(path, samples)
    ending = path.suffix.lower()
    if ending == ".png":
        return _images(path, [path])
    if ending == ".npz":
        return _cam_file(path)
    if ending == ".npy":
        try:
            return _image_labels(path)
        except ValueError:
            return _cam_file(path)
    if ending in (".txt", ".json"):
        return _text(path)
    raise ValueError("not a file that this program reads (png, npy, npz, txt, json)")


def _folder(path: Path, samples: int) -> Finding:
    names = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
    endings = Counter(Path(name).suffix.lower() for name in names)
    if endings[".npy"] or endings[".npz"] or _is_nsrom(path, endings):
        return _cam_folder(path, samples)
    if endings[".png"]:
        files = sorted(path / name for name in names if name.lower().endswith(".png"))
        finding = _images(path, _spread(files, samples))
        finding.ids = [file.stem for file in files]
        finding.lines.insert(0, f"{len(files):,} images")
        return finding
    if endings[".xml"]:
        return _image_labels(path)
    raise ValueError(f"not a folder that this program reads: it has {counted_endings(path)}")


def _is_nsrom(path: Path, endings: Counter[str]) -> bool:
    if not endings[".png"]:
        return False
    try:
        return detect_cam_format(path) == "nsrom"
    except ValueError:
        return False


def _cam_folder(path: Path, samples: int) -> Finding:
    cam_format = detect_cam_format(path)
    ids = cam_ids(path, format=cam_format)
    if cam_format == "wsol":  # whose maps do not say of which class they are
        sampled = [
            read_cams(path, i, format="wsol", image_labels=(0,)) for i in _spread(ids, samples)
        ]
        lines = _map_lines(sampled)
    else:
        sampled = [read_cams(path, i, format=cam_format) for i in _spread(ids, samples)]
        lines = [*_map_lines(sampled), *_class_lines(sampled)]
    return Finding(path, f"CAM dumps, format {cam_format}", [f"{len(ids):,} images", *lines], ids)


def _cam_file(path: Path) -> Finding:
    cams = read_cams(path.parent, path.stem)
    return Finding(path, "CAM dump", [*_map_lines([cams]), *_class_lines([cams])])


def _map_lines(sampled: Sequence[CAMs]) -> list[str]:
    sizes = {_size(cams.maps) for cams in sampled}
    dtypes = sorted({str(cams.maps.dtype).removeprefix("torch.") for cams in sampled})
    full = [cams.maps for cams in sampled if cams.maps.numel()]
    low = min((float(maps.min()) for maps in full), default=0.0)
    high = max((float(maps.max()) for maps in full), default=0.0)
    return [
        f"maps of {_listed(sizes)} pixels, {', '.join(dtypes)}, values {low:g} to {high:g}"
        f"{_read(sampled)}"
    ]


def _class_lines(sampled: Sequence[CAMs]) -> list[str]:
    counts = [len(cams.classes) for cams in sampled]
    classes = {c for cams in sampled for c in to_list(cams.classes)}
    return [f"{min(counts)} to {max(counts)} classes an image; classes {_ranges(classes)}"]


def _images(path: Path, files: Sequence[Path]) -> Finding:
    kinds: set[str] = set()
    values: set[int] = set()
    sizes: set[str] = set()
    for file in files:
        labels = read_label(file)
        kinds.add(parse_png(read_file(file)).kind)
        values |= set(to_list(torch.bincount(labels.flatten()).nonzero().flatten()))
        sizes.add(_size(labels))
    kind = "label maps" if "palette" in kinds else "label maps or saliency maps (gray)"
    return Finding(
        path,
        kind if path.is_dir() else kind.replace("maps", "map"),
        [f"{_listed(sizes)} pixels, values {_ranges(values)}{_read(files)}"],
    )


def _image_labels(path: Path) -> Finding:
    known = read_image_labels(path)
    counts = Counter(len(classes) for classes in known.values())
    classes = {c for own in known.values() for c in own}
    several = sum(count for number, count in counts.items() if number > 1)
    lines = [
        f"{len(known):,} images, {several:,} of two or more classes, {counts[0]:,} of none",
        f"classes {_ranges(classes)}",
    ]
    return Finding(path, "image-level labels", lines, list(known), is_reference=True)


def _text(path: Path) -> Finding:
    try:
        finding = _image_labels(path)
        if finding.lines[-1] != f"classes {_ranges(())}":
            return finding
    except ValueError:
        if path.suffix.lower() == ".json":
            raise
    ids = list_ids(path)
    return Finding(path, "list of ids", [f"{len(ids):,} ids"], ids, is_reference=True)


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many items, evenly over all of them."""
    step = max(1, len(items) / count)
    return [items[int(k * step)] for k in range(min(count, len(items)))]


def _read(sampled: Sequence[object]) -> str:
    return f" ({len(sampled):,} images read)" if len(sampled) > 1 else ""


def _size(maps: Tensor) -> str:
    return f"{maps.shape[-1]} x {maps.shape[-2]}"


def _listed(names: Iterable[str]) -> str:
    return some(sorted(names), 3)


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers as ranges: 0-3, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return some([str(a) if a == b else f"{a}-{b}" for a, b in runs], 12) or "none"
