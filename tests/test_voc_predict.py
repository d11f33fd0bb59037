"""examples/voc/predict.py: any picture in, palette PNGs and overlays out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import predict
import pytest
import torch
from PIL import Image
from pipeline.networks import save_network
from pipeline.photos import read_image
from pipeline.predictions import load_segmenter

from wsss_nonsalient.io import read_label

Finished = tuple[Path, dict[str, Any]]


@pytest.fixture
def checkpoint(small_run: Finished) -> str:
    return str(small_run[0] / "segmentation_2" / "network.safetensors")


def test_it_predicts_what_the_run_predicted(
    small_run: Finished, small_data: Path, checkpoint: str, tmp_path: Path
) -> None:
    ids = (small_data / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    images = [str(small_data / "JPEGImages" / f"{own}.jpg") for own in ids]
    predict.main(["--checkpoint", checkpoint, "--out", str(tmp_path), *images])
    for own in ids:
        expected = read_label(small_run[0] / "val" / "segmentation_2" / f"{own}.png")
        assert torch.equal(read_label(tmp_path / "labels" / f"{own}.png"), expected)
        with Image.open(tmp_path / "overlays" / f"{own}.png") as overlay:
            assert overlay.size == expected.shape[::-1]


def test_it_says_which_classes_were_found(
    small_data: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = (small_data / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    images = [str(small_data / "JPEGImages" / f"{own}.jpg") for own in ids]
    predict.main(["--checkpoint", checkpoint, "--out", str(tmp_path), *images])
    labels = [read_label(tmp_path / "labels" / f"{own}.png") for own in ids]
    names = (small_data / "classes.txt").read_text().split()
    counts = {
        name: sum(bool((own == i).any()) for own in labels) for i, name in enumerate(names, 1)
    }
    expected = ", ".join(f"{name} in {n}" for name, n in counts.items() if n) or "no object"
    assert f"pictures: {len(ids)}; found: {expected}\n" in capsys.readouterr().out


def test_probabilities_sum_to_one(checkpoint: str, small_data: Path) -> None:
    image = read_image(min((small_data / "JPEGImages").iterdir()))
    found = load_segmenter(Path(checkpoint)).probabilities(image)
    assert found.shape == (7, *image.shape[1:])
    torch.testing.assert_close(found.sum(dim=0), torch.ones(image.shape[1:]))


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16"])
def test_pictures_of_other_kinds(mode: str, checkpoint: str, tmp_path: Path) -> None:
    values = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)
    image = Image.fromarray(values) if mode == "I;16" else Image.new(mode, (48, 40), None)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    predict.main(["--checkpoint", checkpoint, "--out", str(tmp_path / "out"), str(path)])
    assert read_label(tmp_path / "out" / "labels" / "a.png").shape == (40, 48)


def test_overlay(tmp_path: Path) -> None:
    image = torch.full((3, 1, 2), 100, dtype=torch.uint8)
    predict.write(tmp_path, "a", image, torch.tensor([[0, 1]], dtype=torch.uint8))
    with Image.open(tmp_path / "overlays" / "a.png") as overlay:
        red = round(100 + 0.55 * (128 - 100))
        assert np.asarray(overlay).tolist() == [[[100] * 3, [red, 45, 45]]]


def test_folder_for_the_test_server(checkpoint: str, small_data: Path, tmp_path: Path) -> None:
    image = min((small_data / "JPEGImages").iterdir())
    out = ["--out", str(tmp_path), "--voc-test-server", str(tmp_path / "server")]
    predict.main(["--checkpoint", checkpoint, *out, str(image)])
    folder = tmp_path / "server" / "results" / "VOC2012" / "Segmentation" / "comp6_test_cls"
    written = folder / f"{image.stem}.png"
    assert written.read_bytes() == (tmp_path / "labels" / f"{image.stem}.png").read_bytes()


def run_on(tmp_path: Path, checkpoint: str, *images: Path) -> None:
    predict.main(["--checkpoint", checkpoint, "--out", str(tmp_path / "out"), *map(str, images)])


def test_two_pictures_of_one_name(checkpoint: str, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(SystemExit, match=r"a.jpg and .*a.png would both become a.png"):
        run_on(tmp_path, checkpoint, tmp_path / "a.png", tmp_path / "a.jpg")


def test_what_is_no_picture(checkpoint: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match=r"bad.jpg"):
        run_on(tmp_path, checkpoint, tmp_path / "good.png", tmp_path / "bad.jpg")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit, match=r"absent.jpg"):
        run_on(tmp_path, checkpoint, tmp_path / "absent.jpg")


@pytest.mark.parametrize("name", ["nonsense", "meta:x", "xla"])
def test_device_that_is_not_here(name: str, checkpoint: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    arguments = ["--checkpoint", checkpoint, "--device", name, str(tmp_path / "a.png")]
    with pytest.raises(SystemExit, match=f"--device: '{name}' cannot be used here"):
        predict.main(arguments)


def test_out_that_cannot_be_made(checkpoint: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit, match=r"out"):
        run_on(tmp_path, checkpoint, tmp_path / "a.png")


def test_what_is_no_segmentation_checkpoint(small_run: Finished, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    classifier = str(small_run[0] / "classify" / "network.safetensors")
    with pytest.raises(SystemExit, match="is no checkpoint of a segmentation network"):
        run_on(tmp_path, classifier, tmp_path / "a.png")
    save_network(tmp_path / "b.safetensors", {"x": torch.zeros(1)}, {})
    with pytest.raises(SystemExit, match="is no checkpoint of a segmentation network"):
        run_on(tmp_path, str(tmp_path / "b.safetensors"), tmp_path / "a.png")
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    with pytest.raises(SystemExit, match="c.safetensors"):
        run_on(tmp_path, str(tmp_path / "c.safetensors"), tmp_path / "a.png")
