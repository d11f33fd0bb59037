"""The plug-in examples run, and show what they say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

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
    assert set(scripts) == {"glore_in_classifiers", "pom_on_grad_cam", "pom_nsrm_on_irn_folder"}
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
