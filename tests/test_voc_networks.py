"""examples/voc: trunks, heads and networks, their initial weights and their checkpoints."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("safetensors")

import timm
import torchvision
from pipeline.networks import (
    MultiScaleInput,
    Network,
    build_classifier,
    build_segmentation_head,
    load_network,
    save_network,
)
from pipeline.patch_tokens import PatchTokens
from pipeline.trunks import Trunk, build_trunk
from pipeline.weights import load_named, read_weights
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch.nn.modules.batchnorm import _BatchNorm

from wsss_nonsalient import CAMHead, GlobalReasoningUnit

State = dict[str, Tensor]

LITE0 = Path(__file__).parents[2] / "shared" / "weights" / "tf_efficientnet_lite0.safetensors"
TRUNKS = {  # name: output stride; small ones of timm, with and without activations in batch norms
    "vgg16": 8,
    "resnet101": 8,
    "released_resnet101": 8,
    "resnet10t": 8,
    "mobilenetv3_small_050": 16,
}
CAM_OPTIONS = {"hidden_channels": 8, "hidden_kernel": 3, "num_nodes": 4}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def build(name: str, weights: str = "random", seed: int = 0) -> Trunk:
    torch.manual_seed(seed)
    return build_trunk(name, output_stride=TRUNKS[name], weights=weights)


def scramble(module: nn.Module) -> None:
    """Random statistics and parameters for batch norms, so that each of these matters."""
    torch.manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            nn.init.uniform_(norm.weight, 0.2, 1.2)
            nn.init.normal_(norm.bias, std=0.1)


def assert_same(actual: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * scale)


# --- Trunks against plain functions ---------------------------------------------------------------


def vgg_state() -> State:
    """Torchvision's names; the tensors of its head are not looked at."""
    torch.manual_seed(0)
    sizes = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
    sizes |= dict.fromkeys((17, 19, 21, 24, 26, 28), 512)
    state, channels = {}, 3
    for i, size in sizes.items():
        scale = (2 / 9 / channels) ** 0.5
        state[f"features.{i}.weight"] = torch.randn(size, channels, 3, 3) * scale
        state[f"features.{i}.bias"] = torch.randn(size) * 0.1
        channels = size
    for i in (0, 3, 6):
        state |= {f"classifier.{i}.weight": torch.zeros(1), f"classifier.{i}.bias": torch.zeros(1)}
    return state


def reference_vgg(state: Mapping[str, Tensor], images: Tensor) -> Tensor:
    x = (images - MEAN) / STD
    for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        if i in (5, 10, 17):
            x = functional.max_pool2d(x, 2)
        if i == 24:
            x = functional.max_pool2d(x, 3, stride=1, padding=1)
        weight, bias = state[f"features.{i}.weight"], state[f"features.{i}.bias"]
        dilation = 2 if i >= 24 else 1
        x = functional.conv2d(x, weight, bias, padding=dilation, dilation=dilation).relu()
    return x


