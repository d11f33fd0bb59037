"""What each addition to the method is worth, for pseudo labels and for the final segmentation.

    python examples/voc/improve.py --config mini --seeds 3 --out runs/improve \
        --voc-root VOCdevkit --weights tf_efficientnet_lite0.safetensors

Each row is the paper's procedure, two rounds, with a change. Killed, it goes on when started again.
What rows have in common is done once: the classifier, its maps, and the first round.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ablate import markdown, spread_of_columns
from jsonargparse.typing import PositiveInt
from pipeline.classify import classify
from pipeline.config import Config
from pipeline.integral import integral
from pipeline.label import label
from pipeline.mask import mask
from pipeline.predictions import predict
from pipeline.run_folder import Run, claim, write_json
from pipeline.saliency import check_saliency
from pipeline.score import score_folder
from pipeline.segment import segment
from run import build_parser, prepare, start_fabric

MAPS = ("classify", "integral", "maps")
FIRST_ROUND = ("segmentation_1", "predictions")
CONFIDENT = {"mask.confident": True, "mask.background_threshold": 0.9}
SURE = {"mask.confident": True, "mask.refine": True}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: What it changes.
        folder: Of its run, beside those of the other rows.
        changes: Fields of the configuration.
        first_round: The row whose first round is taken over.
        refine: Let the final predictions follow the pictures' edges.
        true_masks: Train on the true masks, once: the ceiling.
    """

    name: str
    folder: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    first_round: str = ""
    refine: bool = False
    true_masks: bool = False


PAPER = Row("paper", "paper")
REFINED = Row("refined maps", "refined_maps", {"label.refine": True})
ROWS = (
    PAPER,
    Row("paper, refined predictions", "paper", refine=True),
    Row(
        "keep_ignored, restrict_to_image_labels",
        "restricted",
        {"mask.keep_ignored": True, "mask.restrict_to_image_labels": True},
        "paper",
    ),
    Row("confident labels", "confident", CONFIDENT, "paper"),
    Row(
        "confident labels, refined",
        "confident_refined",
        SURE,
        "paper",
    ),
    Row(
        "confident labels, refined, background from 0.99",
        "confident_99",
        {**SURE, "mask.background_threshold": 0.99},
        "paper",
    ),
    Row(
        "confident labels, refined, background from 0.99, refined predictions",
        "confident_99",
        {**SURE, "mask.background_threshold": 0.99},
        "paper",
        refine=True,
    ),
    REFINED,
    Row(
        "refined maps, confident labels, refined",
        "combined",
        {**REFINED.changes, **SURE},
        "refined_maps",
    ),
    Row(
        "refined maps, confident labels, refined, and refined predictions",
        "combined",
        {**REFINED.changes, **SURE},
        "refined_maps",
        refine=True,
    ),
    Row(
        "no saliency",
        "no_saliency",
        {"data.saliency": "none", "mask.use_saliency": False},
    ),
    Row(
        "contrast as saliency",
        "contrast",
        {
            "data.saliency": "pipeline.contrast_saliency:contrast_saliency",
            "mask.use_saliency": False,  # it is nowhere 0
        },
    ),
    Row("true masks", "true_masks", true_masks=True),
    Row("true masks, refined predictions", "true_masks", refine=True, true_masks=True),
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run what is missing, write `improve.json` and `improve.md`, and return the former."""
    parser = build_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=PositiveInt, default=3, help="how many, from 0 on")
    parser.add_argument(
        "--rows", nargs="+", choices=sorted({row.folder for row in ROWS}), help="default: all"
    )
    args = parser.parse_args(argv)
    args.seed, args.cache, seeds = 0, args.cache or args.out / "features", range(args.seeds)
    chosen = [row for row in ROWS if args.rows is None or row.folder in args.rows]
    try:
        run = prepare(args, parser.instantiate(args), start_fabric(args))
        rows: dict[str, list[dict[str, Any]]] = {row.name: [] for row in chosen}
        for seed in seeds:
            for row in chosen:
                rows[row.name].append(scores_of(row, run, seed))
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error
    result = {
        "seeds": list(seeds),
        "rows": {name: spread_of_columns(own) for name, own in rows.items()},
    }
    if run.fabric.is_global_zero:
        write_json(args.out / "improve.json", result)
        (args.out / "improve.md").write_text(markdown(result), encoding="utf-8")
        print(markdown(result))
    return result


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration with other values of fields, by their dotted names."""
    for name, value in changes.items():
        part, option = name.split(".")
        own = replace(getattr(config, part), **{option: value})
        config = replace(config, **{part: own})
    return config


def variant(row: Row, run: Run, seed: int) -> Run:
    """The run of a row and a seed, with what it takes over from other rows."""
    parent = run.folder / f"seed{seed}"
    own = replace(
        run, folder=parent / row.folder, seed=seed, config=changed(run.config, row.changes)
    )
    check_saliency(own.config)
    own.folder.mkdir(parents=True, exist_ok=True)
    claim(own)
    if row.folder != PAPER.folder:
        take_over(own, parent / PAPER.folder, MAPS)
    if row.first_round:
        take_over(own, parent / row.first_round, FIRST_ROUND)
    return own


def take_over(run: Run, source: Path, stages: Sequence[str]) -> None:
    """Links to the folders of complete stages of another run."""
    run.fabric.barrier()
    for name in stages:
        link = run.folder / name
        if run.fabric.is_global_zero and not link.is_symlink():
            link.symlink_to(os.path.relpath(source / name, link.parent), target_is_directory=True)
    run.fabric.barrier()


def scores_of(row: Row, run: Run, seed: int) -> dict[str, Any]:
    """Train what the row needs, and score its last labels and the segmentation trained on them."""
    own = variant(row, run, seed)
    path = own.folder / "scores" / ("refined.json" if row.refine else "plain.json")
    if not path.is_file():
        labels, network = train_both_rounds(row, own)
        predictions = f"val/{network}_refined" if row.refine else f"val/{network}"
        predict(own, network, own.val, predictions, refine=row.refine)
        if own.fabric.is_global_zero:
            names = own.data.class_names
            scores = {
                "labels": score_folder(labels, own.train, names),
                "segmentation": score_folder(own.folder / predictions, own.val, names),
            }
            write_json(path, scores)
        own.fabric.barrier()
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def train_both_rounds(row: Row, run: Run) -> tuple[Path, str]:
    """The folder of the last labels, and the network that was trained on them."""
    if row.true_masks:
        labels = run.train[0].scoring_mask.parent
        segment(run, labels, "segmentation_true")
        return labels, "segmentation_true"
    for work in (classify, integral, label):
        work(run)
    segment(run, run.folder / "labels" / "pom", "segmentation_1")
    predict(run, "segmentation_1", run.train, "predictions/segmentation_1")
    mask(run)
    segment(run, run.folder / "labels" / "nsrm", "segmentation_2")
    return run.folder / "labels" / "nsrm", "segmentation_2"


if __name__ == "__main__":
    main()
