"""The report of a run: what a reader wants to see first, then the evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from matplotlib.figure import Figure
from tqdm import tqdm

from wsss_nonsalient.io import read_label

from .figures import loss_figure, save, step_figure, train_figure, val_figure, write_bytes
from .photos import DataSet, Photo

FIGURES = 6  # of each of the training and the validation pictures
TITLES = {
    "initial": "initial label",
    "pom": "+ POM",
    "nsrm": "+ NSRM",
    "segmentation_1": "segmentation, round 1",
    "segmentation_2": "segmentation, round 2",
    "segmentation_1_crf": "segmentation, round 1, CRF",
    "segmentation_2_crf": "segmentation, round 2, CRF",
}
COLUMNS = {
    "miou": "mIoU",
    "miou_strict": "strict mIoU",
    "ignored": "ignored",
    "missed": "objects missed",
    "missed_non_salient": "non-salient missed",
    "ignored_non_salient": "non-salient ignored",
    "right_non_salient": "non-salient right",
    "false_objects": "background called object",
}
NETWORKS = {
    "classify": "classifier",
    "integral": "integral attention",
    "segmentation_1": "segmentation, round 1",
    "segmentation_2": "segmentation, round 2",
}
NOTES = """In percent. *Strict* counts ignored pixels as wrong. *Missed*: object pixels that are
called background; *non-salient*: where saliency is below 32 / 255. *Initial label*, *POM* and
*NSRM* are labels of the training pictures (`labels/`), the other rows predictions for the
validation pictures (`val/`)."""
STEPS = """Shares of the true object pixels: near outlines (5 pixels) and elsewhere, in the salient
region and outside, in objects of several sizes (shares of the picture, and how many there are), and
of each class. *Calibration*: how many of the pixels with a CAM value truly are of its class."""
PANELS = """Below each label map: how many of the true object pixels outside the salient region are
called background (of all object pixels, if none is outside). White outlines: the true objects."""


def write_report(
    out: Path,
    data: DataSet,
    train: Sequence[Photo],
    val: Sequence[Photo],
    results: Mapping[str, Any],
) -> None:
    """Write `report.md` and `figures/` for what a run has so far.

    Args:
        out: The run folder.
        data: The data set.
        train: Pictures that were labelled.
        val: Pictures that the segmentation is scored on.
        results: The content of `results.json`, and `seconds` of each stage.
    """
    scores = results["scores"]
    parts = ["# Report", headline(scores)]
    if scores:
        parts += ["## Scores", score_table(scores), NOTES]
    parts += step_reports(out, data, train, scores)
    losses = losses_of(out)
    if losses:
        save(loss_figure(losses), out / "figures" / "losses.png")
        parts += ["## Training", "![mean loss of each epoch](figures/losses.png)"]
    parts += evidence(out, data, train, val, scores)
    if scores:
        parts += ["## IoU of each class", class_table(scores)]
    parts += ["## Made by", provenance(results)]
    write_bytes(out / "report.md", ("\n\n".join(filter(None, parts)) + "\n").encode())


def step_reports(
    out: Path, data: DataSet, train: Sequence[Photo], scores: Collection[str]
) -> list[str]:
    """A figure of the labels of each step, by region, size and class."""
    steps = [step for step in ("initial", "pom", "nsrm") if step in scores]
    parts = ["## Labels of the training pictures", STEPS] if steps else []
    for step in steps:
        path = f"figures/report_{step}.png"
        figure = step_figure(out, step, train, data, with_cams=step == "initial")
        save(figure, out / path)
        parts.append(f"{TITLES[step]}:\n\n![{TITLES[step]}]({path})")
    return parts


def evidence(
    out: Path,
    data: DataSet,
    train: Sequence[Photo],
    val: Sequence[Photo],
    scores: Collection[str],
) -> list[str]:
    """The pictures that each step changed most; half of the training pictures for either step."""
    parts, shown = [], set[str]()
    for before, after, count in (("initial", "pom", FIGURES // 2), ("pom", "nsrm", FIGURES)):
        if before in scores and after in scores:
            chosen = most_changed(out, train, f"labels/{before}", f"labels/{after}")
            chosen = [own for own in chosen if own[1].key not in shown][: count - len(shown)]
            shown |= {photo.key for _, photo in chosen}
            parts += [f"## Training pictures that {after.upper()} changed most"]
            parts += panels(out, "labels", chosen, lambda photo: train_figure(out, photo, data))
    if "segmentation_1" in scores and "segmentation_2" in scores:
        chosen = most_changed(out, val, "val/segmentation_1", "val/segmentation_2")
        parts += ["## Validation pictures that the second round changed most"]
        parts += panels(out, "val", chosen, lambda photo: val_figure(out, photo, data))
    return [*parts[:1], PANELS, *parts[1:]] if parts else []


def headline(scores: Mapping[str, Any]) -> str:
    """What became of the objects outside the salient region, in a sentence or two."""
    lines = []
    if "pom" in scores and "initial" in scores:
        chain = [name for name in ("initial", "pom", "nsrm") if name in scores]
        shares = " → ".join(percent(scores[name]["missed_non_salient"]) for name in chain)
        lines.append(
            f"Of the object pixels outside the salient region, the labels teach **{shares} %** as "
            f"background ({' → '.join(TITLES[name] for name in chain)})."
        )
    if "segmentation_2" in scores:
        one, two = scores["segmentation_1"], scores["segmentation_2"]
        lines.append(
            f"From round 1 to round 2 the segmentation goes from **{percent(one['miou'])} to "
            f"{percent(two['miou'])}** mIoU, and misses {percent(one['missed_non_salient'])} → "
            f"{percent(two['missed_non_salient'])} % of these pixels."
        )
    return "\n".join(lines)


def score_table(scores: Mapping[str, Any]) -> str:
    """One row a step."""
    rows = [
        [TITLES[name], *(percent(own[column]) for column in COLUMNS)]
        for name, own in scores.items()
    ]
    return table(["", *COLUMNS.values()], rows)


def class_table(scores: Mapping[str, Any]) -> str:
    """One row a class, one column a step."""
    names = list(next(iter(scores.values()))["per_class_iou"])
    rows = [
        [escaped(name), *(percent(own["per_class_iou"][name]) for own in scores.values())]
        for name in names
    ]
    return table(["", *(TITLES[step] for step in scores)], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(name: str) -> str:
    """A name without the characters that markdown takes for its own."""
    return re.sub(r"([\\`*\[\]<>|]|\b_|_\b)", r"\\\1", name)


def percent(value: float | None) -> str:
    """A fraction in percent, with one decimal."""
    return "-" if value is None else f"{100 * value:.1f}"


def losses_of(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Loss of each network that is trained."""
    losses = {}
    for name, title in NETWORKS.items():
        path = out / name / "done.json"
        if path.is_file() and (points := json.loads(path.read_text())["loss"]):
            losses[title] = [(step, loss) for step, loss in points]
    return losses


