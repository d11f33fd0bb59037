"""
POM's thresholds on the histogram of a map
==========================================

POM has a threshold for each class of the picture. Where the initial label has pixels of the class,
it is the median of the CAM over them; where it has none, the upper quartile of all values above
0.3.
"""

import matplotlib.pyplot as plt
from procedural_scene import CLASS_NAMES, make_scene

from wsss_nonsalient import initial_labels, pom_refine, pom_thresholds
from wsss_nonsalient.plot import show_cam, show_labels

scene = make_scene(0)
initial = initial_labels(scene.oa_cam, scene.saliency, scene.image_labels)
thresholds = pom_thresholds(scene.cam, initial, scene.image_labels)
refined = pom_refine(initial, scene.cam, scene.image_labels)
classes = scene.image_labels.nonzero().flatten().tolist()
for c in classes:
    pixels = int((initial == c + 1).sum())
    print(f"{CLASS_NAMES[c]:<8} {pixels:>6} label pixels, threshold {thresholds[c]:.3f}")

# %%
# One row a class: its CAM with the region above the threshold outlined, and the histogram of the
# map's values where the initial label is the class, background, or anything else.

figure, axes = plt.subplots(
    len(classes), 2, figsize=(9, 2.6 * len(classes)), layout="constrained", width_ratios=(1, 1.7)
)
for (left, right), c in zip(axes, classes, strict=True):
    cam, threshold = scene.cam[c], float(thresholds[c])
    show_cam(cam, scene.image, axes=left)
    left.contour(cam, levels=[threshold], colors="cyan", linewidths=1.5)
    left.set_ylabel(CLASS_NAMES[c], fontsize=12)
    groups = {
        "label: this class": cam[initial == c + 1],
        "label: background": cam[initial == 0],
        "label: other or ignored": cam[(initial != 0) & (initial != c + 1)],
    }
    colours = ("#c00000", "#4c72b0", "#b0b0b0")
    values = [group[group > 0.02].numpy() for group in groups.values()]
    right.hist(values, bins=49, range=(0.02, 1), stacked=True, color=colours, label=list(groups))
    right.axvline(threshold, color="black", linewidth=1.5)
    kind = "median of the label's pixels" if bool((initial == c + 1).any()) else "upper quartile"
    right.set(yscale="log", xlim=(0, 1), ylabel="pixels")
    right.set_title(f"{kind}: {threshold:.2f}", fontsize=10)
axes[-1, 1].set_xlabel("CAM value")
handles, names = axes[0, 1].get_legend_handles_labels()
legend = figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)

# %%
# Blue to the right of the line is what POM ignores: background that the CAM believes to be object.

figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for panel, (name, labels) in zip(
    axes, {"truth": scene.mask, "initial label": initial, "+ POM": refined}.items(), strict=True
):
    show_labels(labels, scene.image, axes=panel).set_title(name)
