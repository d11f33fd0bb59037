"""The run folder: its configuration, its results as JSON, and the table of scores as markdown."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from voc_labels import COLUMNS

import wsss_nonsalient

TITLES = {
    "mean_iou": "mIoU",
    "mean_iou_strict": "strict mIoU",
    "ignored": "ignored",
    "missed": "objects missed",
    "non_salient_missed": "non-salient missed",
    "non_salient_ignored": "non-salient ignored",
    "non_salient_right": "non-salient right",
    "false_objects": "background called object",
}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; a kill leaves the old file or the new one."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


def open_run(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Results of a finished run of this configuration; None if it has to run, or to go on.

    Raises:
        ValueError: The folder holds a run of another configuration.
    """
    path = folder / "config.json"
    if path.is_file():
        old = json.loads(path.read_text())
        changed = [
            f"{k} {old.get(k)!r}, now {config[k]!r}" for k in config if old.get(k) != config[k]
        ]
        if changed:
            raise ValueError(
                f"{folder} holds a run with another configuration: {'; '.join(changed)}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, config)
    results = folder / "results.json"
    return json.loads(results.read_text()) if results.is_file() else None


def save_model(model: nn.Module, path: Path) -> None:
    """Write a model's parameters; a kill leaves no half-written file."""
    partial = path.with_suffix(".partial")
    save_file({key: value.cpu() for key, value in model.state_dict().items()}, partial)
    partial.replace(path)


def load_model(model: nn.Module, path: Path) -> None:
    """Load what `save_model` wrote."""
    model.load_state_dict(load_file(path))


def versions() -> dict[str, str]:
    """Versions of everything that the numbers may depend on."""
    libraries = {
        name: version(name) for name in ("numpy", "pillow", "timm", "torch", "torchvision")
    }
    own = {"python": platform.python_version(), "wsss_nonsalient": wsss_nonsalient.__version__}
    return {**own, **libraries, "threads": str(torch.get_num_threads())}


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write `results.md` and then `results.json`, which says that the run is complete."""
    rows = {
        step: {column: percent(value) for column, value in row.items()}
        for step, row in results["rows"].items()
    }
    facts = [f"{key}: {value}" for key, value in results["config"].items()]
    if "val_map" in results:
        facts.append(f"mean average precision of the classifier: {percent(results['val_map'])}")
    facts += [f"{name} at its best threshold, {t}" for name, t in results["thresholds"].items()]
    facts += [f"{stage}: {time} s" for stage, time in results["seconds"].items()]
    lines = "".join(f"- {fact}\n" for fact in facts)
    (folder / "results.md").write_text(f"{markdown_table(rows)}\nIn percent.\n\n{lines}")
    write_json(folder / "results.json", results)


def markdown_table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """A table with a row for each step and the columns of `COLUMNS`."""
    lines = [["step", *(TITLES[column] for column in COLUMNS)], ["---"] * (len(COLUMNS) + 1)]
    lines += [[step, *(row[column] for column in COLUMNS)] for step, row in rows.items()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def percent(value: float) -> str:
    """A fraction in percent, with one decimal."""
    return f"{100 * value:.1f}"
