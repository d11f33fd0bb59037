"""The report of examples/voc: numbers, pictures that changed most, figures."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pipeline.figures import COLORS, heat, panel_figure
from pipeline.photos import DataSet, Photo, open_data_set, read_split
from pipeline.report import headline, most_changed, percent, table, write_report

from wsss_nonsalient.io import CAMs, write_label

Finished = tuple[Path, dict[str, Any]]


def test_the_scores_are_in_the_table(small_run: Finished) -> None:
    out, results = small_run
    text = (out / "report.md").read_text()
    for title, name in (("initial label", "initial"), ("segmentation, round 2", "segmentation_2")):
        (line,) = re.findall(rf"^\| {re.escape(title)} \| (.*) \|$", text, re.MULTILINE)
        own = results["scores"][name]
        assert line.split(" | ")[0] == f"{100 * own['miou']:.1f}"
        assert line.split(" | ")[4] == percent(own["missed_non_salient"])
    assert f"{results['made_by']['labels']['segmentation_2']['sha256']}" in text


def test_every_figure_of_the_report_is_there(small_run: Finished) -> None:
    out, _ = small_run
    named = set(re.findall(r"\((figures/[^)]*)\)", (out / "report.md").read_text()))
    assert named == {f"figures/{path.name}" for path in (out / "figures").iterdir()}
    assert len(named) == 13  # losses, six training and six validation pictures
    for path in named:
        with Image.open(out / path) as image:
            image.load()


def test_the_report_is_the_same_every_time(
    small_run: Finished, small_data: Path, tmp_path: Path
) -> None:
    out, results = small_run
    copy = Path(shutil.copytree(out, tmp_path / "run"))
    data = open_data_set(small_data)
    splits = read_split(data, "train"), read_split(data, "val")
    write_report(copy, data, *splits, results)
    first = (copy / "report.md").read_bytes()
    write_report(copy, data, *splits, results)
    assert (copy / "report.md").read_bytes() == first


def test_a_report_of_nothing(small_data: Path, tmp_path: Path, small_run: Finished) -> None:
    made_by = small_run[1]["made_by"]
    results = {"scores": {}, "made_by": made_by, "config": {}, "classifier_map": None}
    write_report(tmp_path, open_data_set(small_data), [], [], results)
    assert (tmp_path / "report.md").read_text().startswith("# Report\n")


def photo(key: str) -> Photo:
    return Photo(key, (0,), Path("none"), Path("none"), Path("none"))


def test_pictures_that_changed_most(tmp_path: Path) -> None:
    changed = {"a": 1, "b": 3, "c": 3, "d": 0}
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    for key, count in changed.items():
        labels = torch.zeros(2, 5, dtype=torch.uint8)
        write_label(tmp_path / "old" / f"{key}.png", labels)
        labels.view(-1)[:count] = 255
        write_label(tmp_path / "new" / f"{key}.png", labels)
    found = most_changed(tmp_path, [photo(key) for key in "dcba"], "old", "new")
    assert [own.key for _, own in found] == ["b", "c", "a", "d"]
    assert [share for share, _ in found] == pytest.approx([0.3, 0.3, 0.1, 0])


def test_headline() -> None:
    labels = {name: {"missed_non_salient": x} for name, x in (("initial", 0.5), ("pom", 0.25))}
    assert "**50.0 → 25.0 %** as background (initial label → + POM)" in headline(labels)
    rounds = {
        "segmentation_1": {"miou": 0.4, "missed_non_salient": 0.75},
        "segmentation_2": {"miou": 0.5, "missed_non_salient": None},
    }
    assert "**40.0 to 50.0** mIoU, and misses 75.0 → - %" in headline(rounds)


def test_table() -> None:
    assert table(["", "a"], [["b", "1"]]) == "|  | a |\n| --- | ---: |\n| b | 1 |"


def test_heat() -> None:
    image = np.full((1, 2, 3), 100, dtype=np.uint8)
    cams = CAMs(torch.tensor([3]), torch.tensor([[[0.0, 1.0]]]))
    assert heat(image, cams, (1, 2)).tolist() == [[[60] * 3, COLORS[4].tolist()]]
    nothing = CAMs(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 2))
    assert heat(image, nothing, (1, 2)).tolist() == [[[60] * 3] * 2]


def test_legend_names_what_is_in_the_label_maps(tmp_path: Path) -> None:
    data = DataSet(tmp_path, ("cat", "dog", "cow"))
    labels = torch.tensor([[0, 2, 255]], dtype=torch.uint8)
    figure = panel_figure("title", {"labels": labels}, 1, data)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["background", "dog", "ignored"]
