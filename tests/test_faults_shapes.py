"""Swapped axes, other sizes, one row short, an axis too many: refused, and never resized."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import wsss_nonsalient as wn
from tests.functions import FUNCTIONS, LABEL_FUNCTIONS, SIZE, SUMS, arguments_of
from tests.helpers import assert_same

SPATIAL = ("maps", "raw", "image", "picture", "labels", "bool", "probabilities")
SEVERAL = [
    (name, argument)
    for name, argument in arguments_of(*SPATIAL)
    if sum(kind in SPATIAL for kind in FUNCTIONS[name].kinds.values()) > 1
]
TENSORS = [
    (name, argument)
    for name, argument in arguments_of(*SPATIAL, "multi-hot", "logits", "weight", "features")
    if len(FUNCTIONS[name].kinds) > 1 or FUNCTIONS[name].only_batches
]


@pytest.mark.parametrize(("name", "argument"), SEVERAL)
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.mT,
        lambda t: t[..., :-1, :],
        lambda t: t[..., :, 1:],
        lambda t: t[..., ::2, ::2],
        lambda t: t.repeat_interleave(2, -1).repeat_interleave(2, -2),
        lambda t: t[..., :1, :1],
    ],
    ids=["swapped", "a row short", "a column short", "half", "double", "one pixel"],
)
def test_another_size_is_refused_with_a_hint(name: str, argument: str, change: Any) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments()
    arguments[argument] = change(arguments[argument]).contiguous()
    with pytest.raises(ValueError, match=r"expected [HW] = \d+, as \w+, got .*; resize one"):
        function(arguments)


def test_maps_at_feature_size_against_labels_of_the_picture() -> None:
    cam, labels = torch.rand(3, 32, 32), torch.zeros(375, 500, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"labels: expected H = 32, as cam, .*resize_cam for maps"):
        wn.pom_refine(labels, cam, torch.ones(3))
    full = wn.resize_cam(cam, labels.shape)
    assert wn.pom_refine(labels, full, torch.ones(3)).shape == (375, 500)


@pytest.mark.parametrize(("name", "argument"), TENSORS)
@pytest.mark.parametrize(
    "change",
    [lambda t: t.unsqueeze(0), lambda t: t.unsqueeze(-1), lambda t: t.unsqueeze(1), lambda t: t[0]],
    ids=["an axis before", "an axis behind", "a channel axis", "an axis less"],
)
def test_an_axis_too_many_or_too_few_is_refused(name: str, argument: str, change: Any) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments()
    changed = change(arguments[argument])
    if changed.ndim == 0:
        pytest.skip("a scalar has no axis to lose")
    arguments[argument] = changed
    with pytest.raises(ValueError, match=r"^[\w ]+: expected "):
        function(arguments)


@pytest.mark.parametrize("name", [*LABEL_FUNCTIONS, *FUNCTIONS])
def test_the_same_axis_too_many_everywhere_is_one_more_batch_axis(name: str) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments()
    if function.only_batches or name in SUMS:
        pytest.skip("has one batch axis, or sums up over all")
    result = function(arguments)
    more = {
        name: value if name == "weight" else value[None] if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }
    assert_same(function(more), result[None])


def transposed(arguments: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    turned = dict(arguments)
    for name, kind in kinds.items():
        if kind in (*SPATIAL, "features"):
            turned[name] = arguments[name].mT.contiguous()
        elif kind == "boxes":
            turned[name] = arguments[name][..., [1, 0, 3, 2]]
    return turned


@pytest.mark.parametrize("name", list(FUNCTIONS))
@pytest.mark.parametrize("along", ["rows", "columns"])
def test_ramps_are_not_turned(name: str, along: str) -> None:
    """On 7 x 13 ramps a swap of rows and columns shows; transposing commutes with everything."""
    function = FUNCTIONS[name]
    arguments = function.arguments()
    ramp = torch.linspace(0, 1, SIZE[0])[:, None] + torch.zeros(SIZE)
    if along == "columns":
        ramp = torch.linspace(0, 1, SIZE[1]) + torch.zeros(SIZE)
    for argument, kind in function.kinds.items():
        if kind in ("maps", "raw", "features"):
            arguments[argument] = (ramp.expand_as(arguments[argument]) * 1).contiguous()
        elif kind == "flags":
            arguments[argument] = torch.zeros_like(arguments[argument])  # mirrors have a direction
    result = function(arguments)
    turned = transposed(arguments, function.kinds)
    if name == "resize_cam":
        other = function.call(**turned, size=function.options["size"][::-1])
    elif name == "CAMHead":
        return  # its kernels have an orientation
    else:
        other = function(turned)
    if result.ndim > 2 and name not in SUMS:
        other = other.mT
    torch.testing.assert_close(other, result, rtol=1e-5, atol=1e-5)


def test_resized_ramps_keep_their_direction() -> None:
    rows = (torch.linspace(0, 1, 7)[:, None] + torch.zeros(7, 13))[None]
    resized = wn.resize_cam(rows, (14, 5))
    assert (resized.diff(dim=1) >= 0).all()
    assert (resized.diff(dim=2).abs() < 1e-6).all()
