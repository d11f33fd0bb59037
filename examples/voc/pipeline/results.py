"""The outcome of a run as JSON, with everything that it depends on beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .config import TrunkConfig
from .run_folder import Run, facts_of, file_digest, identity, versions
from .score import score

STAGES = (
    "classify", "integral", "labels", "segmentation_1", "val/segmentation_1",
    "predictions/segmentation_1", "labels/nsrm", "segmentation_2", "val/segmentation_2",
)  # fmt: skip


def collect_results(run: Run) -> dict[str, Any]:
    """Scores, and what made them."""
    facts = collect_facts(run)
    return {
        "scores": score(run),
        "classifier_map": facts.get("classify", {}).get("validation_map"),
        "config": identity(run),
        "made_by": {
            "versions": versions(),
            "device": run.fabric.device.type,
            "processes": run.fabric.world_size,
            "pictures": {"train": len(run.train), "val": len(run.val)},
            "weights": {
                "cam_trunk": describe_weights(run.config.cam_trunk),
                "segmentation_trunk": describe_weights(run.config.segmentation_trunk),
            },
            "labels": {name: own["labels"] for name, own in facts.items() if "labels" in own},
        },
    }


def describe_weights(trunk: TrunkConfig) -> str:
    """Where the initial weights come from, with the SHA-256 of a file."""
    path = Path(trunk.weights)
    return f"{path.name} {file_digest(path)}" if path.is_file() else trunk.weights


def collect_facts(run: Run) -> dict[str, dict[str, Any]]:
    """What each complete stage left in its `done.json`."""
    complete = [name for name in STAGES if (run.folder / name / "done.json").is_file()]
    return {name: facts_of(run, name) for name in complete}


def seconds_of(run: Run) -> dict[str, float]:
    """How long each complete stage took, since it was last started."""
    return {name: facts["seconds"] for name, facts in collect_facts(run).items()}