def reference_resnet(state: Mapping[str, Tensor], images: Tensor) -> Tensor:
    def conv_norm(conv: str, norm: str, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = state[f"{conv}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        x = functional.conv2d(x, weight, None, stride, padding, dilation)
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, bias = (state[f"{norm}.{name}"] for name in names)
        return functional.batch_norm(x, mean, var, scale, bias)

    x = conv_norm("conv1", "bn1", (images - MEAN) / STD, stride=2).relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    for layer, blocks, stride, dilation in (
        (1, 3, 1, 1),
        (2, 4, 2, 1),
        (3, 23, 1, 2),
        (4, 3, 1, 4),
    ):
        for k in range(blocks):
            block, own = f"layer{layer}.{k}", stride if k == 0 else 1
            y = conv_norm(f"{block}.conv1", f"{block}.bn1", x).relu()
            y = conv_norm(f"{block}.conv2", f"{block}.bn2", y, own, dilation).relu()
            y = conv_norm(f"{block}.conv3", f"{block}.bn3", y)
            if k == 0:
                x = conv_norm(f"{block}.downsample.0", f"{block}.downsample.1", x, own)
            x = (x + y).relu()
    return x


def test_vgg16(tmp_path: Path) -> None:
    state = vgg_state()
    torch.save(state, tmp_path / "vgg16.pth")
    trunk = build("vgg16", str(tmp_path / "vgg16.pth"))
    images = torch.rand(2, 3, 56, 40)
    with torch.no_grad():
        features = trunk(images)
    assert features.shape == (2, trunk.out_channels, 7, 5)
    assert_same(features, reference_vgg(state, images))


def test_resnet101(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet101()
    scramble(model)
    save_file(model.state_dict(), tmp_path / "resnet101.safetensors")
    trunk = build("resnet101", str(tmp_path / "resnet101.safetensors")).eval()
    images = torch.rand(1, 3, 56, 40)
    with torch.no_grad():
        features = trunk(images)
    assert features.shape == (1, trunk.out_channels, 7, 5)
    assert_same(features, reference_resnet(model.state_dict(), images))


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_timm_trunks_are_timm_s(name: str) -> None:
    trunk = build(name).eval()
    torch.manual_seed(0)
    model: Any = timm.create_model(
        name, features_only=True, out_indices=(-1,), output_stride=TRUNKS[name]
    ).eval()
    images = torch.rand(2, 3, 64, 48)
    mean, std = (torch.tensor(model.default_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        features = trunk(images)
        (expected,) = model((images - mean) / std)
    assert features.shape == (2, trunk.out_channels, 64 // TRUNKS[name], 48 // TRUNKS[name])
    torch.testing.assert_close(features, expected)


def tokens_by_hand(model: Any, images: Tensor) -> Tensor:
    """Patch by patch, from the order in which a transformer takes them."""
    tokens = model.forward_features(images)
    size = model.patch_embed.patch_size[0]
    rows, columns = images.shape[2] // size, images.shape[3] // size
    first = tokens.shape[1] - rows * columns
    features = torch.zeros(len(images), tokens.shape[2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            features[:, :, row, column] = tokens[:, first + row * columns + column]
    return features


@pytest.mark.parametrize(
    ("name", "prefix"), [("vit_tiny_patch16_224", 1), ("deit_tiny_distilled_patch16_224", 2)]
)
def test_patch_tokens_of_transformers_are_a_map(name: str, prefix: int) -> None:
    torch.manual_seed(0)
    trunk = build_trunk(name, output_stride=16, weights="random").eval()
    torch.manual_seed(0)
    model: Any = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    assert model.num_prefix_tokens == prefix
    images = torch.rand(2, 3, 64, 48)
    mean, std = (torch.tensor(model.default_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        features = trunk(images)
        expected = tokens_by_hand(model, (images - mean) / std)
    assert features.shape == (2, trunk.out_channels, 4, 3)
    torch.testing.assert_close(features, expected)


def test_transformers_see_pictures_of_other_sizes() -> None:
    """Those that are no multiple of the patches are padded with the mean colour."""
    torch.manual_seed(0)
    trunk = build_trunk("vit_tiny_patch16_224", output_stride=16, weights="random").eval()
    images = torch.rand(1, 3, 40, 33)
    padded = trunk.mean.expand(1, 3, 48, 48).clone()
    padded[..., :40, :33] = images
    with torch.no_grad():
        torch.testing.assert_close(trunk(images), trunk(padded))


@pytest.mark.parametrize("global_pool", ["token", "avg", "map"])
def test_a_transformer_is_trained_whole(global_pool: Any) -> None:
    """No parameter is left without a gradient, as one of the model's own head would be."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=8, depth=1, num_heads=2, num_classes=0,
        class_token=global_pool == "token", reg_tokens=2, global_pool=global_pool,
        dynamic_img_size=True,
    )  # fmt: skip
    features = PatchTokens(model)(torch.rand(1, 3, 32, 24))
    assert features.shape == (1, 8, 4, 3)
    features.square().mean().backward()
    assert all(own.grad is not None for own in model.parameters())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_the_whole_transformer(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model: Any = timm.create_model("deit_tiny_distilled_patch16_224").eval()  # with both heads
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(model.state_dict(), path)
    else:
        save_file(model.state_dict(), path)
    trunk = build_trunk("deit_tiny_distilled_patch16_224", output_stride=16, weights=str(path))
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        tokens = model.forward_features((images - trunk.mean) / trunk.std)
        torch.testing.assert_close(trunk.eval()(images).flatten(2).mT, tokens[:, 2:])


def test_output_stride_of_a_transformer() -> None:
    with pytest.raises(ValueError, match="expected 16 for vit_tiny_patch16_224, .*patches, got 8"):
        build_trunk("vit_tiny_patch16_224", output_stride=8, weights="random")


@pytest.mark.parametrize("name", TRUNKS)
def test_random_weights_come_from_torch_s_seed(name: str) -> None:
    one, same, other = (build(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(same[key], value) for key, value in one.items())
    assert any(not torch.equal(other[key], value) for key, value in one.items())


def test_normalisation() -> None:
    images = torch.rand(2, 3, 4, 5)
    plain = Trunk(nn.Identity(), 3, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))(images)
    torch.testing.assert_close(plain[:, 1], (images[:, 1] - 0.2) / 0.25)
    swapped = Trunk(nn.Identity(), 3, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0), bgr=True)(images)
    torch.testing.assert_close(swapped[:, 0], (images[:, 2] - 0.1) / 0.5)
    lite = build_trunk("tf_efficientnet_lite0", output_stride=16, weights="random")
    lite.body = nn.Identity()
    torch.testing.assert_close(lite(images), (images * 255 - 127) / 128)


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError),
        (torch.zeros(3, 8, 8), ValueError),
        (torch.zeros(1, 4, 8, 8), ValueError),
    ],
)
def test_other_inputs(images: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error, match="images: expected"):
        Trunk(nn.Identity(), 3, (0, 0, 0), (1, 1, 1))(images)


@pytest.mark.parametrize("name", ["vgg16", "resnet101", "released_resnet101"])
def test_fixed_output_stride(name: str) -> None:
    with pytest.raises(ValueError, match=f"output_stride: expected 8 for {name}, got 16"):
        build_trunk(name, output_stride=16, weights="random")


def test_timm_models_that_cannot_be_built() -> None:
    with pytest.raises(ValueError, match=r"cannot build no_such_net at .*Unknown model"):
        build_trunk("no_such_net", output_stride=8, weights="random")
    with pytest.raises(ValueError, match="cannot build densenet121 at output stride 16"):
        build_trunk("densenet121", output_stride=16, weights="random")


# --- Initial weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto"])
def test_weights_of_the_whole_timm_model(name: str, suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model: Any = timm.create_model(name).eval()  # with its head, which is left over
    scramble(model)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"epoch": 1, "state_dict": model.state_dict()}, path)
    else:
        save_file(model.state_dict(), path)
    trunk = build_trunk(name, output_stride=32, weights=str(path)).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_features((images - trunk.mean) / trunk.std)
        torch.testing.assert_close(trunk(images), expected)


def test_reading_weights_draws_no_random_numbers(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "weights.pth")
    numbers = []
    for weights in ("random", str(tmp_path / "weights.pth")):
        build("resnet10t", weights)
        numbers.append(torch.rand(3))
    assert torch.equal(*numbers)


def library_state(name: str) -> State:
    """Of torchvision's or timm's whole model."""
    if name == "vgg16":
        return vgg_state()
    model = torchvision.models.resnet101() if name == "resnet101" else timm.create_model(name)
    state: State = model.state_dict()
    return state


@pytest.mark.parametrize("name", ["vgg16", "resnet101", "resnet10t", "mobilenetv3_small_050"])
def test_names_that_do_not_fit_are_listed(name: str, tmp_path: Path) -> None:
    state = library_state(name)
    first, second, *_ = state
    changed = {**state, "one.more": state[first], second: torch.zeros(2, 2)}
    del changed[first]
    torch.save(changed, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth does not fit") as error:
        build(name, str(tmp_path / "odd.pth"))
    shape = tuple(state[second].shape)
    expected = f"Names missing: {first}; unknown: one.more; of another shape: {second}"
    assert f"{expected} (expected {shape}, got (2, 2))" in str(error.value)


def test_old_files_without_counters(tmp_path: Path) -> None:
    state = library_state("resnet101")
    old = {name: value for name, value in state.items() if not name.endswith("tracked")}
    torch.save(old, tmp_path / "old.pth")
    loaded = build("resnet101", str(tmp_path / "old.pth")).state_dict()
    assert torch.equal(loaded["body.layer4.2.bn3.weight"], state["layer4.2.bn3.weight"])


def test_many_faults_are_cut_short() -> None:
    state = {f"extra{i}": torch.zeros(1) for i in range(40)}
    with pytest.raises(ValueError, match=r"unknown: extra0, .*, extra29 and 10 more$"):
        load_named(nn.Module(), state, source="x")


def test_no_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"weights: absent\.pth is no file"):
        build("vgg16", "absent.pth")


class Code:
    """Something whose pickle runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_hold_no_weights(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    for content in (b"", b"not weights at all", b"\x80\x02}q\x00."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"weights{suffix}"):
            read_weights(path)
    torch.save({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="is no weights file, or it is damaged"):
        read_weights(path)


def test_pickles_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(1), "b": Code()}, "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth: expected a state dict"):
        read_weights(Path("evil.pth"))
    assert not Path("made-by-a-pickle").exists()
    torch.save({"a": torch.ones(1), "epoch": 3}, "mixed.pth")
    with pytest.raises(ValueError, match=r"mixed\.pth: expected tensors by name, but epoch"):
        read_weights(Path("mixed.pth"))
    torch.save([torch.ones(1)], "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: expected a state dict"):
        read_weights(Path("list.pth"))


def test_imagenet_weights_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    state = vgg_state()
    weights = torchvision.models.VGG16_Weights
    monkeypatch.setattr(weights, "get_state_dict", lambda *_, **__: state)
    trunk = build("vgg16", "imagenet")
    assert torch.equal(trunk.state_dict()["body.features.0.weight"], state["features.0.weight"])

    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no route")

    monkeypatch.setattr(weights, "get_state_dict", offline)
    with pytest.raises(OSError, match=r"cannot be downloaded \(.*no route.*a file is read"):
        build("vgg16", "imagenet")


def test_imagenet_weights_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    create, asked = timm.create_model, []

    def offline(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
        asked.append(pretrained)
        if pretrained:
            raise FileNotFoundError("not in the cache")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(OSError, match=r"cannot be downloaded \(not in the cache\)"):
        build("resnet10t", "imagenet")
    build("resnet10t")
    assert asked == [True, False]


@pytest.mark.skipif(not LITE0.is_file(), reason="../shared/weights is not there")
def test_real_weights() -> None:
    trunk = build_trunk("tf_efficientnet_lite0", output_stride=16, weights=str(LITE0)).eval()
    model: Any = timm.create_model("tf_efficientnet_lite0", output_stride=16).eval()
    model.load_state_dict(read_weights(LITE0))
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = model.blocks(model.bn1(model.conv_stem((images * 255 - 127) / 128)))
        features = trunk(images)
    assert features.shape == (1, 320, 4, 6)
    assert_same(features, expected)


# --- Batch norms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_frozen_batch_norms(name: str) -> None:
    trunk = build(name)
    scramble(trunk)
    trunk.freeze_batch_norm()
    network = Network(trunk, build_classifier(trunk.out_channels, 3, **CAM_OPTIONS)).eval().train()
    norms = [module for module in trunk.modules() if isinstance(module, _BatchNorm)]
    assert norms
    assert trunk.training
    assert not any(norm.training for norm in norms)
    assert all(m.training for m in network.modules() if m not in norms)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(torch.rand(2, 3, 64, 64)).logits.sum().backward()
    for key, value in network.state_dict().items():
        assert ("head" in key and "blocker" in key) or torch.equal(value, before[key]), key
    assert all(p.grad is None for norm in norms for p in norm.parameters())
    others = [p for m in network.modules() if m not in norms for p in m.parameters(recurse=False)]
    assert all(p.grad is not None for p in others)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network).train()
    synchronised = [m for m in converted.trunk.modules() if isinstance(m, nn.SyncBatchNorm)]
    assert len(synchronised) == len(norms)
    assert not any(norm.training for norm in synchronised)


@pytest.mark.parametrize("name", sorted(TRUNKS.keys() - {"resnet101"}))
def test_synchronised_batch_norms(name: str) -> None:
    trunk = build(name)
    network = Network(trunk, build_classifier(trunk.out_channels, 3, **CAM_OPTIONS)).eval()
    scramble(network)
    images = torch.rand(1, 3, 40, 48)
    count = sum(isinstance(module, _BatchNorm) for module in network.modules())
    others = torch.randn(2, trunk.out_channels, 5, 6)
    with torch.no_grad():
        expected = [trunk(images), network.head(others).cams]
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        actual = [converted.trunk(images), converted.head(others).cams]
    assert sum(isinstance(m, nn.SyncBatchNorm) for m in converted.modules()) == count
    (unit,) = (m for m in converted.modules() if isinstance(m, GlobalReasoningUnit))
    assert isinstance(unit.blocker, nn.SyncBatchNorm)
    for one, two in zip(actual, expected, strict=True):
        assert two.std() > 0
        torch.testing.assert_close(one, two)  # the unit folds a plain batch norm only


@pytest.mark.parametrize("name", sorted(TRUNKS.keys() - {"released_resnet101"}))
def test_every_parameter_gets_a_gradient(name: str) -> None:  # as DistributedDataParallel asks for
    trunk = build(name)
    head = build_segmentation_head(trunk.out_channels, 3, hidden_channels=4, rates=(1, 2))
    network = Network(trunk, head)
    network(torch.rand(2, 3, 24, 24)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert {key.partition(".")[0] for key in network.state_dict()} == {"trunk", "head"}


# --- Heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_nodes", [0, 4])
def test_classifiers(num_nodes: int) -> None:
    features = torch.randn(2, 6, 5, 7)
    torch.manual_seed(0)
    head = build_classifier(6, 3, hidden_channels=8, hidden_kernel=3, num_nodes=num_nodes)
    torch.manual_seed(0)
    published = CAMHead(6, 3, hidden_channels=8, num_nodes=num_nodes or None)
    assert torch.equal(head(features).cams, published(features).cams)
    small = build_classifier(6, 3, hidden_channels=8, hidden_kernel=1, num_nodes=num_nodes)
    conv, _, last = small.children()
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(last, CAMHead)
    hidden = functional.conv2d(features, conv.weight, conv.bias).relu()
    assert torch.equal(small(features).cams, last(hidden).cams)
    bare = build_classifier(6, 3, hidden_channels=0, hidden_kernel=1, num_nodes=num_nodes)
    assert bare(features).logits.shape == (2, 3)
    for module in (head, small, bare):
        units = [m for m in module.modules() if isinstance(m, GlobalReasoningUnit)]
        assert [unit.num_nodes for unit in units] == ([num_nodes] if num_nodes else [])


def test_other_kernels() -> None:
    with pytest.raises(ValueError, match="hidden_kernel: expected 1 or 3, got 5"):
        build_classifier(6, 3, hidden_channels=8, hidden_kernel=5, num_nodes=0)


def test_segmentation_head() -> None:
    """Each pixel sees itself and eight neighbours at each of the distances."""
    rates, features = (1, 3, 6), torch.randn(2, 4, 9, 11)
    head = build_segmentation_head(4, 3, hidden_channels=0, rates=rates)
    state = head.state_dict()
    padded = functional.pad(features, (6, 6, 6, 6))
    expected = torch.zeros(2, 3, 9, 11)
    for i, rate in enumerate(rates):
        expected += state[f"branches.{i}.bias"].view(3, 1, 1)
        for row in range(3):
            for column in range(3):
                top, left = 6 + (row - 1) * rate, 6 + (column - 1) * rate
                seen = padded[:, :, top : top + 9, left : left + 11]
                weight = state[f"branches.{i}.weight"][:, :, row, column]
                expected += torch.einsum("lc,nchw->nlhw", weight, seen)
    torch.testing.assert_close(head(features), expected)
    deep = build_segmentation_head(4, 3, hidden_channels=5, rates=rates)
    assert isinstance(deep, nn.Sequential)
    conv, _, pyramid = deep
    hidden = conv(features).relu()
    assert hidden.shape == (2, 5, 9, 11)
    assert pyramid(hidden).shape == (2, 3, 9, 11)
    with pytest.raises(ValueError, match="rates: expected at least one dilation"):
        build_segmentation_head(4, 3, hidden_channels=0, rates=())


# --- Inputs at several scales ---------------------------------------------------------------------


def test_multi_scale_input() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 2, 3, stride=2, padding=1)
    model = MultiScaleInput(network)
    images = torch.rand(2, 3, 21, 30)
    outputs = model.train()(images)
    assert [tuple(logits.shape[2:]) for logits in outputs] == [(5, 8), (8, 11), (11, 15), (11, 15)]
    small = functional.interpolate(images, scale_factor=0.5, mode="bilinear")
    assert torch.equal(outputs[0], network(small))
    assert torch.equal(outputs[2], network(images))
    resized = [functional.interpolate(o, (11, 15), mode="bilinear") for o in outputs[:3]]
    expected = torch.maximum(torch.maximum(resized[0], resized[1]), resized[2])
    torch.testing.assert_close(outputs[3], expected)
    assert torch.equal(model.eval()(images), outputs[3])
    assert torch.equal(MultiScaleInput(network, (1.0,)).eval()(images), network(images))


@pytest.mark.parametrize("scales", [(), (0.5, 0.75), (0.0, 1.0), (-1.0, 1.0)])
def test_other_scales(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="scales: expected positive factors, 1 among them"):
        MultiScaleInput(nn.Identity(), scales)


# --- Checkpoints ----------------------------------------------------------------------------------


def test_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    shared = torch.arange(6.0).view(2, 3)
    state = {"a": shared, "b": shared.T, "c": torch.tensor(3), "d": shared.half().requires_grad_()}
    description = {"kind": "segmentation", "rates": [6, 12], "loss": [[1, 0.1]], "name": "Stuhl ü"}
    save_network(path, state, description)
    loaded, told = load_network(path)
    assert told == description
    assert set(loaded) == set(state)
    for name, value in state.items():
        assert torch.equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype
    content = path.read_bytes()
    save_network(path, state, json.loads(json.dumps(description)))
    assert path.read_bytes() == content


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network.safetensors"
    save_network(path, {"a": torch.ones(2)}, {})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_network(path, {"a": torch.zeros(2)}, {})
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert torch.equal(load_network(path)[0]["a"], torch.ones(2))


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    with pytest.raises(FileNotFoundError, match=r"checkpoint: .*network\.safetensors is no file"):
        load_network(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is no checkpoint, or it is damaged"):
        load_network(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="it describes no network"):
        load_network(path)
