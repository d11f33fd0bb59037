"""Arguments on different devices are refused by name; tensors without values pass shape checks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.functions import COLLECTORS, FUNCTIONS, Arguments

DEVICES = ["meta"]
if torch.cuda.is_available():
    DEVICES.append("cuda")
if torch.backends.mps.is_available():
    DEVICES.append("mps")
SEVERAL = [
    (name, argument)
    for name, function in FUNCTIONS.items()
    for argument in function.kinds
    if len(function.kinds) > 1
    and not name.startswith("OACAMAccumulator")  # any device, by its docs
]


def moved(arguments: Arguments, device: str) -> Arguments:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in arguments.items()}


@pytest.mark.parametrize(("name", "argument"), SEVERAL)
@pytest.mark.parametrize("device", DEVICES)
def test_one_argument_on_another_device_is_refused(name: str, argument: str, device: str) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments()
    arguments[argument] = arguments[argument].to(device)
    if device == "meta" and name in COLLECTORS:
        pytest.skip("they refuse it whatever the others are")
    message = r"^\w+: expected device \w+(:0)?, as \w+, got \w+(:0)?$"
    with pytest.raises(ValueError, match=message):
        function(arguments)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in COLLECTORS])
def test_tensors_without_values_have_shapes_and_dtypes(name: str) -> None:
    function = FUNCTIONS[name]
    if name == "multi_scale_cam":
        pytest.skip("its model makes values")
    expected = function(function.arguments())
    result = function(moved(function.arguments(), "meta"))
    assert result.is_meta
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("name", list(COLLECTORS))
def test_collectors_refuse_tensors_without_values(name: str) -> None:
    function = COLLECTORS[name]
    for argument in function.kinds:
        arguments = function.arguments()
        arguments[argument] = arguments[argument].to("meta")
        with pytest.raises(ValueError, match=r"^\w+: expected "):
            function(arguments)
    with pytest.raises(ValueError, match=r"^\w+: expected "):
        function(moved(function.arguments(), "meta"))


@pytest.mark.skipif(DEVICES == ["meta"], reason="needs CUDA or MPS")
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    function = FUNCTIONS[name]
    expected = function(function.arguments())
    for device in DEVICES[1:]:
        result = function(moved(function.arguments(), device)).cpu()
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
