"""The global reasoning unit in classifiers of other libraries.

The unit starts as the identity, so a trained classifier keeps its outputs to the bit when the unit
is put in, and fine-tuning goes on from there. One step of training then makes it reason.

``python examples/plug_in/glore_in_classifiers.py`` (``--pretrained`` downloads ImageNet weights)
"""

import argparse
from collections.abc import Sequence
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from wsss_nonsalient import GloRe


def main(argv: Sequence[str] | None = None) -> None:
    """Put the unit into two classifiers and compare their outputs."""
    parser = argparse.ArgumentParser(description="GloRe in a ResNet-50 and in a ConvNeXt.")
    parser.add_argument("--pretrained", action="store_true", help="ImageNet weights (downloads)")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    images = torch.rand(2, 3, 96, 96)

    # torchvision: the last stage is a Sequential. What is appended leaves the other names as they
    # are, so checkpoints of the classifier still load (with strict=False).
    resnet = torchvision.models.resnet50(weights="DEFAULT" if args.pretrained else None)
    report("torchvision resnet50", resnet, resnet.layer4, GloRe(2048, num_nodes=64), images)

    # timm: the stages are a Sequential; the unit follows the last one.
    convnext = timm.create_model("convnext_tiny", pretrained=args.pretrained)
    report("timm convnext_tiny", convnext, convnext.stages, GloRe(768, num_nodes=64), images)


def report(name: str, model: nn.Module, stages: Any, unit: GloRe, images: Tensor) -> None:
    """Outputs without the unit, with it at the end of a Sequential, and after a train step."""
    without = logits(model.requires_grad_(False), images)
    stages.append(unit)
    start = logits(model, images)
    train_step(model, unit, images)
    trained = logits(model, images)
    print(f"{name}: + {sum(p.numel() for p in unit.parameters()):,} parameters")
    print(f"  largest change of a logit at the start:       {largest(start - without):.3g}")
    print(f"  largest change of a logit after a train step: {largest(trained - without):.3g}")


@torch.no_grad()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    """The classifier's output in evaluation mode."""
    output: Tensor = model.eval()(images)
    return output


def train_step(model: nn.Module, unit: GloRe, images: Tensor) -> None:
    """One step on the unit alone."""
    optimizer = torch.optim.SGD(unit.parameters(), lr=0.1)
    unit.train()
    nn.functional.cross_entropy(model(images), torch.tensor([0, 1])).backward()
    optimizer.step()


def largest(difference: Tensor) -> float:
    """Largest absolute value."""
    return float(difference.abs().max())


if __name__ == "__main__":
    main()
