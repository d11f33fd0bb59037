"""The outcome of a run as JSON, with everything that it depends on beside it."""

from __future__ import annotations

from typing import Any

from .run_folder import Run, describe_weights, facts_of, identity, versions
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
                "cam_trunk": describe_weights(run.config.cam_trunk.weights),
                "segmentation_trunk": describe_weights(run.config.segmentation_trunk.weights),
            },
            "labels": {name: own["labels"] for name, own in facts.items() if "labels" in own},
        },
    }


def collect_facts(run: Run) -> dict[str, dict[str, Any]]:
    """What each complete stage left in its `done.json`."""
    complete = [name for name in STAGES if (run.folder / name / "done.json").is_file()]
    return {name: facts_of(run, name) for name in complete}


def seconds_of(run: Run) -> dict[str, float]:
    """How long each complete stage took, since it was last started."""
    return {name: facts["seconds"] for name, facts in collect_facts(run).items()}
