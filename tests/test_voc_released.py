"""Converter of released checkpoints: against slow networks with the published names, from scratch.

The references below hold no module: they read a state dict by the names of the released
implementation, layer after layer. What a converted network gives must be the same to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("safetensors")

from pipeline.networks import MultiScaleInput, load_network, save_network
from pipeline.released import convert, convert_file, load_converted, main
from pipeline.trunks import build_trunk

from wsss_nonsalient import CAMOutput, multi_scale_cam
from wsss_nonsalient.io import VOC_CLASSES

State = dict[str, Tensor]

BLOCKS = {2: 3, 3: 4, 4: 23, 5: 3}  # of ResNet-101
STRIDES = {2: 1, 3: 2, 4: 1, 5: 1}
DILATIONS = {2: 1, 3: 1, 4: 2, 5: 4}
RATES = (6, 12, 18, 24)
VGG = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256}
VGG |= dict.fromkeys((17, 19, 21, 24, 26, 28), 512)


# --- Released state dicts with random values ------------------------------------------------------


def add_conv(
    state: State, name: str, out: int, channels: int, kernel: int, bias: bool = True
) -> None:
    scale = (2 / (channels * kernel**2)) ** 0.5
    state[f"{name}.weight"] = torch.randn(out, channels, kernel, kernel) * scale
    if bias:
        state[f"{name}.bias"] = torch.randn(out) * 0.1


def add_norm(state: State, name: str, channels: int) -> None:
    state[f"{name}.weight"] = torch.rand(channels) + 0.2
    state[f"{name}.bias"] = torch.randn(channels) * 0.1
    state[f"{name}.running_mean"] = torch.randn(channels) * 0.1
    state[f"{name}.running_var"] = torch.rand(channels) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def add_conv_norm(state: State, name: str, out: int, channels: int, kernel: int) -> None:
    add_conv(state, f"{name}.conv", out, channels, kernel, bias=False)
    add_norm(state, f"{name}.bn", out)


def trunk_state(prefix: str = "base.") -> State:
    torch.manual_seed(0)
    state: State = {}
    add_conv_norm(state, f"{prefix}layer1.conv1", 64, 3, 7)
    channels = 64
    for layer, count in BLOCKS.items():
        inner, outer = 32 * 2 ** (layer - 1), 128 * 2 ** (layer - 1)
        for k in range(1, count + 1):
            block = f"{prefix}layer{layer}.block{k}"
            add_conv_norm(state, f"{block}.reduce", inner, channels, 1)
            add_conv_norm(state, f"{block}.conv3x3", inner, inner, 3)
            add_conv_norm(state, f"{block}.increase", outer, inner, 1)
            if k == 1:
                add_conv_norm(state, f"{block}.shortcut", outer, channels, 1)
            channels = outer
    return state


def segmentation_state(labels: int = 21, prefix: str = "base.") -> State:
    state = trunk_state(prefix)
    for i in range(4):
        add_conv(state, f"{prefix}aspp.c{i}", labels, 2048, 3)
    return state


def cam_state(last: int, prefix: str = "module.", classes: int = 20, nodes: int = 6) -> State:
    torch.manual_seed(1)
    state: State = {}
    channels = 3
    for i, out in VGG.items():
        add_conv(state, f"features.{i}", out, channels, 3)
        channels = out
    for i, (out, into) in {0: (24, 512), 2: (24, 24), 4: (24, 24)}.items():
        add_conv(state, f"extra_convs_1.{i}", out, into, 3)
    add_conv(state, "extra_convs_2.conv_state", 2 * nodes, 24, 1)
    add_conv(state, "extra_convs_2.conv_proj", nodes, 24, 1)
    state["extra_convs_2.gcn.conv1.weight"] = torch.randn(nodes, nodes, 1) * 0.3
    state["extra_convs_2.gcn.conv1.bias"] = torch.randn(nodes) * 0.1
    state["extra_convs_2.gcn.conv2.weight"] = torch.randn(2 * nodes, 2 * nodes, 1) * 0.3
    add_conv(state, "extra_convs_2.conv_extend", 24, 2 * nodes, 1, bias=False)
    add_norm(state, "extra_convs_2.blocker", 24)
    add_conv(state, f"extra_convs_3.{last}", classes, 24, 1)
    return {prefix + name: value for name, value in state.items()}


# --- The released networks, slowly ----------------------------------------------------------------


def conv(
    state: Mapping[str, Tensor], name: str, x: Tensor, stride: int = 1, dilation: int = 1
) -> Tensor:
    """A convolution that keeps the size but for the stride."""
    weight = state[f"{name}.weight"].to(x)
    bias = state[f"{name}.bias"].to(x) if f"{name}.bias" in state else None
    padding = dilation * (weight.shape[-1] // 2)
    return functional.conv2d(x, weight, bias, stride, padding, dilation)


def norm(state: Mapping[str, Tensor], name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    weight, bias, mean, var = (
        state[f"{name}.{part}"].to(x)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (var + eps).sqrt() * weight + bias


def conv_norm(
    state: Mapping[str, Tensor], name: str, x: Tensor, stride: int = 1, dilation: int = 1
) -> Tensor:
    return norm(state, f"{name}.bn", conv(state, f"{name}.conv", x, stride, dilation))


def blue_green_red(images: Tensor) -> Tensor:
    red, green, blue = (images * 255).unbind(1)
    return torch.stack([blue - 104.008, green - 116.669, red - 122.675], dim=1)


def reference_trunk(state: Mapping[str, Tensor], images: Tensor, prefix: str = "base.") -> Tensor:
    x = conv_norm(state, f"{prefix}layer1.conv1", blue_green_red(images), stride=2).relu()
    x = functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    for layer, count in BLOCKS.items():
        for k in range(1, count + 1):
            block, stride = f"{prefix}layer{layer}.block{k}", STRIDES[layer] if k == 1 else 1
            y = conv_norm(state, f"{block}.reduce", x, stride).relu()
            y = conv_norm(state, f"{block}.conv3x3", y, dilation=DILATIONS[layer]).relu()
            y = conv_norm(state, f"{block}.increase", y)
            x = (y + (conv_norm(state, f"{block}.shortcut", x, stride) if k == 1 else x)).relu()
    return x


def reference_segmentation(
    state: Mapping[str, Tensor], images: Tensor, prefix: str = "base."
) -> Tensor:
    x = reference_trunk(state, images, prefix)
    parts = [conv(state, f"{prefix}aspp.c{i}", x, dilation=rate) for i, rate in enumerate(RATES)]
    return torch.stack(parts).sum(dim=0)


def reference_unit(state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The unit, one picture at a time, in the published order."""
    unit = "module.extra_convs_2"
    results = []
    for one in x.split(1):
        nodes = conv(state, f"{unit}.conv_state", one).flatten(2)[0]
        projection = conv(state, f"{unit}.conv_proj", one).flatten(2)[0]
        v = nodes @ projection.T  # (states, nodes)
        exchange, bias, update = (
            state[f"{unit}.gcn.{name}"].to(x).squeeze(-1)
            for name in ("conv1.weight", "conv1.bias", "conv2.weight")
        )
        z = update @ (v + v @ exchange.T + bias).relu()
        back = (z @ projection).view(1, -1, *one.shape[2:])
        extended = conv(state, f"{unit}.conv_extend", back)
        results.append(one + norm(state, f"{unit}.blocker", extended, eps=1e-4))
    return torch.cat(results)


