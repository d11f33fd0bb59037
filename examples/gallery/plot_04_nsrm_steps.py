"""
NSRM step by step
=================

The prediction of the first network is merged with the pseudo label; what is far from any object is
ignored.
"""

import matplotlib.pyplot as plt
import torch
from procedural_scene import CLASS_NAMES, make_scene

from wsss_nonsalient import dilate, initial_labels, nsrm_mask, pom_refine
from wsss_nonsalient.plot import show_steps

scene = make_scene(0)
present = scene.image_labels
pseudo = pom_refine(initial_labels(scene.oa_cam, scene.saliency, present), scene.cam, present)
result = nsrm_mask(scene.prediction, pseudo, present)

# %%
# The steps inside, written out. Objects of the pseudo label fill in where the prediction is
# background; ignored pixels of the pseudo label do not.

merged = torch.where((scene.prediction == 0) & (pseudo != 255), pseudo, scene.prediction)
near = dilate(merged != 0, 30)
assert torch.equal(result, merged.masked_fill(~near, 255))

figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
steps = {
    "pseudo label (POM)": pseudo,
    "prediction (stand-in)": scene.prediction,
    "merged": merged,
    "an object, and 15 pixels around": near.float(),
    "far from any object: ignored": result,
    "truth": scene.mask,
}
shown = show_steps(steps, scene.image, axes=axes.flat)

# %%
# With saliency, as the released implementation has it, the mask is joined with every pixel whose
# saliency is not 0. A saliency map has soft edges and is hardly ever exactly 0, so less is ignored.

released = nsrm_mask(scene.prediction, pseudo, present, saliency=scene.saliency)
print(
    f"ignored: {(result == 255).float().mean():.1%}, with saliency "
    f"{(released == 255).float().mean():.1%}"
)
print("classes:", ", ".join(CLASS_NAMES[c] for c in present.nonzero().flatten()))
