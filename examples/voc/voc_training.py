"""Two networks on cached features: the classifier, and the integral attention model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from tqdm import trange

from wsss_nonsalient import (
    CAMHead,
    OACAMAccumulator,
    integral_attention_loss,
    multilabel_soft_margin_loss,
)

Batch = tuple[Tensor, Tensor, Tensor]


def build_model(in_channels: int, hidden: int, classes: int, num_nodes: int) -> nn.Sequential:
    """A 1x1 hidden layer on the frozen features, then the CAM head with or without the unit.

    The published head has three 3x3 convolutions of 512 in place of the hidden layer.
    """
    head = CAMHead(hidden, classes, hidden_channels=None, num_nodes=num_nodes or None)
    return nn.Sequential(nn.Conv2d(in_channels, hidden, 1), nn.ReLU(), head)


def train_classifier(
    model: nn.Module,
    features: Tensor,
    labels: Tensor,
    keys: Sequence[str],
    accumulator: OACAMAccumulator,
    *,
    epochs: int,
    lr: float,
    seed: int,
) -> None:
    """Train on image-level labels; from the second epoch on, keep the maximum of the maps.

    Args:
        model: maps features to `CAMOutput`.
        features: float16 (N, 2, C, h, w), the photo and its mirror image.
        labels: multi-hot (N, classes).
        keys: N names under which `accumulator` keeps the maps.
        accumulator: takes in the maps.
        epochs: passes over the photos.
        lr: the first learning rate; it falls to 0 as a cosine.
        seed: of the order of the photos and of the mirroring.
    """

    def step(epoch: int, batch: Batch) -> Tensor:
        index, mirrored, inputs = batch
        target = labels[index].to(inputs.device)
        logits, cams = model(inputs)
        if epoch > 0:
            accumulator.update(
                [keys[i] for i in index.tolist()],
                mirror(cams.detach(), mirrored),
                target,
                logits.detach(),
                force_missing=epoch == epochs - 1,
            )
        return multilabel_soft_margin_loss(logits, target)

    _train(model, features, step, name="classifier", epochs=epochs, lr=lr, seed=seed)


def train_integral(
    model: nn.Module, features: Tensor, targets: Tensor, *, epochs: int, lr: float, seed: int
) -> None:
    """Train on the accumulated maps, float (N, classes, h, w) in [0, 1]."""

    def step(_: int, batch: Batch) -> Tensor:
        index, mirrored, inputs = batch
        target = mirror(targets[index], mirrored).to(inputs.device)
        return integral_attention_loss(model(inputs).cams, target)

    _train(model, features, step, name="integral model", epochs=epochs, lr=lr, seed=seed)


def _train(
    model: nn.Module,
    features: Tensor,
    step: Callable[[int, Batch], Tensor],
    *,
    name: str,
    epochs: int,
    lr: float,
    seed: int,
    batch_size: int = 16,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    batches = -(-len(features) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    model.train()
    with trange(epochs, desc=name, unit="epoch") as progress:
        for epoch in progress:
            total = 0.0
            for batch in _batches(model, features, batch_size, generator):
                loss = step(epoch, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() / batches
            progress.set_postfix(loss=f"{total:.4f}")


def _batches(
    model: nn.Module, features: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    """Shuffled (index, mirrored, features); each photo is mirrored with probability one half."""
    device = next(model.parameters()).device
    order = torch.randperm(len(features), generator=generator)
    flips = torch.randint(2, (len(features),), generator=generator)
    for index in order.split(batch_size):
        yield index, flips[index].bool(), features[index, flips[index]].to(device).float()


def mirror(maps: Tensor, mirrored: Tensor) -> Tensor:
    """Maps (N, C, h, w) with those of mirrored inputs flipped back, or there and back again."""
    return torch.where(mirrored.to(maps.device)[:, None, None, None], maps.flip(-1), maps)


@torch.inference_mode()
def predict(model: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, classes) and raw maps (N, classes, h, w), means over each photo and its mirror."""
    model.eval()
    device = next(model.parameters()).device
    logits, maps = [], []
    for pair in features:
        output = model(pair.to(device).float())
        logits.append(output.logits.mean(0).cpu())
        plain, mirrored = output.cams.cpu()
        maps.append((plain + mirrored.flip(-1)) / 2)
    return torch.stack(logits), torch.stack(maps)


def mean_average_precision(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur of the area under precision against recall."""
    precisions = []
    for scores, truth in zip(logits.T, labels.T, strict=True):
        hits = truth[scores.argsort(descending=True, stable=True)]
        if hits.any():
            precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
            precisions.append((precision * hits).sum() / hits.sum())
    return torch.stack(precisions).mean().item()