def reference_cam(state: Mapping[str, Tensor], images: Tensor, *, integral: bool) -> Tensor:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    channels = images.unbind(1)
    x = torch.stack([(c - m) / s for c, m, s in zip(channels, mean, std, strict=True)], dim=1)
    for i in VGG:
        if i in (5, 10, 17):
            x = functional.max_pool2d(x, 2)
        if i == 24:
            x = functional.max_pool2d(x, 3, stride=1, padding=1)
        x = conv(state, f"module.features.{i}", x, dilation=2 if i >= 24 else 1).relu()
    x = conv(state, "module.extra_convs_1.0", x).relu()
    x = conv(state, "module.extra_convs_1.2", x).relu()
    x = conv(state, "module.extra_convs_1.4", x)
    if integral:
        return conv(state, "module.extra_convs_3.0", reference_unit(state, x.relu()))
    return conv(state, "module.extra_convs_3.1", reference_unit(state, x).relu())


def assert_same(actual: Tensor, expected: Tensor) -> None:
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6 * scale)


@pytest.fixture(scope="module")
def segmentation() -> State:
    return segmentation_state()


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(2)
    return torch.rand(1, 3, 39, 34, dtype=torch.float64)  # rounding up or down shows


# --- Equal to the references ----------------------------------------------------------------------


