"""The scores of pseudo_labels.py over several seeds, with and without the global reasoning unit.

Runs that are finished in `--out` are read, the others run; options that this script does not know
go on to pseudo_labels.py.

    python examples/voc/pseudo_label_table.py --out runs --seeds 0 1 2 --num-nodes 64 0 \
        --voc-root VOCdevkit --list train_balanced --weights tf_efficientnet_lite0.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pseudo_labels
from voc_results import markdown_table, percent, write_json


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run what is missing, write `table.md` and `table.json`, and return the latter."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--num-nodes", type=int, nargs="+", default=[64, 0])
    args, rest = parser.parse_known_args(argv)

    table, text = {}, ""
    for nodes in args.num_nodes:
        title = f"unit with {nodes} nodes" if nodes else "without the unit"
        runs = [run(args.out, seed, nodes, rest) for seed in args.seeds]
        table[title] = summary(runs)
        text += f"## {title.capitalize()}\n\n{markdown(table[title])}\n"
    text += f"In percent, mean ± standard deviation over the seeds {args.seeds}.\n"
    (args.out / "table.md").write_text(text, encoding="utf-8")
    write_json(args.out / "table.json", {"seeds": args.seeds, **table})
    return table


def run(out: Path, seed: int, nodes: int, rest: Sequence[str]) -> dict[str, Any]:
    """The results of one run, whose features all runs share."""
    folder = out / f"nodes{nodes}-seed{seed}"
    own = ["--out", str(folder), "--seed", str(seed), "--num-nodes", str(nodes)]
    return pseudo_labels.main(["--cache", str(out / "features"), *rest, *own])


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over runs: of each row's columns, of mAP, of seconds."""
    rows = {
        step: {column: spread(run["rows"][step][column] for run in runs) for column in row}
        for step, row in runs[0]["rows"].items()
    }
    result: dict[str, Any] = {"rows": rows}
    if "val_map" in runs[0]:
        result["val_map"] = spread(run["val_map"] for run in runs)
    stages = runs[0]["seconds"]
    result["seconds"] = {stage: spread(run["seconds"][stage] for run in runs) for stage in stages}
    return result


def spread(values: Iterable[float]) -> list[float]:
    """Mean and sample standard deviation."""
    numbers = list(values)
    return [mean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0]


def markdown(result: dict[str, Any]) -> str:
    """The table of one `summary`."""
    rows = {
        step: {column: plus_minus(value) for column, value in row.items()}
        for step, row in result["rows"].items()
    }
    facts = [f"{stage}: {own[0]:.0f} ± {own[1]:.0f} s" for stage, own in result["seconds"].items()]
    if "val_map" in result:
        facts.insert(0, f"classifier: mean average precision {plus_minus(result['val_map'])}")
    return markdown_table(rows) + "".join(f"\n- {fact}" for fact in facts) + "\n"


def plus_minus(value: Sequence[float]) -> str:
    """Mean and spread, in percent."""
    return f"{percent(value[0])} ± {percent(value[1])}"


if __name__ == "__main__":
    main()
