"""Checkpoints of the released implementation of NSROM, read by the names of their parameters.

The segmentation network takes BGR in 0..255 minus its means; classifier and integral attention
model are VGG-16 as in torchvision, and take its normalisation.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from wsss_nonsalient import CAMHead, CAMOutput
from wsss_nonsalient.io import VOC_CLASSES

from .networks import Network, build_classifier, build_segmentation_head, load_network, save_network
from .trunks import RANDOM, RELEASED_RESNET, build_trunk, released_resnet_name
from .weights import load_named, read_weights, released_names

SEGMENTATION, CLASSIFIER, INTEGRAL = "segmentation", "classifier", "integral"  # kinds

Shapes = Mapping[str, tuple[int, ...]]

_TRUNK = "trunk.body."
_CAM_PARTS = {
    "trunk.body.features.": "features.",
    "head.features.": "extra_convs_1.",
    "head.reasoning.": "extra_convs_2.",
}
_PARTS = {
    CLASSIFIER: {**_CAM_PARTS, "head.classifier.": "extra_convs_3.1."},
    INTEGRAL: {**_CAM_PARTS, "head.classifier.": "extra_convs_3.0."},
    SEGMENTATION: {"head.branches.": "base.aspp.c"},
}
_LAST = {  # the tensor with a row a class (or a label)
    CLASSIFIER: "extra_convs_3.1.weight",
    INTEGRAL: "extra_convs_3.0.weight",
    SEGMENTATION: "aspp.c0.weight",
}


class ReleasedIntegralHead(CAMHead):
    """Head of the released integral attention model: ReLU before the unit and none after it."""

    def forward(self, features: Tensor) -> CAMOutput:
        """Class maps of (N, in_channels, H, W) features, and their means as logits."""
        hidden = self.reasoning(functional.relu(self.features(features)))
        cams = self.classifier(hidden)
        return CAMOutput(cams.mean(dim=(2, 3)), cams)


def convert(
    state: Mapping[str, Tensor],
    class_names: Sequence[str] = VOC_CLASSES,
    *,
    source: str = "the checkpoint",
) -> tuple[Network, dict[str, Any]]:
    """A network of this pipeline with the parameters of a released one.

    Args:
        state: Tensors by their released names, with or without the `module.` of DataParallel.
        class_names: Of the foreground classes, in their order.
        source: Where the tensors are from, for errors.

    Returns:
        The network, in evaluation mode, and the description that belongs into its checkpoint;
        `kind` is `segmentation`, `classifier` or `integral`.

    Raises:
        ValueError: Names are missing or unknown, it is a trunk alone, or it has another number of
            classes.
    """
    shapes = {
        name.removeprefix("module.").removeprefix("base."): tuple(value.shape)
        for name, value in state.items()
    }
    kind = _kind(shapes, source)
    background = int(kind == SEGMENTATION)
    count = _length(shapes, _LAST[kind], len(class_names) + background) - background
    if count != len(class_names):
        raise ValueError(
            f"{source} has {count} foreground classes, but there are {len(class_names)} class names"
        )
    description = _describe_segmentation() if kind == SEGMENTATION else _describe_cam(shapes, kind)
    description["class_names"] = list(class_names)
    network = build_described(description)
    released = {name: _released_name(name, kind) for name in network.state_dict()}
    given = released_names(released.values(), state)
    names = {name: given[released[name]] for name in released}
    load_named(network, state, source=source, names=names)
    return network.eval(), description


def build_described(description: Mapping[str, Any]) -> Network:
    """The network that the description of a checkpoint is about, with random parameters.

    Args:
        description: `kind`, `trunk`, `head` and `class_names` are read.

    Raises:
        ValueError: `kind` is unknown.
    """
    kind, num_classes = description.get("kind"), len(description.get("class_names", ()))
    if kind not in _PARTS:
        raise ValueError(f"kind: expected one of {', '.join(_PARTS)}, got {kind!r}")
    trunk = build_trunk(**description["trunk"], weights=RANDOM)
    channels, options = trunk.out_channels, description["head"]
    head: nn.Module
    if kind == SEGMENTATION:
        head = build_segmentation_head(channels, num_classes + 1, **options)
    elif kind == CLASSIFIER:
        head = build_classifier(channels, num_classes, **options)
    else:
        head = ReleasedIntegralHead(channels, num_classes, **options)
    return Network(trunk, head)


def load_converted(path: Path) -> tuple[Network, dict[str, Any]]:
    """A converted network of any kind, in evaluation mode, and its description.

    Classifier and integral model give `CAMOutput`, such as `multi_scale_cam` takes. A segmentation
    network is for `MultiScaleInput` with the description's `scales`.
    """
    state, description = load_network(path)
    network = build_described(description)
    load_named(network, state, source=str(path))
    return network.eval(), description


def convert_file(checkpoint: Path, out: Path, class_names: Sequence[str]) -> str:
    """Convert a released checkpoint.

    Args:
        checkpoint: The released file.
        out: The `.safetensors` file to write; its folder is made.
        class_names: Of the foreground classes, in their order.

    Returns:
        Its kind: `segmentation`, which `predict.py` takes, `classifier` or `integral`.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: It is no released checkpoint, or of another number of classes.
    """
    state = read_weights(checkpoint)
    network, description = convert(state, class_names, source=str(checkpoint))
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    description["converted_from"] = {"file": checkpoint.name, "sha256": digest}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_network(out, network.state_dict(), description)
    return str(description["kind"])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: a released checkpoint in, a checkpoint of this pipeline out."""
    parser = argparse.ArgumentParser(
        description="Convert a checkpoint of the released NSROM: segmentation network, classifier "
        "or integral attention model."
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="released .pth file")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors file to write")
    parser.add_argument(
        "--class-names", type=Path, help="text file, a foreground class a line; VOC's if left out"
    )
    args = parser.parse_args(argv)
    try:
        kind = convert_file(args.checkpoint, args.out, _class_names(args.class_names))
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{args.out}: {kind}")


