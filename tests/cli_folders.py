"""Small folders that plain NumPy and Pillow write, and command lines over them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import wsss_nonsalient
from tests.reference import Array
from wsss_nonsalient import (
    ignore_sparse_labels,
    initial_labels,
    normalize_cam,
    pom_refine,
    resize_cam,
)
from wsss_nonsalient.cli import main
from wsss_nonsalient.cli._task import Task

SIZE = (12, 17)
COMMANDS = ("labels", "mask", "score", "convert", "inspect")


class Folders:
    """A small data set: what is in the files, and the files."""

    def __init__(
        self, root: Path, *, images: int = 4, num_classes: int = 20, map_size: Any = SIZE
    ) -> None:
        self.root, self.num_classes = root, num_classes
        random = np.random.default_rng(0)
        self.maps: dict[str, dict[int, Array]] = {}
        self.saliency: dict[str, Array] = {}
        self.predictions: dict[str, Array] = {}
        for k in range(images):
            name = f"2007_{k:06d}"
            classes = np.sort(random.choice(num_classes, 1 + k % 3, replace=False))
            self.maps[name] = {int(c): _blob(random, map_size) for c in classes}
            self.saliency[name] = _blob(random, SIZE)
            wide = np.uint8 if num_classes <= 254 else np.uint16
            labels = [0, *(classes + 1)]
            self.predictions[name] = random.choice(labels, SIZE).astype(wide)

    def write(self, *formats: str) -> Folders:
        for name, writer in WRITERS.items():
            if name in formats:
                (self.root / name).mkdir()
                for image_id, maps in self.maps.items():
                    writer(self.root / name, image_id, maps)
        for name, images in (("saliency", self.saliency), ("predictions", self.predictions)):
            (self.root / name).mkdir()
            for image_id, image in images.items():
                Image.fromarray(image).save(self.root / name / f"{image_id}.png")
        self.write_image_labels()
        return self

    def write_image_labels(self) -> None:
        lines = (" ".join([i, *map(str, maps)]) for i, maps in self.maps.items())
        (self.root / "cls.txt").write_text("\n".join(lines) + "\n")

    def labels(self, cams: str, out: str, *options: str) -> list[str]:
        """Arguments of the labels command."""
        arguments = {"cams": cams, "saliency": "saliency", "image-labels": "cls.txt", "out": out}
        paths = [f"--{name}={self.root / path}" for name, path in arguments.items()]
        return ["labels", *paths, f"--cam-format={cams}", *options]

    def mask(self, out: str, *options: str) -> list[str]:
        arguments = {"predictions": "predictions", "pseudo-labels": "labels", "out": out}
        paths = [f"--{name}={self.root / path}" for name, path in arguments.items()]
        return ["mask", *paths, f"--image-labels={self.root / 'cls.txt'}", *options]

    def convert(self, cams: str, out: str, *options: str, to: str = "nsrom") -> list[str]:
        paths = [f"--cams={self.root / cams}", f"--out={self.root / out}"]
        return ["convert", *paths, f"--cam-format={cams}", f"--to={to}", *options]

    def read(self, out: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.root / out).glob("*.png"))}

    def label(self, out: str, image_id: str) -> Array:
        return read_png(self.root / out / f"{image_id}.png")

    def dense(self, image_id: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All C maps, saliency and image-level labels, as the label functions take them."""
        maps = self.maps[image_id]
        size = next(iter(maps.values()), np.zeros(SIZE)).shape
        cam = torch.zeros(self.num_classes, *size, dtype=torch.uint8)
        present = torch.zeros(self.num_classes)
        for c, own in maps.items():
            cam[c], present[c] = torch.from_numpy(own), 1
        return cam, torch.from_numpy(self.saliency[image_id]), present


def _blob(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """An object with noise around it, in 8 bits, that seldom reaches 0 and 255."""
    y, x = np.mgrid[: size[0], : size[1]]
    centre, radius = random.uniform(0.2, 0.8, 2) * size, random.uniform(2, 8)
    distance = np.hypot(y - centre[0], x - centre[1])
    values = 250 * np.exp(-((distance / radius) ** 2)) + random.integers(0, 30, size)
    blob: Array = np.clip(values, 0, 255).astype(np.uint8)
    return blob


def read_png(path: Path) -> Array:
    with Image.open(path) as image:
        return np.array(image)


def _write_nsrom(folder: Path, image_id: str, maps: dict[int, Array]) -> None:
    for c, own in maps.items():
        Image.fromarray(own).save(folder / f"{image_id}_{c}.png")


def _write_psa(folder: Path, image_id: str, maps: dict[int, Array]) -> None:
    dump = {c: own.astype(np.float32) / np.float32(255) for c, own in maps.items()}
    np.save(folder / f"{image_id}.npy", np.array(dump, dtype=object))


def _write_irn(folder: Path, image_id: str, maps: dict[int, Array]) -> None:
    high_res = np.stack(list(maps.values())).astype(np.float32) / np.float32(255)
    dump = {
        "keys": torch.tensor(list(maps)),
        "cam": torch.from_numpy(high_res[:, ::4, ::4].copy()),
        "high_res": high_res,
    }
    np.save(folder / f"{image_id}.npy", np.array(dump, dtype=object))


WRITERS: dict[str, Callable[[Path, str, dict[int, Array]], None]] = {
    "nsrom": _write_nsrom,
    "psa": _write_psa,
    "irn": _write_irn,
}


def run(*argv: str) -> int:
    """Exit code of a command line, as a shell sees it."""
    try:
        return main(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1


def library_label(
    folders: Folders,
    image_id: str,
    *,
    mode: Any = "minmax",
    pom: bool = True,
    ignore_index: int = 255,
    ratio: float = 0.01,
    quartile: Any = "linear",
    **thresholds: float,
) -> Array:
    """The same through the library's functions on all C maps."""
    cam, saliency, present = folders.dense(image_id)
    if mode != "none":
        cam = normalize_cam(cam, mode=mode)
    if cam.shape[-2:] != saliency.shape:
        cam = resize_cam(cam, saliency.shape)
    dtype = torch.uint8 if ignore_index == 255 else torch.int32
    labels = initial_labels(
        cam, saliency, present, dtype=dtype, ignore_index=ignore_index, **thresholds
    )
    if pom:
        labels = pom_refine(labels, cam, present, quartile=quartile, ignore_index=ignore_index)
    labels = ignore_sparse_labels(labels, min_object_ratio=ratio, ignore_index=ignore_index)
    result: Array = labels.numpy()
    return result


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "wsss_nonsalient", *argv]


def environment() -> dict[str, str]:
    package = Path(wsss_nonsalient.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


def die_of_it(task: Task) -> str:
    """Ends its process at the image "deadly"."""
    if task.image_id == "deadly":
        os._exit(3)
    return task.image_id


def take_a_while(task: Task) -> str:
    time.sleep(0.05)
    return task.image_id
