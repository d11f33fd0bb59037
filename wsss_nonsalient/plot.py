"""Pictures of label maps, class maps, steps side by side and label reports, by matplotlib.

matplotlib is not needed for anything else: ``pip install 'wsss-nonsalient[plot]'``. Nothing here
goes through ``matplotlib.pyplot``, so no figure is left open and no setting is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ._checks import Sizes, check_integer, check_number, check_tensor
from ._figure import new_figure
from ._report_figure import show_label_report
from ._values import in_unit_interval, to_list, unit_interval, verify
from .io.voc import VOC_PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["show_cam", "show_label_report", "show_labels", "show_steps"]

_COLOURS = torch.tensor(list(VOC_PALETTE)).view(256, 3) / 255
_IGNORED = "#e0e0c0"  # VOC's colour of 255
_HATCH = "#8a8a70"
_PANEL = 2.6  # inches


def show_labels(
    labels: Tensor,
    image: Tensor | None = None,
    *,
    axes: Axes | None = None,
    alpha: float = 0.7,
    names: Sequence[str] | None = None,
    ignore_index: int = 255,
) -> Axes:
    """Draw a label map in the colours of PASCAL VOC, ignored pixels hatched.

    Args:
        labels: (H, W) integer labels: 0 background, c + 1 class c.
        image: (3, H, W) picture to lay the labels over, floating point in [0, 1] or uint8; its
            background stays visible. None: the labels alone, on black.
        axes: Where to draw; None: in a new figure, which is ``axes.figure``.
        alpha: Opacity of the labels over a picture, in [0, 1].
        names: Names of the labels, ``names[0]`` that of the background: adds a legend of the labels
            that are in the map.
        ignore_index: Label of ignored pixels.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: An argument is not a tensor or has a wrong dtype.
        ValueError: Shapes differ; ``image`` has NaN or leaves [0, 1]; a label has no name.

    Example:
        >>> axes = show_labels(torch.tensor([[0, 1], [2, 255]]), names=["background", "cat", "dog"])
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['background', 'cat', 'dog', 'ignored']
    """
    sizes = Sizes()
    check_tensor("labels", labels, "H W", "label", sizes)
    check_number("alpha", alpha)
    check_integer("ignore_index", ignore_index, minimum=-(2**31))
    panel = _prepared(axes)
    if image is not None:
        _draw_image(panel, image, sizes)
    labels = labels.detach().cpu().to(torch.int64)
    ignored = labels == ignore_index
    index = torch.where(labels > 0, (labels - 1) % 254 + 1, 0)
    drawn = torch.cat((_COLOURS[index], torch.ones(*labels.shape, 1)), 2)
    if image is not None:
        drawn[..., 3] = (labels != 0) * alpha
    drawn[ignored] = torch.tensor([*_COLOURS[255], 1.0 if image is None else alpha])
    panel.imshow(drawn.numpy(), interpolation="nearest")
    _hatch(panel, ignored)
    if names is not None:
        handles = _handles(labels, names, ignore_index)
        panel.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    result: Axes = panel
    return result


def show_cam(
    cam: Tensor,
    image: Tensor | None = None,
    *,
    axes: Axes | None = None,
    alpha: float = 0.6,
    cmap: str = "inferno",
) -> Axes:
    """Draw one class activation map, over the picture in gray if there is one.

    Args:
        cam: (H, W) map, floating point in [0, 1] or uint8 (value / 255).
        image: (3, H, W) picture, floating point in [0, 1] or uint8, or None.
        axes: Where to draw; None: in a new figure, which is ``axes.figure``.
        alpha: Opacity of the map over a picture, in [0, 1].
        cmap: Name of a matplotlib colour map.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: An argument is not a tensor or has a wrong dtype.
        ValueError: Shapes differ; values are NaN or leave [0, 1]; ``cmap`` is unknown.

    Example:
        >>> axes = show_cam(torch.tensor([[0.0, 0.5, 1.0]]))
        >>> axes.images[0].get_clim()
        (0.0, 1.0)
    """
    sizes = Sizes()
    check_tensor("cam", cam, "H W", "image", sizes)
    check_number("alpha", alpha)
    panel = _prepared(axes)
    if image is not None:
        _draw_image(panel, image, sizes, gray=True)
    shown = _floats("cam", cam).numpy()
    panel.imshow(shown, cmap=cmap, vmin=0.0, vmax=1.0, alpha=None if image is None else alpha)
    result: Axes = panel
    return result


def show_steps(
    steps: Mapping[str, Tensor],
    image: Tensor | None = None,
    *,
    axes: Sequence[Axes] | None = None,
    columns: int = 4,
    names: Sequence[str] | None = None,
    ignore_index: int = 255,
) -> list[Axes]:
    """Draw pictures, maps and label maps side by side, each under its name.

    Args:
        steps: What to draw, by name: (H, W) integer tensors are label maps, (H, W) floating-point
            ones maps in [0, 1], (3, H, W) ones pictures.
        image: (3, H, W) picture to lay the label maps and the maps over, or None.
        axes: Where to draw, at least as many as steps; None: in a new figure.
        columns: Panels in a row of a new figure.
        names: Names of the labels, background first: adds one legend, below a new figure.
        ignore_index: Label of ignored pixels.

    Returns:
        The axes, one a step.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: A step is not a tensor or has a wrong dtype.
        ValueError: There is no step, or fewer axes than steps; a step has another shape; values
            are NaN or leave [0, 1].

    Example:
        >>> labels = torch.tensor([[0, 1, 255]])
        >>> axes = show_steps({"CAM": torch.rand(1, 3), "label": labels})
        >>> [one.get_title() for one in axes]
        ['CAM', 'label']
    """
    check_integer("columns", columns, minimum=1)
    if not steps:
        raise ValueError("steps: expected at least one, got none")
    panels: list[Any] = _new_panels(len(steps), columns) if axes is None else list(axes)
    if len(panels) < len(steps):
        raise ValueError(f"axes: expected at least {len(steps)}, one a step, got {len(panels)}")
    used = panels[: len(steps)]
    for one, (name, step) in zip(used, steps.items(), strict=True):
        if not isinstance(step, Tensor):
            raise TypeError(f"steps, {name}: expected a torch.Tensor, got {type(step).__name__}")
        if step.dim() == 3:
            _draw_image(_prepared(one), step, Sizes())
        elif step.is_floating_point():
            show_cam(step, image, axes=one)
        else:
            show_labels(step, image, axes=one, ignore_index=ignore_index)
        one.set_title(name)
    if names is not None and axes is None:
        maps = [s for s in steps.values() if s.dim() == 2 and not s.is_floating_point()]
        if maps:
            figure: Any = used[0].figure
            values = torch.cat([labels.detach().cpu().flatten() for labels in maps])
            handles = _handles(values, names, ignore_index)
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return used


def _prepared(axes: Axes | None) -> Any:
    """The axes, without ticks; new ones in a figure of their own if there are none."""
    if axes is None:
        axes = _new_panels(1, 1)[0]
    prepared: Any = axes
    prepared.set(xticks=[], yticks=[])
    return prepared


def _new_panels(count: int, columns: int) -> list[Any]:
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(_PANEL * columns, _PANEL * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_axis_off()
    return panels[:count]


def _draw_image(axes: Any, image: Tensor, sizes: Sizes, *, gray: bool = False) -> None:
    sizes.axes["channels"] = (3, "red, green and blue")
    check_tensor("image", image, "channels H W", "image", sizes)
    values = _floats("image", image)
    if gray:
        values = values.mean(dim=0, keepdim=True).expand(3, -1, -1)
    axes.imshow(values.permute(1, 2, 0).numpy())


def _floats(name: str, tensor: Tensor) -> Tensor:
    """Values in [0, 1] on the CPU."""
    values = unit_interval(tensor.detach().cpu(), torch.float32)
    verify(in_unit_interval(name, values))
    return values


def _hatch(axes: Any, mask: Tensor) -> None:
    """Hatch where the mask is set, to the edges of its pixels."""
    if not mask.any():
        return
    height, width = mask.shape
    padded = torch.nn.functional.pad(mask.to(torch.float32), (1, 1, 1, 1))
    areas = axes.contourf(
        np.arange(-1, width + 1),
        np.arange(-1, height + 1),
        padded.numpy(),
        levels=[0.5, 1.5],
        colors="none",
        hatches=["////"],
    )
    areas.set(edgecolor=_HATCH, linewidth=0.0)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _handles(labels: Tensor, names: Sequence[str], ignore_index: int) -> list[Any]:
    """Legend entries of the labels that are there."""
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for value in sorted(set(to_list(labels.flatten())) - {ignore_index}):
        if value >= len(names):
            raise ValueError(f"names: expected a name of label {value}, got {len(names)} names")
        colour: Any = to_list(_COLOURS[(value - 1) % 254 + 1 if value else 0])
        handles.append(Patch(facecolor=colour, label=names[value]))
    if bool((labels == ignore_index).any()):
        handles.append(Patch(facecolor=_IGNORED, edgecolor=_HATCH, hatch="////", label="ignored"))
    return handles
