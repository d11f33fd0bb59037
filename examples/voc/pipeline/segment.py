"""Segment: a segmentation network learns the labels of a folder."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_nonsalient.io import read_label

from .features import build_samples
from .networks import (
    MultiScaleInput,
    Network,
    build_segmentation_head,
    load_network,
    save_network,
)
from .run_folder import Run, is_complete, stage
from .samples import IGNORED, Sample, Samples
from .training import Schedule, train
from .trunks import build_trunk
from .weights import load_named

CLASSIFIER = "classifier"  # as initial weights: those of the trained classifier's trunk


def segment(run: Run, labels: Path, name: str) -> None:
    """Train on the label maps `ID.png` of a folder; leaves `{name}/network.safetensors`.

    Args:
        run: The run.
        labels: The folder, asked for explicitly: what it holds decides on what is learnt.
        name: Of the stage.

    Raises:
        FileNotFoundError: A picture of the list has no label.
    """
    if is_complete(run, name):
        return
    with stage(run, name) as facts:
        facts["labels"] = describe_labels(run, labels)
        if run.fabric.is_global_zero:
            print(f"{name}: {facts['labels']}")
        network = build_segmentation_network(run)
        config = run.config.segmentation
        part = network.head if run.config.segmentation_trunk.frozen else network
        samples = segmentation_samples(run, labels)
        schedule = Schedule(
            len(run.train), config.training, run.seed, run.fabric.global_rank, run.fabric.world_size
        )
        scaled = (
            part if len(config.input_scales) == 1 else MultiScaleInput(part, config.input_scales)
        )
        facts["loss"] = train(
            run.fabric, scaled, samples, schedule, label_loss,
            checkpoint=run.folder / name / "checkpoint.pt", name=name, workers=run.workers,
        )  # fmt: skip
        if run.fabric.is_global_zero:
            path = run.folder / name / "network.safetensors"
            save_network(path, network.state_dict(), description(run))


def segmentation_samples(run: Run, labels: Path | None) -> Samples:
    """The pictures to train on, with the labels of a folder."""
    config = run.config.segmentation
    return build_samples(
        run,
        run.train,
        run.config.segmentation_trunk,
        config.size,
        config.augmentation,
        labels,
        config.label_size,
    )


def build_segmentation_network(run: Run) -> Network:
    """Trunk and head with the initial parameters that belong to the seed."""
    torch.manual_seed(run.seed)
    own, config = run.config.segmentation_trunk, run.config.segmentation
    weights = "random" if own.weights == CLASSIFIER else own.weights
    trunk = build_trunk(own.name, output_stride=own.output_stride, weights=weights)
    if own.weights == CLASSIFIER:
        state, _ = load_network(run.folder / "classify" / "network.safetensors")
        prefix, path = "trunk.", str(run.folder / "classify")
        own_state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        load_named(trunk, own_state, source=path)
    trunk.requires_grad_(not own.frozen)
    if own.freeze_batch_norm:
        trunk.freeze_batch_norm()
    head = build_segmentation_head(
        trunk.out_channels,
        run.data.num_classes + 1,
        hidden_channels=config.hidden_channels,
        rates=config.rates,
    )
    return Network(trunk, head)


def label_loss(model: nn.Module, batch: Sample, _: int) -> Tensor:
    """Cross-entropy over the pixels that are not ignored, summed over the outputs of the model."""
    outputs = model(batch.inputs)
    target = batch.label.long()
    counted = (target != IGNORED).sum().clamp(min=1)
    loss = batch.inputs.new_zeros(())
    for logits in outputs if isinstance(outputs, list) else [outputs]:
        full = functional.interpolate(logits.float(), target.shape[1:], mode="bilinear")
        loss = loss + functional.cross_entropy(full, target, ignore_index=IGNORED, reduction="sum")
    return loss / counted


def describe_labels(run: Run, folder: Path) -> dict[str, Any]:
    """Where the labels are, how many, and the SHA-256 of all of them in the order of the list."""
    digest = hashlib.sha256()
    for photo in run.train:
        path = folder / f"{photo.key}.png"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} has no label of {photo.key}")
        digest.update(read_label(path).numpy().tobytes())
    source = folder.relative_to(run.folder) if folder.is_relative_to(run.folder) else folder
    return {"folder": str(source), "count": len(run.train), "sha256": digest.hexdigest()}


def description(run: Run) -> dict[str, Any]:
    """What it takes to use the network on other pictures."""
    trunk, config = run.config.segmentation_trunk, run.config.segmentation
    return {
        "kind": "segmentation",
        "trunk": {"name": trunk.name, "output_stride": trunk.output_stride},
        "head": {"hidden_channels": config.hidden_channels, "rates": list(config.rates)},
        "scales": list(config.input_scales),
        "class_names": list(run.data.class_names),
        "input_size": config.size,
        "flip": config.flip,
        "training": asdict(config.training),
    }
