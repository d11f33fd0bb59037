"""CAMs of all labelled classes of a batch against torch-cam and pytorch-grad-cam."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional
from torchcam.methods import CAM
from torchvision.models import resnet18

from benchmarks.measure import Case, Contenders
from wsss_nonsalient import CAMHead, CAMOutput, multi_scale_cam, normalize_cam, resize_cam


class Classifier(nn.Module):
    """ResNet-18 with average pooling and a linear layer: what the peers are made for."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        network = resnet18(weights=None)
        self.trunk = nn.Sequential(*list(network.children())[:-2])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        pooled = self.pool(self.trunk(images)).flatten(1)  # the trunk ends in a ReLU
        logits: Tensor = self.fc(pooled)
        return logits


def cases(quick: bool) -> Iterator[Case]:
    """Two classes an image, the mean of VOC being 1.5."""
    for images in (2,) if quick else (1, 8):
        yield from case(images, present=2)
    for classes in (20,) if quick else (20, 80, 1000):
        yield multi_scale_case(classes, present=2)


def case(images: int, present: int, classes: int = 20, side: int = 224) -> Iterator[Case]:
    """The same trunk and classifier in all three; maps at the images' size, in [0, 1]."""
    torch.manual_seed(0)
    model = Classifier(classes).eval()
    head = CAMHead(512, classes, hidden_channels=None, num_nodes=None).eval()
    with torch.no_grad():
        head.classifier.weight.copy_(model.fc.weight[..., None, None])
        head.classifier.bias.zero_()  # type: ignore[union-attr]
    x = torch.randn(images, 3, side, side)
    pairs = [(i, (i * 3 + k * 7) % classes) for i in range(images) for k in range(present)]
    size = (side, side)

    rows, columns = (torch.tensor(numbers) for numbers in zip(*pairs, strict=True))

    def from_features(features: Tensor) -> Tensor:
        with torch.no_grad():
            labelled = head(features).cams[rows, columns]
            return resize_cam(normalize_cam(labelled), size)

    def ours() -> Tensor:
        with torch.no_grad():
            features = model.trunk(x)
        return from_features(features)

    extractor = CAM(model, model.trunk, "fc")
    extractor.disable_hooks()

    def torch_cam_maps(scores: Tensor) -> list[Tensor]:
        chosen = [[pairs[i * present + k][1] for i in range(images)] for k in range(present)]
        return [resize_cam(extractor(classes_of_k, scores)[0], size) for classes_of_k in chosen]

    def torch_cam() -> list[Tensor]:
        extractor.enable_hooks()
        with torch.no_grad():
            maps = torch_cam_maps(model(x))
        extractor.disable_hooks()
        return maps

    grad_cam_extractor = GradCAM(model, [model.trunk])

    def grad_cam() -> list[Tensor]:
        return [
            torch.from_numpy(
                grad_cam_extractor(
                    x, [ClassifierOutputTarget(pairs[i * present + k][1]) for i in range(images)]
                )
            )
            for k in range(present)
        ]

    def check() -> None:
        with torch.no_grad():
            raw = head(model.trunk(x)).cams
        for name, found, maps in (
            ("torch-cam", torch_cam(), raw),  # from the smallest to the largest value
            ("grad-cam", grad_cam(), functional.relu(raw)),
        ):
            expected = functional.interpolate(maps, size, mode="bilinear")
            for n, (i, c) in enumerate(pairs):
                theirs, mine = found[n % present][i], expected[i, c]
                error = (_spread(theirs) - _spread(mine)).abs().max()
                assert error < 1e-3, f"{name}: image {i}, class {c} differs by {float(error):.4f}"

    runs: Contenders = {"ours": ours, "torch-cam": torch_cam, "grad-cam": grad_cam}
    targets = {"torch-cam": 3.0, "grad-cam": 3.0}
    name = f"{images} images, {present} classes each"
    yield Case(name, runs, check, 2, targets=targets)

    # the forward pass takes nearly all of that time in both, so what comes after it by itself
    with torch.no_grad():
        features = model.trunk(x)
        extractor.enable_hooks()
        scores = model(x)
    runs = {
        "ours": lambda: from_features(features),
        "torch-cam": lambda: torch_cam_maps(scores),
    }
    yield Case(f"{name}, after the forward pass", runs, threads=2, targets={"torch-cam": 3.0})


def multi_scale_case(classes: int, present: int) -> Case:
    """Four scales and their mirror images of one picture, against a plain loop over them."""
    torch.manual_seed(0)
    trunk = Classifier(classes).trunk.eval()
    head = CAMHead(512, classes, hidden_channels=None, num_nodes=None).eval()
    images = torch.randn(1, 3, 224, 224)
    image_labels = torch.arange(classes)[None] < present

    def model(images: Tensor) -> CAMOutput:
        output: CAMOutput = head(trunk(images))
        return output

    def ours() -> Tensor:
        return multi_scale_cam(model, images, image_labels=image_labels)

    @torch.no_grad()
    def plain_loop() -> Tensor:
        total = torch.zeros(1, classes, 224, 224)
        for scale in (0.5, 1.0, 1.5, 2.0):
            version = functional.interpolate(images, scale_factor=scale, mode="bilinear")
            for mirrored in (False, True):
                cams = model(version.flip(-1) if mirrored else version).cams
                full = functional.interpolate(cams, (224, 224), mode="bilinear").relu()
                total += full.flip(-1) if mirrored else full
        total /= total.amax(dim=(2, 3), keepdim=True) + 1e-5
        return total * image_labels[..., None, None]

    def check() -> None:  # where the maps change sign, relu and resizing do not commute
        error = (ours() - plain_loop()).abs().mean()
        assert error < 0.02, f"multi_scale_cam: differs by {float(error):.4f} on average"

    runs: Contenders = {"ours": ours, "plain loop": plain_loop}
    return Case(f"multi_scale_cam, {present} of {classes} classes", runs, check, 2)


def _spread(one_map: Tensor) -> Tensor:
    """From 0 to 1, whatever the scale and the offset were."""
    height = one_map.max() - one_map.min()
    return (one_map - one_map.min()) / height.clamp(min=1e-12)  # zero where there is nothing