def test_segmentation_equals_the_slow_network(segmentation: State, images: Tensor) -> None:
    network, description = convert(segmentation)
    assert not network.training
    with torch.no_grad():
        actual = network.double()(images)
        expected = reference_segmentation(segmentation, images)
    assert actual.shape == (1, 21, 6, 5)
    assert_same(actual, expected)
    assert description["trunk"] == {"name": "released_resnet101", "output_stride": 8}
    assert description["head"] == {"hidden_channels": 0, "rates": [6, 12, 18, 24]}
    assert (description["input_size"], description["flip"]) == (0, False)


def test_rates_belong_to_their_weights(segmentation: State) -> None:
    network, _ = convert(segmentation)
    features = torch.rand(1, 2048, 1, 26)  # reaches as far as the largest rate
    with torch.no_grad():
        actual = network.head(features)
        parts = [
            conv(segmentation, f"base.aspp.c{i}", features, dilation=rate)
            for i, rate in enumerate(RATES)
        ]
    assert_same(actual, torch.stack(parts).sum(dim=0))


def test_segmentation_at_its_scales(segmentation: State, images: Tensor) -> None:
    network, description = convert(segmentation)
    model = MultiScaleInput(network.double(), description["scales"]).eval()
    with torch.no_grad():
        actual = model(images)
        expected = reference_segmentation(segmentation, images)
        for factor in (0.75, 0.5):
            smaller = functional.interpolate(images, scale_factor=factor, mode="bilinear")
            logits = reference_segmentation(segmentation, smaller)
            logits = functional.interpolate(logits, expected.shape[-2:], mode="bilinear")
            expected = torch.maximum(expected, logits)
    assert_same(actual, expected)


@pytest.mark.parametrize("last", [1, 0], ids=["classifier", "integral"])
def test_cam_networks_equal_the_slow_network(last: int, images: Tensor) -> None:
    state = cam_state(last)
    network, description = convert(state)
    images = torch.cat([images, images.flip(-1)])
    with torch.no_grad():
        output = network.double()(images)
        expected = reference_cam(state, images, integral=last == 0)
    assert isinstance(output, CAMOutput)
    assert output.cams.shape == (2, 20, 4, 4)
    assert_same(output.cams, expected)
    assert_same(output.logits, expected.mean(dim=(2, 3)))
    assert description["kind"] == ("classifier" if last else "integral")
    assert description["trunk"] == {"name": "vgg16", "output_stride": 8}


# --- Names ----------------------------------------------------------------------------------------


