"""
CAM, accumulated map and OA-CAM over epochs
===========================================

The class activation map of a picture changes from epoch to epoch while a classifier is trained. The
accumulated map keeps the maximum; the integral attention model learns to give such maps at once.
"""

import copy

import torch
from small_network import SmallNetwork, load_scenes

from wsss_nonsalient import (
    OACAMAccumulator,
    integral_attention_loss,
    multilabel_soft_margin_loss,
    normalize_cam,
    resize_cam,
)

WARM_UP, EPOCHS, SHOWN = 6, 12, (1, 3, 5, 7, 11)
torch.manual_seed(1)
scenes, images, present = load_scenes(32)
keys = [f"scene_{i}" for i in range(len(scenes))]
height, width = scenes[0].mask.shape
shown = int(scenes[0].mask[height // 2, width // 2]) - 1  # class of the large object


def map_of(network: SmallNetwork) -> torch.Tensor:
    """The normalised map of one class of the first picture, (1, 24, 32)."""
    network.eval()
    with torch.no_grad():
        cams = network(images[:1]).cams
    network.train()
    return normalize_cam(cams)[0, shown : shown + 1]


# %%
# The classifier. A trunk is usually pretrained; here a few epochs without accumulation stand in for
# that. From the second epoch on, each batch's maps go into the accumulator; in the last
# epoch a class that has no map yet gets one, however unlikely the classifier finds it.

classifier = SmallNetwork()
optimizer = torch.optim.AdamW(classifier.parameters(), lr=5e-3)
accumulator = OACAMAccumulator(present.shape[1])
cam_at, accumulated_at = {}, {}
for epoch in range(-WARM_UP, EPOCHS):
    for batch in torch.randperm(len(images)).split(8):
        logits, cams = classifier(images[batch])
        loss = multilabel_soft_margin_loss(logits, present[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch > 0:
            accumulator.update(
                [keys[i] for i in batch.tolist()],
                cams.detach(),
                present[batch],
                logits.detach(),
                force_missing=epoch == EPOCHS - 1,
            )
    if epoch in SHOWN:
        cam_at[epoch] = map_of(classifier)
        accumulated_at[epoch] = accumulator.compute(keys[:1])[0, shown : shown + 1]
print(accumulator)

# %%
# The integral attention model: the same network, trained on the accumulated maps.

targets = accumulator.compute(keys)
integral = copy.deepcopy(classifier)
optimizer = torch.optim.AdamW(integral.parameters(), lr=5e-3)
oa_cam_at = {}
for epoch in range(EPOCHS):
    for batch in torch.randperm(len(images)).split(8):
        loss = integral_attention_loss(integral(images[batch]).cams, targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch in SHOWN:
        oa_cam_at[epoch] = map_of(integral)

# %%
# One row a kind of map. The accumulated map can only grow: what any epoch took for the object stays
# in it, wrong spots too (one of the small objects here). That is why accumulated maps have high
# recall and are imprecise, and why POM takes the CAM instead. On these simple pictures the CAM
# covers the object from the start; on photos it does not, see :doc:`/results`.

import matplotlib.pyplot as plt

from wsss_nonsalient.plot import show_cam

scene = scenes[0]
figure, axes = plt.subplots(3, len(SHOWN), figsize=(11, 5.4), layout="constrained")
rows = {"CAM": cam_at, "accumulated": accumulated_at, "OA-CAM": oa_cam_at}
for row, (name, maps) in zip(axes, rows.items(), strict=True):
    for panel, epoch in zip(row, SHOWN, strict=True):
        show_cam(resize_cam(maps[epoch], scene.mask.shape)[0], scene.image, axes=panel)
        panel.contour(scene.mask == shown + 1, levels=[0.5], colors="white", linewidths=1)
    row[0].set_ylabel(name, fontsize=12)
for panel, epoch in zip(axes[0], SHOWN, strict=True):
    panel.set_title(f"epoch {epoch + 1}")
