"""examples/voc: where saliency comes from, and the contrast-based map."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run
import torch
from pipeline.contrast_saliency import contrast_saliency
from pipeline.label import label_steps
from pipeline.photos import open_data_set, read_image, read_split
from pipeline.saliency import is_function, saliency_function
from skimage.color import rgb2lab

from tests.reference import Array
from wsss_nonsalient import background_from_cam, ignore_sparse_labels, initial_labels, resize_cam
from wsss_nonsalient.io import read_cams, read_label, read_saliency

from .voc_runs import options

Finished = tuple[Path, dict[str, Any]]


def relabelled(small_run: Finished, data: Path, out: Path, *more: str) -> Path:
    """A copy of the run whose labels are made anew."""
    shutil.copytree(small_run[0], out)
    shutil.rmtree(out / "labels")
    for name in ("config.json", "results.json"):
        (out / name).unlink()
    run.main(options(data, out, "--stages", "label", *more))
    return out


def half(picture: Array) -> Array:
    """The left half is salient."""
    saliency = np.zeros(picture.shape[:2])
    saliency[:, : picture.shape[1] // 2] = 1
    return saliency


def too_bright(picture: Array) -> Array:
    return half(picture) * 255


def too_small(picture: Array) -> Array:
    return half(picture)[1:]


def own_initial_label(out: Path, key: str, saliency: Any, size: tuple[int, ...]) -> torch.Tensor:
    cams = read_cams(out / "maps" / "oa_cam", key)
    present = torch.zeros(6)
    present[cams.classes] = 1
    oa_cam = torch.zeros(6, *size)
    oa_cam[cams.classes] = resize_cam(cams.maps, size).float()
    if saliency is None:
        saliency = 1 - background_from_cam(oa_cam, present, power=2)
    labels = initial_labels(oa_cam, saliency, present, attention_threshold=0.9)
    return ignore_sparse_labels(labels)


def test_no_saliency(small_run: Finished, small_data: Path, tmp_path: Path) -> None:
    """Labels are made without it; the scores of the region that it tells apart are undefined."""
    data = shutil.copytree(small_data, tmp_path / "data")
    shutil.rmtree(data / "saliency")
    more = ("--data.saliency=none", "--label.power=2")
    out = relabelled(small_run, data, tmp_path / "run", *more)
    for photo in read_split(open_data_set(data), "train"):
        size = tuple(read_image(photo.image).shape[1:])
        expected = own_initial_label(out, photo.key, None, size)
        assert torch.equal(read_label(out / "labels" / "initial" / f"{photo.key}.png"), expected)
    scores = json.loads((out / "results.json").read_text())["scores"]["initial"]
    assert scores["missed_non_salient"] is None
    assert scores["missed"] is not None


def test_saliency_of_a_function(small_run: Finished, small_data: Path, tmp_path: Path) -> None:
    source = "tests.test_voc_saliency:half"
    out = relabelled(small_run, small_data, tmp_path / "run", f"--data.saliency={source}")
    for photo in read_split(open_data_set(small_data), "train"):
        saliency = read_saliency(out / "saliency" / f"{photo.key}.png")
        width = saliency.shape[1] // 2
        assert (saliency[:, :width] == 255).all()
        assert (saliency[:, width:] == 0).all()
        expected = own_initial_label(out, photo.key, saliency, tuple(saliency.shape))
        assert torch.equal(read_label(out / "labels" / "initial" / f"{photo.key}.png"), expected)
    again, first = (
        json.loads((folder / "results.json").read_text())["scores"]
        for folder in (out, small_run[0])
    )
    assert again["initial"] != first["initial"]
    # scored on the region of the data set's own maps: what does not depend on labels is the same
    assert again["segmentation_2"] == first["segmentation_2"]


def test_saliency_of_another_folder(small_run: Finished, small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data / "saliency", tmp_path / "other")
    out = relabelled(
        small_run, small_data, tmp_path / "run", f"--data.saliency={tmp_path / 'other'}"
    )
    name = f"{read_split(open_data_set(small_data), 'train')[0].key}.png"
    for step in ("initial", "pom"):
        made = (folder / "labels" / step / name for folder in (out, small_run[0]))
        assert torch.equal(*map(read_label, made))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", r"gone/.*\.png does not exist"),
        ("nowhere.to_be_found:function", r"data.saliency: expected a folder, none or .*No module"),
        ("pipeline.contrast_saliency:wrong", "data.saliency: expected .*no attribute 'wrong'"),
        (
            "tests.test_voc_saliency:too_bright",
            r"to give \(\d+, \d+\) values in \[0, 1\], got 0.0 to",
        ),
        ("tests.test_voc_saliency:too_small", r"to give \(\d+, \d+\) values .*, got \(\d+, \d+\)"),
    ],
)
def test_refuses(
    small_run: Finished, small_data: Path, tmp_path: Path, source: str, message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        relabelled(small_run, small_data, tmp_path / "run", f"--data.saliency={source}")


def test_refuses_to_mask_by_saliency_that_there_is_not(small_data: Path, tmp_path: Path) -> None:
    more = ("--data.saliency=none", "--mask.use_saliency=true")
    with pytest.raises(SystemExit, match=r"mask.use_saliency: expected false with data.saliency"):
        run.main(options(small_data, tmp_path / "run", *more))


def test_label_steps_take_no_saliency_for_the_background_of_the_maps() -> None:
    from pipeline.config import LabelConfig

    random = torch.Generator().manual_seed(0)
    cam, oa_cam = torch.rand(2, 3, 8, 9, generator=random)
    present = torch.tensor([1.0, 0, 1])
    background = background_from_cam(oa_cam, present, power=3)
    steps = label_steps(cam, oa_cam, None, present, LabelConfig(power=3))
    expected = label_steps(cam, oa_cam, 1 - background, present, LabelConfig())
    assert all(torch.equal(steps[name], expected[name]) for name in ("initial", "pom"))


def test_contrast_is_the_distance_from_the_mean_colour() -> None:
    """Two flat halves, far from their edge: each at its own distance from the mean."""
    picture = np.full((40, 80, 3), (30, 60, 200), np.uint8)
    picture[:, 60:] = (220, 180, 20)
    saliency = contrast_saliency(picture)
    assert saliency.shape == (40, 80)
    colours = rgb2lab(picture)[0, [0, -1]]
    mean = 0.75 * colours[0] + 0.25 * colours[1]
    common, rare = np.linalg.norm(colours - mean, axis=1)
    # the blurred edge passes the mean colour at some distance of its own: the smallest of all
    low = saliency[20, 20] / saliency[20, 75]
    assert saliency[20, 75] == pytest.approx(1)
    assert low < common / rare
    np.testing.assert_allclose(saliency[:, :50], saliency[20, 20], atol=1e-6)


def test_contrast_of_a_flat_picture_is_0_and_of_any_within_0_and_1() -> None:
    assert (contrast_saliency(np.full((5, 7, 3), 99, np.uint8)) == 0).all()
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    saliency = contrast_saliency(noise)
    assert saliency.min() == 0
    assert saliency.max() == 1


def test_the_contrast_map_is_found_by_its_import_path() -> None:
    assert saliency_function("pipeline.contrast_saliency:contrast_saliency") is contrast_saliency
    assert [is_function(own) for own in ("a.b:c", "saliency", "none", "/a/b", "C:\\maps")] == [
        True, False, False, False, False,
    ]  # fmt: skip
