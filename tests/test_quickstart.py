"""The quickstart runs, and what it tells about its picture is true of other pictures too."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from procedural_scene import Scene, make_scene

from wsss_nonsalient import initial_labels, nsrm_mask, pom_refine

pytest.importorskip("matplotlib")
import quickstart


@pytest.fixture(scope="module", params=range(6))
def scene(request: pytest.FixtureRequest) -> Scene:
    return make_scene(request.param)


def test_writes_the_figure_and_prints_a_row_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quickstart.main([])
    *table, _, figure = capsys.readouterr().out.splitlines()
    assert figure == "figure: quickstart.png"
    rows = ["initial label", "+ POM", "prediction (stand-in)", "+ NSRM"]
    assert [line[:23].rstrip() for line in table[2:]] == rows
    assert len({len(line) for line in table}) == 1, "columns are not aligned"
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.png"]


def test_out_and_seed_choose_the_figure(tmp_path: Path) -> None:
    out = tmp_path / "another.png"
    quickstart.main(["--out", str(out), "--seed", "1"])
    content = out.read_bytes()
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert 1200 <= width <= 2400
    assert 600 <= height <= 1600
    assert len(content) > 50_000, "an empty figure"


def test_a_seed_gives_one_scene_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first, second, other = make_scene(3), make_scene(3), make_scene(4)
    for field in fields(Scene):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name)), field.name
    assert not torch.equal(first.image, other.image)
    assert torch.equal(torch.get_rng_state(), before)


def test_shapes_and_ranges_are_those_documented(scene: Scene) -> None:
    (classes,), size = scene.image_labels.shape, scene.mask.shape
    assert scene.image.shape == (3, *size)
    assert scene.saliency.shape == scene.prediction.shape == size
    assert scene.cam.shape == scene.oa_cam.shape == (classes, *size)
    assert scene.mask.dtype == scene.prediction.dtype == torch.uint8
    for values in (scene.image, scene.saliency, scene.cam, scene.oa_cam):
        assert values.dtype == torch.float32
        assert 0 <= values.min() <= values.max() <= 1


def test_mask_holds_the_classes_of_the_image_labels_and_no_other(scene: Scene) -> None:
    present = {c + 1 for c, here in enumerate(scene.image_labels.tolist()) if here}
    assert set(scene.mask.flatten().tolist()) == {0, *present}
    assert 3 <= len(present) < len(scene.image_labels)


def test_saliency_sees_one_object_whole_and_nothing_of_the_others(scene: Scene) -> None:
    salient = scene.mask[scene.saliency >= 0.5]
    assert (salient == salient[0]).all()
    assert salient[0] != 0
    assert scene.saliency[scene.mask == salient[0]].min() >= 0.5
    assert scene.saliency[(scene.mask != 0) & (scene.mask != salient[0])].max() < 32 / 255


def test_oa_cam_has_more_recall_and_less_precision_than_cam(scene: Scene) -> None:
    salient = int(scene.mask[scene.saliency >= 0.5][0])
    truth = scene.mask == salient
    cam, oa_cam = (maps[salient - 1] > 0.3 for maps in (scene.cam, scene.oa_cam))
    assert (cam & truth).sum() / truth.sum() < 0.7
    assert (oa_cam & truth).sum() / truth.sum() > 0.95
    assert (cam & truth).sum() / cam.sum() > (oa_cam & truth).sum() / oa_cam.sum()


def test_pom_and_nsrm_miss_fewer_non_salient_objects(scene: Scene) -> None:
    initial = initial_labels(scene.oa_cam, scene.saliency, scene.image_labels)
    pom = pom_refine(initial, scene.cam, scene.image_labels)
    nsrm = nsrm_mask(scene.prediction, pom, scene.image_labels)
    missed = [
        quickstart.score(scene, labels, non_salient=True)[2]
        for labels in (initial, pom, scene.prediction, nsrm)
    ]
    assert missed[0] > 70
    assert missed[1] < 0.7 * missed[0]
    assert missed[3] < min(missed[1], 0.7 * missed[2])
