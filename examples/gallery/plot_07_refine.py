"""
Sharper boundaries
==================

Maps that follow the colours of the picture, and unsure pixels that take the label which a random
walk reaches first.
"""

import matplotlib.pyplot as plt
import torch
from procedural_scene import CLASS_NAMES, make_scene

from wsss_nonsalient import SegmentationScore, pixel_adaptive_refinement, random_walk_fill
from wsss_nonsalient.plot import show_cam, show_steps

scene = make_scene(0)
present = scene.image_labels
refined = pixel_adaptive_refinement(scene.oa_cam, scene.image, present)

# %%
# Maps from accumulation reach past the outlines of objects; refined, they end there, also that of a
# faint object, whose colours hardly differ from the ground's.

figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
salient = int(scene.mask[150, 200]) - 1
faint = int(scene.mask[:100, :100].max()) - 1
for row, c in zip(axes, (salient, faint), strict=True):
    for panel, title, cam in zip(row, ("OA-CAM", "refined"), (scene.oa_cam, refined), strict=True):
        show_cam(cam[c], scene.image, axes=panel)
        panel.set_title(f"{title}: {CLASS_NAMES[c]}")

# %%
# Labels from maps alone: what is high is an object, what is low is background, and the rest is
# ignored until random walks fill it. With a high ``min_probability`` they fill only what is close
# to one label, with ``edge_threshold`` they do not cross the outline of the large object.

strongest, winner = (scene.oa_cam * present[:, None, None]).max(dim=0)
sure = torch.where(strongest > 0.6, winner + 1, 255)
sure = sure.masked_fill(strongest < 0.25, 0)
steps = {
    "sure pixels": sure,
    "filled": random_walk_fill(sure, scene.image),
    "filled, min_probability=0.9": random_walk_fill(sure, scene.image, min_probability=0.9),
    "filled, edge_threshold=0.2": random_walk_fill(sure, scene.image, edge_threshold=0.2),
    "truth": scene.mask,
}
figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
axes.flat[-1].axis("off")
shown = show_steps(steps, scene.image, axes=axes.flat[:5])
for title, labels in steps.items():
    score = SegmentationScore(len(CLASS_NAMES) + 1)
    score.update(labels, scene.mask)
    result = score.compute()
    print(
        f"{title:28s} strict mIoU {result.mean_iou_strict:.3f}, missed {result.missed:.1%}, "
        f"false objects {result.false_objects:.1%}, ignored {result.ignored:.1%}"
    )
