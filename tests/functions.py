"""Every function of the library in one table, for faults that may be in any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import wsss_nonsalient as wn

Arguments = dict[str, Any]

BATCH, CLASSES, SIZE = (2,), 3, (7, 13)


#: In this order, since each changes what is drawn for those after it.
KINDS = (
    "maps", "raw", "image", "labels", "bool", "multi-hot", "logits", "weight", "boxes", "flags",
    "picture", "probabilities",
)  # fmt: skip


class Function(NamedTuple):
    """A function by its arguments' names, and what each tensor among these is.

    Kinds: ``maps`` (*, C, H, W) in [0, 1], ``raw`` maps of any values, ``image`` (*, H, W) in
    [0, 1], ``picture`` (*, 3, H, W) in [0, 1], ``labels`` (*, H, W), ``bool`` (*, H, W),
    ``multi-hot`` (*, C), ``logits`` (*, C), ``features`` (N, C, H, W), ``weight`` (C,), ``boxes``
    (*, 4), ``flags`` (*,), ``probabilities`` (*, C + 1, H, W).
    """

    call: Callable[..., Tensor]
    kinds: dict[str, str]
    options: Arguments = {}  # noqa: RUF012 (never written to)
    only_batches: bool = False  #: exactly one batch axis

    def __call__(self, arguments: Arguments) -> Tensor:
        return self.call(**self.options, **arguments)

    def arguments(
        self,
        seed: int = 0,
        *,
        batch: tuple[int, ...] = BATCH,
        num_classes: int = CLASSES,
        size: tuple[int, int] = SIZE,
    ) -> Arguments:
        """Tensors of these kinds, the same for all functions."""
        random = torch.Generator().manual_seed(seed)
        drawn: dict[str, Tensor] = {}
        for kind in KINDS:
            drawn[kind] = _draw(kind, batch, num_classes, size, random)
        drawn["features"] = drawn["raw"]
        own: Arguments = {name: drawn[kind].clone() for name, kind in self.kinds.items()}
        for later in [n for n, kind in self.kinds.items() if kind == "labels"][1:]:
            own[later] = own[later].flip(-1)  # prediction and label are not the same
        if self.only_batches and "cams" in self.kinds:
            own = {"keys": [f"image {i}" for i in range(batch[0])], **own}
        return own


def _draw(
    kind: str, batch: tuple[int, ...], num_classes: int, size: tuple[int, int], random: Any
) -> Tensor:
    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=random)

    if kind == "maps":
        return uniform(*batch, num_classes, *size)
    if kind == "probabilities":
        return uniform(*batch, num_classes + 1, *size)
    if kind == "picture":
        return uniform(*batch, 3, *size)
    if kind == "raw":
        return uniform(*batch, num_classes, *size) * 4 - 1
    if kind == "image":
        values = uniform(*batch, *size)
        return values.masked_fill(values < 0.9, 0)
    if kind == "labels":
        labels = (uniform(*batch, *size) * (num_classes + 1)).long()
        labels[uniform(*batch, *size) < 0.7] = 0
        labels[uniform(*batch, *size) < 0.1] = 255
        return labels.to(torch.uint8)
    if kind == "bool":
        return uniform(*batch, *size) < 0.8
    if kind == "multi-hot":
        present = torch.ones(*batch, num_classes, dtype=torch.int64)
        present.view(-1, num_classes)[::2, num_classes // 2 + 1 :] = 0  # unequal images
        return present
    if kind == "logits":
        return uniform(*batch, num_classes) * 8 - 2
    if kind == "boxes":
        return torch.cat([uniform(*batch, 2) / 2, 1 - uniform(*batch, 2) / 2], dim=-1)
    if kind == "flags":
        return uniform(*batch) < 0.5
    return uniform(num_classes) + 0.5


def _accumulate(
    keys: list[str], cams: Tensor, image_labels: Tensor, logits: Tensor, **frames: Tensor
) -> Tensor:
    num_classes, size = image_labels.shape[-1], tuple(cams.shape[-2:])
    accumulator = wn.OACAMAccumulator(num_classes, map_size=size, dtype=torch.float32)
    accumulator.update(keys, cams, image_labels, logits, force_missing=True, **frames)
    return accumulator.compute(keys)


def _count(prediction: Tensor, target: Tensor, region: Tensor) -> Tensor:
    score = wn.SegmentationScore(CLASSES + 1)
    score.update(prediction, target, region=region)
    return score.confusion


def _report(
    labels: Tensor,
    target: Tensor,
    saliency: Tensor,
    cam: Tensor,
    image_labels: Tensor,
    ignore_index: int = 255,
) -> Tensor:
    options: Arguments = {"boundary_width": 1, "size_edges": (0.2,), "calibration_bins": 4}
    report = wn.LabelReport(image_labels.shape[-1] + 1, ignore_index=ignore_index, **options)
    report.update(labels, target, saliency=saliency, cam=cam, image_labels=image_labels)
    results = report.compute()
    assert results.calibration is not None
    regions = [
        torch.tensor(own[1:], dtype=torch.float64) for own in results.by_region if own is not None
    ]
    rows = [*regions, *results.by_class, *results.by_size, *results.calibration[:4]]
    return torch.cat([row.double() for row in rows]).nan_to_num(-1)


def _model(images: Tensor) -> wn.CAMOutput:
    maps = images[:, :1] * torch.tensor([1.0, -0.5, 0.25])[:, None, None].to(images)
    return wn.CAMOutput(maps.mean(dim=(2, 3)), maps)


def _unit(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    unit = wn.GlobalReasoningUnit(x.shape[1], 5, zero_init=False).eval()
    return unit.to(x.device, x.dtype)(x)  # type: ignore[no-any-return]


def _head(features: Tensor) -> Tensor:
    torch.manual_seed(0)
    head = wn.CAMHead(features.shape[1], CLASSES, hidden_channels=4, num_nodes=5).eval()
    return head.to(features.device, features.dtype)(features).cams  # type: ignore[no-any-return]


_LABELS = {"image_labels": "multi-hot"}

#: Make label maps, or numbers to make these by; they run without autograd.
LABEL_FUNCTIONS: dict[str, Function] = {
    "background_from_cam": Function(
        wn.background_from_cam, {"cam": "maps", **_LABELS}, {"power": 2}
    ),
    "initial_labels": Function(wn.initial_labels, {"cam": "maps", "saliency": "image", **_LABELS}),
    "pom_thresholds": Function(wn.pom_thresholds, {"cam": "maps", "labels": "labels", **_LABELS}),
    "pom_refine": Function(wn.pom_refine, {"labels": "labels", "cam": "maps", **_LABELS}),
    "pom_refine, nested": Function(
        wn.pom_refine,
        {"labels": "labels", "cam": "maps", **_LABELS},
        {"quartile": "nested-median"},
    ),
    "pom_refine, rivals": Function(
        wn.pom_refine,
        {"labels": "labels", "cam": "maps", **_LABELS},
        {"rival_threshold": 0.6},
    ),
    "pom_weights": Function(
        wn.pom_weights,
        {"cam": "maps", "labels": "labels", **_LABELS},
        {"rival_threshold": 0.8},
    ),
    "nsrm_mask": Function(
        wn.nsrm_mask,
        {"prediction": "labels", "pseudo_labels": "labels", **_LABELS, "saliency": "image"},
        {"kernel_size": 3, "keep_ignored": True, "restrict_to_image_labels": True},
    ),
    "confident_labels": Function(
        wn.confident_labels,
        {"probabilities": "probabilities", **_LABELS, "pseudo_labels": "labels"},
        {"background_threshold": 0.5, "object_threshold": 0.6},
    ),
    "ignore_sparse_labels": Function(wn.ignore_sparse_labels, {"labels": "labels"}),
    "dilate": Function(wn.dilate, {"mask": "bool"}, {"kernel_size": 3}),
    "dilate, relative": Function(wn.dilate, {"mask": "bool"}, {"kernel_size": 0.3}),
    "random_walk_fill": Function(wn.random_walk_fill, {"labels": "labels", "image": "picture"}),
    "random_walk_fill, edges": Function(
        wn.random_walk_fill, {"labels": "labels", "image": "picture"}, {"edge_threshold": 0.3}
    ),
}

#: Differentiable functions and modules; of pictures there is no gradient.
DIFFERENTIABLE: dict[str, Function] = {
    "normalize_cam": Function(wn.normalize_cam, {"cam": "raw"}),
    "normalize_cam, minmax": Function(wn.normalize_cam, {"cam": "raw"}, {"mode": "minmax"}),
    "resize_cam": Function(wn.resize_cam, {"cam": "maps"}, {"size": (5, 9)}),
    "multilabel_soft_margin_loss": Function(
        wn.multilabel_soft_margin_loss,
        {"logits": "logits", "target": "multi-hot", "weight": "weight"},
        {"reduction": "none"},
    ),
    "integral_attention_loss": Function(
        wn.integral_attention_loss, {"logits": "raw", "target": "maps"}, {"reduction": "none"}
    ),
    "pixel_adaptive_refinement": Function(
        wn.pixel_adaptive_refinement,
        {"cam": "maps", "image": "picture", **_LABELS},
        {"iterations": 2, "dilations": (1, 3)},
    ),
    "pixel_adaptive_refinement, edges": Function(
        wn.pixel_adaptive_refinement,
        {"cam": "maps", "image": "picture", **_LABELS},
        {"iterations": 2, "dilations": (1, 3), "edge_threshold": 0.3},
    ),
    "GlobalReasoningUnit": Function(_unit, {"x": "features"}, only_batches=True),
    "CAMHead": Function(_head, {"features": "features"}, only_batches=True),
}

#: Read tensors and keep something of them.
COLLECTORS: dict[str, Function] = {
    "OACAMAccumulator.update": Function(
        _accumulate, {"cams": "raw", **_LABELS, "logits": "logits"}, only_batches=True
    ),
    "OACAMAccumulator.update, crops": Function(
        _accumulate,
        {"cams": "raw", **_LABELS, "logits": "logits", "boxes": "boxes", "flipped": "flags"},
        only_batches=True,
    ),
    "SegmentationScore.update": Function(
        _count, {"prediction": "labels", "target": "labels", "region": "bool"}
    ),
    "LabelReport.update": Function(
        _report,
        {"labels": "labels", "target": "labels", "saliency": "image", "cam": "maps", **_LABELS},
    ),
}

#: Of these, those whose result is of all images together.
SUMS = ("SegmentationScore.update", "LabelReport.update")

FUNCTIONS: dict[str, Function] = {
    **LABEL_FUNCTIONS,
    **DIFFERENTIABLE,
    "multi_scale_cam": Function(
        wn.multi_scale_cam,
        {"images": "features"},
        {"model": _model, "scales": (0.5, 1.0)},
        only_batches=True,
    ),
    **COLLECTORS,
}


def arguments_of(*kinds: str, among: dict[str, Function] = FUNCTIONS) -> list[tuple[str, str]]:
    """(function, argument) of all arguments of these kinds."""
    return [
        (name, argument)
        for name, function in among.items()
        for argument, kind in function.kinds.items()
        if kind in kinds
    ]
