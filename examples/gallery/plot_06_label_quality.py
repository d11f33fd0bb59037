"""
Label quality by region
=======================

mean IoU hides what becomes of the objects that saliency does not see.
:class:`~wsss_nonsalient.SegmentationScore` counts within a region, so the salient and the
non-salient part of the pictures are scored by themselves.
"""

import matplotlib.pyplot as plt
import numpy as np
from procedural_scene import CLASS_NAMES, make_scene

from wsss_nonsalient import SegmentationScore, initial_labels, nsrm_mask, pom_refine

STEPS = ("initial label", "+ POM", "prediction (stand-in)", "+ NSRM")
REGIONS = ("salient", "non-salient")
scores = {
    (step, region): SegmentationScore(len(CLASS_NAMES) + 1) for step in STEPS for region in REGIONS
}
for seed in range(12):
    scene = make_scene(seed)
    initial = initial_labels(scene.oa_cam, scene.saliency, scene.image_labels)
    pom = pom_refine(initial, scene.cam, scene.image_labels)
    nsrm = nsrm_mask(scene.prediction, pom, scene.image_labels)
    salient = scene.saliency >= 32 / 255
    for step, labels in zip(STEPS, (initial, pom, scene.prediction, nsrm), strict=True):
        scores[step, "salient"].update(labels, scene.mask, region=salient)
        scores[step, "non-salient"].update(labels, scene.mask, region=~salient)

# %%
# Of the object pixels of each region: right, ignored, called another class, or *missed*, that is
# labelled background, which would teach a network to overlook them.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for panel, region in zip(axes, REGIONS, strict=True):
    results = [scores[step, region].compute() for step in STEPS]
    missed, ignored, confused = (
        np.array([getattr(result, name) for result in results])
        for name in ("missed", "objects_ignored", "confused")
    )
    parts = {
        "right": (1 - missed - ignored - confused, "#2a7f62"),
        "ignored": (ignored, "#e0e0c0"),
        "another class": (confused, "#c08000"),
        "missed": (missed, "#303030"),
    }
    left = np.zeros(len(STEPS))
    for name, (share, colour) in parts.items():
        panel.barh(STEPS, 100 * share, left=left, color=colour, label=name)
        left += 100 * share
    panel.set(title=f"object pixels of the {region} region", xlabel="%", xlim=(0, 100))
    panel.spines[["top", "right"]].set_visible(False)
axes[0].invert_yaxis()
handles, names = axes[0].get_legend_handles_labels()
legend = figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)

# %%
# In the salient region the labels hardly change. In the other, POM turns part of *missed* into
# *ignored*, and the prediction and NSRM turn part of it into *right*.
