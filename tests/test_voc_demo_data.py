"""examples/voc/demo_data.py: what the procedural data set promises."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import demo_data
import numpy as np
import pytest
import torch
from demo_data import FIRST, main, write_demo_data
from demo_pictures import APPEARANCE, KINDS, SIZE, Picture, draw_picture
from PIL import Image
from pipeline.photos import image_labels, open_data_set, read_split
from pipeline.validation import validate
from scipy.ndimage import binary_dilation

from wsss_nonsalient.io import VOC_PALETTE, read_label, read_saliency

SALIENT = 32


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [draw_picture(0, FIRST["val"] + index) for index in range(60)]


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): sha256(p.read_bytes()).hexdigest() for p in files}


def test_pipeline_reads_it_like_voc(tmp_path: Path) -> None:
    write_demo_data(tmp_path / "demo", train=9, val=4)
    data = open_data_set(tmp_path / "demo")
    assert data.class_names == tuple(kind.name for kind in KINDS)
    train, val = read_split(data, "train"), read_split(data, "val")
    assert [len(train), len(val)] == [9, 4]
    assert not {photo.key for photo in train} & {photo.key for photo in val}
    photos = [*train, *val]
    validate(photos, data.num_classes, saliency=True, masks=True, allow_no_class=False)
    for photo in photos:
        labels = set(read_label(photo.scoring_mask).unique().tolist())
        assert labels == {0, 255, *(c + 1 for c in photo.classes)}
        assert read_saliency(photo.saliency).max() > 128
        with Image.open(photo.scoring_mask) as mask:
            assert mask.mode == "P"
            assert bytes(mask.getpalette() or []) == VOC_PALETTE


def test_files_are_the_pictures(tmp_path: Path) -> None:
    write_demo_data(tmp_path / "demo", train=2, val=1, seed=3)
    for photo in read_split(open_data_set(tmp_path / "demo"), "train"):
        picture = draw_picture(3, int(photo.key.removeprefix("demo_")))
        assert photo.classes == picture.classes
        assert np.array_equal(read_label(photo.scoring_mask).numpy(), picture.mask)
        assert np.array_equal(read_saliency(photo.saliency).numpy(), picture.saliency)
        with Image.open(photo.image) as image:
            assert np.abs(np.asarray(image).astype(int) - picture.image).mean() < 4


def test_saliency_sees_the_salient_object_only(pictures: list[Picture]) -> None:
    for picture in pictures:
        objects = (picture.mask > 0) & (picture.mask < 255)
        seen = picture.saliency >= SALIENT
        assert seen[objects & ~picture.hidden].mean() > 0.85
        assert (seen & picture.hidden).sum() < 10  # where two objects almost touch
        assert seen[picture.mask == 0].mean() < 0.05
        soft = (picture.saliency > 20) & (picture.saliency < 235)
        assert soft.mean() > 0.02
        assert (objects & ~picture.hidden).sum() > 1.2 * picture.hidden.sum() / 2


def test_hidden_objects_are_pale_and_near_the_border(pictures: list[Picture]) -> None:
    seen, hidden = [], []
    for picture in pictures:
        if not picture.hidden.any():
            continue
        image = picture.image.astype(float)
        ground = image[picture.mask == 0].mean(0)
        objects = (picture.mask > 0) & (picture.mask < 255)
        seen.append(np.linalg.norm(image[objects & ~picture.hidden].mean(0) - ground))
        hidden.append(np.linalg.norm(image[picture.hidden].mean(0) - ground))
        y, x = np.nonzero(picture.hidden)
        height, width = picture.mask.shape
        assert min(y.min(), x.min(), height - 1 - y.max(), width - 1 - x.max()) < 12
    assert np.mean(hidden) < 0.8 * np.mean(seen)
    assert np.min(hidden) > 5  # of 255: faint, but there


def test_objects_are_whole_with_a_thin_line_around(pictures: list[Picture]) -> None:
    for picture in pictures:
        line, objects = picture.mask == 255, (picture.mask > 0) & (picture.mask < 255)
        assert 0.02 < line.sum() / objects.sum() < 0.6
        assert not (line & ~binary_dilation(objects, iterations=5)).any()
        around = binary_dilation(objects) & ~objects
        assert line[around].mean() > 0.95  # hardly an object pixel beside the background


def test_many_pictures_have_several_classes_and_all_are_as_frequent(tmp_path: Path) -> None:
    write_demo_data(tmp_path / "demo")
    data = open_data_set(tmp_path / "demo")
    for split, count in (("train", 200), ("val", 100)):
        labels = image_labels(read_split(data, split), data.num_classes)
        assert len(labels) == count
        assert (labels.sum(1) >= 2).float().mean() > 0.5
        assert (labels.sum(1) == 1).float().mean() > 0.15
        assert labels.sum(0).min() > 0.7 * labels.sum(0).max()


def test_picture_depends_on_seed_and_index_only(tmp_path: Path) -> None:
    for name, counts in (("few", (2, 2)), ("many", (5, 3)), ("again", (5, 3))):
        write_demo_data(tmp_path / name, train=counts[0], val=counts[1], seed=1)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert contents(tmp_path / "again") == many
    for name in few:
        if "ImageSets" not in name and name != "demo.json":
            assert few[name] == many[name]
    assert not np.array_equal(draw_picture(1, 0).mask, draw_picture(2, 0).mask)


def test_sizes_vary_a_little(pictures: list[Picture]) -> None:
    sizes = {picture.mask.shape for picture in pictures}
    assert len(sizes) > 5
    low = tuple(side - APPEARANCE.size_jitter for side in SIZE)
    assert all(low[0] <= h <= SIZE[0] and low[1] <= w <= SIZE[1] for h, w in sizes)
    large = draw_picture(0, 1, (192, 256))
    assert large.image.shape[:2] == large.mask.shape == large.saliency.shape
    small, same = draw_picture(0, 1).mask, np.count_nonzero
    assert same(large.mask) / large.mask.size == pytest.approx(same(small) / small.size, rel=0.25)


def test_appearance_is_a_matter_of_numbers() -> None:
    alone = replace(APPEARANCE, counts=(1.0, 0.0, 0.0), size_jitter=0)
    picture = draw_picture(0, 5, appearance=alone)
    assert not picture.hidden.any()
    assert picture.mask.shape == SIZE
    assert len(picture.classes) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 0}, "got train=0"),
        ({"train": FIRST["val"] + 1}, "expected 1 to 100000 train pictures"),
        ({"val": 0}, "val=0"),
        ({"seed": -1}, "seed=-1"),
        ({"size": (96, 20)}, "size: expected at least 64 pixels a side"),
    ],
)
def test_bad_numbers(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_demo_data(tmp_path / "demo", **options)
    assert list(tmp_path.iterdir()) == []


def test_complete_data_is_kept_and_other_data_refused(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    root.mkdir()  # an empty folder is as good as none
    write_demo_data(root, train=2, val=1)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_demo_data(root, train=2, val=1)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    with pytest.raises(FileExistsError, match="demo holds demo data of other parameters"):
        write_demo_data(root, train=3, val=1)
    with pytest.raises(FileExistsError, match="demo holds demo data of other parameters"):
        write_demo_data(root, train=2, val=1, seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="mine holds something else than demo data"):
        write_demo_data(tmp_path / "mine", train=2, val=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "mine"]


def test_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> NoReturn:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(demo_data, "write_image_labels", fail)
    with pytest.raises(OSError, match="No space left"):
        write_demo_data(tmp_path / "demo", train=2, val=1)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, root = demo_data._put_in_place, tmp_path / "demo"

    def slow(partial: Path, to: Path, made_from: str) -> None:
        monkeypatch.setattr(demo_data, "_put_in_place", real)
        write_demo_data(root, train=2, val=1)  # the other one
        real(partial, to, made_from)

    monkeypatch.setattr(demo_data, "_put_in_place", slow)
    write_demo_data(root, train=2, val=1)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert len(read_split(open_data_set(root), "train")) == 2


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "a" / "demo"
    options = ["--train", "2", "--val", "1", "--seed", "4", "--size", "80", "100"]
    main([str(root), *options])
    record = json.loads((root / "demo.json").read_text())
    assert [record[key] for key in ("train", "val", "seed", "size")] == [2, 1, 4, [80, 100]]
    photo = read_split(open_data_set(root), "val")[0]
    assert torch.equal(
        read_label(photo.scoring_mask),
        torch.from_numpy(draw_picture(4, FIRST["val"], (80, 100)).mask),
    )
    with pytest.raises(SystemExit) as caught:
        main([str(root), "--train", "3"])
    assert caught.value.code == 1
    assert "error: " in capsys.readouterr().err
