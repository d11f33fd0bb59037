"""examples/voc/run.py: every stage on a very small data set, kills, and two processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import run
import torch
from pipeline import classify, label, mask, predictions, segment, training
from pipeline.run_folder import describe_weights, file_digest

from wsss_nonsalient import OACAMAccumulator, SegmentationScore
from wsss_nonsalient.io import read_label, read_saliency

from .voc_runs import options

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "voc" / "run.py"
Finished = tuple[Path, dict[str, Any]]  # run folder and results
STEPS = ("initial", "pom", "nsrm", "segmentation_1", "segmentation_2")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in small_run
    yield
    torch.set_num_threads(threads)


def files_of(out: Path, *folders: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in folders
        for path in sorted((out / folder).rglob("*.[pn][np][gz]"))
    }


def test_results(small_run: Finished) -> None:
    out, results = small_run
    assert json.loads((out / "results.json").read_text()) == results
    assert tuple(results["scores"]) == STEPS
    for scores in results["scores"].values():
        names = {"miou", "miou_strict", "missed", "missed_non_salient", "false_objects", "ignored"}
        assert names <= scores.keys()
    assert results["made_by"]["labels"]["segmentation_1"]["folder"] == "labels/pom"
    assert results["made_by"]["labels"]["segmentation_2"]["folder"] == "labels/nsrm"
    assert (out / "report.md").is_file()


def test_scores_are_those_of_the_files(small_run: Finished, small_data: Path) -> None:
    out, results = small_run
    ids = (small_data / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    score, outside = SegmentationScore(7), SegmentationScore(7)
    for own in ids:
        truth = read_label(small_data / "SegmentationClass" / f"{own}.png")
        found = read_label(out / "val" / "segmentation_2" / f"{own}.png")
        score.update(found, truth)
        saliency = read_saliency(small_data / "saliency" / f"{own}.png")
        outside.update(found, truth, region=saliency < 32)
    scores = results["scores"]["segmentation_2"]
    assert scores["miou"] == score.compute().mean_iou
    assert scores["missed_non_salient"] == outside.compute().missed


def test_a_complete_run_is_read(
    small_run: Finished, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results = small_run

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a complete stage ran again")

    for module, name in (
        (training, "train"), (classify, "train"), (segment, "train"), (label, "write_label"),
        (mask, "write_label"), (predictions, "write_label"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, fail)
    assert run.main(options(small_data, out)) == results


def test_a_run_of_another_configuration_is_refused(small_run: Finished, small_data: Path) -> None:
    out, _ = small_run
    with pytest.raises(SystemExit, match=r"another configuration: label.fg_threshold was 0.3, is"):
        run.main(options(small_data, out, "--label.fg_threshold=0.5"))


def test_weights_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    for name, content in (("a/w.pth", b"1"), ("b/w.pth", b"1"), ("c/w.pth", b"2")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    one, moved, other = (describe_weights(str(tmp_path / f"{own}/w.pth")) for own in "abc")
    assert one == moved != other
    assert str(tmp_path) not in one
    assert describe_weights("imagenet") == "imagenet"


def test_stages_one_by_one(small_run: Finished, small_data: Path, tmp_path: Path) -> None:
    results: dict[str, Any] = {}
    for name in run.STAGES:
        results = run.main(options(small_data, tmp_path / "run", "--stages", name))
    assert results == small_run[1]


def test_a_missing_label_stops_the_training(
    small_run: Finished, small_data: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(small_run[0], tmp_path / "run")
    first = min((out / "labels" / "pom").glob("*.png"))
    first.unlink()
    (out / "segmentation_1" / "done.json").unlink()
    with pytest.raises(SystemExit, match=f"labels/pom has no label of {first.stem}"):
        run.main(options(small_data, out))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), *arguments]
    with log.open("wb") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env=environment(), start_new_session=True
        )


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_three_times(small_run: Finished, small_data: Path, tmp_path: Path) -> None:
    out, arguments = tmp_path / "run", options(small_data, tmp_path / "run")
    for sign in ("classify/checkpoint.pt", "maps/oa_cam/*.npz", "segmentation_2/checkpoint.pt"):
        process = start(arguments, tmp_path / "log")
        while process.poll() is None and not list(out.glob(sign)):
            time.sleep(0.01)
        assert process.poll() is None, (tmp_path / "log").read_text()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert run.main(arguments) == small_run[1]
    folders = ("maps", "labels", "predictions", "val", "classify")
    assert files_of(out, *folders) == files_of(small_run[0], *folders)


def test_two_processes_accumulate_what_one_does(
    small_run: Finished, small_data: Path, tmp_path: Path
) -> None:
    more = ("--devices=2", "--stages", "classify")
    process = start(options(small_data, tmp_path / "run", *more), tmp_path / "log")
    assert process.wait(timeout=100) == 0, (tmp_path / "log").read_text()
    name = "classify/accumulated.npz"
    own = file_digest(small_run[0] / "config.json")[:16]
    assert len(OACAMAccumulator(6, run_id=own).load(small_run[0] / name)) == 10
    with pytest.raises(ValueError, match=f"state: expected run_id = '', got '{own}'"):
        OACAMAccumulator(6).load(small_run[0] / name)
    assert (tmp_path / "run" / name).read_bytes() == (small_run[0] / name).read_bytes()


def test_without_data() -> None:
    with pytest.raises(SystemExit, match="--voc-root: expected a folder with JPEGImages"):
        run.main(["--config", "mini", "--out", "unused"])


def test_an_unknown_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--config", "demo", "--out", "unused", "--classifier.no_field", "1"])
    assert "no_field" in capsys.readouterr().err
