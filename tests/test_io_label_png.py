"""What other programs make of label PNGs, held against the table in the documentation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.reference import Array
from wsss_nonsalient.io import VOC_PALETTE, read_label, write_label

PAGE = Path(__file__).parents[1] / "docs" / "label_png.md"
EVERY = np.arange(256, dtype=np.uint8).reshape(16, 16)
WIDE = EVERY.astype(np.int32) * 257
COLOURS = np.frombuffer(VOC_PALETTE, np.uint8).reshape(16, 16, 3)


def by_pillow(path: Path) -> Array:
    with Image.open(path) as image:
        pixels: Array = np.asarray(image)
    return pixels


def by_imageio(path: Path, **options: Any) -> Array:
    pixels: Array = pytest.importorskip("imageio.v3").imread(path, **options)
    return pixels


def by_opencv(path: Path) -> Array:
    cv2 = pytest.importorskip("cv2")
    pixels: Array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return pixels


def by_torchvision(path: Path, **options: Any) -> Array:
    decode = pytest.importorskip("torchvision.io")
    if pytest.importorskip("torchvision").__version__.startswith("0.18."):
        pytest.skip("it has neither 16 bits nor modes by name")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it hands over to TorchCodec
        channels = decode.decode_image(decode.read_file(str(path)), **options)
    pixels: Array = channels.permute(1, 2, 0).squeeze(-1).numpy()
    return pixels


READERS: dict[str, Callable[[Path], Array]] = {
    "`wsss_nonsalient.io.read_label(path)`": lambda path: read_label(path).numpy(),
    "Pillow, `np.asarray(Image.open(path))`": by_pillow,
    "imageio, `imread(path)`": by_imageio,
    'imageio, `imread(path, mode="P")`': lambda path: by_imageio(path, mode="P"),
    "OpenCV, `imread(path, IMREAD_UNCHANGED)`": by_opencv,
    "torchvision, `decode_image(read_file(path))`": by_torchvision,
    'torchvision, `decode_image(read_file(path), mode="RGB")`': lambda path: by_torchvision(
        path, mode="RGB"
    ),
}


def documented() -> dict[str, list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert rows[0] == ["read by", "palette", "gray, 8 bits", "gray, 16 bits"]
    return {name: cells for name, *cells in rows[2:]}


def kind(pixels: Array, labels: Array) -> str:
    for name, expected in (
        ("labels", labels),
        ("colours", COLOURS),
        ("colours, blue first", COLOURS[..., ::-1]),
    ):
        if pixels.shape == expected.shape and (pixels == expected).all():
            return name
    return "neither"


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[Path, Array]]:
    write_label(tmp_path / "palette.png", torch.from_numpy(EVERY))
    write_label(tmp_path / "gray.png", torch.from_numpy(EVERY), palette=None)
    write_label(tmp_path / "wide.png", torch.from_numpy(WIDE), palette=None)
    return [(tmp_path / f"{name}.png", EVERY) for name in ("palette", "gray")] + [
        (tmp_path / "wide.png", WIDE)
    ]


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not there")
def test_the_documentation_has_every_reader() -> None:
    assert list(documented()) == list(READERS)


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not there")
@pytest.mark.parametrize("name", READERS)
def test_a_reader_gives_what_is_documented(name: str, files: list[tuple[Path, Array]]) -> None:
    cells = documented()[name]
    assert cells[0] != "-"
    for cell, (path, labels) in zip(cells, files, strict=True):
        if cell != "-":  # not meant for such a file
            assert kind(READERS[name](path), labels) == cell, path.name


def test_a_palette_png_has_all_colours(files: list[tuple[Path, Array]]) -> None:
    with Image.open(files[0][0]) as image:
        assert image.mode == "P"
        assert bytes(image.getpalette() or ()) == VOC_PALETTE
    with Image.open(files[1][0]) as image:
        assert image.mode == "L"
