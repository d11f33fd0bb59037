"""
CAMs from a transformer
=======================

The tokens of a transformer's patches, laid out as a map, go into the same head as the features of
any trunk. A small transformer is trained from scratch on image-level labels for some seconds: that
is enough for some of its maps to find their objects, and no more.
"""

import torch
from procedural_scene import CLASS_NAMES
from small_network import SIZE, load_scenes
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from wsss_nonsalient import CAMHead, CAMOutput, multilabel_soft_margin_loss, normalize_cam

PATCH = 8


class Classifier(nn.Module):
    """Patch tokens without the class token, as a map, and the head."""

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        self.trunk = VisionTransformer(
            SIZE, PATCH, embed_dim=channels, depth=3, num_heads=3, num_classes=0
        )
        self.head = CAMHead(channels, len(CLASS_NAMES), hidden_channels=None, num_nodes=8)

    def forward(self, images: torch.Tensor) -> CAMOutput:
        """Logits and class maps, (N, C, 12, 16)."""
        patches = self.trunk.forward_features(images)[:, self.trunk.num_prefix_tokens :]
        output: CAMOutput = self.head(patches.mT.unflatten(2, (SIZE[0] // PATCH, SIZE[1] // PATCH)))
        return output


torch.manual_seed(0)
scenes, images, present = load_scenes(48)
classifier = Classifier()
optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3)
for epoch in range(30):
    for batch in torch.randperm(len(images)).split(12):
        loss = multilabel_soft_margin_loss(classifier(images[batch]).logits, present[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

# %%
# The maps of the classes of a picture, each pixel a patch. Low values count as well: what a class
# is told from shows as dark spots in the maps of the others.

import matplotlib.pyplot as plt

from wsss_nonsalient.plot import show_steps

classifier.eval()
with torch.no_grad():
    cam = normalize_cam(classifier(images[:1]).cams[0], mode="minmax")
maps = {name: cam[c] for c, name in enumerate(CLASS_NAMES) if present[0, c]}
steps = {"picture": images[0] + 0.5, **maps}
figure, axes = plt.subplots(1, len(steps), figsize=(2.6 * len(steps), 2.4), layout="constrained")
shown = show_steps(steps, axes=axes.flat)

# %%
# ImageNet weights are what makes such maps useful: ``examples/plug_in/vit_cam.py --pretrained``.