def test_data_parallel_prefix(segmentation: State) -> None:
    wrapped = {f"module.{name}": value for name, value in segmentation.items()}
    expected, actual = (convert(state)[0].state_dict() for state in (segmentation, wrapped))
    assert all(torch.equal(actual[name], value) for name, value in expected.items())
    state = cam_state(1, prefix="")
    expected, actual = (convert(own)[0].state_dict() for own in (cam_state(1), state))
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_missing_and_unknown_names_are_listed(segmentation: State) -> None:
    state = dict(segmentation)
    state["base.layer6.conv.weight"] = torch.zeros(1)
    state["scale.aspp.c0.bias"] = torch.zeros(1)
    del state["base.aspp.c3.bias"], state["base.layer4.block23.increase.bn.running_var"]
    with pytest.raises(ValueError, match="mine.pth does not fit") as error:
        convert(state, source="mine.pth")
    missing, unknown = str(error.value).split("; unknown: ")
    assert "missing: base.layer4.block23.increase.bn.running_var, base.aspp.c3.bias" in missing
    assert unknown == "base.layer6.conv.weight, scale.aspp.c0.bias"


@pytest.mark.parametrize("name", ["features.28.bias", "extra_convs_1.4.weight"])
@pytest.mark.parametrize("last", [0, 1])
def test_missing_names_of_cam_networks(name: str, last: int) -> None:
    state = cam_state(last)
    del state[f"module.{name}"]
    with pytest.raises(ValueError, match=rf"missing: module\.{name}"):
        convert(state)
    state = cam_state(last)
    state[f"module.{name}"] = torch.zeros(1)
    with pytest.raises(ValueError, match=rf"of another shape: .*module\.{name}"):
        convert(state)


def test_unknown_names_of_cam_networks() -> None:
    state = cam_state(1)
    state["module.extra_convs_3.1.extra"] = torch.zeros(1)
    state["features.0.weight"] = torch.zeros(1)  # beside module.features.0.weight
    unknown = r"Names unknown: module\.extra_convs_3\.1\.extra, features\.0\.weight$"
    with pytest.raises(ValueError, match=unknown):
        convert(state)


def test_both_last_layers() -> None:
    with pytest.raises(ValueError, match=r"unknown: module\.extra_convs_3\.1\.weight"):
        convert({**cam_state(1), **cam_state(0)})


def test_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing: layer1.*more; unknown: conv1\.weight"):
        convert({"conv1.weight": torch.zeros(64, 3, 7, 7)})
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match=r"empty\.pth: expected a state dict"):
        convert_file(tmp_path / "empty.pth", tmp_path / "out.safetensors", VOC_CLASSES)


def test_number_of_classes() -> None:
    with pytest.raises(ValueError, match="20 foreground classes, but there are 3 class names"):
        convert(cam_state(1), ["cat", "dog", "cow"])
    network, description = convert(cam_state(1, classes=3), ["cat", "dog", "cow"])
    assert description["class_names"] == ["cat", "dog", "cow"]
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 32)).logits.shape == (1, 3)


def test_counters_are_optional(segmentation: State) -> None:
    old = {name: value for name, value in segmentation.items() if "tracked" not in name}
    convert(old)
    shaped = {n: v.reshape(1) if "tracked" in n else v for n, v in segmentation.items()}
    convert(shaped)
    old["base.other.num_batches_tracked"] = torch.tensor(0)
    with pytest.raises(ValueError, match=r"unknown: base\.other\.num_batches_tracked"):
        convert(old)


