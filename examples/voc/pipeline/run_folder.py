"""A run: its folder, what it was made from, and which of its stages are complete."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from .config import Config
from .photos import DataSet, Photo


@dataclass(frozen=True)
class Run:
    """What every stage needs.

    Attributes:
        folder: The run folder.
        config: What the outcome depends on.
        seed: Of everything random.
        data: The data set.
        train: Pictures to label and to train on.
        val: Pictures to score the segmentation on.
        fabric: Device, precision and processes.
        features: Folder of cached features, which runs may share.
        workers: Processes that read pictures.
    """

    folder: Path
    config: Config
    seed: int
    data: DataSet
    train: Sequence[Photo]
    val: Sequence[Photo]
    fabric: Fabric
    features: Path
    workers: int = 0

    def mine(self, photos: Sequence[Photo]) -> Sequence[Photo]:
        """The part of the pictures that falls to this process."""
        return photos[self.fabric.global_rank :: self.fabric.world_size]


def is_complete(run: Run, stage: str) -> bool:
    """Whether a stage has left its `done.json`; the same answer in all processes."""
    run.fabric.barrier()
    complete = (run.folder / stage / "done.json").is_file()
    run.fabric.barrier()
    return complete


@contextmanager
def stage(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """The work of a stage: what goes into the yielded dictionary is kept in its `done.json`."""
    folder = run.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {}
    start = time.perf_counter()
    yield facts
    run.fabric.barrier()
    facts["seconds"] = round(time.perf_counter() - start, 1)
    if run.fabric.is_global_zero:
        write_json(folder / "done.json", facts)
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    run.fabric.barrier()


def facts_of(run: Run, name: str) -> dict[str, Any]:
    """What a complete stage left in its `done.json`."""
    facts: dict[str, Any] = json.loads((run.folder / name / "done.json").read_text())
    return facts


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def identity(run: Run) -> dict[str, Any]:
    """What the outcome of a run depends on."""
    config = asdict(run.config)
    for name in ("cam_trunk", "segmentation_trunk"):
        config[name]["weights"] = describe_weights(config[name]["weights"])
    return {
        **config,
        "seed": run.seed,
        "precision": str(run.fabric._precision.precision),
        "classes": list(run.data.class_names),
        "train_sha256": photos_digest(run.train),
        "val_sha256": photos_digest(run.val),
    }


def claim(run: Run) -> None:
    """Note in the folder what the run is, or refuse a folder with another run.

    Raises:
        ValueError: The folder holds a run with another configuration.
    """
    path, new = run.folder / "config.json", json.loads(json.dumps(identity(run)))
    run.fabric.barrier()
    if path.is_file():
        changes = list(differences(json.loads(path.read_text()), new))
        if changes:
            raise ValueError(
                f"{run.folder} holds a run with another configuration: {'; '.join(changes)}"
            )
    run.fabric.barrier()
    if run.fabric.is_global_zero:
        write_json(path, new)


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """The fields in which two configurations differ, one by one."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from differences(old.get(key), new.get(key), f"{name}.{key}".strip("."))
    elif old != new:
        yield f"{name} was {old!r}, is {new!r}"


def photos_digest(photos: Iterable[Photo]) -> str:
    """SHA-256 of the pictures' ids and classes."""
    lines = (f"{photo.key} {' '.join(map(str, photo.classes))}\n" for photo in photos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def describe_weights(weights: str) -> str:
    """What a trunk starts from: a word of the configuration, or a file's name and SHA-256."""
    path = Path(weights)
    return f"{path.name} {file_digest(path)}" if path.is_file() else weights


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_id(run: Run) -> str:
    """What tells the accumulated maps of a run from those of another one."""
    return file_digest(run.folder / "config.json")[:16]


def versions() -> dict[str, str]:
    """Versions of everything that the numbers may depend on."""
    names = (
        "lightning-fabric", "numpy", "pillow", "timm", "torch", "torchvision", "wsss-nonsalient",
    )  # fmt: skip
    own = {"python": platform.python_version(), "threads": str(torch.get_num_threads())}
    return {**own, **{name: version(name) for name in names}}
