"""
A report of pseudo labels
=========================

:func:`~wsss_nonsalient.label_report` says what labels are like where mean IoU does not: in the
salient region and outside of it, near outlines, for small objects, and whether CAM values can be
taken for probabilities.
"""

import matplotlib.pyplot as plt
from procedural_scene import CLASS_NAMES, make_scene

from wsss_nonsalient import initial_labels, label_report, nsrm_mask, plot, pom_refine

scenes = [make_scene(seed) for seed in range(12)]
initial = [initial_labels(scene.oa_cam, scene.saliency, scene.image_labels) for scene in scenes]
pom = [
    pom_refine(labels, scene.cam, scene.image_labels)
    for labels, scene in zip(initial, scenes, strict=True)
]
report = label_report(
    pom,
    [scene.mask for scene in scenes],
    num_classes=len(CLASS_NAMES) + 1,
    saliency=[scene.saliency for scene in scenes],
    cams=[scene.cam for scene in scenes],
    image_labels=[scene.image_labels for scene in scenes],
)
print(report)

# %%
# All of it as a figure. The bars are shares of the true object pixels; *missed* is what a network
# would be taught to overlook.

figure = plt.figure(figsize=(10, 4.8), layout="constrained")
plot.show_label_report(report, names=["background", *CLASS_NAMES], figure=figure)

# %%
# Two steps of the method can be compared number by number. All results are named, so they go into
# a table of your own as well.

nsrm = [
    nsrm_mask(scene.prediction, labels, scene.image_labels)
    for labels, scene in zip(pom, scenes, strict=True)
]
for step, labels in (("initial label", initial), ("+ POM", pom), ("+ NSRM", nsrm)):
    own = label_report(
        labels,
        [scene.mask for scene in scenes],
        num_classes=len(CLASS_NAMES) + 1,
        saliency=[scene.saliency for scene in scenes],
    )
    assert own.by_region.non_salient is not None
    print(
        f"{step:<14} non-salient missed {own.by_region.non_salient.missed:6.1%}, near outlines "
        f"{own.by_region.boundary.missed:6.1%}, small objects {float(own.by_size.missed[1]):6.1%}"
    )
