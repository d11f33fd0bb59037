"""
What the first network is sure of
=================================

The second round's label from probabilities: objects from a low one on, background from a high one
on, ignored in between. Here the "network" is the truth, blurred, with too much background, as one
that was taught missed objects as background has it.
"""

import matplotlib.pyplot as plt
import torch
from procedural_scene import CLASS_NAMES, make_scene
from torch.nn import functional

from wsss_nonsalient import (
    SegmentationScore,
    confident_labels,
    initial_labels,
    nsrm_mask,
    pixel_adaptive_refinement,
    pom_refine,
)
from wsss_nonsalient.plot import show_steps

scene = make_scene(0)
present = scene.image_labels
labels = pom_refine(initial_labels(scene.oa_cam, scene.saliency, present), scene.cam, present)

# %%
# A prediction: the truth at an eighth of the size, and what is not salient is half background.

truth = scene.mask.clamp(max=len(CLASS_NAMES))  # 255 does not occur in these scenes
logits = functional.one_hot(truth.long(), len(CLASS_NAMES) + 1).permute(2, 0, 1).float() * 6
logits[1:] *= 0.3 + 0.7 * scene.saliency
logits[0] += 1
small = functional.avg_pool2d(logits[None], 8, ceil_mode=True)
logits = functional.interpolate(small, truth.shape, mode="bilinear")[0]

# %%
# Classes that the picture does not have are left out before the softmax.

own = torch.cat((torch.tensor([True]), present.bool()))
probabilities = logits.masked_fill(~own[:, None, None], -torch.inf).softmax(dim=0)
refined = pixel_adaptive_refinement(probabilities, scene.image, own)

steps = {
    "POM": labels,
    "prediction": probabilities.argmax(dim=0).to(torch.uint8),
    "NSRM": nsrm_mask(probabilities.argmax(dim=0).to(torch.uint8), labels, present),
    "confident": confident_labels(
        probabilities, present, pseudo_labels=labels, background_threshold=0.9
    ),
    "refined, confident": confident_labels(refined, present, pseudo_labels=labels),
    "truth": scene.mask,
}
figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
show_steps(steps, scene.image, axes=axes.flat)
for title, own_labels in steps.items():
    score = SegmentationScore(len(CLASS_NAMES) + 1)
    score.update(own_labels, scene.mask)
    result = score.compute()
    print(
        f"{title:20s} missed {result.missed:.1%}, false objects {result.false_objects:.1%}, "
        f"confused {result.confused:.1%}, ignored {result.ignored:.1%}"
    )
