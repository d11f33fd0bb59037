"""examples/voc/run.py: every stage on a very small data set, kills, and two processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import run
import torch
from demo_data import write_demo_data
from pipeline import classify, label, mask, predictions, segment, training

from wsss_nonsalient import OACAMAccumulator, SegmentationScore
from wsss_nonsalient.io import read_label, read_saliency

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "voc" / "run.py"
STEPS = ("initial", "pom", "nsrm", "segmentation_1", "segmentation_2")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voc") / "data"
    write_demo_data(root, train=10, val=6, size=(64, 80))
    return root


def options(pictures: Path, out: Path, *more: str) -> list[str]:
    epochs = [
        f"--{name}.training.epochs={count}"
        for name, count in (("classifier", 4), ("integral", 3), ("segmentation", 3))
    ]
    where = ["--config", "demo", "--voc-root", str(pictures), "--out", str(out)]
    small = ["--classifier.size=64", "--integral.size=64", "--segmentation.augmentation.crop=64"]
    batches = [
        f"--{name}.training.batch_size=3" for name in ("classifier", "integral", "segmentation")
    ]
    return [*where, "--accelerator=cpu", *epochs, *small, *batches, *more]


@pytest.fixture(scope="session")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("voc") / "run"
    return out, run.main(options(pictures, out))


def files_of(out: Path, *folders: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in folders
        for path in sorted((out / folder).rglob("*.[pn][np][gz]"))
    }


def test_results(whole: tuple[Path, dict[str, Any]]) -> None:
    out, results = whole
    assert json.loads((out / "results.json").read_text()) == results
    assert tuple(results["scores"]) == STEPS
    for scores in results["scores"].values():
        names = {"miou", "miou_strict", "missed", "missed_non_salient", "false_objects", "ignored"}
        assert names <= scores.keys()
    assert results["made_by"]["labels"]["segmentation_1"]["folder"] == "labels/pom"
    assert results["made_by"]["labels"]["segmentation_2"]["folder"] == "labels/nsrm"
    assert (out / "report.md").is_file()


def test_scores_are_those_of_the_files(whole: tuple[Path, dict[str, Any]], pictures: Path) -> None:
    out, results = whole
    ids = (pictures / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    score, outside = SegmentationScore(7), SegmentationScore(7)
    for own in ids:
        truth = read_label(pictures / "SegmentationClass" / f"{own}.png")
        found = read_label(out / "val" / "segmentation_2" / f"{own}.png")
        score.update(found, truth)
        saliency = read_saliency(pictures / "saliency" / f"{own}.png")
        outside.update(found, truth, region=saliency < 32)
    scores = results["scores"]["segmentation_2"]
    assert scores["miou"] == score.compute().mean_iou
    assert scores["missed_non_salient"] == outside.compute().missed


def test_a_complete_run_is_read(
    whole: tuple[Path, dict[str, Any]], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results = whole

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a complete stage ran again")

    for module, name in (
        (training, "train"), (classify, "train"), (segment, "train"), (label, "write_label"),
        (mask, "write_label"), (predictions, "write_label"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, fail)
    assert run.main(options(pictures, out)) == results


def test_a_run_of_another_configuration_is_refused(
    whole: tuple[Path, dict[str, Any]], pictures: Path
) -> None:
    out, _ = whole
    with pytest.raises(SystemExit, match=r"another configuration: label.fg_threshold was 0.3, is"):
        run.main(options(pictures, out, "--label.fg_threshold=0.5"))


def test_stages_one_by_one(
    whole: tuple[Path, dict[str, Any]], pictures: Path, tmp_path: Path
) -> None:
    results: dict[str, Any] = {}
    for name in run.STAGES:
        results = run.main(options(pictures, tmp_path / "run", "--stages", name))
    assert results == whole[1]


def test_a_missing_label_stops_the_training(
    whole: tuple[Path, dict[str, Any]], pictures: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(whole[0], tmp_path / "run")
    first = min((out / "labels" / "pom").glob("*.png"))
    first.unlink()
    (out / "segmentation_1" / "done.json").unlink()
    with pytest.raises(SystemExit, match=f"labels/pom has no label of {first.stem}"):
        run.main(options(pictures, out))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), *arguments]
    with log.open("wb") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env=environment(), start_new_session=True
        )


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_three_times(
    whole: tuple[Path, dict[str, Any]], pictures: Path, tmp_path: Path
) -> None:
    out, arguments = tmp_path / "run", options(pictures, tmp_path / "run")
    for sign in ("classify/checkpoint.pt", "maps/oa_cam/*.npz", "segmentation_2/checkpoint.pt"):
        process = start(arguments, tmp_path / "log")
        while process.poll() is None and not list(out.glob(sign)):
            time.sleep(0.01)
        assert process.poll() is None, (tmp_path / "log").read_text()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert run.main(arguments) == whole[1]
    folders = ("maps", "labels", "predictions", "val", "classify")
    assert files_of(out, *folders) == files_of(whole[0], *folders)


def test_two_processes_accumulate_what_one_does(
    whole: tuple[Path, dict[str, Any]], pictures: Path, tmp_path: Path
) -> None:
    more = ("--devices=2", "--stages", "classify")
    process = start(options(pictures, tmp_path / "run", *more), tmp_path / "log")
    assert process.wait(timeout=100) == 0, (tmp_path / "log").read_text()
    name = "classify/accumulated.npz"
    assert len(OACAMAccumulator(6).load(whole[0] / name)) == 10
    assert (tmp_path / "run" / name).read_bytes() == (whole[0] / name).read_bytes()


def test_without_data() -> None:
    with pytest.raises(SystemExit, match="--voc-root: expected a folder with JPEGImages"):
        run.main(["--config", "mini", "--out", "unused"])


def test_an_unknown_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--config", "demo", "--out", "unused", "--classifier.no_field", "1"])
    assert "no_field" in capsys.readouterr().err
