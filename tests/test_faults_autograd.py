"""Memory and autograd: inputs stay as they are, results are new, nothing keeps a graph."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

import wsss_nonsalient as wn
from tests.functions import DIFFERENTIABLE, FUNCTIONS
from tests.helpers import assert_same, shares_memory

MODULES = ("GlobalReasoningUnit", "CAMHead")


def tensors(arguments: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in arguments.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("name", list(FUNCTIONS))
@pytest.mark.parametrize("size", [(7, 13), (1, 1)])
def test_inputs_are_not_written_to_and_results_are_new(name: str, size: tuple[int, int]) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments(size=size)
    if name == "resize_cam":  # to the size that they have
        function = function._replace(options={"size": size})
    given = tensors(arguments)
    before = copy.deepcopy(given)
    versions = {key: value._version for key, value in given.items()}
    result = function(arguments)
    for key, value in given.items():
        assert_same(value, before[key])
        assert value._version == versions[key], f"{key} was written to"
        assert not shares_memory(result, value), key


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_requires_grad_is_left_alone(name: str) -> None:
    function = FUNCTIONS[name]
    arguments = function.arguments()
    learnt = {key: v.requires_grad_() if v.is_floating_point() else v
              for key, v in tensors(arguments).items()}  # fmt: skip
    flags = {key: value.requires_grad for key, value in learnt.items()}
    result = function({**arguments, **learnt})
    assert result.requires_grad == (name in DIFFERENTIABLE)
    assert {key: value.requires_grad for key, value in learnt.items()} == flags
    with torch.no_grad():
        assert not function({**arguments, **learnt}).requires_grad
    with torch.inference_mode():
        inside = function({**arguments, **learnt})
    if name == "GlobalReasoningUnit":  # a faster kernel without autograd
        torch.testing.assert_close(inside.clone(), result.detach(), rtol=1e-5, atol=1e-5)
    else:
        assert_same(inside.clone(), result.detach())


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in MODULES])  # PyTorch refuses them
def test_tensors_of_inference_mode(name: str) -> None:
    function = FUNCTIONS[name]
    with torch.inference_mode():
        arguments = function.arguments()
    assert any(value.is_inference() for value in tensors(arguments).values())
    assert_same(function(arguments).clone(), function(function.arguments()).detach())


@pytest.mark.parametrize("name", list(DIFFERENTIABLE))
def test_gradients_reach_every_floating_point_input(name: str) -> None:
    function = DIFFERENTIABLE[name]
    arguments = function.arguments()
    learnt = {key: v.requires_grad_() for key, v in arguments.items() if v.is_floating_point()}
    function({**arguments, **learnt}).sum().backward()
    for key, value in learnt.items():
        if function.kinds[key] == "picture":  # data, not learnt
            assert value.grad is None, key
        else:
            assert value.grad is not None, key
            assert value.grad.isfinite().all(), key


class _Token:
    """Lives as long as the graph does."""


class _Noted(torch.autograd.Function):
    """The identity, whose node in the graph holds a token."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, token: _Token) -> Tensor:
        ctx.token = token
        return x * 1


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_no_graph_stays_alive(name: str) -> None:
    """But for that of a differentiable result."""
    function = FUNCTIONS[name]
    arguments = function.arguments()
    tokens: dict[str, weakref.ref[_Token]] = {}
    token = None
    for key, value in tensors(arguments).items():
        if value.is_floating_point():
            token = _Token()
            arguments[key] = _Noted.apply(value.requires_grad_(), token)
            tokens[key] = weakref.ref(token)
    result = function(arguments)
    del arguments, token
    gc.collect()
    if name in DIFFERENTIABLE:
        for key, alive in tokens.items():
            assert (alive() is None) == (function.kinds[key] == "picture"), key
        del result
        gc.collect()
    assert [alive() for alive in tokens.values()] == [None] * len(tokens)


def test_what_collectors_hand_out_is_a_copy() -> None:
    accumulator = wn.OACAMAccumulator(1)
    ones = torch.ones(1, 1)
    maps = torch.tensor([[[[1.0, 0.2]]]])
    accumulator.update(["a"], maps, ones, ones)
    maps.fill_(9)
    expected = accumulator.compute(["a"])
    for handed_out in (accumulator.compute(["a"]), accumulator.state_dict()["maps"]):
        handed_out.fill_(7)
    accumulator.state_dict()["keys"].append("b")
    accumulator.missing(["a"], ones).fill_(True)
    assert_same(accumulator.compute(["a"]), expected)
    assert list(accumulator) == ["a"]
    score = wn.SegmentationScore(2)
    labels = torch.tensor([[0, 1]])
    score.update(labels, labels)
    before, results = score.confusion, score.compute()
    score.update(labels, labels)
    assert before.sum() == 2
    results.per_class_iou.fill_(-1)
    assert score.compute().mean_iou == 1


def test_loaded_states_are_copies() -> None:
    accumulator = wn.OACAMAccumulator(1)
    ones = torch.ones(1, 1)
    accumulator.update(["a"], torch.rand(1, 1, 2, 3), ones, ones)
    expected, state = accumulator.compute(["a"]), accumulator.state_dict()
    other = wn.OACAMAccumulator(1)
    other.load_state_dict(state)
    state["maps"].zero_()
    state["keys"].clear()
    accumulator.merge(other)
    other.update(["a"], torch.tensor([[[[0.0, 1, 1], [1, 1, 1]]]]), ones, ones)
    assert_same(accumulator.compute(["a"]), expected)
