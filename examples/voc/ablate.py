"""What each part of the method adds, for pseudo labels and for the final segmentation.

    python examples/voc/ablate.py --config mini --seeds 3 --out runs/ablation \
        --voc-root VOCdevkit --weights tf_efficientnet_lite0.safetensors

A killed ablation goes on when started again. The features of frozen trunks are computed once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

from jsonargparse.typing import PositiveInt
from pipeline.classify import classify
from pipeline.config import Config
from pipeline.integral import integral
from pipeline.label import label
from pipeline.mask import mask
from pipeline.predictions import predict
from pipeline.report import COLUMNS
from pipeline.results import collect_facts
from pipeline.run_folder import Run, claim, write_json
from pipeline.score import score_folder
from pipeline.segment import segment
from run import build_parser, prepare, start_fabric


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: What it adds to the row above.
        unit: With the global reasoning unit.
        labels: The step whose labels the segmentation network is trained on.
        network: The stage that trains it.
    """

    name: str
    unit: bool
    labels: str
    network: str


ROWS = (
    Row("baseline", False, "initial", "segmentation_initial"),
    Row("+ unit", True, "initial", "segmentation_initial"),
    Row("+ POM", True, "pom", "segmentation_1"),
    Row("+ NSRM", True, "nsrm", "segmentation_2"),
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run what is missing, write `ablation.json` and `ablation.md`, and return the former."""
    parser = build_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=PositiveInt, default=3, help="how many, from 0 on")
    args = parser.parse_args(argv)
    args.seed, args.cache, seeds = 0, args.cache or args.out / "features", range(args.seeds)
    try:
        run = prepare(args, parser.instantiate(args), start_fabric(args))
        rows: dict[str, list[dict[str, Any]]] = {row.name: [] for row in ROWS}
        for seed in seeds:
            for row in ROWS:
                rows[row.name].append(scores_of(row, variant(run, seed, row.unit)))
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error
    result = {"seeds": list(seeds), "rows": {name: summary(own) for name, own in rows.items()}}
    if run.fabric.is_global_zero:
        write_json(args.out / "ablation.json", result)
        (args.out / "ablation.md").write_text(markdown(result), encoding="utf-8")
        print(markdown(result))
    return result


def variant(run: Run, seed: int, unit: bool) -> Run:
    """The run of a seed, with or without the unit, in a folder of its own."""
    config = run.config if unit else without_unit(run.config)
    folder = run.folder / f"seed{seed}" / ("with_unit" if unit else "without_unit")
    own = replace(run, folder=folder, seed=seed, config=config)
    folder.mkdir(parents=True, exist_ok=True)
    claim(own)
    return own


def without_unit(config: Config) -> Config:
    """The same configuration without the global reasoning unit."""
    return replace(
        config,
        classifier=replace(config.classifier, num_nodes=0),
        integral=replace(config.integral, num_nodes=0),
    )


def scores_of(row: Row, run: Run) -> dict[str, Any]:
    """Train what the row needs, and score its labels and the segmentation trained on them."""
    for stage in (classify, integral, label):
        stage(run)
    if row.labels == "nsrm":
        predict(run, "segmentation_1", run.train, "predictions/segmentation_1")
        mask(run)
    segment(run, run.folder / "labels" / row.labels, row.network)
    predict(run, row.network, run.val, f"val/{row.network}")
    path = run.folder / "scores" / f"{row.labels}.json"
    if run.fabric.is_global_zero and not path.is_file():
        names = run.data.class_names
        scores = {
            "labels": score_folder(run.folder / "labels" / row.labels, run.train, names),
            "segmentation": score_folder(run.folder / "val" / row.network, run.val, names),
            "classifier_map": collect_facts(run)["classify"]["validation_map"],
        }
        write_json(path, scores)
    run.fabric.barrier()
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, of each column."""
    classifier_map = spread(run["classifier_map"] for run in runs)
    return {**spread_of_columns(runs), "classifier_map": classifier_map}


def spread_of_columns(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of both tables."""
    return {
        kind: {column: spread(run[kind][column] for run in runs) for column in COLUMNS}
        for kind in ("labels", "segmentation")
    }


def spread(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Mean and sample standard deviation; None if a value is not defined."""
    given = list(values)
    numbers = [value for value in given if value is not None]
    if len(numbers) < len(given):
        return None
    return mean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0


def plus_minus(own: Sequence[float] | None) -> str:
    """Mean and deviation, in percent."""
    return "-" if own is None else f"{100 * own[0]:.1f} ± {100 * own[1]:.1f}"


def markdown(result: Mapping[str, Any]) -> str:
    """Both tables."""
    text = ""
    for kind, title in (
        ("labels", "Pseudo labels of the training pictures"),
        ("segmentation", "Segmentation of the validation pictures"),
    ):
        lines = [["", *COLUMNS.values()], ["---"] * (len(COLUMNS) + 1)]
        lines += [
            [name, *(plus_minus(own) for own in row[kind].values())]
            for name, row in result["rows"].items()
        ]
        text += f"## {title}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + "\n"
    seeds = ", ".join(map(str, result["seeds"]))
    return text + f"In percent, mean ± standard deviation over the seeds {seeds}.\n"


if __name__ == "__main__":
    main()
