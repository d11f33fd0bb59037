"""The figure of a label report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ._checks import described
from ._figure import new_figure
from ._report_results import CalibrationResults, ClassResults, LabelReportResults
from ._values import to_list
from .metrics import SegmentationResults

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARTS = {  # of object pixels, from left to right, and their colours
    "right": "#2a7f62",
    "ignored": "#e0e0c0",
    "another class": "#c08000",
    "missed": "#303030",
}
_BAR = 0.22  # inches


def show_label_report(
    report: LabelReportResults,
    *,
    names: Sequence[str] | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw a label report: shares of object pixels by region, size and class, and calibration.

    Bars are shares of the true object pixels: right, ignored, another class, missed. Sizes are
    shares of the picture, with how many objects have them. Beside the bars of each class, how many
    of the background pixels are labelled as the class. The reliability curve is drawn if the report
    has one: on the diagonal, CAM values are probabilities.

    Args:
        report: What :func:`wsss_nonsalient.label_report` gives.
        names: Names of all labels, ``names[0]`` that of the background. Classes that are neither in
            the truth nor in the labels are left out.
        figure: Where to draw, an empty figure of constrained layout; None: a new one.

    Returns:
        The figure; ``figure.savefig("report.png")`` writes it.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: ``report`` is not a :class:`~wsss_nonsalient.LabelReportResults`.
        ValueError: There are more or fewer names than labels.

    Example:
        >>> import torch, wsss_nonsalient
        >>> labels, targets = torch.tensor([[[0, 1, 2]]]), torch.tensor([[[0, 1, 1]]])
        >>> report = wsss_nonsalient.label_report(labels, targets, num_classes=3)
        >>> figure = show_label_report(report, names=["background", "cat", "dog"])
        >>> [axes.get_title() for axes in figure.axes]
        ['by region', 'by size of the object', 'by class', 'background called so']
    """
    if not isinstance(report, LabelReportResults):
        raise TypeError(f"report: expected LabelReportResults, got {described(report)}")
    own = report.by_class
    names = list(map(str, range(len(own.pixels)))) if names is None else names
    if len(names) != len(own.pixels):
        raise ValueError(f"names: expected {len(own.pixels)}, one a label, got {len(names)}")
    there = [c for c in range(1, len(names)) if own.pixels[c] > 0 or own.false_objects[c] > 0]
    rows = [["region", "size"], ["class", "false"]]
    if report.calibration is not None:
        rows[0].append("calibration")
        rows[1].insert(1, "class")
    heights = [2.2, _BAR * len(there) + 0.6]
    drawn: Any = figure
    if figure is None:
        drawn = new_figure(3.2 * len(rows[0]), sum(heights) + 0.5)
    panels: dict[str, Any] = drawn.subplot_mosaic(rows, height_ratios=heights)
    _draw_regions(panels["region"], report)
    _draw_sizes(panels["size"], report)
    _draw_classes(panels["class"], panels["false"], own, there, names)
    if report.calibration is not None:
        _draw_calibration(panels["calibration"], report.calibration)
    handles, labels = panels["region"].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    result: Figure = drawn
    return result


def _draw_regions(axes: Any, report: LabelReportResults) -> None:
    regions: dict[str, SegmentationResults] = {"all pixels": report.overall}
    for name, own in report.by_region._asdict().items():
        if own is not None:
            regions[name.replace("_", "-")] = own
    shares = [
        (1 - own.objects_ignored - own.confused - own.missed, own.objects_ignored, own.confused,
         own.missed)
        for own in regions.values()
    ]  # fmt: skip
    _draw_bars(axes, list(regions), list(zip(*shares, strict=True)))
    axes.set_title("by region")


def _draw_sizes(axes: Any, report: LabelReportResults) -> None:
    own = report.by_size
    edges = [f"{100 * edge:g}" for edge in to_list(own.edges)]
    counts = to_list(own.objects)
    rows = [
        f"{low} to {high} % ({count})"
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    _draw_bars(axes, rows, _lists(own.right, own.ignored, own.confused, own.missed))
    axes.set_title("by size of the object")


def _draw_classes(
    axes: Any, beside: Any, own: ClassResults, there: Sequence[int], names: Sequence[str]
) -> None:
    rows = [names[c] for c in there]
    parts = (own.right, own.ignored, own.confused, own.missed)
    _draw_bars(axes, rows, _lists(*(part[list(there)] for part in parts)))
    axes.set(title="by class", xlabel="% of the object pixels")
    (false,) = _lists(own.false_objects[list(there)])
    _draw_bars(beside, rows, [false], ["#b04030"])
    beside.set(title="background called so", xlabel="% of the background")
    beside.set_xlim(0, 110 * max([0.001, *(x for x in false if x == x)]))
    beside.set_yticklabels([])


def _draw_bars(
    axes: Any,
    rows: Sequence[str],
    parts: Sequence[Sequence[float]],
    colours: Sequence[str] = tuple(_PARTS.values()),
) -> None:
    """Stacked horizontal bars in percent, the first row on top."""
    places = list(range(len(rows)))
    left = [0.0] * len(rows)
    for name, part, colour in zip(_PARTS, parts, colours, strict=False):
        widths = [100 * x if x == x else 0.0 for x in part]  # NaN: no bar
        axes.barh(places, widths, left=left, color=colour, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(places, rows)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set(xlim=(0, 100), ylim=(max(len(rows), 1) - 0.5, -0.5))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_calibration(axes: Any, own: CalibrationResults) -> None:
    axes.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=1)
    axes.plot(*_lists(own.mean_value, own.true_share), marker="o", color="#204a87")
    error = own.expected_error
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="CAM value", ylabel="share of true pixels")
    axes.set_title(
        "calibration" + (f", expected error {100 * error:.0f} %" if error == error else "")
    )
    axes.spines[["top", "right"]].set_visible(False)


def _lists(*tensors: Tensor) -> list[list[float]]:
    return [to_list(tensor) for tensor in tensors]
