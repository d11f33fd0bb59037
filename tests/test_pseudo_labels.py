"""examples/voc/pseudo_labels.py from end to end, on a few pictures drawn in VOC's layout."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("timm")
pytest.importorskip("matplotlib")

import pseudo_label_table
import pseudo_labels
import voc_features
from voc_labels import COLUMNS, STEPS

from wsss_nonsalient.io import VOC_PALETTE

SIZE = (80, 64)
COLORS = {0: "crimson", 7: "royalblue", 14: "gold"}
PHOTOS = {"a": (0, 7), "b": (7,), "c": (14, 0), "d": (14,), "e": (0,), "f": (7, 14), "g": ()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Small pictures: a salient disc of the first class, and a small one outside saliency."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClassAug", "saliency", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    rng = random.Random(0)
    for key, classes in PHOTOS.items():
        image, mask, saliency = (Image.new(mode, SIZE) for mode in ("RGB", "P", "L"))
        mask.putpalette(VOC_PALETTE)
        x, y = rng.randint(8, 20), rng.randint(8, 20)
        boxes = [(x, y, x + 30, y + 30), (58, 44, 72, 58)][: len(classes)]
        for box, c in zip(boxes, classes, strict=True):
            ImageDraw.Draw(image).ellipse(box, fill=COLORS[c])
            ImageDraw.Draw(mask).ellipse(box, fill=c + 1)
        for box in boxes[:1]:
            ImageDraw.Draw(saliency).ellipse(box, fill=240)
        image.save(root / "JPEGImages" / f"{key}.jpg")
        mask.save(root / "SegmentationClassAug" / f"{key}.png")
        saliency.save(root / "saliency" / f"{key}.png")
    write_split(root, "tiny", PHOTOS)
    return root


def write_split(root: Path, name: str, photos: dict[str, tuple[int, ...]]) -> None:
    (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(photos) + "\n")
    lines = [" ".join(map(str, (key, *classes))) for key, classes in photos.items()]
    (root / "ImageSets" / f"{name}_cls.txt").write_text("\n".join(lines) + "\n")


def arguments(root: Path, out: Path, *more: str) -> list[str]:
    paths = ["--voc-root", str(root), "--out", str(out), "--cache", str(root.parent / "cache")]
    small = ["--list", "tiny", "--weights", "random", "--image-size", "64", "--epochs", "2"]
    small += ["--hidden-channels", "16"]
    return [*paths, *small, "--num-nodes", "4", "--figures", "1", *more]


def test_end_to_end(root: Path, tmp_path: Path) -> None:
    results = pseudo_labels.main(arguments(root, tmp_path / "run", "--val-list", "tiny"))
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results
    assert list(results["rows"]) == ["CAM", "accumulated", "OA-CAM", *STEPS]
    for row in results["rows"].values():
        assert tuple(row) == COLUMNS
        assert all(0 <= value <= 1 for value in row.values())
    assert results["config"]["seed"] == 0
    assert results["config"]["weights_sha256"] == "random"
    assert 0 < results["val_map"] <= 1
    assert {"torch", "timm", "wsss_nonsalient"} <= results["versions"].keys()
    assert "| initial + POM |" in (tmp_path / "run" / "results.md").read_text()
    assert len(list((tmp_path / "run" / "figures").glob("*.png"))) == 1
    with Image.open(tmp_path / "run" / "labels" / "initial+POM" / "a.png") as label:
        assert (label.mode, label.size) == ("P", SIZE)
        assert set(np.unique(np.array(label))) <= {0, 1, 8, 255}
        assert label.getpalette() == list(VOC_PALETTE)


def test_rows_follow_from_each_other(root: Path, tmp_path: Path) -> None:
    rows = pseudo_labels.main(arguments(root, tmp_path / "run"))["rows"]
    initial, pom = rows["initial"], rows["initial + POM"]
    assert pom["ignored"] >= initial["ignored"]
    assert pom["missed"] <= initial["missed"]
    assert pom["false_objects"] == initial["false_objects"]


def test_the_same_seed_gives_the_same_labels(root: Path, tmp_path: Path) -> None:
    one, two = (pseudo_labels.main(arguments(root, tmp_path / name)) for name in "12")
    assert one["rows"] == two["rows"]
    assert one["thresholds"] == two["thresholds"]
    for path in (tmp_path / "1" / "labels").rglob("*.png"):
        twin = tmp_path / "2" / path.relative_to(tmp_path / "1")
        assert twin.read_bytes() == path.read_bytes()


def test_masks_do_not_change_the_labels(root: Path, tmp_path: Path) -> None:
    pseudo_labels.main(arguments(root, tmp_path / "1"))
    for mask in (root / "SegmentationClassAug").glob("*.png"):
        Image.new("P", SIZE, 3).save(mask)
    pseudo_labels.main(arguments(root, tmp_path / "2"))
    labels = sorted((tmp_path / "1" / "labels").rglob("*.png"))
    assert len(labels) == len(STEPS) * len(PHOTOS)
    for path in labels:
        twin = tmp_path / "2" / path.relative_to(tmp_path / "1")
        assert twin.read_bytes() == path.read_bytes()


def test_a_finished_run_is_read_and_a_killed_one_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    results = pseudo_labels.main(arguments(root, out))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("ran again")

    monkeypatch.setattr(pseudo_labels, "train_classifier", refuse)
    monkeypatch.setattr(pseudo_labels, "cache_features", refuse)
    assert pseudo_labels.main(arguments(root, out)) == results
    monkeypatch.setattr(pseudo_labels, "cache_features", voc_features.cache_features)
    (out / "results.json").unlink()
    (out / "integral.safetensors").unlink()
    (features,) = (root.parent / "cache").rglob("b.npy")
    features.unlink()
    assert pseudo_labels.main(arguments(root, out))["rows"] == results["rows"]


def test_table(root: Path, tmp_path: Path) -> None:
    rest = arguments(root, tmp_path)
    del rest[rest.index("--num-nodes") : rest.index("--num-nodes") + 2]
    table = pseudo_label_table.main([*rest, "--seeds", "0", "1", "--num-nodes", "4", "0"])
    assert list(table) == ["unit with 4 nodes", "without the unit"]
    rows = [
        json.loads((tmp_path / f"nodes4-seed{seed}" / "results.json").read_text())["rows"]
        for seed in (0, 1)
    ]
    values = [row["initial"]["missed"] for row in rows]
    mean, deviation = table["unit with 4 nodes"]["rows"]["initial"]["missed"]
    assert mean == pytest.approx(np.mean(values))
    assert deviation == pytest.approx(np.std(values, ddof=1))
    assert "±" in (tmp_path / "table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["JPEGImages", "saliency", "SegmentationClassAug"])
def test_a_missing_file_is_named(root: Path, tmp_path: Path, folder: str) -> None:
    (path,) = (root / folder).glob("c.*")
    path.unlink()
    with pytest.raises(SystemExit, match=rf"error: .*{folder}/{path.name} does not exist"):
        pseudo_labels.main(arguments(root, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_sizes_that_differ(root: Path, tmp_path: Path) -> None:
    Image.new("L", (64, 80)).save(root / "saliency" / "b.png")
    with pytest.raises(SystemExit, match=r"saliency/b.png is \(64, 80\) pixels, .* \(80, 64\)"):
        pseudo_labels.main(arguments(root, tmp_path / "run"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 20", r"tiny_cls.txt: a has the unknown class '20', expected 0 to 19"),
        ("a dog", r"tiny_cls.txt: a has the unknown class 'dog'"),
        ("", r"tiny_cls.txt has no line for a"),
    ],
)
def test_image_level_labels(root: Path, tmp_path: Path, line: str, message: str) -> None:
    (root / "ImageSets" / "tiny_cls.txt").write_text(line)
    with pytest.raises(SystemExit, match=message):
        pseudo_labels.main(arguments(root, tmp_path / "run"))


def test_an_unknown_list(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"Segmentation/nothing.txt does not exist"):
        pseudo_labels.main(arguments(root, tmp_path / "run", "--list", "nothing"))


def test_a_run_folder_keeps_its_configuration(root: Path, tmp_path: Path) -> None:
    pseudo_labels.main(arguments(root, tmp_path / "run"))
    with pytest.raises(SystemExit, match=r"another configuration: seed 0, now 1"):
        pseudo_labels.main(arguments(root, tmp_path / "run", "--seed", "1"))


def test_one_epoch_is_too_few(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        pseudo_labels.main(arguments(root, tmp_path / "run", "--epochs", "1"))
    assert "--epochs: expected at least 2" in capsys.readouterr().err


def test_an_unknown_trunk(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing"):
        pseudo_labels.main(arguments(root, tmp_path / "run", "--trunk", "nothing"))


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_weights(tmp_path: Path, kind: str) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    name, path = "tf_efficientnet_lite0", tmp_path / f"weights.{kind}"
    save = save_file if kind == "safetensors" else torch.save
    state = timm.create_model(name).state_dict()
    save(state, path)
    trunk = voc_features.build_trunk(name, str(path), 16)
    assert torch.equal(trunk.state_dict()["conv_stem.weight"], state["conv_stem.weight"])
    assert not trunk.training

    state["stem.weight"] = state.pop("conv_stem.weight")
    save(state, path)
    message = r"missing \['conv_stem.weight'\], unknown \['stem.weight'\]"
    with pytest.raises(ValueError, match=message):
        voc_features.build_trunk(name, str(path), 16)
