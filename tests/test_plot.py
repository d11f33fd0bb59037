"""What is drawn: colours, hatching, legends, and that nothing global is touched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wsss_nonsalient import LabelReportResults, label_report, plot
from wsss_nonsalient.io import VOC_PALETTE
from wsss_nonsalient.plot import show_cam, show_labels, show_steps

LABELS = torch.tensor([[0, 1, 1], [20, 255, 255]], dtype=torch.uint8)
WRONG: Any = {"a": [1]}
IMAGE = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(0))


def colours(axes: Any) -> Any:
    """What the last picture of the axes shows, in 0..255."""
    return np.rint(255 * np.asarray(axes.images[-1].get_array())).astype(int)


def test_labels_have_the_colours_of_voc() -> None:
    palette = np.frombuffer(VOC_PALETTE, np.uint8).reshape(256, 3)
    shown = colours(show_labels(LABELS))
    assert (shown[..., :3] == palette[LABELS.numpy()]).all()
    assert (shown[..., 3] == 255).all()


def test_background_is_clear_over_a_picture() -> None:
    axes = show_labels(LABELS, IMAGE, alpha=0.4)
    assert len(axes.images) == 2
    assert np.allclose(np.asarray(axes.images[0].get_array()), IMAGE.permute(1, 2, 0))
    assert (colours(axes)[..., 3] == np.where(LABELS == 0, 0, round(0.4 * 255))).all()


def rendered(axes: Any, size: int = 300) -> Any:
    figure = axes.figure
    figure.set_layout_engine("none")
    figure.set(figwidth=size / 100, figheight=size / 100, dpi=100)
    axes.set(position=[0, 0, 1, 1], aspect="auto")
    axes.set_axis_off()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def test_ignored_pixels_alone_are_hatched() -> None:
    labels = torch.zeros(3, 3, dtype=torch.int64)
    labels[0] = 1
    labels[2, 2] = 255
    pixels = rendered(show_labels(labels))
    cells = pixels.reshape(3, 100, 3, 100, 3).transpose(0, 2, 1, 3, 4)[:, :, 5:-5, 5:-5]
    kinds = [[len(np.unique(cell.reshape(-1, 3), axis=0)) for cell in row] for row in cells]
    assert kinds[2][2] > 1
    kinds[2][2] = 1
    assert kinds == [[1] * 3] * 3


def test_a_map_of_ignored_pixels_only_can_be_drawn() -> None:
    for shape in ((1, 1), (1, 4), (5, 6)):
        axes = show_labels(torch.full(shape, 255))
        assert axes.get_xlim() == (-0.5, shape[1] - 0.5)
        assert axes.get_ylim() == (shape[0] - 0.5, -0.5)


def test_other_ignore_index_and_large_labels() -> None:
    axes = show_labels(torch.tensor([[255, 65535, 254, 0]]), ignore_index=65535)
    shown = colours(axes)[0, :, :3].tolist()
    assert shown[1] == [224, 224, 192]
    assert shown[3] == [0, 0, 0]
    assert [0, 0, 0] not in shown[:3]
    assert shown[0] != shown[1]


def test_cam_is_drawn_from_0_to_1_whatever_its_dtype() -> None:
    cam = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    for one in (cam, cam / 255, (cam / 255).half()):
        axes = show_cam(one)
        assert np.allclose(np.asarray(axes.images[-1].get_array()), [[0, 0.2, 1]], atol=1e-3)
        assert axes.images[-1].get_clim() == (0, 1)
    axes = show_cam(torch.rand(2, 3), IMAGE)
    gray = np.asarray(axes.images[0].get_array())
    assert np.allclose(gray, IMAGE.mean(0).numpy()[..., None])


def test_steps_go_by_kind_and_share_a_legend() -> None:
    steps = {"picture": IMAGE, "CAM": torch.rand(2, 3), "label": LABELS, "other": LABELS * 0}
    names = ["background", *[f"class {c}" for c in range(20)]]
    axes = show_steps(steps, columns=3, names=names)
    assert [one.get_title() for one in axes] == list(steps)
    assert [len(one.images) for one in axes] == [1, 1, 1, 1]
    figure = axes[0].figure
    assert len(figure.axes) == 6, "two rows of three"
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["background", "class 0", "class 19", "ignored"]
    assert [len(one.images) for one in show_steps(steps, IMAGE)] == [1, 2, 2, 2]


def test_draws_into_given_axes() -> None:
    panels = Figure().subplots(1, 3)
    assert show_labels(LABELS, axes=panels[0]) is panels[0]
    assert show_cam(torch.rand(2, 2), axes=panels[0]) is panels[0]
    assert show_steps({"a": LABELS, "b": LABELS}, axes=panels) == list(panels[:2])


def report(with_maps: bool = True) -> LabelReportResults:
    random = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (2, 9, 9), generator=random)
    labels = torch.where(torch.rand(2, 9, 9, generator=random) < 0.5, 0, target)
    labels[0, 0, :4] = torch.tensor([255, 3, 3, 1])
    maps = torch.rand(2, 3, 9, 9, generator=random)
    more: Any = {"saliency": maps[:, 0], "cams": maps, "image_labels": torch.ones(2, 3)}
    return label_report(labels, target, num_classes=5 - with_maps, **(more if with_maps else {}))


def bars(axes: Any, row: int) -> list[float]:
    """Widths of the parts of a bar, from left to right."""
    return [own.patches[row].get_width() for own in axes.containers]


def drawn(figure: Figure) -> None:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()


def test_bars_of_a_report_are_its_shares() -> None:
    own = report()
    figure = plot.show_label_report(own, names=["background", "cat", "$dog$", "cow"])
    panels = {axes.get_title().partition(",")[0]: axes for axes in figure.axes}
    regions = [text.get_text() for text in panels["by region"].get_yticklabels()]
    assert regions == ["all pixels", "boundary", "interior", "salient", "non-salient"]
    assert own.by_region.non_salient is not None
    for row, scores in ((0, own.overall), (4, own.by_region.non_salient)):
        shares = (scores.objects_ignored, scores.confused, scores.missed)
        expected = [100 - 100 * sum(shares), *(100 * share for share in shares)]
        assert bars(panels["by region"], row) == pytest.approx(expected)
    sizes = own.by_size
    assert bars(panels["by size of the object"], 1)[3] == pytest.approx(100 * sizes.missed[1])
    classes = [text.get_text() for text in panels["by class"].get_yticklabels()]
    assert classes == ["cat", "$dog$", "cow"], "cow is in the labels only"
    assert bars(panels["by class"], 1)[3] == pytest.approx(100 * own.by_class.missed[2])
    assert bars(panels["by class"], 2) == [0] * 4
    false = bars(panels["background called so"], 2)
    assert false == pytest.approx([100 * own.by_class.false_objects[3].item()])
    assert own.calibration is not None
    points = np.asarray(panels["calibration"].lines[1].get_xydata())
    assert np.allclose(points[:, 1], own.calibration.true_share)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][3] == "missed"
    drawn(figure)


def test_report_without_maps_or_anything() -> None:
    figure = plot.show_label_report(report(with_maps=False))
    assert len(figure.axes) == 4
    assert [t.get_text() for t in figure.axes[2].get_yticklabels()] == ["1", "2", "3"]
    own = Figure(layout="constrained")
    assert plot.show_label_report(report(), figure=own) is own
    assert len(own.axes) == 5
    nothing = label_report([], [], num_classes=2)
    drawn(plot.show_label_report(nothing))
    target, cam = torch.full((1, 2, 2), 255), torch.rand(1, 1, 2, 2)
    empty = label_report(target, target, num_classes=2, cams=cam, image_labels=torch.ones(1, 1))
    drawn(plot.show_label_report(empty))


def test_pyplot_and_settings_are_left_alone() -> None:
    code = (
        "import sys, torch, matplotlib; matplotlib.rcParams['backend'] = 'agg'; "
        "before = matplotlib.rcParams.copy(); "
        "from wsss_nonsalient.plot import show_steps; "
        "show_steps({'a': torch.tensor([[0, 255]])}); "
        "assert matplotlib.rcParams == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_matplotlib_is_needed_for_drawing_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'wsss-nonsalient\[plot\]'"):
        show_labels(LABELS)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: show_labels(torch.rand(2, 3)), TypeError, "labels: expected an integer tensor"),
        (lambda: show_labels(LABELS[None]), ValueError, "labels: expected"),
        (lambda: show_labels(LABELS, torch.rand(3, 2, 4)), ValueError, "image: expected W = 3"),
        (lambda: show_labels(LABELS, torch.rand(1, 2, 3)), ValueError, "image: expected channels"),
        (lambda: show_labels(LABELS, IMAGE * 2), ValueError, "image: expected"),
        (lambda: show_labels(LABELS, alpha=2), ValueError, "alpha: expected"),
        (lambda: show_labels(LABELS, names=["background", "cat"]), ValueError, "label 20, got 2"),
        (lambda: show_cam(torch.full((2, 2), torch.nan)), ValueError, "cam: expected"),
        (lambda: show_cam(torch.rand(2, 2, 2)), ValueError, "cam: expected"),
        (lambda: show_steps({}), ValueError, "steps: expected at least one"),
        (lambda: show_steps({"a": LABELS}, columns=0), ValueError, "columns: expected"),
        (lambda: show_steps(WRONG), TypeError, "steps, a: expected a torch.Tensor, got list"),
        (
            lambda: plot.show_label_report(WRONG),
            TypeError,
            "report: expected LabelReportResults, got",
        ),
        (
            lambda: plot.show_label_report(report(), names="ab"),
            ValueError,
            "names: expected 4.*got 2",
        ),
        (lambda: show_steps({"a": LABELS}, axes=[]), ValueError, "axes: expected at least 1"),
    ],
)
def test_errors_name_the_argument(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
