"""Networks of the pipeline: a trunk and a head, multi-scale inputs, and their checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from wsss_nonsalient import CAMHead

from .trunks import Trunk

_DESCRIPTION = "description"  # key in the metadata of a checkpoint


class Network(nn.Module):
    """A trunk and what is put on its features.

    Args:
        trunk: Takes RGB pictures, float (N, 3, H, W) in [0, 1].
        head: Takes the trunk's features.
    """

    def __init__(self, trunk: Trunk, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, images: Tensor) -> Any:
        """What the head makes of the features: `CAMOutput`, or logits (N, labels, h, w)."""
        return self.head(self.trunk(images))


def build_classifier(
    trunk_channels: int,
    num_classes: int,
    *,
    hidden_channels: int,
    hidden_kernel: int,
    num_nodes: int,
) -> nn.Module:
    """A head that gives `CAMOutput`, for the classifier and for the integral attention model.

    Args:
        trunk_channels: Channels of the features.
        num_classes: Foreground classes.
        hidden_channels: Channels of the layers before the unit; 0: none of these layers.
        hidden_kernel: 3 for the published three 3x3 convolutions, 1 for one 1x1 convolution.
        num_nodes: Nodes of the global reasoning unit; 0: no unit.
    """
    nodes = num_nodes or None
    if hidden_kernel not in (1, 3):
        raise ValueError(f"hidden_kernel: expected 1 or 3, got {hidden_kernel}")
    if hidden_kernel == 3 or not hidden_channels:
        hidden = hidden_channels or None
        return CAMHead(trunk_channels, num_classes, hidden_channels=hidden, num_nodes=nodes)
    head = CAMHead(hidden_channels, num_classes, hidden_channels=None, num_nodes=nodes)
    return nn.Sequential(nn.Conv2d(trunk_channels, hidden_channels, 1), nn.ReLU(), head)


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid of DeepLab-v2: the sum of 3x3 convolutions of several dilations.

    Source: Chen et al., TPAMI 2018.

    Args:
        in_channels: Channels of the features.
        num_labels: Labels, the background included.
        rates: Dilations.
    """

    def __init__(self, in_channels: int, num_labels: int, rates: Sequence[int]) -> None:
        super().__init__()
        if not rates:
            raise ValueError("rates: expected at least one dilation, got none")
        self.branches = nn.ModuleList()
        for rate in rates:
            branch = nn.Conv2d(in_channels, num_labels, 3, padding=rate, dilation=rate)
            weight, bias = branch.parameters()
            nn.init.normal_(weight, std=0.01)
            nn.init.zeros_(bias)
            self.branches.append(branch)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, num_labels, h, w) of (N, in_channels, h, w) features."""
        first, *others = self.branches
        total: Tensor = first(features)
        for branch in others:
            total = total + branch(features)
        return total


def build_segmentation_head(
    trunk_channels: int, num_labels: int, *, hidden_channels: int, rates: Sequence[int]
) -> nn.Module:
    """A head that gives logits (N, num_labels, h, w).

    Args:
        trunk_channels: Channels of the features.
        num_labels: Labels, the background included.
        hidden_channels: Channels of a 1x1 convolution, with ReLU, before the pyramid; 0: none.
        rates: Dilations of the pyramid's convolutions, 6, 12, 18 and 24 in DeepLab-v2.
    """
    if not hidden_channels:
        return AtrousPyramid(trunk_channels, num_labels, rates)
    return nn.Sequential(
        nn.Conv2d(trunk_channels, hidden_channels, 1),
        nn.ReLU(),
        AtrousPyramid(hidden_channels, num_labels, rates),
    )


class MultiScaleInput(nn.Module):
    """A segmentation network that sees its input at several scales and takes the maximum.

    In training it gives the logits of every scale, each of its own size, and then their maximum,
    for a loss on each of them; in evaluation the maximum. This has the size of the logits at scale
    1, to which the others are resized.

    Source: DeepLab-v2 (Chen et al., TPAMI 2018).

    Args:
        network: From pictures (or features) to logits (N, labels, h, w).
        scales: Factors of height and width, 1 among them.
    """

    def __init__(self, network: nn.Module, scales: Sequence[float] = (0.5, 0.75, 1.0)) -> None:
        super().__init__()
        if 1 not in scales or min(scales) <= 0:
            raise ValueError(f"scales: expected positive factors, 1 among them, got {scales}")
        self.network = network
        self.scales = tuple(scales)

    def forward(self, inputs: Tensor) -> list[Tensor] | Tensor:
        """Logits of all scales and their maximum in training, else the maximum."""
        outputs: list[Tensor] = [self.network(_scaled(inputs, scale)) for scale in self.scales]
        size = outputs[self.scales.index(1)].shape[-2:]
        resized = [_resized(logits, size) for logits in outputs]
        maximum = torch.stack(resized).amax(dim=0)
        return [*outputs, maximum] if self.training else maximum

    def extra_repr(self) -> str:
        """The scales, for `repr`."""
        return f"scales={self.scales}"


def _scaled(inputs: Tensor, scale: float) -> Tensor:
    """Inputs enlarged by a factor; the size is rounded down, as DeepLab-v2 has it."""
    if scale == 1:
        return inputs
    return functional.interpolate(inputs, scale_factor=scale, mode="bilinear")


def _resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return functional.interpolate(logits, tuple(size), mode="bilinear")


def save_network(path: Path, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a checkpoint, complete or not at all.

    Args:
        path: A `.safetensors` file; its folder is there.
        state: Tensors by name.
        description: What else it takes to use them: JSON values. Tuples come back as lists.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    content = save(tensors, {_DESCRIPTION: json.dumps(dict(description))})
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_network(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a checkpoint that `save_network` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is another kind of file, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} is no file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no checkpoint, or it is damaged: {error}") from error
    if _DESCRIPTION not in metadata:
        raise ValueError(f"{path} is no checkpoint of this pipeline: it describes no network")
    description: dict[str, Any] = json.loads(metadata[_DESCRIPTION])
    return state, description
