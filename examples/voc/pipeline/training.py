"""The training loop of all networks: it resumes, and two processes do what one does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from wsss_nonsalient import OACAMAccumulator

from .config import TrainingConfig
from .samples import Sample, Visit

Step = Callable[[nn.Module, Sample, int], Tensor]  # network, batch, epoch -> loss
Losses = list[tuple[int, float]]


class Schedule(Sampler[list[Visit]]):
    """The batches of this process from a step on.

    Every epoch visits each picture once, in an order that depends on the seed and the epoch. It is
    cut into batches whose sizes differ by one at most; `accumulate` of them make a step, and each
    process takes its share of these.
    """

    def __init__(
        self, count: int, config: TrainingConfig, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        if config.accumulate % processes:
            raise ValueError(
                f"accumulate: expected a multiple of the {processes} processes, since they share "
                f"the batches of a step, got {config.accumulate}"
            )
        if count < config.accumulate:
            raise ValueError(f"accumulate: expected at most the {count} pictures")
        self.count, self.config, self.seed = count, config, seed
        self.rank, self.processes = rank, processes
        self.steps_per_epoch = math.ceil(count / (config.batch_size * config.accumulate))
        self.steps = config.iterations or config.epochs * self.steps_per_epoch
        self.first = 0

    def epoch(self, step: int) -> int:
        """The epoch, from 0 on, that a step belongs to."""
        return step // self.steps_per_epoch

    @property
    def last_epoch(self) -> int:
        """The epoch of the last step."""
        return self.epoch(self.steps - 1)

    def is_end_of_epoch(self, step: int) -> bool:
        """Whether no step of the same epoch follows."""
        return (step + 1) % self.steps_per_epoch == 0 or step + 1 == self.steps

    def __iter__(self) -> Iterator[list[Visit]]:
        """The batches of this process, from the step `first` on."""
        epoch, batches = -1, []
        for step in range(self.first, self.steps):
            if self.epoch(step) != epoch:
                epoch, batches = self.epoch(step), self._batches(self.epoch(step))
            start = step % self.steps_per_epoch * self.config.accumulate
            for i in range(start + self.rank, start + self.config.accumulate, self.processes):
                yield [Visit(index, epoch) for index in batches[i].tolist()]

    def __len__(self) -> int:
        """Number of batches that are left."""
        return (self.steps - self.first) * self.config.accumulate // self.processes

    def _batches(self, epoch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.count, generator=generator)
        return order.tensor_split(self.steps_per_epoch * self.config.accumulate)


def learning_rate_factor(schedule: Schedule, step: int) -> float:
    """What the first learning rate is multiplied with at a step."""
    config, done = schedule.config, step / schedule.steps
    if config.schedule == "poly":
        return float((1 - done) ** config.power)
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return float(0.1 ** sum(schedule.epoch(step) >= epoch for epoch in config.milestones))


def build_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """The optimizer, with the learning rates of trunk and head, weights and biases."""
    groups = []
    for prefix, biases, factor in zip(
        ("trunk", "trunk", "head", "head"), (False, True) * 2, config.lr_factors, strict=True
    ):
        parameters = [
            parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
            and ("trunk." in name) == (prefix == "trunk")
            and name.endswith(".bias") == biases
        ]
        if parameters:
            lr = config.lr * factor
            groups.append({"params": parameters, "lr": lr, "initial_lr": lr})
    if config.optimizer == "adamw":
        return AdamW(groups, weight_decay=config.weight_decay)
    return SGD(groups, momentum=0.9, nesterov=True, weight_decay=config.weight_decay)


def train(
    fabric: Fabric,
    network: nn.Module,
    samples: Dataset[Sample],
    schedule: Schedule,
    step_loss: Step,
    *,
    checkpoint: Path,
    name: str,
    accumulator: OACAMAccumulator | None = None,
    workers: int = 0,
) -> Losses:
    """Train a network in place, from its checkpoint on if there is one.

    Args:
        fabric: Device, precision and processes.
        network: What is trained; parameters whose name has `trunk.` are the trunk's.
        samples: Maps a `Visit` to a `Sample`.
        schedule: Which samples when; its configuration decides on optimizer and learning rates.
        step_loss: The loss of a batch, from network, batch and epoch.
        checkpoint: Written after each epoch.
        name: Of the progress bar.
        accumulator: Kept in the checkpoint, and made the same in all processes after each epoch.
        workers: Processes that read pictures, for each process that trains.

    Returns:
        The mean loss of each epoch, with the number of steps done.
    """
    config = schedule.config
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    optimizer = build_optimizer(network, config)
    losses = _load(checkpoint, network, optimizer, accumulator, schedule)
    model, wrapped = fabric.setup(network, optimizer)
    loader = DataLoader(
        samples, batch_sampler=schedule, num_workers=workers, persistent_workers=workers > 0
    )
    batches = iter(loader)
    shares = config.accumulate // fabric.world_size
    total, taken = torch.zeros((), device=fabric.device), 0
    model.train()
    bar = tqdm(
        total=schedule.steps, initial=schedule.first, desc=name, disable=not fabric.is_global_zero
    )
    with bar:
        for step in range(schedule.first, schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * learning_rate_factor(schedule, step)
            for share in range(shares):
                batch = Sample(*fabric.to_device(tuple(next(batches))))
                with fabric.no_backward_sync(model, enabled=share + 1 < shares):
                    loss = step_loss(model, batch, schedule.epoch(step)) / shares
                    fabric.backward(loss)
                total += loss.detach()
            taken += 1
            wrapped.step()
            wrapped.zero_grad()
            bar.update()
            if schedule.is_end_of_epoch(step):
                mean = float(fabric.all_reduce(total / taken, reduce_op="mean"))
                if not math.isfinite(mean):
                    raise FloatingPointError(f"{name}: the loss is {mean} after step {step + 1}")
                losses.append((step + 1, mean))
                bar.set_postfix(loss=f"{mean:.4f}")
                total, taken = torch.zeros_like(total), 0
                if accumulator is not None:
                    accumulator.synchronize()
                if fabric.is_global_zero:
                    _save(checkpoint, step + 1, network, optimizer, accumulator, losses)
    fabric.barrier()
    return losses


def _save(
    path: Path,
    step: int,
    network: nn.Module,
    optimizer: Optimizer,
    accumulator: OACAMAccumulator | None,
    losses: Losses,
) -> None:
    state = {
        "step": step,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "accumulator": accumulator.state_dict() if accumulator else None,
        "losses": losses,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _load(
    path: Path,
    network: nn.Module,
    optimizer: Optimizer,
    accumulator: OACAMAccumulator | None,
    schedule: Schedule,
) -> Losses:
    """Go on where a checkpoint was written, or begin."""
    if not path.is_file():
        return []
    state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    if accumulator is not None:
        accumulator.load_state_dict(state["accumulator"])
    schedule.first = state["step"]
    return list(state["losses"])
