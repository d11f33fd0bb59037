"""The global reasoning unit in the published order of operations: what the reassociation saves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_nonsalient import GlobalReasoningUnit


class PublishedOrder(nn.Module):
    """Equations 1-3 one by one, on the parameters of a unit of ours."""

    def __init__(self, unit: GlobalReasoningUnit) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        """Make the state map and the projection, reason, project back, extend, add."""
        unit = self.unit
        state = unit.conv_state(x).flatten(2)  # (N, S, L)
        projection = unit.conv_proj(x).flatten(2)  # (N, M, L)
        nodes = torch.matmul(state, projection.transpose(1, 2))
        if unit.normalize:
            nodes = nodes / projection.shape[2]
        exchanged = unit.gcn.conv1(nodes.transpose(1, 2)).transpose(1, 2)
        nodes = unit.gcn.conv2(functional.relu(nodes + exchanged))
        back = torch.matmul(nodes, projection).view(len(x), -1, *x.shape[2:])
        blocked: Tensor = unit.blocker(unit.conv_extend(back))
        return x + blocked
