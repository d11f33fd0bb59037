"""Trunks: networks of torchvision and timm without their last layers, at an output stride."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import ResNet101_Weights, VGG16_Weights, resnet101
from torchvision.models.vgg import cfgs, make_layers

from .patch_tokens import FAMILIES, PatchTokens
from .weights import load_named, read_weights, released_names

RELEASED_RESNET = "released_resnet101"
RANDOM, IMAGENET = "random", "imagenet"  # as weights, beside the path of a file

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RELEASED_MEAN = (104.008, 116.669, 122.675)  # blue, green, red, in 0..255

_VGG_HEAD = {f"classifier.{i}.{kind}" for i in (0, 3, 6) for kind in ("weight", "bias")}
_RESNET_HEAD = {"fc.weight", "fc.bias"}
_ASPP = [f"base.aspp.c{i}.{kind}" for i in range(4) for kind in ("weight", "bias")]
_RELEASED_PARTS = {
    "conv1": "reduce.conv",
    "bn1": "reduce.bn",
    "conv2": "conv3x3.conv",
    "bn2": "conv3x3.bn",
    "conv3": "increase.conv",
    "bn3": "increase.bn",
    "downsample.0": "shortcut.conv",
    "downsample.1": "shortcut.bn",
}


class Trunk(nn.Module):
    """Features of RGB pictures in [0, 1], which it normalises as its weights expect.

    Args:
        body: Takes normalised pictures; returns features, or a list that ends with them.
        out_channels: Channels of the features.
        mean: Mean of each channel, in the order of the body's input.
        std: Standard deviation of each channel.
        bgr: The body takes blue, green, red.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        out_channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.out_channels = out_channels
        self.bgr = bgr
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self._batch_norm_frozen = False

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, out_channels, h, w) of pictures, float (N, 3, H, W) in [0, 1]."""
        if not images.is_floating_point():
            raise TypeError(f"images: expected floats in [0, 1], got {images.dtype}")
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected (N, 3, H, W), got {tuple(images.shape)}")
        ordered = images.flip(1) if self.bgr else images
        features = self.body((ordered - self.mean) / self.std)
        last: Tensor = features[-1] if isinstance(features, (list, tuple)) else features
        return last

    def freeze_batch_norm(self) -> None:
        """Train without the batch norms, as DeepLab-v2 does: what they hold stays as it is.

        They keep normalising by their running statistics in training too, and their weights and
        biases get no gradient.
        """
        self._batch_norm_frozen = True
        for norm in self._batch_norms():
            norm.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Trunk:
        """Training or evaluation mode; frozen batch norms stay in the latter."""
        super().train(mode)
        if self._batch_norm_frozen:
            for norm in self._batch_norms():
                norm.eval()
        return self

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]


def build_trunk(name: str, *, output_stride: int, weights: str) -> Trunk:
    """A trunk with its initial weights.

    Args:
        name: `vgg16` (torchvision's; pool4 with stride 1, conv5 dilated by 2, no pool5),
            `resnet101` (torchvision's, with the strides and dilations of DeepLab-v2),
            `released_resnet101` (of the released implementation), a timm model that takes an
            output stride, or a transformer of timm (ViT, DeiT, EVA), whose patch tokens are the
            features.
        output_stride: Pixels of the picture for each feature; 8 for the first three, the size of
            the patches for a transformer.
        weights: `random` (from torch's global seed), `imagenet` (downloaded by torchvision or
            timm), or a file with the library's names (or the released ones). The parameters of the
            model's own head may be left over there.

    Raises:
        OSError: The weights are not there or cannot be downloaded.
        ValueError: There is no such model, it has no such output stride, or the weights do not fit.
    """
    own = {"vgg16": _vgg16, "resnet101": _resnet101, RELEASED_RESNET: _released_resnet101}
    if name not in own:
        return _timm(name, output_stride, weights)
    if output_stride != 8:
        raise ValueError(f"output_stride: expected 8 for {name}, got {output_stride}")
    return own[name](weights)


def _vgg16(weights: str) -> Trunk:
    layers: Any = make_layers(cfgs["D"], batch_norm=False)[:-1]  # without pool5
    layers[23] = nn.MaxPool2d(3, stride=1, padding=1)
    for i in (24, 26, 28):
        layers[i].dilation = layers[i].padding = (2, 2)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):  # as torchvision's VGG begins
            weight, bias = layer.parameters()
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(bias)
    body = nn.Sequential(OrderedDict(features=layers))
    _load_torchvision(body, weights, VGG16_Weights.IMAGENET1K_V1, _VGG_HEAD)
    return Trunk(body, 512, _IMAGENET_MEAN, _IMAGENET_STD)


def _resnet101(weights: str) -> Trunk:
    body = _deeplab_resnet()
    _load_torchvision(body, weights, ResNet101_Weights.IMAGENET1K_V1, _RESNET_HEAD)
    return Trunk(body, 2048, _IMAGENET_MEAN, _IMAGENET_STD)


def _released_resnet101(weights: str) -> Trunk:
    """Stride on the first 1x1 convolution, not on the 3x3; pooling rounds up; BGR in 0..255."""
    body: Any = _deeplab_resnet()
    body.maxpool.ceil_mode = True
    body.layer2[0].conv1.stride, body.layer2[0].conv2.stride = (2, 2), (1, 1)
    if weights == IMAGENET:
        raise ValueError(f"weights: {RELEASED_RESNET} has none to download, expected a file")
    if weights != RANDOM:
        state = read_weights(Path(weights))
        released = {name: released_resnet_name(name) for name in body.state_dict()}
        given = released_names([*released.values(), *_ASPP], state)
        names = {name: given[released[name]] for name in released}
        aspp = [given[name] for name in _ASPP]
        load_named(body, state, source=weights, names=names, left_over=aspp)
    mean = [value / 255 for value in _RELEASED_MEAN]
    return Trunk(body, 2048, mean, [1 / 255] * 3, bgr=True)


def _deeplab_resnet() -> nn.Sequential:
    """ResNet-101 as torchvision's, whose layers 3 and 4 are dilated by 2 and 4 from the start."""
    model: Any = resnet101(weights=None, replace_stride_with_dilation=[False, True, True])
    for layer, dilation in ((model.layer3, 2), (model.layer4, 4)):
        layer[0].conv2.dilation = layer[0].conv2.padding = (dilation, dilation)
    return nn.Sequential(OrderedDict(list(model.named_children())[:-2]))  # not avgpool, fc


def _load_torchvision(
    body: nn.Module, weights: str, online: VGG16_Weights | ResNet101_Weights, head: set[str]
) -> None:
    if weights == RANDOM:
        return
    if weights == IMAGENET:
        try:
            state = online.get_state_dict(progress=True, check_hash=True)
        except OSError as error:
            raise _offline(error) from error
    else:
        state = read_weights(Path(weights))
    load_named(body, state, source=weights, left_over=head)


def _timm(name: str, output_stride: int, weights: str) -> Trunk:
    if timm.models.is_model_in_modules(name, FAMILIES):
        return _timm_transformer(name, output_stride, weights)
    options = {"features_only": True, "out_indices": (-1,), "output_stride": output_stride}
    body = _timm_model(name, output_stride, weights, options)
    reduction = body.feature_info.reduction()[-1]
    if reduction != output_stride:
        raise ValueError(f"output_stride: expected {reduction} for {name}, got {output_stride}")
    _load_timm(name, body, weights)
    mean, std = _timm_input(name, body)
    _separate_activations(body)
    return Trunk(body, body.feature_info.channels()[-1], mean, std)


def _timm_transformer(name: str, output_stride: int, weights: str) -> Trunk:
    options = {"num_classes": 0, "dynamic_img_size": True}
    model = _timm_model(name, output_stride, weights, options)
    body = PatchTokens(model)
    if body.patch_size != (output_stride, output_stride):
        raise ValueError(
            f"output_stride: expected {body.patch_size[0]} for {name}, the size of its patches, "
            f"got {output_stride}"
        )
    _load_timm(name, model, weights)
    return Trunk(body, model.num_features, *_timm_input(name, model))


def _timm_model(name: str, output_stride: int, weights: str, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, pretrained=weights == IMAGENET, **options)
    except OSError as error:
        raise _offline(error) from error
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"trunk: timm cannot build {name} at output stride {output_stride} ({error!r})"
        ) from error


def _load_timm(name: str, model: nn.Module, weights: str) -> None:
    """Weights of a file, if that is where they are from."""
    if weights in (RANDOM, IMAGENET):
        return
    with torch.random.fork_rng(devices=[]):
        whole = timm.create_model(name, pretrained=False).state_dict().keys()
    names = {key: _whole_name(key, whole) for key in model.state_dict()}
    load_named(model, read_weights(Path(weights)), source=weights, names=names, left_over=whole)


def _timm_input(name: str, body: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation; timm's own are a little off for the weights of one family."""
    if name.startswith("tf_efficientnet_lite"):
        return [127 / 255] * 3, [128 / 255] * 3
    return body.default_cfg["mean"], body.default_cfg["std"]


def _whole_name(name: str, whole: Iterable[str]) -> str:
    """Name in the whole model of an entry of its `features_only`, which may say `stages_0.`."""
    first, _, rest = name.partition(".")
    places = [i for i, letter in enumerate(first) if letter == "_"]
    candidates = [name, *(f"{first[:i]}.{first[i + 1 :]}.{rest}" for i in places)]
    return next((candidate for candidate in candidates if candidate in whole), name)


def _separate_activations(module: nn.Module) -> None:
    """Take the activations out of timm's batch norms: turning these into SyncBatchNorm loses them.

    `bn1.weight` is called `bn1.norm.weight` afterwards.
    """
    for name, child in list(module.named_children()):
        if not isinstance(child, BatchNormAct2d):
            _separate_activations(child)
            continue
        norm = nn.BatchNorm2d(child.num_features, child.eps, child.momentum, child.affine)
        norm.weight, norm.bias = child.weight, child.bias
        norm.load_state_dict({key: child.state_dict()[key] for key in norm.state_dict()})
        parts = OrderedDict(norm=norm, drop=child.drop, act=child.act)
        module.add_module(name, nn.Sequential(parts))


def _offline(error: OSError) -> OSError:
    return OSError(f"weights: cannot be downloaded ({error}); a file is read without a network")


def released_resnet_name(name: str) -> str:
    """Released name of an entry of the body of `released_resnet101`.

    `layer1.0.conv2.weight` is `base.layer2.block1.conv3x3.conv.weight`, and so on.
    """
    parts = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)\.(\w+)", name)
    if parts is None:
        stem, kind = name.split(".")
        return f"base.layer1.conv1.{stem.removesuffix('1')}.{kind}"
    layer, block = int(parts[1]) + 1, int(parts[2]) + 1
    return f"base.layer{layer}.block{block}.{_RELEASED_PARTS[parts[3]]}.{parts[4]}"
