"""
Ten lines
=========

The example of the start page, and its picture: a large object that saliency sees, a small one that
it does not.
"""

import torch

from wsss_nonsalient import initial_labels, nsrm_mask, pom_refine

y, x = torch.meshgrid(torch.arange(120.0), torch.arange(160.0), indexing="ij")
large = torch.exp(-((y - 70) ** 2 + (x - 60) ** 2) / 1000)  # CAM of class 0
small = 0.75 * torch.exp(-((y - 30) ** 2 + (x - 130) ** 2) / 600)  # CAM of class 1
cam, present = torch.stack([large, small]), torch.tensor([1, 1])
saliency = (large > 0.2).float()
initial = initial_labels(cam, saliency, present)  # 0 background, 1, 2 objects, 255 ignored
labels = pom_refine(initial, cam, present)  # what to train a segmentation network on
prediction = (large > 0.3) + 2 * (small > 0.3)  # stands in for what that network predicts
second = nsrm_mask(prediction, labels, present)  # what to train the second network on

# %%
# :func:`wsss_nonsalient.plot.show_steps` draws label maps in the colours of PASCAL VOC, with
# ignored pixels hatched.

import matplotlib.pyplot as plt

from wsss_nonsalient.plot import show_steps

figure, axes = plt.subplots(1, 5, figsize=(12, 2.3), layout="constrained")
steps = {
    "CAM of both classes": cam.amax(0),
    "saliency": saliency,
    "initial label": initial,
    "+ POM": labels,
    "+ NSRM": second,
}
shown = show_steps(steps, axes=axes)
