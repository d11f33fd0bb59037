"""Global reasoning unit (GloRe): graph convolution between regions that it finds by itself."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._checks import Sizes, check_bool, check_integer, check_tensor
from ._position_products import add_product, product, project_and_pool

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class GraphConvolution(nn.Module):
    r"""Graph convolution over nodes: :math:`Z = W_g \, \mathrm{relu}(V + V A_g^T + b)`.

    Args:
        state_channels: Channels S of a node's state.
        num_nodes: Number M of nodes.
    """

    def __init__(self, state_channels: int, num_nodes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(num_nodes, num_nodes, 1)
        self.conv2 = nn.Conv1d(state_channels, state_channels, 1, bias=False)

    def forward(self, nodes: Tensor) -> Tensor:
        """Update (N, S, M) node states."""
        exchanged = functional.linear(nodes, self.conv1.weight.flatten(1), self.conv1.bias)
        return product(self.conv2.weight.flatten(1), functional.relu(nodes + exchanged))


class GlobalReasoningUnit(nn.Module):
    r"""Global reasoning unit: project to nodes, reason over their graph, project back, add.

    With the input x as (C, L), L positions, state :math:`S = W_s x + b_s` and projection
    :math:`P = W_p x + b_p`:

    .. math::
        V &= S P^T \quad (/ L \text{ with } \texttt{normalize}) \\
        Z &= W_g \, \mathrm{relu}(V + V A_g^T + b) \\
        y &= x + \mathrm{BN}(W_e Z P)

    Everything before the ReLU is linear, so it is computed as
    :math:`S P^T = W_s (x P^T) + b_s (1^T P^T)` and :math:`W_e Z P = (W_e Z) P`: the same result
    without the L-sized state and extended maps of the published order.

    Under autocast the unit computes in the dtype of its parameters: the unnormalised node states
    overflow float16 easily. The 1x1 convolutions hold parameters only; hooks on them do not run.

    Source: Chen et al., CVPR 2019; Yao et al., CVPR 2021, eq. 1-3. Parameter names and shapes are
    those of the published checkpoints. The released NSROM starts the batch norm's weight at 1
    (``zero_init=False``).

    Args:
        in_channels: Channels C of the input.
        num_nodes: Number M of nodes.
        state_channels: Channels S of a node's state; None: 2 * num_nodes.
        dims: Number of spatial axes, 1, 2 or 3.
        normalize: Divide the node states by the number of positions.
        zero_init: Start the batch norm's weight at 0, so that the unit is the identity at first, as
            its authors train it.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: A size is below 1 or ``dims`` is not 1, 2 or 3.

    Example:
        >>> unit = GlobalReasoningUnit(8, 4)
        >>> x = torch.randn(2, 8, 5, 7)
        >>> torch.equal(unit(x), x)  # zero_init
        True
    """

    def __init__(
        self,
        in_channels: int,
        num_nodes: int,
        *,
        state_channels: int | None = None,
        dims: int = 2,
        normalize: bool = False,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        check_integer("in_channels", in_channels, minimum=1)
        check_integer("num_nodes", num_nodes, minimum=1)
        if state_channels is None:
            state_channels = 2 * num_nodes
        check_integer("state_channels", state_channels, minimum=1)
        check_integer("dims", dims, minimum=1)
        check_bool("normalize", normalize)
        check_bool("zero_init", zero_init)
        if dims not in _CONVOLUTIONS:
            raise ValueError(f"dims: expected 1, 2 or 3, got {dims!r}")
        convolution = _CONVOLUTIONS[dims]
        self.in_channels = in_channels
        self.num_nodes = num_nodes
        self.state_channels = state_channels
        self.dims = dims
        self.normalize = normalize
        self.conv_state = convolution(in_channels, state_channels, 1)
        self.conv_proj = convolution(in_channels, num_nodes, 1)
        self.gcn = GraphConvolution(state_channels, num_nodes)
        self.conv_extend = convolution(state_channels, in_channels, 1, bias=False)
        self.blocker = _BATCH_NORMS[dims](in_channels, eps=1e-4)
        if zero_init:
            nn.init.zeros_(self.blocker.weight)

    def forward(self, x: Tensor) -> Tensor:
        r"""Apply the unit.

        Args:
            x: (N, C, \*spatial) floating point, with ``dims`` spatial axes.

        Returns:
            (N, C, \*spatial).

        Raises:
            TypeError: ``x`` is not a floating-point tensor.
            ValueError: The number of axes or channels is not the unit's; or, in training, there is
                one value a channel (a batch of one with a 1 x 1 map), which has no variance.
        """
        sizes = Sizes(channels=(self.in_channels, "in_channels"))
        check_tensor("x", x, " ".join(["N channels", *"DHW"[3 - self.dims :]]), "float", sizes)
        synchronised = isinstance(self.blocker, nn.SyncBatchNorm)
        if x.numel() == self.in_channels and self.blocker.training and not synchronised:
            raise ValueError(
                "x: expected more than one value a channel in training, for the variance of the "
                f"batch norm, got shape {tuple(x.shape)}; use a larger batch or map, or eval()"
            )
        with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
            return self._reason(x, x.to(self.conv_proj.weight.dtype))

    def _reason(self, residual: Tensor, x: Tensor) -> Tensor:
        num_images, bias = x.shape[0], self.conv_proj.bias
        if bias is None:
            bias = x.new_zeros(self.num_nodes)
        positions = x.flatten(2)
        share = 1 / positions.shape[2] if self.normalize else 1.0
        projection, pooled, positions = project_and_pool(
            positions, self.conv_proj.weight.flatten(1), bias, share
        )
        nodes = self.gcn(self._nodes(pooled, projection))
        extended = product(self.conv_extend.weight.flatten(1), nodes)
        if x.numel() == 0 or not self._folds():
            blocked: Tensor = self.blocker(torch.bmm(extended, projection[:, :-1]).view_as(x))
            return residual + blocked.to(residual.dtype)
        scale, shift = self._scale_and_shift(extended, projection)
        # the shift is the weight of the row of ones
        extended = torch.cat(
            (extended * scale[:, None], shift.expand(num_images, -1)[..., None]), 2
        )
        if torch.promote_types(residual.dtype, x.dtype) == x.dtype:
            return _laid_out_as(residual, add_product(positions, extended, projection).view_as(x))
        return residual + torch.bmm(extended, projection).view_as(x).to(residual.dtype)

    def _folds(self) -> bool:
        """Whether the batch norm is a plain one, without hooks, to be computed by a scale."""
        norm = self.blocker
        plain = type(norm) is _BATCH_NORMS[self.dims] and norm.affine and norm.momentum is not None
        module: Any = norm
        return plain and not module._forward_hooks and not module._forward_pre_hooks

    def _scale_and_shift(self, extended: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
        """The batch norm of :math:`E P` as a scale and a shift of its channels.

        Mean and variance of a batch are those of the projection, seen through E: no map of C
        channels is made for them, or kept for the backward pass.
        """
        norm = self.blocker
        mean, variance = norm.running_mean, norm.running_var
        if norm.training or mean is None or variance is None:
            mean, variance = _moments(extended, projection[:, :-1])
            if norm.training:
                self._track(
                    mean.detach(), variance.detach(), extended.shape[0] * projection.shape[2]
                )
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return scale, norm.bias - mean * scale

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Let the batch norm's running statistics follow those of a batch."""
        norm = self.blocker
        if norm.running_mean is not None and norm.running_var is not None and norm.momentum:
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)

    def _nodes(self, pooled: Tensor, projection: Tensor) -> Tensor:
        """(N, S, M) node states :math:`S P^T` from :math:`x P^T`, without the state map."""
        nodes = product(self.conv_state.weight.flatten(1), pooled)
        if self.conv_state.bias is None:
            return nodes
        projection = projection[:, :-1]
        pooled_ones = projection.mean(dim=2) if self.normalize else projection.sum(dim=2)
        return nodes + self.conv_state.bias[:, None] * pooled_ones[:, None]

    def extra_repr(self) -> str:
        """Sizes and options, for ``repr``."""
        return (
            f"{self.in_channels}, {self.num_nodes}, state_channels={self.state_channels}, "
            f"dims={self.dims}, normalize={self.normalize}"
        )


def _laid_out_as(x: Tensor, result: Tensor) -> Tensor:
    """The result with the strides and the dtype of x, as ``x + ...`` has them (channels_last)."""
    if x.is_contiguous():
        return result.to(x.dtype)
    return torch.empty_like(x).copy_(result)


def _moments(extended: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over images and positions of the channels of :math:`E P`."""
    centre = projection.mean(dim=2, keepdim=True)
    centred = projection - centre
    covariance = torch.bmm(centred, centred.transpose(1, 2)) / projection.shape[2]
    within = (
        (torch.bmm(extended, covariance) * extended).sum(dim=2).clamp(min=0)
    )  # but for rounding
    means = torch.bmm(extended, centre).squeeze(2)
    mean = means.mean(dim=0)
    between = (means - mean).square()
    return mean, (within + between).mean(dim=0)


GloRe = GlobalReasoningUnit