# --- The trunk alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["base.", "module.base.", ""])
def test_a_trunk_loads_as_trunk(prefix: str, images: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "coco.pth"
    state = trunk_state(prefix)
    torch.save(state, path)
    trunk = build_trunk("released_resnet101", output_stride=8, weights=str(path))
    assert trunk.out_channels == 2048
    trunk.eval().double()
    with torch.no_grad():
        assert_same(trunk(images), reference_trunk(state, images, prefix))
    with pytest.raises(ValueError, match=r"it is a trunk, which needs no conversion.*released_res"):
        convert(state)


def test_trunk_of_a_whole_network(segmentation: State, images: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(segmentation, path)
    trunk = build_trunk("released_resnet101", output_stride=8, weights=str(path)).eval().double()
    with torch.no_grad():
        assert_same(trunk(images), reference_trunk(segmentation, images))


def test_faults_of_a_trunk(tmp_path: Path) -> None:
    path = tmp_path / "coco.pth"
    state = trunk_state()
    state["base.fc.weight"] = torch.zeros(1)
    state["layer1.conv1.bn.bias"] = state.pop("base.layer1.conv1.bn.bias")
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"coco\.pth does not fit") as error:
        build_trunk("released_resnet101", output_stride=8, weights=str(path))
    assert "missing: base.layer1.conv1.bn.bias; unknown: " in str(error.value)
    assert "base.fc.weight, layer1.conv1.bn.bias" in str(error.value)
    with pytest.raises(ValueError, match="has none to download"):
        build_trunk("released_resnet101", output_stride=8, weights="imagenet")


# --- Files ----------------------------------------------------------------------------------------


def test_command_line(
    segmentation: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = tmp_path / "released.pth", tmp_path / "new" / "network.safetensors"
    torch.save(segmentation, checkpoint)
    main(["--checkpoint", str(checkpoint), "--out", str(out)])
    assert capsys.readouterr().out == f"{out}: segmentation\n"
    state, description = load_network(out)
    assert set(description) == {
        "kind", "trunk", "head", "scales", "class_names", "input_size", "flip", "converted_from",
    }  # fmt: skip
    assert description["class_names"] == list(VOC_CLASSES)
    assert description["scales"] == [1.0, 0.75, 0.5]
    assert description["converted_from"]["file"] == "released.pth"
    assert {name.split(".")[0] for name in state} == {"trunk", "head"}
    network, _ = load_converted(out)
    images = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(network(images), convert(segmentation)[0](images))


def test_predictions_of_a_converted_network(segmentation: State, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    from pipeline.predictions import load_segmenter

    network, description = convert(segmentation)
    out = tmp_path / "network.safetensors"
    save_network(out, network.state_dict(), description)
    picture = torch.randint(256, (3, 40, 37), dtype=torch.uint8)
    probabilities = load_segmenter(out).probabilities(picture)
    with torch.no_grad():
        logits = MultiScaleInput(network, (1.0, 0.75, 0.5)).eval()(picture[None] / 255)
    expected = functional.interpolate(logits, (40, 37), mode="bilinear")[0].softmax(0)
    torch.testing.assert_close(probabilities, expected)


@pytest.mark.parametrize("last", [0, 1])
def test_converted_cam_networks_make_cams(last: int, tmp_path: Path) -> None:
    checkpoint, names = tmp_path / "released.pth", tmp_path / "classes.txt"
    names.write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n\r\ncow")
    torch.save({"epoch": 3, "state_dict": cam_state(last, classes=3)}, checkpoint)
    out = tmp_path / "network.safetensors"
    main(["--checkpoint", str(checkpoint), "--out", str(out), "--class-names", str(names)])
    network, description = load_converted(out)
    assert description["class_names"] == ["cat", "dog", "cow"]
    cams = multi_scale_cam(network, torch.rand(1, 3, 48, 40), scales=(1.0,))
    assert cams.shape == (1, 3, 48, 40)


def test_command_line_errors(tmp_path: Path) -> None:
    out = str(tmp_path / "out.safetensors")
    with pytest.raises(SystemExit, match=r"error: weights: .*absent\.pth is no file"):
        main(["--checkpoint", str(tmp_path / "absent.pth"), "--out", out])
    torch.save(cam_state(1, classes=3), tmp_path / "three.pth")
    with pytest.raises(SystemExit, match="3 foreground classes, but there are 20 class names"):
        main(["--checkpoint", str(tmp_path / "three.pth"), "--out", out])
    assert not Path(out).exists()


def test_a_checkpoint_of_another_kind(tmp_path: Path) -> None:
    save_network(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"loss": []})
    with pytest.raises(ValueError, match="kind: expected one of classifier, integral, segm"):
        load_converted(tmp_path / "x.safetensors")
