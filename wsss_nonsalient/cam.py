"""Class activation maps: the head that makes them, and what is done to them before labelling."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._checks import (
    Sizes,
    check_bool,
    check_choice,
    check_integer,
    check_number,
    check_size,
    check_tensor,
)
from ._values import compute_dtype, finite, multi_hot, reads_values, unit_interval, verify
from .reasoning import GlobalReasoningUnit

Normalization = Literal["max", "minmax"]
_NORMALIZATIONS: tuple[Normalization, ...] = ("max", "minmax")


class CAMOutput(NamedTuple):
    """What a :class:`CAMHead` gives."""

    logits: Tensor  #: (N, num_classes)
    cams: Tensor  #: (N, num_classes, H, W) raw class maps


class CAMHead(nn.Module):
    r"""Classification head whose class maps are class activation maps.

    Three 3x3 convolutions with ReLU between them, the global reasoning unit, ReLU, and a 1x1
    convolution to one map a class; the logits are the maps' spatial means.

    Source: Yao et al., CVPR 2021.

    Args:
        in_channels: Channels of the trunk's features.
        num_classes: Number of foreground classes.
        hidden_channels: Channels of the 3x3 convolutions; None leaves these out.
        num_nodes: Nodes of the :class:`GlobalReasoningUnit`; None leaves the unit out.

    Raises:
        TypeError: An argument is not an integer (or None).
        ValueError: A size is below 1.

    Example:
        >>> head = CAMHead(16, 20, hidden_channels=8, num_nodes=4)
        >>> logits, cams = head(torch.randn(2, 16, 7, 7))
        >>> logits.shape, cams.shape
        (torch.Size([2, 20]), torch.Size([2, 20, 7, 7]))
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        hidden_channels: int | None = 512,
        num_nodes: int | None = 64,
    ) -> None:
        super().__init__()
        check_integer("in_channels", in_channels, minimum=1)
        check_integer("num_classes", num_classes, minimum=1)
        self.in_channels = in_channels
        channels = in_channels
        self.features = nn.Sequential()
        if hidden_channels is not None:
            check_integer("hidden_channels", hidden_channels, minimum=1)
            channels = hidden_channels
            self.features = nn.Sequential(
                nn.Conv2d(in_channels, channels, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
        self.reasoning = (
            nn.Identity() if num_nodes is None else GlobalReasoningUnit(channels, num_nodes)
        )
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: Tensor) -> CAMOutput:
        """Class maps of features, and their means as logits.

        Args:
            features: (N, in_channels, H, W) floating point.

        Returns:
            ``logits`` (N, num_classes) and ``cams`` (N, num_classes, H, W).

        Raises:
            TypeError: ``features`` is not a floating-point tensor.
            ValueError: The number of axes or channels is not the head's.
        """
        sizes = Sizes(channels=(self.in_channels, "in_channels"))
        check_tensor("features", features, "N channels H W", "float", sizes)
        hidden = functional.relu(self.reasoning(self.features(features)))
        cams = self.classifier(hidden)
        return CAMOutput(cams.mean(dim=(2, 3)), cams)


def normalize_cam(cam: Tensor, *, mode: Normalization = "max") -> Tensor:
    r"""Scale each class map to [0, 1].

    .. math:: \text{max: } \frac{\mathrm{relu}(a)}{\max a} \qquad
              \text{minmax: } \frac{a - \min a}{\max a - \min a}

    A map that leaves nothing to divide by gives zeros: for ``"max"`` one without a positive value,
    for ``"minmax"`` a constant one. Differentiable.

    Source: CAM and OAA take ``"max"``; the released NSROM takes ``"minmax"`` for maps that it reads
    from 8-bit files.

    Args:
        cam: (\*, C, H, W) raw maps, floating point or uint8.
        mode: ``"max"`` or ``"minmax"``.

    Returns:
        (\*, C, H, W) in [0, 1], of the same dtype; float32 for uint8.

    Raises:
        TypeError: ``cam`` is not a floating-point or uint8 tensor.
        ValueError: ``cam`` has fewer than three axes, NaN or infinity; ``mode`` is unknown.

    Example:
        >>> cam = torch.tensor([[[-1.0, 0.0, 1.0, 4.0]]])
        >>> normalize_cam(cam)
        tensor([[[0.0000, 0.0000, 0.2500, 1.0000]]])
        >>> normalize_cam(cam, mode="minmax")
        tensor([[[0.0000, 0.2000, 0.4000, 1.0000]]])
    """
    check_tensor("cam", cam, "* C H W", "image", Sizes())
    check_choice("mode", mode, _NORMALIZATIONS)
    values = cam.to(compute_dtype(cam))
    if mode == "max":
        values = functional.relu(values)
    else:
        values = values - values.amin(dim=(-2, -1), keepdim=True)
    highest = values.amax(dim=(-2, -1), keepdim=True)
    if reads_values(cam) and cam.is_floating_point():
        verify(finite("cam", cam), finite("cam, largest minus smallest value", highest))
    scaled = values / torch.where(highest > 0, highest, 1)
    return scaled.to(cam.dtype) if cam.is_floating_point() else scaled


def resize_cam(cam: Tensor, size: Sequence[int]) -> Tensor:
    r"""Resize class maps bilinearly (pixel centres, no corner alignment) and clamp to [0, 1].

    Differentiable.

    Args:
        cam: (\*, C, H, W) maps in [0, 1], floating point or uint8 (value / 255).
        size: (height, width) of the result.

    Returns:
        (\*, C, height, width) in [0, 1], of the same dtype; float32 for uint8.

    Raises:
        TypeError: ``cam`` is not a floating-point or uint8 tensor; ``size`` is not two integers.
        ValueError: ``cam`` has fewer than three axes, NaN or infinity; a side is below 1.

    Example:
        >>> resize_cam(torch.tensor([[[0.0, 1.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    check_tensor("cam", cam, "* C H W", "image", Sizes())
    height_width = check_size("size", size)
    if reads_values(cam) and cam.is_floating_point():
        verify(finite("cam", cam))
    values = unit_interval(cam, compute_dtype(cam))
    resized = _bilinear(values, height_width).clamp(0, 1)
    return resized.to(cam.dtype) if cam.is_floating_point() else resized


def _bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize each map by itself, so that a batch gives what its maps give one by one."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    if maps.numel() == 0:
        return maps.new_zeros(*maps.shape[:-2], *size)
    single = maps.reshape(-1, 1, *maps.shape[-2:])
    resized = functional.interpolate(single, size=size, mode="bilinear", align_corners=False)
    return resized.reshape(*maps.shape[:-2], *size)


def multi_scale_cam(
    model: Callable[[Tensor], CAMOutput],
    images: Tensor,
    *,
    scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0),
    flip: bool = True,
    image_labels: Tensor | None = None,
) -> Tensor:
    r"""Class activation maps summed over scales and horizontal flips of the images.

    The positive part of the raw maps of every version of the images is resized to the images' size
    (and flipped back); their sum is normalised by ``normalize_cam(mode="max")``. Runs without
    autograd; a model in training mode is put into evaluation mode for the call.

    Args:
        model: Takes (N, channels, h, w) and returns a :class:`CAMOutput` (or any pair of logits and
            raw maps (N, C, h', w')).
        images: (N, channels, H, W) floating point, normalised as the model expects.
        scales: Factors of the images' height and width.
        flip: Use the mirrored images too.
        image_labels: (N, C) multi-hot, exactly 0 or 1: maps of absent classes are zeros, and cost
            nothing. Default: the maps of all classes.

    Returns:
        (N, C, H, W) in [0, 1].

    Raises:
        TypeError: ``images`` is not a floating-point tensor; a scale is no number; ``flip`` is not
            a bool; ``image_labels`` is not a tensor of a bool, integer or floating-point dtype.
        ValueError: ``images`` has not four axes; ``scales`` is empty or has a factor outside
            [0.001, 1000]; the model's maps have not four axes, or NaN or infinity;
            ``image_labels`` differs in images, classes or device, or has values other than 0 and 1.

    Example:
        >>> def model(images):  # one class: what is bright
        ...     cams = images.mean(dim=1, keepdim=True) - 0.5
        ...     return CAMOutput(cams.mean(dim=(2, 3)), cams)
        >>> multi_scale_cam(model, torch.tensor([[[[0.25, 0.75, 1.0]]]]), scales=[1.0])
        tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    sizes = Sizes()
    check_tensor("images", images, "N channels H W", "float", sizes)
    check_bool("flip", flip)
    if not isinstance(scales, Sequence) or isinstance(scales, str) or len(scales) == 0:
        raise ValueError(f"scales: expected positive factors, at least one, got {scales!r}")
    for scale in scales:
        check_number("scales", scale, low=1e-3, high=1e3)
    if image_labels is not None:
        check_tensor("image_labels", image_labels, "N C", "multi-hot", sizes)
        if reads_values(image_labels):
            verify(multi_hot("image_labels", image_labels))
    with torch.no_grad(), _evaluating(model):
        found = [_positive_maps(model, images, scale, flip, sizes) for scale in scales]
        wanted = tuple((image_labels != 0).nonzero().T) if image_labels is not None else ()
        size = (images.shape[2], images.shape[3])
        total = _bilinear(found[0][wanted], size)
        for maps in found[1:]:
            total = total + _bilinear(maps[wanted], size)
        if image_labels is None:
            return normalize_cam(total)
        cams = total.new_zeros(*image_labels.shape, *size)
        cams[wanted] = normalize_cam(total[:, None])[:, 0]
        return cams


def _positive_maps(
    model: Callable[[Tensor], CAMOutput], images: Tensor, scale: float, flip: bool, sizes: Sizes
) -> Tensor:
    """Positive part of the raw maps at one scale, those of the mirrored images added."""
    scaled = [max(1, round(side * scale)) for side in images.shape[2:]]
    version = functional.interpolate(images, scaled, mode="bilinear", align_corners=False)
    total = torch.zeros((), device=images.device)
    for mirrored, own in enumerate((version, version.flip(-1)) if flip else (version,)):
        _, cams = model(own)
        fixed = Sizes()
        fixed.axes = {axis: size for axis, size in sizes.axes.items() if axis in ("N", "C")}
        check_tensor("cams of the model", cams, "N C H W", "float", fixed)
        positive = functional.relu(cams.to(compute_dtype(cams)))
        total = total + (positive.flip(-1) if mirrored else positive)
    return total


@contextmanager
def _evaluating(model: Callable[[Tensor], CAMOutput]) -> Generator[None, None, None]:
    """Put a module into evaluation mode, and each of its modules back into its own afterwards."""
    training = [m for m in model.modules() if m.training] if isinstance(model, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
