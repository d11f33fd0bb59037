"""NaN or infinity in one pixel, wherever it is: an error, never a label; modules pass it on."""

from __future__ import annotations

import pytest
import torch

import wsss_nonsalient as wn
from tests.functions import COLLECTORS, DIFFERENTIABLE, FUNCTIONS, LABEL_FUNCTIONS, arguments_of

CHECKED = [
    *arguments_of("maps", "image", "raw", "logits", among={**LABEL_FUNCTIONS, **COLLECTORS}),
    *arguments_of("picture"),
    ("pixel_adaptive_refinement", "cam"),
    ("normalize_cam", "cam"),
    ("normalize_cam, minmax", "cam"),
    ("resize_cam", "cam"),
    ("integral_attention_loss", "target"),
    ("multilabel_soft_margin_loss", "target"),
    ("multilabel_soft_margin_loss", "weight"),
    ("multi_scale_cam", "images"),
]
PASSED_ON = [
    pair for pair in arguments_of("raw", "logits", "features", among=DIFFERENTIABLE)
    if pair not in CHECKED
]  # fmt: skip
NOT_FINITE = [torch.nan, torch.inf, -torch.inf]
DTYPES = [torch.float32, torch.float16, torch.float64]


def positions(count: int) -> tuple[int, ...]:
    """The first of all, the last, and one in each part of a map that kernels treat differently."""
    return (0, 1) if count < 4 else (0, 5, 40, 90)  # of classes, those that the image has


@pytest.mark.parametrize(("name", "argument"), CHECKED)
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_wrong_value_is_an_error(
    name: str, argument: str, value: float, dtype: torch.dtype
) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments()
    arguments[argument] = arguments[argument].to(dtype)
    function(arguments)
    first = arguments[argument][0] if argument != "weight" else arguments[argument]
    own = first if first.ndim < 3 else first[0]  # class 0, which all images have
    for position in positions(own.numel()):
        wrong = own.clone()
        wrong.view(-1)[position] = value
        broken = {**arguments, argument: arguments[argument].clone()}
        target = broken[argument][0] if argument != "weight" else broken[argument]
        (target if first.ndim < 3 else target[0]).copy_(wrong)
        named = "cam" if name == "multi_scale_cam" else argument
        with pytest.raises(ValueError, match=f"^{named}: expected"):
            function(broken)


@pytest.mark.parametrize(("name", "argument"), PASSED_ON)
@pytest.mark.parametrize("value", NOT_FINITE)
def test_one_wrong_value_is_not_hidden(name: str, argument: str, value: float) -> None:
    """Training steps do not synchronise: a wrong value stays visible in what they give."""
    if name == "integral_attention_loss" and value == torch.inf:
        pytest.skip("a certain class at an attended pixel has a loss of 0, which is exact")
    function = FUNCTIONS[name]
    for position in positions(function.arguments()[argument][0].numel()):
        arguments = function.arguments()
        arguments[argument][0].view(-1)[position] = value
        assert not function(arguments)[0].isfinite().all()


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("checks", [True, False])
def test_a_map_without_checks_never_gives_a_class(value: float, checks: bool) -> None:
    """The setting is the caller's; the accumulator checks all the same."""
    cams = torch.ones(1, 2, 3, 4)
    cams[0, 1, 2, 3] = value
    ones = torch.ones(1, 2)
    with wn.value_checks(checks), pytest.raises(ValueError, match="cams: expected finite"):
        wn.OACAMAccumulator(2).update(["a"], cams, ones, ones)
