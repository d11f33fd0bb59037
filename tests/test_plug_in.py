"""The plug-in examples run, and show what they say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "examples" / "plug_in"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_script_is_tested_and_under_a_page() -> None:
    scripts = {path.stem: path.read_text() for path in FOLDER.glob("*.py")}
    assert set(scripts) == {
        "glore_in_classifiers",
        "pom_on_grad_cam",
        "pom_nsrm_on_irn_folder",
        "vit_cam",
    }
    assert all(len(text.splitlines()) <= 100 for text in scripts.values())


def test_glore_leaves_classifiers_as_they_are_and_then_learns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
    load("glore_in_classifiers").main([])
    out = capsys.readouterr().out
    assert re.findall(r"^(.*): \+", out, re.MULTILINE) == [
        "torchvision resnet50",
        "timm convnext_tiny",
    ]
    assert re.findall(r"at the start: +(\S+)", out) == ["0", "0"]
    assert all(float(change) > 1e-4 for change in re.findall(r"train step: +(\S+)", out))


def test_pom_on_grad_cam(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchcam")
    pytest.importorskip("torchvision")
    load("pom_on_grad_cam").main([])
    rows = capsys.readouterr().out.splitlines()[1:]
    initial, refined = (dict(re.findall(r"(\d+) +([\d.]+)%", row)) for row in rows)
    assert set(initial) == set(refined) == {"0", "1", "2", "255"}
    assert float(refined["255"]) > float(initial["255"]) + 1
    assert [refined[c] for c in "12"] == [initial[c] for c in "12"]


def test_cams_of_a_transformer(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    load("vit_cam").main(["--steps", "3"])
    out = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", out)]
    assert losses[2] < losses[0]
    assert "map of (9, 12) patches, CAM (5, 300, 400)" in out
    initial, refined = (
        [float(share) for share in re.findall(r"([\d.]+)%", row)] for row in out.splitlines()[-2:]
    )
    assert initial[0] > refined[0]
    assert initial[1] < refined[1]


def test_the_map_of_a_transformer_is_its_patches_in_reading_order() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = load("vit_cam").TransformerClassifier("deit_tiny_patch16_224", 3, pretrained=False)
    seen: list[Tensor] = []
    model.head.register_forward_pre_hook(lambda _, features: seen.append(features[0]))
    images = torch.rand(1, 3, 40, 70)  # 2 x 4 patches, the rest is left out
    model.eval()(images)
    (features,) = seen
    tokens = model.trunk.forward_features(images[..., :32, :64])
    assert isinstance(model.trunk, timm.models.vision_transformer.VisionTransformer)
    assert features.shape == (1, 192, 2, 4)
    for row, column in ((0, 0), (0, 3), (1, 2)):
        torch.testing.assert_close(features[0, :, row, column], tokens[0, 1 + 4 * row + column])


def test_pom_and_nsrm_on_an_irn_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("pom_nsrm_on_irn_folder").main(["--out", str(tmp_path)])
    assert len(capsys.readouterr().out.splitlines()) == 4
    labels, masked = (sorted((tmp_path / name).glob("*.png")) for name in ("labels", "labels2"))
    assert len(labels) == len(masked) == 4
    for path in (*labels, *masked):
        with Image.open(path) as image:
            assert image.mode == "P"
            values = set(np.unique(np.array(image)).tolist())
        assert {0, 255} < values <= {0, 1, 2, 3, 4, 5, 255}
