"""The report of examples/voc: numbers, pictures that changed most, figures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pipeline.figures import (
    COLORS,
    TRUTH,
    dense,
    heat,
    loss_figure,
    panel_figure,
    save,
    step_figure,
)
from pipeline.photos import DataSet, Photo, open_data_set, read_split
from pipeline.report import (
    escaped,
    evidence,
    headline,
    losses_of,
    most_changed,
    percent,
    table,
    write_report,
)

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
    assert len(named) == 16  # losses, three steps, six training and six validation pictures
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
    first = files_of(copy)
    write_report(copy, data, *splits, results)
    assert files_of(copy) == first


def files_of(run: Path) -> dict[str, bytes]:
    paths = [run / "report.md", *(run / "figures").iterdir()]
    return {path.name: path.read_bytes() for path in paths}


def test_both_steps_show_pictures_of_their_own(
    small_run: Finished, small_data: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(small_run[0], tmp_path / "run"))
    data = open_data_set(small_data)
    train = read_split(data, "train")
    text = "\n\n".join(evidence(out, data, train, [], ("initial", "pom", "nsrm")))
    pom, nsrm = (re.findall(r"figures/labels_(\w+)\.png", part) for part in text.split("## ")[1:])
    order = {
        after: [own.key for _, own in most_changed(out, train, f"labels/{old}", f"labels/{after}")]
        for old, after in (("initial", "pom"), ("pom", "nsrm"))
    }
    assert pom == order["pom"][:3]
    assert nsrm == [key for key in order["nsrm"] if key not in pom][:3]
    assert "Training pictures that POM changed most\n\nBelow each label map" in text
    assert evidence(out, data, train, [], ("initial",)) == []


def test_a_report_of_nothing(small_data: Path, tmp_path: Path, small_run: Finished) -> None:
    made_by = small_run[1]["made_by"]
    results = {"scores": {}, "made_by": made_by, "config": {}, "classifier_map": None}
    write_report(tmp_path, open_data_set(small_data), [], [], results)
    assert (tmp_path / "report.md").read_text().startswith("# Report\n\n## Made by\n")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


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


def test_names_that_markdown_or_matplotlib_would_read_as_their_own(tmp_path: Path) -> None:
    assert escaped("a|b_c*[d] _e_") == r"a\|b_c\*\[d\] \_e\_"
    labels = torch.tensor([[1, 2]], dtype=torch.uint8)
    data = DataSet(tmp_path, (r"$\fr$", r"a$\q$"))
    save(panel_figure(r"$\fr$", {"labels": labels}, 1, data), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_panels_say_what_the_labels_miss(tmp_path: Path) -> None:
    truth = torch.tensor([[0, 1, 1, 1, 255], [0, 2, 2, 2, 255]], dtype=torch.uint8)
    labels = torch.tensor([[0, 1, 0, 255, 0], [0, 0, 0, 0, 0]], dtype=torch.uint8)
    saliency = torch.tensor([[0, 0, 31, 0, 0], [0, 32, 255, 99, 0]], dtype=torch.uint8)
    panels = {"labels": labels, TRUTH: truth}
    data = DataSet(tmp_path, ("cat", "dog"))
    figure = panel_figure("title", panels, 2, data, saliency)
    captions = [axes.get_xlabel() for axes in figure.axes]
    assert captions == ["non-salient: 33 % missed", ""]
    figure = panel_figure("title", panels, 2, data, torch.full_like(saliency, 32))
    assert figure.axes[0].get_xlabel() == "objects: 67 % missed"
    figure = panel_figure("title", {**panels, TRUTH: labels * 0}, 2, data, saliency)
    assert figure.axes[0].get_xlabel() == ""


def test_legend_is_in_a_free_panel(tmp_path: Path) -> None:
    data, labels = DataSet(tmp_path, ("cat",)), torch.tensor([[0, 1]], dtype=torch.uint8)
    figure = panel_figure("title", dict.fromkeys("abc", labels), 2, data)
    assert not figure.legends
    legend = figure.axes[3].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["background", "cat"]


def test_a_long_picture_fits_the_screen(tmp_path: Path) -> None:
    data = DataSet(tmp_path, ("cat",))
    for shape in ((1, 90), (90, 1), (3, 2)):
        labels = torch.zeros(shape, dtype=torch.uint8)
        figure = panel_figure("title", {str(i): labels for i in range(9)}, 5, data)
        save(figure, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            assert image.width <= 1320
            assert image.height <= 780


def test_losses(tmp_path: Path) -> None:
    for name, points in (("classify", [[5, 0.7], [10, 0.5]]), ("integral", [])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "done.json").write_text(json.dumps({"loss": points}))
    assert losses_of(tmp_path) == {"classifier": [(5, 0.7), (10, 0.5)]}
    (line,) = loss_figure({"classifier": [(5, 0.7), (10, 0.5)]}).axes[0].lines
    assert np.array_equal(np.asarray(line.get_xydata()), [[5, 0.7], [10, 0.5]])


def test_the_figures_of_the_steps_show_the_scores(small_run: Finished, small_data: Path) -> None:
    out, results = small_run
    data = open_data_set(small_data)
    train = read_split(data, "train")
    for step, with_cams in (("initial", True), ("nsrm", False)):
        figure = step_figure(out, step, train, data, with_cams=with_cams)
        panels = {axes.get_title().partition(",")[0]: axes for axes in figure.axes}
        missed = panels["by region"].containers[3].patches  # type: ignore[attr-defined]
        scores = results["scores"][step]
        assert missed[0].get_width() == pytest.approx(100 * scores["missed"])
        assert missed[4].get_width() == pytest.approx(100 * scores["missed_non_salient"])
        assert ("calibration" in panels) == with_cams


def test_maps_of_all_classes(tmp_path: Path) -> None:
    data, truth = DataSet(tmp_path, ("cat", "dog", "cow")), torch.zeros(2, 4)
    given = dense(CAMs(torch.tensor([1]), torch.full((1, 1, 2), 0.5)), truth, data)
    assert given["image_labels"].tolist() == [0, 1, 0]
    assert given["cam"].sum(dim=(1, 2)).tolist() == [0, 4, 0]
    nothing = dense(CAMs(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 2)), truth, data)
    assert given["cam"].shape == nothing["cam"].shape
    assert not nothing["image_labels"].any()
