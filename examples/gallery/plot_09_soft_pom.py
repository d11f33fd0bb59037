"""
Soft POM, and POM without rivals
================================

POM ignores a background pixel as soon as a map exceeds its class's threshold. Its soft variant lets
the pixel's weight in the loss fall with how far it does; and a rival threshold keeps a class from
mining where another class of the picture is strong.
"""

import matplotlib.pyplot as plt
import torch
from procedural_scene import make_scene

from wsss_nonsalient import initial_labels, pom_refine, pom_weights
from wsss_nonsalient.plot import show_labels

scene = make_scene(0)
present = scene.image_labels
initial = initial_labels(scene.oa_cam, scene.saliency, present)

# %%
# The weight of a pixel by how far the map of a class exceeds its threshold. A width of 0 is POM.

widths = (0.0, 0.1, 0.3)
excess = torch.linspace(-0.1, 0.5, 601)
cam = torch.cat([torch.tensor([0.5]), (0.5 + excess)])[None, None]  # a threshold of 0.5
labels = torch.zeros(1, 602, dtype=torch.uint8)
labels[0, 0] = 1
figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
for width in widths:
    weights = pom_weights(cam, labels, torch.tensor([1]), softness=width)
    axes.plot(excess, weights[0, 1:], label=f"softness={width:g}")
axes.set(xlabel="CAM - threshold of a background pixel", ylabel="weight")
axes.legend(frameon=False)

# %%
# The same on a picture: white weighs 1, black 0. The initial label ignores the outline of the large
# object and the middle of the small ones.

figure, axes = plt.subplots(1, 4, figsize=(13, 2.8), layout="constrained")
show_labels(initial, scene.image, axes=axes[0]).set_title("initial label")
for panel, width in zip(axes[1:], widths, strict=True):
    weights = pom_weights(scene.cam, initial, present, softness=width)
    panel.imshow(weights, cmap="gray", vmin=0, vmax=1)
    panel.set(xticks=[], yticks=[], title=f"softness={width:g}, mean {weights.mean():.2f}")

# %%
# ``rival_threshold``: here the map of one class covers another one's object, at the lower right,
# too. Where both are above the threshold, neither mines, and the pixels stay background. That is
# right for background that two maps claim, and wrong on an object, as here: try it on your maps.

first, second = present.nonzero().flatten().tolist()[:2]
cam = scene.cam.clone()
cam[second] = torch.maximum(cam[second], 0.8 * cam[first])
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for panel, threshold in zip(axes, (None, 0.7, 0.3), strict=True):
    refined = pom_refine(initial, cam, present, rival_threshold=threshold)
    share = 100 * float((refined == 255).float().mean())
    show_labels(refined, scene.image, axes=panel)
    panel.set_title(f"rival_threshold={threshold}: {share:.0f} % ignored")
