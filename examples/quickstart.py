"""Quickstart: the labels of NSROM on one picture.

From saliency and class activation maps (CAM) to the labels of NSROM (Yao et al., CVPR 2021).
Saliency sees one object only, so the initial label teaches the others as background. POM ignores
what the CAM believes to be object after all; NSRM ignores what is far from any object found.

``python examples/quickstart.py`` prints a table of scores and writes ``quickstart.png``.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from procedural_scene import CLASS_NAMES, Scene, make_scene
from torch import Tensor

from wsss_nonsalient import SegmentationScore, initial_labels, nsrm_mask, pom_refine

# PASCAL VOC's kind of colours: black for background, a light tone for ignored pixels.
PALETTE = ["#000000", "#c00000", "#008080", "#c08000", "#c00080", "#008000"]
IGNORED: dict[str, Any] = {"facecolor": "#e0e0c0", "edgecolor": "#a8a88c", "hatch": "////"}
MISSED: dict[str, Any] = {"facecolor": "#000000", "edgecolor": "#ffffff", "hatch": "...."}


def main(argv: Sequence[str] | None = None) -> None:
    """Make the labels of one picture step by step, score them, and draw them."""
    parser = argparse.ArgumentParser(description="The labels of NSROM on one procedural picture.")
    parser.add_argument("--out", default="quickstart.png", help="the figure (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the picture (default: %(default)s)")
    args = parser.parse_args(argv)
    scene = make_scene(args.seed)

    # OA-CAM and saliency compete for every pixel.
    initial = initial_labels(scene.oa_cam, scene.saliency, scene.image_labels)
    # POM: background that the CAM believes to be object is ignored.
    pom = pom_refine(initial, scene.cam, scene.image_labels)
    # A segmentation network would be trained on this; a stand-in for its prediction is used here.
    prediction = scene.prediction
    # NSRM: prediction and label are merged, and whatever is far from any object is ignored.
    nsrm = nsrm_mask(prediction, pom, scene.image_labels)

    steps = {
        "initial label": initial,
        "+ POM": pom,
        "prediction (stand-in)": prediction,
        "+ NSRM": nsrm,
    }
    print_scores(scene, steps)
    draw(scene, steps).savefig(args.out)
    print(f"\nfigure: {args.out}")


def score(scene: Scene, labels: Tensor, *, non_salient: bool) -> tuple[float, float, float]:
    """Mean IoU, ignored share of all pixels, and missed share of object pixels, in percent."""
    counts = SegmentationScore(len(CLASS_NAMES) + 1)
    region = scene.saliency < 32 / 255 if non_salient else None
    counts.update(labels, scene.mask, region=region)
    result = counts.compute()
    return 100 * result.mean_iou, 100 * result.ignored, 100 * result.missed


def print_scores(scene: Scene, steps: dict[str, Tensor]) -> None:
    """One row a step: the whole picture, then its non-salient region."""
    print(f"{'in percent':<23}  {' whole picture ':-^28}  {' non-salient region ':-^28}")
    print(" " * 23 + "".join(f"{name:>10}" for name in ["mean IoU", "ignored", "missed"] * 2))
    for name, labels in steps.items():
        row = score(scene, labels, non_salient=False) + score(scene, labels, non_salient=True)
        print(f"{name:<23}" + "".join(f"{value:>10.1f}" for value in row))


def draw(scene: Scene, steps: dict[str, Tensor]) -> Figure:
    """What is known and the truth above, the steps below."""
    figure = Figure(figsize=(13, 7), dpi=120, layout="constrained")
    figure.suptitle("What becomes of the objects that saliency does not see", fontsize=16)
    above, below = figure.subplots(2, 4)
    names = [CLASS_NAMES[c] for c in scene.image_labels.nonzero().flatten().tolist()]
    above[0].imshow(scene.image.permute(1, 2, 0).numpy())
    caption(above[0], "image", "contains: " + ", ".join(names))
    above[1].imshow(scene.saliency.numpy(), cmap="gray", vmin=0, vmax=1)
    caption(above[1], "saliency", "sees one object")
    draw_cams(above[2], scene)
    caption(above[2], "CAM and OA-CAM", "colour: CAM; outline: OA-CAM above 0.3")
    draw_labels(above[3], scene.mask, scene.mask)
    caption(above[3], "truth", "for the scores only")
    for axes, (name, labels) in zip(below, steps.items(), strict=True):
        draw_labels(axes, labels, scene.mask)
        missed = score(scene, labels, non_salient=True)[2]
        caption(axes, name, f"non-salient objects: {missed:.0f} % missed")
    colours = dict(zip(["background", *CLASS_NAMES], PALETTE, strict=True))
    key = [Patch(color=colours[name], label=name) for name in ["background", *names]]
    key += [Patch(**IGNORED, label="ignored"), Patch(**MISSED, label="missed: labelled background")]
    figure.legend(handles=key, loc="outside lower center", ncols=len(key), frameon=False)
    return figure


def caption(axes: Axes, title: str, text: str) -> None:
    """A name above the panel, a line about it below."""
    axes.set_title(title, fontsize=13, fontweight="bold")
    axes.set_xlabel(text, fontsize=11)
    axes.set(xticks=[], yticks=[])


def draw_cams(axes: Axes, scene: Scene) -> None:
    """Over the grey image, each present class's CAM in its colour and its OA-CAM as an outline."""
    axes.imshow(scene.image.mean(0).numpy(), cmap="gray", vmin=0, vmax=1)
    for c in scene.image_labels.nonzero().flatten().tolist():
        colour = ListedColormap([PALETTE[c + 1]])
        axes.imshow(np.zeros(scene.mask.shape), cmap=colour, alpha=scene.cam[c].numpy())
        axes.contour(scene.oa_cam[c].numpy(), levels=[0.3], colors=PALETTE[c + 1], linewidths=2)


def draw_labels(axes: Axes, labels: Tensor, truth: Tensor) -> None:
    """A label map: ignored pixels hatched, missed ones dotted, the true objects outlined."""
    axes.patch.set(**IGNORED)  # shows through where the label map is masked
    shown, last = np.ma.masked_equal(labels.numpy(), 255), len(PALETTE) - 1
    axes.imshow(shown, cmap=ListedColormap(PALETTE), vmin=0, vmax=last, interpolation="nearest")
    y, x = np.nonzero(((labels == 0) & (truth > 0)).numpy())
    dots = (y % 6 == 0) & ((x + y // 2) % 6 == 0)
    axes.plot(x[dots], y[dots], "w.", markersize=2)
    for colour, width in (("black", 2), ("white", 1)):
        axes.contour(truth.numpy(), levels=[0.5], colors=colour, linewidths=width)


if __name__ == "__main__":
    main()
