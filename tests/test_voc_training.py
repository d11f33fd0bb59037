"""examples/voc/pipeline/training.py: which samples when, and that nothing depends on a kill."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from pipeline.config import TrainingConfig
from pipeline.samples import Sample, Samples, Visit
from pipeline.training import Schedule, build_optimizer, learning_rate_factor, train
from torch import Tensor, nn


class Points(Samples):
    """Fixed random inputs, mirrored by turns."""

    def __init__(self, count: int) -> None:
        self.inputs = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))

    def __getitem__(self, visit: Visit) -> Sample:
        picture, epoch = visit
        label = torch.zeros(4, 4, dtype=torch.uint8)
        return Sample(torch.tensor(picture), torch.tensor(epoch % 2), self.inputs[picture], label)

    def pair(self, picture: int) -> Tensor:
        return self.inputs[picture].expand(2, -1, -1, -1)


class Net(nn.Module):
    """A trunk and a head with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.head(self.trunk(inputs))
        return output


def squares(model: nn.Module, batch: Sample, epoch: int) -> Tensor:
    loss: Tensor = (model(batch.inputs) - 1).square().mean()
    return loss * (1 + epoch)


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@given(
    count=st.integers(4, 60),
    batch_size=st.integers(1, 9),
    accumulate=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 5),
)
def test_every_epoch_visits_every_picture_once(
    count: int, batch_size: int, accumulate: int, seed: int
) -> None:
    config = TrainingConfig(epochs=3, batch_size=batch_size, accumulate=accumulate)
    schedule = Schedule(count, config, seed)
    batches = list(schedule)
    assert len(batches) == len(schedule) == schedule.steps * accumulate
    for epoch in range(3):
        own = [visit.picture for batch in batches for visit in batch if visit.epoch == epoch]
        assert sorted(own) == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size


@given(count=st.integers(4, 40), batch_size=st.integers(1, 5), first=st.integers(0, 3))
def test_processes_share_the_batches_of_each_step(count: int, batch_size: int, first: int) -> None:
    config = TrainingConfig(epochs=2, batch_size=batch_size, accumulate=4)
    parts = [Schedule(count, config, 7, rank, 2) for rank in range(2)]
    whole = list(Schedule(count, config, 7))
    for part in parts:
        part.first = min(first, part.steps)
    assert sum(map(len, parts)) == len(whole) - 4 * parts[0].first
    zipped = [batch for pair in zip(*parts, strict=True) for batch in pair]
    assert zipped == whole[4 * parts[0].first :]


def test_iterations_take_the_place_of_epochs() -> None:
    schedule = Schedule(10, TrainingConfig(epochs=99, iterations=5, batch_size=5), 0)
    assert (schedule.steps, schedule.last_epoch) == (5, 2)
    assert [schedule.is_end_of_epoch(step) for step in range(5)] == [False, True, False, True, True]
    assert [len(batch) for batch in schedule] == [5] * 5


@pytest.mark.parametrize("processes", [2, 4])
def test_a_step_that_processes_cannot_share(processes: int) -> None:
    with pytest.raises(ValueError, match=f"accumulate: expected a multiple of the {processes}"):
        Schedule(10, TrainingConfig(accumulate=3), 0, 0, processes)


def test_fewer_pictures_than_batches_of_a_step() -> None:
    with pytest.raises(ValueError, match="accumulate: expected at most the 3 pictures"):
        Schedule(3, TrainingConfig(accumulate=4), 0)


def test_learning_rates() -> None:
    def factors(config: TrainingConfig) -> list[float]:
        schedule = Schedule(10, config, 0)
        return [learning_rate_factor(schedule, step) for step in range(0, schedule.steps, 2)]

    poly = TrainingConfig(iterations=8, batch_size=5, schedule="poly", power=2.0)
    assert factors(poly) == pytest.approx([1, 0.75**2, 0.5**2, 0.25**2])
    cosine = TrainingConfig(epochs=4, batch_size=5, schedule="cosine")
    assert factors(cosine) == pytest.approx([1, 0.8535534, 0.5, 0.1464466])
    step = TrainingConfig(epochs=4, batch_size=5, schedule="step", milestones=(1, 3))
    assert factors(step) == pytest.approx([1, 0.1, 0.1, 0.01])


def test_learning_rates_of_trunk_and_head() -> None:
    net = Net()
    net.trunk[0].weight.requires_grad_(False)
    groups = build_optimizer(net, TrainingConfig(lr=1.0, lr_factors=(1, 2, 10, 20))).param_groups
    found = [(group["lr"], len(group["params"])) for group in groups]
    assert found == [(1, 1), (2, 2), (10, 1), (20, 1)]


def plain_training(net: Net, config: TrainingConfig, seed: int) -> None:
    """SGD without Fabric, one batch after the other."""
    points, schedule = Points(10), Schedule(10, config, seed)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=config.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    batches = iter(schedule)
    for step in range(schedule.steps):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - step / schedule.steps) ** 0.9
        optimizer.zero_grad()
        for visits in islice(batches, config.accumulate):
            inputs = torch.stack([points[visit].inputs for visit in visits])
            loss = (net(inputs) - 1).square().mean() * (1 + visits[0].epoch)
            (loss / config.accumulate).backward()
        optimizer.step()


CONFIG = TrainingConfig(
    epochs=3, batch_size=2, accumulate=2, lr=0.05, lr_factors=(1, 1, 1, 1), schedule="poly"
)


def trained(
    checkpoint: Path, net: Net, stop_in_epoch: int | None = None
) -> list[tuple[int, float]]:
    def step_loss(model: nn.Module, batch: Sample, epoch: int) -> Tensor:
        if epoch == stop_in_epoch:
            raise KeyboardInterrupt
        return squares(model, batch, epoch)

    return train(
        fabric(), net, Points(10), Schedule(10, CONFIG, 3), step_loss,
        checkpoint=checkpoint, name="test",
    )  # fmt: skip


def test_training_is_the_plain_loop(tmp_path: Path) -> None:
    net, plain = Net(), Net()
    losses = trained(tmp_path / "checkpoint.pt", net)
    plain_training(plain, CONFIG, 3)
    assert [step for step, _ in losses] == [3, 6, 9]
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_killed_training_goes_on(tmp_path: Path, epoch: int) -> None:
    whole, net = Net(), Net()
    losses = trained(tmp_path / "whole.pt", whole)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed.pt", net, stop_in_epoch=epoch)
    resumed = Net()
    assert trained(tmp_path / "killed.pt", resumed) == losses
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    def step_loss(model: nn.Module, batch: Sample, _: int) -> Tensor:
        return squares(model, batch, 0) * float("nan")

    with pytest.raises(FloatingPointError, match="test: the loss is nan after step 3"):
        train(
            fabric(), Net(), Points(10), Schedule(10, CONFIG, 3), step_loss,
            checkpoint=tmp_path / "checkpoint.pt", name="test",
        )  # fmt: skip
