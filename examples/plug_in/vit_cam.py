"""CAMs, labels and POM from a vision transformer of timm.

The tokens of the patches, laid out as a map, are features like any other: the head of the paper
takes them. Its global reasoning unit reads a set of positions, so the order of tokens is nothing to
it; with ``dims=1`` it takes tokens as they come.

``python examples/plug_in/vit_cam.py`` (``--pretrained`` downloads ImageNet weights)
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from wsss_nonsalient import (
    CAMHead,
    CAMOutput,
    initial_labels,
    multi_scale_cam,
    multilabel_soft_margin_loss,
    normalize_cam,
    pom_refine,
    resize_cam,
)

sys.path.append(str(Path(__file__).parents[1]))
from procedural_scene import CLASS_NAMES, make_scene

KINDS = (("background", 0), ("ignored", 255))


class TransformerClassifier(nn.Module):
    """A transformer of timm, whose patch tokens go into a CAM head."""

    def __init__(self, name: str, num_classes: int, *, pretrained: bool) -> None:
        super().__init__()
        options: dict[str, Any] = {"num_classes": 0, "dynamic_img_size": True}
        trunk: Any = timm.create_model(name, pretrained=pretrained, **options)
        self.trunk = trunk
        self.patch_size: int = trunk.patch_embed.patch_size[0]
        self.head = CAMHead(trunk.num_features, num_classes, hidden_channels=None)

    def forward(self, images: Tensor) -> CAMOutput:
        """Logits (N, C) and class maps (N, C, h, w) of pictures (N, 3, H, W) around 0."""
        height, width = (side // self.patch_size for side in images.shape[-2:])
        whole = images[..., : height * self.patch_size, : width * self.patch_size]
        tokens = self.trunk.forward_features(whole)  # (N, prefix + h * w, D)
        patches = tokens[:, self.trunk.num_prefix_tokens :]  # without class and register tokens
        output: CAMOutput = self.head(patches.mT.unflatten(2, (height, width)))
        return output


def main(argv: Sequence[str] | None = None) -> None:
    """Train a little on image-level labels, then label a picture."""
    parser = argparse.ArgumentParser(description="CAMs from a transformer.")
    parser.add_argument("--model", default="vit_tiny_patch16_224", help="a ViT or DeiT of timm")
    parser.add_argument("--pretrained", action="store_true", help="ImageNet weights (downloads)")
    parser.add_argument("--steps", type=int, default=8, help="training steps")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    model = TransformerClassifier(args.model, len(CLASS_NAMES), pretrained=args.pretrained)
    scenes = [make_scene(seed) for seed in range(4)]
    images = torch.stack([scene.image for scene in scenes])[..., ::2, ::2] - 0.5
    present = torch.stack([scene.image_labels for scene in scenes]).float()

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(args.steps):
        loss = multilabel_soft_margin_loss(model(images).logits, present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.3f}")

    model.eval()
    cam = multi_scale_cam(model, images[:1], scales=(0.75, 1.0))[0]
    cam = normalize_cam(cam, mode="minmax")  # after so few steps the maps are nearly constant
    cam = resize_cam(cam, scenes[0].mask.shape)  # (C, H, W) in [0, 1]
    labels = initial_labels(cam, scenes[0].saliency, scenes[0].image_labels)
    refined = pom_refine(labels, cam, scenes[0].image_labels)
    print(f"map of {tuple(model(images[:1]).cams.shape[2:])} patches, CAM {tuple(cam.shape)}")
    for name, own in (("initial label", labels), ("after POM", refined)):
        shares = [f"{kind} {(own == value).float().mean().item():6.1%}" for kind, value in KINDS]
        print(f"  {name:<14}" + ", ".join(shares))


if __name__ == "__main__":
    main()
