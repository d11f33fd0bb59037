"""The training loop of all networks: it resumes, and two processes do what one does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from wsss_nonsalient import OACAMAccumulator

from .config import TrainingConfig
from .samples import Sample, Samples, Visit

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
        epoch = -1
        batches: tuple[Tensor, ...] = ()
        for step in range(self.first, self.steps):
            if self.epoch(step) != epoch:
                epoch, batches = self.epoch(step), self._batches(self.epoch(step))
            start = step % self.steps_per_epoch * self.config.accumulate
            for i in range(start + self.rank, start + self.config.accumulate, self.processes):
                yield [Visit(picture, epoch) for picture in batches[i].tolist()]

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
    samples: Samples,
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
        samples: What it is trained on.
        schedule: Which samples when; its configuration decides on optimizer and learning rates.
        step_loss: The loss of a batch, from network, batch and epoch.
        checkpoint: Written after each epoch.
        name: Of the progress bar.
        accumulator: Kept in the checkpoint, and made the same in all processes after each epoch.
        workers: Processes that read pictures, for each process that trains.

    Returns:
        The mean loss of each epoch, with the number of steps done.

    Raises:
        FloatingPointError: The mean loss of an epoch is not finite.
    """
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    state = TrainingState(network, build_optimizer(network, schedule.config), accumulator)
    schedule.first = state.load(checkpoint)
    model, optimizer = fabric.setup(network, state.optimizer)
    model.train()
    loader = DataLoader(
        samples, batch_sampler=schedule, num_workers=workers, persistent_workers=workers > 0
    )
    batches = iter(loader)
    epoch_losses: list[Tensor] = []
    with tqdm(
        total=schedule.steps, initial=schedule.first, desc=name, disable=not fabric.is_global_zero
    ) as bar:
        for step in range(schedule.first, schedule.steps):
            for group in state.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * learning_rate_factor(schedule, step)
            epoch_losses.append(
                _descend(fabric, model, optimizer, batches, schedule, step, step_loss)
            )
            bar.update()
            if schedule.is_end_of_epoch(step):
                loss = _mean_over_processes(fabric, epoch_losses)
                if not math.isfinite(loss):
                    raise FloatingPointError(f"{name}: the loss is {loss} after step {step + 1}")
                bar.set_postfix(loss=f"{loss:.4f}")
                state.losses.append((step + 1, loss))
                epoch_losses = []
                if accumulator is not None:
                    accumulator.synchronize()
                if fabric.is_global_zero:
                    state.save(checkpoint, step + 1)
    fabric.barrier()
    return state.losses


def _descend(
    fabric: Fabric,
    model: Any,
    optimizer: Any,
    batches: Iterator[Any],
    schedule: Schedule,
    step: int,
    step_loss: Step,
) -> Tensor:
    """One step of the optimizer, over this process's share of its batches; their mean loss."""
    shares = schedule.config.accumulate // fabric.world_size
    total = torch.zeros((), device=fabric.device)
    for share in range(shares):
        batch = Sample(*fabric.to_device(tuple(next(batches))))
        with fabric.no_backward_sync(model, enabled=share + 1 < shares):
            loss = step_loss(model, batch, schedule.epoch(step)) / shares
            fabric.backward(loss)
        total += loss.detach()
    optimizer.step()
    optimizer.zero_grad()
    return total


def _mean_over_processes(fabric: Fabric, losses: list[Tensor]) -> float:
    mean = fabric.all_reduce(torch.stack(losses).mean(), reduce_op="mean")
    return float(mean) if isinstance(mean, Tensor) else math.nan


@dataclass
class TrainingState:
    """What a checkpoint holds."""

    network: nn.Module
    optimizer: Optimizer
    accumulator: OACAMAccumulator | None
    losses: Losses = field(default_factory=list)

    def save(self, path: Path, step: int) -> None:
        """Write all of it; a kill leaves the old file or the new one."""
        state = {
            "step": step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "accumulator": None if self.accumulator is None else self.accumulator.state_dict(),
            "losses": self.losses,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> int:
        """Go on where a checkpoint was written, or begin; returns the number of steps done."""
        if not path.is_file():
            return 0
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accumulator is not None:
            self.accumulator.load_state_dict(state["accumulator"])
        self.losses = list(state["losses"])
        return int(state["step"])
