"""
What each option does
=====================

One option changed at a time, on one picture; under each panel the shares of the pixels of objects
that are not salient.
"""

from typing import Any

import matplotlib.pyplot as plt
from procedural_scene import CLASS_NAMES, make_scene
from torch import Tensor

from wsss_nonsalient import SegmentationScore, initial_labels, nsrm_mask, pom_refine
from wsss_nonsalient.plot import show_labels

scene = make_scene(0)
present = scene.image_labels
initial = initial_labels(scene.oa_cam, scene.saliency, present)
pseudo = pom_refine(initial, scene.cam, present)


def shares(labels: Tensor) -> str:
    """How many non-salient object pixels are missed, ignored and right."""
    score = SegmentationScore(len(CLASS_NAMES) + 1)
    score.update(labels, scene.mask, region=scene.saliency < 32 / 255)
    result = score.compute()
    missed, ignored = 100 * result.missed, 100 * result.objects_ignored
    right = 100 - missed - ignored - 100 * result.confused
    return f"missed {missed:.0f}, ignored {ignored:.0f}, right {right:.0f} %"


def draw(panels: dict[str, Tensor]) -> Any:
    """A panel for each label map."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.1 * len(panels), 3), layout="constrained"
    )
    for panel, (name, labels) in zip(axes, panels.items(), strict=True):
        show_labels(labels, scene.image, axes=panel)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel(shares(labels), fontsize=9)
    return figure


# %%
# **Initial label.** ``attention_threshold``: a map above it forbids the background label.
# ``saliency_threshold``: so does a saliency of at least this. ``fg_threshold``: weaker maps do not
# count.

maps = (scene.oa_cam, scene.saliency, present)
figure = draw(
    {
        "defaults": initial,
        "attention_threshold=0.6": initial_labels(*maps, attention_threshold=0.6),
        "saliency_threshold=0.5": initial_labels(*maps, saliency_threshold=0.5),
        "fg_threshold=0.7": initial_labels(*maps, fg_threshold=0.7),
    }
)

# %%
# **POM.** ``quartile`` and ``bg_threshold`` act on classes without label pixels.
# ``"nested-median"`` is what the authors ran; on smooth maps as here the two agree.

figure = draw(
    {
        "defaults": pseudo,
        'quartile="nested-median"': pom_refine(
            initial, scene.cam, present, quartile="nested-median"
        ),
        "bg_threshold=0.1": pom_refine(initial, scene.cam, present, bg_threshold=0.1),
        "bg_threshold=0.6": pom_refine(initial, scene.cam, present, bg_threshold=0.6),
    }
)

# %%
# **NSRM.** ``kernel_size``: how far from an object the label is kept. ``saliency``: salient pixels
# count as objects in the mask. ``keep_ignored``: what POM ignored stays so where the prediction is
# background. ``min_classes``: pictures with fewer classes keep their prediction.

inputs = (scene.prediction, pseudo, present)
figure = draw(
    {
        "defaults": nsrm_mask(*inputs),
        "kernel_size=60": nsrm_mask(*inputs, kernel_size=60),
        "saliency=saliency": nsrm_mask(*inputs, saliency=scene.saliency),
        "keep_ignored=True": nsrm_mask(*inputs, keep_ignored=True),
    }
)

# %%
# ``restrict_to_image_labels``: a predicted class that the picture does not have counts as no
# prediction. Here the prediction gets a blotch of an absent class first.

absent = int((~present).nonzero()[0])
wrong = scene.prediction.clone()
wrong[120:180, 20:90] = absent + 1
figure = draw(
    {
        f"a predicted {CLASS_NAMES[absent]}": wrong,
        "defaults": nsrm_mask(wrong, pseudo, present),
        "restrict_to_image_labels=True": nsrm_mask(
            wrong, pseudo, present, restrict_to_image_labels=True
        ),
        "min_classes=9": nsrm_mask(wrong, pseudo, present, min_classes=9),
    }
)