def _kind(shapes: Shapes, source: str) -> str:
    if any(name.startswith(("features.", "extra_convs_")) for name in shapes):
        return (
            INTEGRAL if any(name.startswith("extra_convs_3.0.") for name in shapes) else CLASSIFIER
        )
    if "layer1.conv1.conv.weight" in shapes and not any("aspp." in name for name in shapes):
        raise ValueError(
            f"{source} has no aspp.c0 to aspp.c3: it is a trunk, which needs no conversion. Train "
            f"with {RELEASED_RESNET} as segmentation_trunk.name and with the file as "
            "segmentation_trunk.weights"
        )
    return SEGMENTATION


def _describe_segmentation() -> dict[str, Any]:
    return {
        "kind": SEGMENTATION,
        "trunk": {"name": RELEASED_RESNET, "output_stride": 8},
        "head": {"hidden_channels": 0, "rates": [6, 12, 18, 24]},
        "scales": [1.0, 0.75, 0.5],
        "input_size": 0,
        "flip": False,
    }


def _describe_cam(shapes: Shapes, kind: str) -> dict[str, Any]:
    published = {"hidden_kernel": 3} if kind == CLASSIFIER else {}
    head = {
        "hidden_channels": _length(shapes, "extra_convs_1.4.weight", 512),
        "num_nodes": _length(shapes, "extra_convs_2.conv_proj.weight", 64),
        **published,
    }
    trunk = {"name": "vgg16", "output_stride": 8}
    return {"kind": kind, "trunk": trunk, "head": head, "input_size": 256}


def _length(shapes: Shapes, name: str, otherwise: int) -> int:
    """First axis of a tensor; if that is missing, any number does, since loading says so."""
    return next(iter(shapes.get(name, ())), otherwise)


def _released_name(name: str, kind: str) -> str:
    """Released name of an entry of a network of this pipeline."""
    if kind == SEGMENTATION and name.startswith(_TRUNK):
        return released_resnet_name(name.removeprefix(_TRUNK))
    own = next(part for part in _PARTS[kind] if name.startswith(part))
    return _PARTS[kind][own] + name.removeprefix(own)


def _class_names(path: Path | None) -> list[str]:
    if path is None:
        return list(VOC_CLASSES)
    return [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
