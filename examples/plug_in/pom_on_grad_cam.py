"""POM on the Grad-CAM of an off-the-shelf classifier, which torch-cam makes.

Any explanation that gives one map a class will do. The classifier knows 1,000 classes, the picture
has two of them: only these two maps are ever made, and the labels count within the two.

``python examples/plug_in/pom_on_grad_cam.py`` (``--pretrained`` downloads ImageNet weights)
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchcam.methods import GradCAM

from wsss_nonsalient import initial_labels, normalize_cam, pom_refine, resize_cam

sys.path.append(str(Path(__file__).parents[1]))
from procedural_scene import make_scene


def main(argv: Sequence[str] | None = None) -> None:
    """Label one picture without and with POM."""
    parser = argparse.ArgumentParser(description="POM on Grad-CAM of a torchvision ResNet-18.")
    parser.add_argument("--pretrained", action="store_true", help="ImageNet weights (downloads)")
    args = parser.parse_args(argv)
    torch.manual_seed(1)
    model = torchvision.models.resnet18(weights="DEFAULT" if args.pretrained else None).eval()
    scene = make_scene(0)  # an image (3, H, W) and its saliency map (H, W), both in [0, 1]

    # The image-level labels: in your data they are given. Here, what the classifier sees most of.
    with torch.no_grad():
        classes = model(scene.image[None])[0].topk(2).indices.sort().values.tolist()
    cam = grad_cam(model, scene.image, classes)
    present = torch.ones(len(classes))

    initial = initial_labels(cam, scene.saliency, present)
    refined = pom_refine(initial, cam, present)
    print(f"ImageNet classes {classes}, labels 1 to {len(classes)}; shares of the picture:")
    for name, labels in (("initial label", initial), ("after POM", refined)):
        shares = [f"{value} {share:6.1%}" for value, share in shares_of(labels).items()]
        print(f"  {name:<14}" + "  ".join(shares))


def grad_cam(model: nn.Module, image: Tensor, classes: Sequence[int]) -> Tensor:
    """(K, H, W) maps in [0, 1] of the given classes, as large as the image."""
    with GradCAM(model, target_layer="layer4") as extractor:
        logits = model(image[None])
        raw = [extractor(c, logits, normalized=False, retain_graph=True)[0] for c in classes]
    return resize_cam(normalize_cam(torch.cat(raw)), image.shape[-2:])


def shares_of(labels: Tensor) -> dict[str, float]:
    """Share of each label in the picture; 255 is ignored."""
    values, counts = labels.unique(return_counts=True)
    return dict(zip(map(str, values.tolist()), (counts / labels.numel()).tolist(), strict=True))


if __name__ == "__main__":
    main()
