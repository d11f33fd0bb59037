"""
What the nodes of GloRe attend to
=================================

The global reasoning unit collects the features of a picture in a few nodes. Row m of its projection
says how much each position belongs to node m. A small classifier with eight nodes is trained on
image-level labels; the nodes were told nothing about regions.
"""

from typing import Any

import torch
from small_network import SmallNetwork, load_scenes

from wsss_nonsalient import multilabel_soft_margin_loss

torch.manual_seed(0)
scenes, images, present = load_scenes(32)
network = SmallNetwork(num_nodes=8)
optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
for _ in range(15):
    for batch in torch.randperm(len(images)).split(8):
        loss = multilabel_soft_margin_loss(network(images[batch]).logits, present[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(f"loss of the last batch: {loss.item():.3f}")

# %%
# The projection is the 1x1 convolution ``conv_proj``. A node may weigh positions negatively as well
# as positively, so each map is shown around its own mean: red above, blue below.

import matplotlib.pyplot as plt

from wsss_nonsalient.plot import show_steps

network.eval()
unit: Any = network.head.reasoning
with torch.no_grad():
    nodes = unit.conv_proj(network.trunk(images[:1]))[0]

figure, axes = plt.subplots(3, 3, figsize=(9, 7), layout="constrained")
shown = show_steps({"picture": scenes[0].image}, axes=axes.flat[:1])
for m, (panel, node) in enumerate(zip(axes.flat[1:], nodes, strict=True)):
    centred = node - node.mean()
    limit = float(centred.abs().max())
    panel.imshow(centred, cmap="RdBu_r", vmin=-limit, vmax=limit)
    panel.set(title=f"node {m}", xticks=[], yticks=[])

# %%
# What a node's state is after the exchange comes back to the positions with the same weights. How
# much the unit adds to the features, and how little of that depends on the position, is measured on
# photos in :doc:`/results`.
