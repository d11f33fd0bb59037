"""examples/voc/pipeline/samples.py: what the networks see, picture and label alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pipeline.config import AugmentationConfig
from pipeline.photos import Photo
from pipeline.samples import IGNORED, MEAN_COLOR, FeatureSamples, PictureSamples, Visit

from wsss_nonsalient.io import write_label


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """Pictures whose gray is ten times their label, so that one can be told from the other."""
    random = np.random.default_rng(0)
    photos = []
    for key, size in (("a", (20, 30)), ("b", (26, 18))):
        label = random.integers(0, 21, size).astype(np.uint8)
        Image.fromarray(np.repeat(label[..., None] * 10, 3, axis=2)).save(tmp_path / f"{key}.png")
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_label(tmp_path / "labels" / f"{key}.png", torch.from_numpy(label))
        none = tmp_path / "none"
        photos.append(Photo(key, (0,), tmp_path / f"{key}.png", none, none))
    return photos


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [12, 24])
def test_labels_follow_their_pictures(
    photos: list[Photo], tmp_path: Path, crop: int, flip: bool
) -> None:
    augmentation = AugmentationConfig(flip=flip, crop=crop)
    samples = PictureSamples(photos, 0, augmentation, 0, tmp_path / "labels")
    mirrored = []
    for epoch in range(8):
        sample = samples[Visit(epoch % 2, epoch)]
        assert sample.inputs.shape == (3, crop, crop)
        assert sample.label.shape == (crop, crop)
        inside = sample.label != IGNORED
        gray = (sample.inputs[0] * 255).round()
        assert torch.equal(gray[inside], sample.label[inside].float() * 10)
        color = torch.tensor(MEAN_COLOR, dtype=torch.float32)[:, None] / 255
        torch.testing.assert_close(
            sample.inputs[:, ~inside], color.expand(-1, int((~inside).sum()))
        )
        mirrored.append(bool(sample.mirrored))
    assert set(mirrored) == ({False, True} if flip else {False})


def test_a_visit_is_the_same_every_time(photos: list[Photo], tmp_path: Path) -> None:
    augmentation = AugmentationConfig(True, (0.3, 0.3, 0.3, 0.1), (0.5, 1.5), 12)
    one, two = (
        PictureSamples(photos, 0, augmentation, seed, tmp_path / "labels") for seed in (0, 1)
    )
    first = one[Visit(0, 3)]
    torch.manual_seed(5)
    for again, value in zip(one[Visit(0, 3)], first, strict=True):
        assert torch.equal(again, value)
    assert not torch.equal(one[Visit(0, 4)].inputs, first.inputs)
    assert not torch.equal(two[Visit(0, 3)].inputs, first.inputs)


def test_the_global_generator_is_left_alone(photos: list[Photo]) -> None:
    samples = PictureSamples(photos, 8, AugmentationConfig(flip=True), 0)
    state = torch.get_rng_state()
    samples[Visit(0, 0)]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_mirrored_sample_is_the_mirror_of_the_pair(photos: list[Photo]) -> None:
    samples = PictureSamples(photos, 8, AugmentationConfig(flip=True), 0)
    for epoch in range(6):
        sample = samples[Visit(1, epoch)]
        assert torch.equal(sample.inputs, samples.pair(1)[int(sample.mirrored)])


def test_features(photos: list[Photo], tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float16)
    np.save(tmp_path / "a.npy", features)
    labels = tmp_path / "labels"
    samples = FeatureSamples(photos[:1], tmp_path, AugmentationConfig(flip=True), 0, labels, 6)
    plain = FeatureSamples(photos[:1], tmp_path, AugmentationConfig(), 0, labels, 6)[Visit(0, 0)]
    assert plain.label.shape == (6, 6)
    mirrored = []
    for epoch in range(6):
        sample = samples[Visit(0, epoch)]
        side = int(sample.mirrored)
        assert torch.equal(sample.inputs, torch.from_numpy(features[side]).float())
        assert torch.equal(sample.label, plain.label.flip(-1) if side else plain.label)
        mirrored.append(side)
    assert set(mirrored) == {0, 1}


def test_what_would_not_make_a_batch_is_refused(photos: list[Photo], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a size or a crop"):
        PictureSamples(photos, 0, AugmentationConfig(), 0, tmp_path / "labels")
    with pytest.raises(ValueError, match=r"scales: random sizes need a crop, got \(0.5, 1.5\)"):
        PictureSamples(photos, 8, AugmentationConfig(scales=(0.5, 1.5)), 0)