def panels(
    out: Path,
    kind: str,
    chosen: Sequence[tuple[float, Photo]],
    draw: Callable[[Photo], Figure],
) -> list[str]:
    """Draw pictures, `figures/{kind}_ID.png`; returns the markdown of each."""
    lines = []
    for change, photo in chosen:
        path = f"figures/{kind}_{photo.key}.png"
        save(draw(photo), out / path)
        name = escaped(photo.key)
        lines.append(f"{name}: {percent(change)} % of the pixels\n\n![{name}]({quote(path)})")
    return lines


def most_changed(
    out: Path, photos: Sequence[Photo], before: str, after: str
) -> list[tuple[float, Photo]]:
    """Pictures and shares of changed pixels, the largest first, the same in every run."""
    changes = []
    for photo in tqdm(photos, desc=f"compare {after}", unit="picture"):
        old, new = (read_label(out / folder / f"{photo.key}.png") for folder in (before, after))
        changes.append((float((old != new).float().mean()), photo))
    return sorted(changes, key=lambda change: (-change[0], change[1].key))[:FIGURES]


def provenance(results: Mapping[str, Any]) -> str:
    """Everything that the numbers depend on, and the time that each stage took."""
    made_by = results["made_by"]
    facts = [f"{name} {own}" for name, own in made_by["versions"].items()]
    lines = [f"- versions: {', '.join(facts)}", f"- device: {made_by['device']}"]
    lines[-1] += f", {made_by['processes']} process{'es' if made_by['processes'] > 1 else ''}"
    lines += [f"- pictures: {made_by['pictures']['train']} train, {made_by['pictures']['val']} val"]
    lines += [f"- initial weights of {name}: {own}" for name, own in made_by["weights"].items()]
    lines += [
        f"- {name} is trained on {own['count']} labels, `{own['folder']}`, SHA-256 {own['sha256']}"
        for name, own in made_by["labels"].items()
    ]
    if results.get("classifier_map") is not None:
        value = percent(results["classifier_map"])
        lines.append(f"- mean average precision of the classifier: {value} %")
    if results.get("seconds"):
        seconds = {**results["seconds"], "all": sum(results["seconds"].values())}
        rows = [[name, f"{own:.0f}"] for name, own in seconds.items()]
        lines.append("\n" + table(["stage", "seconds"], rows))
    config = json.dumps(results["config"], indent=2)
    lines.append(
        f"\n<details><summary>configuration</summary>\n\n```json\n{config}\n```\n</details>"
    )
    return "\n".join(lines)
