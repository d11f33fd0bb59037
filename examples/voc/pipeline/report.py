"""The report of a run: what a reader wants to see first, then the evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from wsss_nonsalient.io import read_label

from .figures import loss_figure, train_figure, val_figure
from .photos import DataSet, Photo

FIGURES = 6
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
NOTES = """In percent. *Strict* counts ignored pixels as wrong. *Missed*: object pixels that are
called background; *non-salient*: where saliency is below 32 / 255. The first three rows are labels
of the training pictures, the others predictions for the validation pictures."""


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
    parts = ["# Report", headline(scores), "## Scores", score_table(scores), NOTES]
    losses = losses_of(out)
    if losses:
        save(loss_figure(losses), out / "figures" / "losses.png")
        parts += ["## Training", "![mean loss of each epoch](figures/losses.png)"]
    if "nsrm" in scores:
        parts += ["## Training pictures whose label changed most"]
        parts += panels(
            out, train, "labels/pom", "labels/nsrm", lambda photo: train_figure(out, photo, data)
        )
    if "segmentation_2" in scores:
        parts += ["## Validation pictures whose prediction changed most"]
        parts += panels(
            out, val, "val/segmentation_1", "val/segmentation_2",
            lambda photo: val_figure(out, photo, data),
        )  # fmt: skip
    parts += ["## IoU of each class", class_table(scores), "## Made by", provenance(results)]
    (out / "report.md").write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


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
    if not scores:
        return ""
    names = list(next(iter(scores.values()))["per_class_iou"])
    rows = [
        [name, *(percent(own["per_class_iou"][name]) for own in scores.values())] for name in names
    ]
    return table(["", *(TITLES[step] for step in scores)], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def percent(value: float | None) -> str:
    """A fraction in percent, with one decimal."""
    return "-" if value is None else f"{100 * value:.1f}"


def losses_of(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Loss of each network that is trained."""
    losses = {}
    for name in ("classify", "integral", "segmentation_1", "segmentation_2"):
        path = out / name / "done.json"
        if path.is_file():
            losses[name] = [tuple(point) for point in json.loads(path.read_text())["loss"]]
    return losses


def panels(
    out: Path, photos: Sequence[Photo], before: str, after: str, draw: Callable[[Photo], Figure]
) -> list[str]:
    """Draw the pictures with the largest share of pixels that changed between two folders."""
    lines = []
    for change, photo in most_changed(out, photos, before, after):
        path = f"figures/{Path(after).parts[0]}_{photo.key}.png"
        save(draw(photo), out / path)
        lines.append(f"{photo.key}: {percent(change)} % of the pixels\n\n![{photo.key}]({path})")
    return lines


def most_changed(
    out: Path, photos: Sequence[Photo], before: str, after: str
) -> list[tuple[float, Photo]]:
    """Pictures and shares of changed pixels, the largest first, the same in every run."""
    changes = []
    for photo in photos:
        old, new = (read_label(out / folder / f"{photo.key}.png") for folder in (before, after))
        changes.append((float((old != new).float().mean()), photo))
    return sorted(changes, key=lambda change: (-change[0], change[1].key))[:FIGURES]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90)


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
        rows = [[name, f"{own:.0f}"] for name, own in results["seconds"].items()]
        lines.append("\n" + table(["stage", "seconds"], rows))
    config = json.dumps(results["config"], indent=2)
    lines.append(
        f"\n<details><summary>configuration</summary>\n\n```json\n{config}\n```\n</details>"
    )
    return "\n".join(lines)
