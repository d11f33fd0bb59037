"""Classify: image-level labels teach a classifier, whose maps accumulate over its training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsss_nonsalient import OACAMAccumulator, multilabel_soft_margin_loss

from .cam_networks import (
    build_cam_network,
    cam_samples,
    mirror,
    predict_maps,
    trained_part,
    write_maps,
)
from .networks import load_network, save_network
from .photos import image_labels
from .run_folder import Run, is_complete, run_id, stage
from .samples import Sample, Samples
from .training import Schedule, train


def classify(run: Run) -> None:
    """Train the classifier; keep its accumulated maps, and its CAMs of the pictures to label."""
    if is_complete(run, "classify"):
        return
    with stage(run, "classify") as facts:
        config, folder = run.config.classifier, run.folder / "classify"
        samples = cam_samples(run, run.train, config)
        network = build_cam_network(run, config)
        part = trained_part(run, network)
        if not (folder / "network.safetensors").is_file():
            facts["loss"] = _train(run, part, samples)
            if run.fabric.is_global_zero:
                save_network(
                    folder / "network.safetensors", part.state_dict(), {"loss": facts["loss"]}
                )
            run.fabric.barrier()
        state, description = load_network(folder / "network.safetensors")
        part.load_state_dict(state)
        facts["loss"] = description["loss"]
        write_maps(run, part, samples, run.train, run.folder / "maps" / "cam", "max")
        facts["validation_map"] = _validate(run, part)


def _train(run: Run, network: nn.Module, samples: Samples) -> list[tuple[int, float]]:
    config = run.config.classifier
    keys = [photo.key for photo in run.train]
    labels = image_labels(run.train, run.data.num_classes)
    accumulator = OACAMAccumulator(run.data.num_classes, run_id=run_id(run))
    schedule = Schedule(
        len(keys), config.training, run.seed, run.fabric.global_rank, run.fabric.world_size
    )

    def step_loss(model: nn.Module, batch: Sample, epoch: int) -> Tensor:
        target = labels[batch.picture.cpu()].to(batch.inputs.device)
        logits, cams = model(batch.inputs)
        if epoch > 0:  # the maps of the first epoch are still too wild
            accumulator.update(
                [keys[i] for i in batch.picture.tolist()],
                mirror(cams.detach(), batch.mirrored),
                target,
                logits.detach(),
                force_missing=epoch == schedule.last_epoch,
            )
        return multilabel_soft_margin_loss(logits, target)

    folder = run.folder / "classify"
    losses = train(
        run.fabric, network, samples, schedule, step_loss,
        checkpoint=folder / "checkpoint.pt", name="classify", accumulator=accumulator,
        workers=run.workers,
    )  # fmt: skip
    if run.fabric.is_global_zero:
        accumulator.save(folder / "accumulated.npz")
    return losses


def _validate(run: Run, network: nn.Module) -> float:
    """Mean average precision of the classifier on the pictures that it was not trained on."""
    samples = cam_samples(run, run.val, run.config.classifier)
    found = predict_maps(run, network, samples, range(len(run.val)), "validation")
    logits = torch.stack([own for _, own, _ in found])
    return mean_average_precision(logits, image_labels(run.val, run.data.num_classes))


def mean_average_precision(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur of the area under precision against recall."""
    precisions = []
    for scores, truth in zip(logits.T, labels.T, strict=True):
        hits = truth[scores.argsort(descending=True, stable=True)]
        if hits.any():
            precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
            precisions.append((precision * hits).sum() / hits.sum())
    return torch.stack(precisions).mean().item()
