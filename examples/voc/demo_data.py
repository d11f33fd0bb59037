"""A procedural data set in PASCAL VOC's folders: nothing to download, and objects that hide.

    python examples/voc/demo_data.py runs/demo_data --train 200 --val 100

`demo_pictures.py` draws it.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from demo_pictures import APPEARANCE, KINDS, SIZE, Appearance, draw_picture
from PIL import Image

from wsss_nonsalient.io import write_image_labels, write_label

VERSION = 2  # of the code that draws: another one makes another data set
TRAIN, VAL = 200, 100
FIRST = {"train": 0, "val": 100_000}  # index of the first picture of a list
_LEAST_SIDE = 64
_ABANDONED = 60  # seconds without a change


def write_demo_data(
    root: Path,
    *,
    train: int = TRAIN,
    val: int = VAL,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    appearance: Appearance = APPEARANCE,
) -> None:
    """Write the data set, complete or not at all; one with the same parameters is kept.

    Args:
        root: The folder, which is made.
        train: Number of pictures in the list `train`.
        val: Number of pictures in the list `val`.
        size: Height and width; each picture is a little smaller.
        seed: Not negative; a picture depends on it, on its index and on how it looks only.
        appearance: How the pictures look.

    Raises:
        FileExistsError: The folder holds something else, or other parameters' data.
        ValueError: A number is out of range.
    """
    _check_numbers(train, val, size, seed)
    counts = {"train": train, "val": val}
    look = asdict(appearance)
    record = {"version": VERSION, **counts, "size": size, "seed": seed, "appearance": look}
    made_from = json.dumps(record, indent=2) + "\n"
    _remove_abandoned(root)
    if _is_there(root, made_from):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.with_name(f".{root.name}.{secrets.token_hex(4)}.partial")
    try:
        for split, count in counts.items():
            _write_split(partial, split, count, size, seed, appearance)
        (partial / "classes.txt").write_text("".join(f"{kind.name}\n" for kind in KINDS))
        (partial / "demo.json").write_text(made_from)
        _put_in_place(partial, root, made_from)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_numbers(train: int, val: int, size: tuple[int, int], seed: int) -> None:
    if not (0 < train <= FIRST["val"] and val > 0 and seed >= 0):
        raise ValueError(
            f"expected 1 to {FIRST['val']} train pictures, 1 or more val pictures and a seed of 0 "
            f"or more, got train={train}, val={val}, seed={seed}"
        )
    if min(size) < _LEAST_SIDE:
        raise ValueError(f"size: expected at least {_LEAST_SIDE} pixels a side, got {size}")


def _is_there(root: Path, made_from: str) -> bool:
    """Whether the folder holds the data set; an error if it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / "demo.json"
    if record.is_file() and record.read_text() == made_from:
        return True
    what = "demo data of other parameters" if record.is_file() else "something else than demo data"
    raise FileExistsError(f"{root} holds {what}: choose another folder or remove this one")


def _remove_abandoned(root: Path) -> None:
    """Remove what a killed process had drawn: folders in which nothing changed for a minute."""
    if not root.parent.is_dir():
        return
    for own in root.parent.iterdir():
        if own.name.startswith(f".{root.name}.") and own.suffix == ".partial":
            latest = max(path.stat().st_mtime for path in (own, *own.rglob("*")))
            if time.time() - latest > _ABANDONED:
                shutil.rmtree(own, ignore_errors=True)


def _put_in_place(partial: Path, root: Path, made_from: str) -> None:
    if root.is_dir() and not any(root.iterdir()):
        root.rmdir()
    try:
        partial.rename(root)
    except OSError:
        if not _is_there(root, made_from):  # another process may have been faster
            raise


def _write_split(
    root: Path, split: str, count: int, size: tuple[int, int], seed: int, appearance: Appearance
) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "saliency", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    classes = {}
    for index in range(FIRST[split], FIRST[split] + count):
        key, picture = f"demo_{index:06d}", draw_picture(seed, index, size, appearance)
        image = Image.fromarray(picture.image)
        image.save(root / "JPEGImages" / f"{key}.jpg", quality=93, subsampling=0)
        write_label(root / "SegmentationClass" / f"{key}.png", torch.from_numpy(picture.mask))
        Image.fromarray(picture.saliency).save(root / "saliency" / f"{key}.png")
        classes[key] = picture.classes
    ids = "".join(f"{key}\n" for key in classes)
    (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(ids)
    write_image_labels(root / "ImageSets" / f"{split}_cls.txt", classes)


def main(argv: Sequence[str] | None = None) -> None:
    """Write a data set from the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("root", type=Path, help="folder to make")
    parser.add_argument("--train", type=int, default=TRAIN, help="pictures of the list train")
    parser.add_argument("--val", type=int, default=VAL, help="pictures of the list val")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument(
        "--size", type=int, nargs=2, default=SIZE, metavar=("HEIGHT", "WIDTH"), help="in pixels"
    )
    args = parser.parse_args(argv)
    height, width = args.size
    try:
        write_demo_data(
            args.root, train=args.train, val=args.val, size=(height, width), seed=args.seed
        )
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
