"""Label maps and saliency: what is read, what is refused, what other tools read of ours."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import io_files
from tests.io_files import png, png_of
from tests.reference import Array
from wsss_nonsalient.io import VOC_CLASSES, VOC_PALETTE, read_label, read_saliency, write_label

LABELS = np.array([[0, 1, 20], [255, 254, 21]], np.uint8)
BLACK = bytes(768)


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "a.png"
    path.write_bytes(data)
    return path


def palette_of(bits: int) -> Array:
    """Indices 0 to 2^bits - 1 in rows that do not end with a byte."""
    indices: Array = (np.arange(3 * 7).reshape(3, 7) % 2**bits).astype(np.uint8)
    return indices


def packed(indices: Array, bits: int) -> bytes:
    rows = []
    for row in indices:
        spread = np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()
        rows.append(b"\0" + np.packbits(spread).tobytes())
    return b"".join(rows)


@pytest.mark.parametrize("palette", [None, BLACK, bytes(VOC_PALETTE), bytes(range(256)) * 3])
def test_a_palette_is_never_looked_at(palette: bytes | None, tmp_path: Path) -> None:
    mode = None if palette is None else "P"
    labels = read_label(saved(tmp_path, png(LABELS, mode, palette=palette)))
    assert labels.dtype == torch.uint8
    np.testing.assert_array_equal(labels.numpy(), LABELS)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_narrow_palettes(bits: int, tmp_path: Path) -> None:
    indices = palette_of(bits)
    data = png_of(7, 3, bits, 3, packed(indices, bits), palette=BLACK[: 3 * 2**bits])
    np.testing.assert_array_equal(read_label(saved(tmp_path, data)).numpy(), indices)
    small = png(indices, "P", palette=BLACK[: 3 * 2**bits], bits=bits)
    np.testing.assert_array_equal(read_label(saved(tmp_path, small)).numpy(), indices)


def test_a_palette_shorter_than_its_labels(tmp_path: Path) -> None:
    data = png_of(3, 2, 8, 3, b"\0\0\x01\x14\0\xff\xfe\x15", palette=bytes(VOC_PALETTE[:63]))
    np.testing.assert_array_equal(read_label(saved(tmp_path, data)).numpy(), LABELS)
    with pytest.raises(ValueError, match="colour that is not in the palette"):
        read_saliency(tmp_path / "a.png")


def test_interlaced(tmp_path: Path) -> None:
    pixels = np.arange(11 * 9, dtype=np.uint8).reshape(9, 11) + 157
    for palette in (None, BLACK):
        path = saved(tmp_path, io_files.interlaced_png(pixels, palette))
        np.testing.assert_array_equal(read_label(path).numpy(), pixels)
    np.testing.assert_array_equal(
        read_saliency(saved(tmp_path, io_files.interlaced_png(pixels))).numpy(), pixels
    )


def test_16_bits(tmp_path: Path) -> None:
    wide = np.array([[0, 255, 256], [1000, 32768, 65535]], np.uint16)
    labels = read_label(saved(tmp_path, png(wide)))
    assert labels.dtype == torch.int32
    np.testing.assert_array_equal(labels.numpy(), wide)
    with pytest.raises(ValueError, match=r"a\.png: expected a gray PNG of 8 bits, got 16 bits"):
        read_saliency(tmp_path / "a.png")


def test_what_comes_with_a_picture_changes_nothing(tmp_path: Path) -> None:
    data = png(LABELS, "P", palette=bytes(VOC_PALETTE), transparency=0, dpi=(72, 72))
    gamma = io_files.chunk(b"gAMA", (45455).to_bytes(4, "big"))
    text = io_files.chunk(b"zTXt", b"a\0\0" + b"damaged")
    data = data[:33] + gamma + text + data[33:] + b"after the end"
    np.testing.assert_array_equal(read_label(saved(tmp_path, data)).numpy(), LABELS)


def jpeg() -> bytes:
    stream = BytesIO()
    Image.fromarray(LABELS).save(stream, format="JPEG")
    return stream.getvalue()


REFUSED_LABELS = {
    "jpeg": (jpeg(), "JPEG file, whose compression changes values"),
    "rgb": (png(LABELS, "RGB"), "got RGB: colours are no labels"),
    "rgba": (png(LABELS, "RGBA"), "got RGB with alpha"),
    "gray with alpha": (png(LABELS, "LA"), "got gray with alpha"),
    "1 bit": (png(LABELS > 0), "got gray of 1: tools disagree"),
    "2 bits": (png_of(4, 1, 2, 0, b"\0\x1b"), "got gray of 2"),
    "4 bits": (png_of(2, 1, 4, 0, b"\0\x1b"), "got gray of 4"),
    "empty": (b"", "it is empty"),
    "text": (b"2007_000032 3", "it is no PNG file"),
    "bmp": (b"BM" + bytes(100), "it is no PNG file"),
    "no header": (b"\x89PNG\r\n\x1a\n" + io_files.chunk(b"IEND", b""), "no header"),
    "no pixels": (png_of(0, 2, 8, 0, b""), "impossible header"),
    "impossible bits": (png_of(1, 1, 3, 0, b"\0\0"), "impossible header"),
    "impossible colour": (png_of(1, 1, 8, 5, b"\0\0"), "impossible header"),
    "too few rows": (png_of(3, 3, 8, 0, bytes(8)), "truncated"),
    "no rows": (png_of(3, 3, 8, 0, b""), "truncated"),
    "too few interlaced rows": (png_of(9, 9, 8, 0, bytes(99), interlaced=True), "99 bytes of 100"),
    "unknown filter": (png_of(3, 1, 8, 0, b"\x09abc"), ""),
    "huge": (png_of(60_000, 60_000, 8, 0, bytes(99)), "60000 x 60000 pixels, too many"),
}


@pytest.mark.parametrize("name", REFUSED_LABELS)
def test_refused_labels(name: str, tmp_path: Path) -> None:
    data, message = REFUSED_LABELS[name]
    path = saved(tmp_path, data)
    with pytest.raises(ValueError, match=rf"^{path}: .*{message}"):
        read_label(path)


@pytest.mark.parametrize("reader", [read_label, read_saliency])
def test_damage_is_noticed(reader: object, tmp_path: Path) -> None:
    assert callable(reader)
    data = png(LABELS, "P", palette=bytes(v for v in range(256) for _ in "RGB"))
    for end in range(len(data)):
        with pytest.raises(ValueError, match=str(tmp_path)):
            reader(saved(tmp_path, data[:end]))
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(ValueError, match=str(tmp_path)):
            reader(saved(tmp_path, bytes(damaged)))


@pytest.mark.parametrize("reader", [read_label, read_saliency])
def test_no_file(reader: object, tmp_path: Path) -> None:
    assert callable(reader)
    with pytest.raises(FileNotFoundError):
        reader(tmp_path / "a.png")
    with pytest.raises(IsADirectoryError):
        reader(str(tmp_path))


def test_voc_colours() -> None:
    assert len(VOC_CLASSES) == 20
    assert len(VOC_PALETTE) == 768
    colours = [tuple(VOC_PALETTE[3 * label :][:3]) for label in range(256)]
    assert len(set(colours)) == 256
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)}
    known |= {8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {label: colours[label] for label in known} == known


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_label_round_trips(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    labels = torch.from_numpy(LABELS).to(dtype)
    write_label(path, labels)
    assert torch.equal(read_label(path), labels.to(torch.uint8))
    write_label(path, labels, palette=None)
    wide = torch.uint8 if dtype == torch.uint8 else torch.int32
    assert torch.equal(read_label(path), labels.to(wide))
    if dtype.itemsize > 2:
        labels = labels * 257
        write_label(path, labels, palette=None)
        assert torch.equal(read_label(path), labels.to(torch.int32))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cases = [
        (torch.tensor([[256]]), "voc", r"labels: expected 0 to 255, got 256 to 256; palette=None"),
        (torch.tensor([[-1, 3]]), None, "labels: expected 0 to 65535, got -1 to 3"),
        (torch.tensor([[65536]]), None, "labels: expected 0 to 65535"),
        (torch.zeros(1, 2, 2, dtype=torch.uint8), "voc", r"labels: expected shape \(H, W\)"),
        (torch.zeros(0, 2, dtype=torch.uint8), "voc", "labels: expected H of at least 1"),
        (torch.zeros(2, 2, dtype=torch.uint8), "city", "palette: expected 'voc' or None"),
    ]
    for labels, palette, message in cases:
        with pytest.raises(ValueError, match=message):
            write_label(path, labels, palette=palette)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="labels: expected an integer tensor"):
        write_label(path, torch.zeros(2, 2))
    assert not path.exists()


LEVELS = np.array([[0, 32, 255], [1, 254, 31]], np.uint8)


def test_saliency_as_tools_write_it(tmp_path: Path) -> None:
    flat = png(LEVELS, "RGB")
    reverse = bytes(v for v in range(255, -1, -1) for _ in "RGB")
    files = {"gray": png(LEVELS), "palette": png(LEVELS, "P"), "equal channels": flat}
    for name, data in {**files, "other order": png(255 - LEVELS, "P", palette=reverse)}.items():
        saliency = read_saliency(saved(tmp_path, data))
        assert saliency.dtype == torch.uint8, name
        np.testing.assert_array_equal(saliency.numpy(), LEVELS, name)


@pytest.mark.parametrize(
    ("bits", "expected"), [(1, [0, 255]), (2, [0, 85, 170, 255]), (4, [0, 17, 34, 51, 68, 85, 102])]
)
def test_saliency_of_few_bits_is_scaled(bits: int, expected: list[int], tmp_path: Path) -> None:
    data = png_of(7, 3, bits, 0, packed(palette_of(bits), bits))
    saliency = read_saliency(saved(tmp_path, data)).numpy()
    assert saliency.ravel()[: len(expected)].tolist() == expected
    np.testing.assert_array_equal(
        read_saliency(saved(tmp_path, png(LEVELS > 31))).numpy(), (LEVELS > 31) * 255
    )


def test_refused_saliency(tmp_path: Path) -> None:
    coloured = np.stack([LEVELS, LEVELS, LEVELS + 1], -1)
    cases = [
        (png(LEVELS, "P", palette=bytes(VOC_PALETTE)), "got colours; is it a label map"),
        (png(coloured), "got colours"),
        (png(LEVELS, "RGBA"), "got RGB with alpha"),
        (png(LEVELS, "LA"), "got gray with alpha"),
        (jpeg(), "JPEG"),
        (png_of(1, 1, 8, 3, b"\0\0"), ""),
    ]
    for data, message in cases:
        path = saved(tmp_path, data)
        with pytest.raises(ValueError, match=rf"^{path}: .*{message}"):
            read_saliency(path)


def test_a_picture_too_large_to_trust_is_refused(tmp_path: Path) -> None:
    """Long enough to be whole, but what Pillow takes for a bomb."""
    path = saved(tmp_path, png_of(20_000, 20_000, 1, 3, bytes(2501 * 20_000), palette=BLACK[:6]))
    with pytest.raises(ValueError, match="MAX_IMAGE_PIXELS"):
        read_label(path)
