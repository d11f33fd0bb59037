"""GlobalReasoningUnit: the released implementation's arrays, the published order, its errors."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from tests import reference
from tests.conftest import golden
from wsss_nonsalient import GlobalReasoningUnit, GloRe


def golden_unit(name: str) -> tuple[GlobalReasoningUnit, dict[str, Tensor]]:
    arrays = golden(name)
    unit = GlobalReasoningUnit(
        arrays["x"].shape[1],
        int(arrays["num_mid"]),
        dims=arrays["x"].dim() - 2,
        normalize=bool(arrays["normalize"]),
    ).double()
    state = {k.removeprefix("state."): v for k, v in arrays.items() if k.startswith("state.")}
    unit.load_state_dict(state)
    return unit, arrays


@pytest.fixture
def unit() -> GlobalReasoningUnit:
    torch.manual_seed(0)
    return GlobalReasoningUnit(6, 3, zero_init=False)


@pytest.mark.parametrize(
    "name", ["glore_1d.npz", "glore_2d.npz", "glore_2d_norm.npz", "glore_3d.npz"]
)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_equals_released_implementation(name: str, mode: str, device: torch.device) -> None:
    unit, arrays = golden_unit(name)
    unit.to(device).train(mode == "train")
    x = arrays["x"].to(device).requires_grad_()
    y = unit(x)
    (y * arrays["w"].to(device)).sum().backward()

    def close(got: Tensor | None, expected: Tensor) -> None:
        assert got is not None
        torch.testing.assert_close(got.cpu(), expected, rtol=0, atol=1e-9)

    close(y, arrays[f"y_{mode}"])
    close(x.grad, arrays[f"grad_x_{mode}"])
    if mode == "train":
        for parameter_name, parameter in unit.named_parameters():
            close(parameter.grad, arrays[f"grad_train.{parameter_name}"])
        close(unit.blocker.running_mean, arrays["running_mean_after"])
        close(unit.blocker.running_var, arrays["running_var_after"])


@pytest.mark.parametrize(
    "shape", [(2, 5, 7), (1, 5, 4, 3), (2, 5, 1, 1), (1, 5, 2, 3, 2), (3, 5, 1)]
)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_equals_published_order(shape: tuple[int, ...], normalize: bool, training: bool) -> None:
    torch.manual_seed(1)
    unit = GlobalReasoningUnit(
        5, 4, state_channels=7, dims=len(shape) - 2, normalize=normalize, zero_init=False
    ).double()
    state = unit.state_dict()
    state["blocker.running_var"].uniform_(0.5, 2)
    state["blocker.running_mean"].normal_()
    arrays = {name: value.numpy().copy() for name, value in state.items()}
    x = torch.randn(shape, dtype=torch.float64)
    expected, _, _ = reference.global_reasoning(
        x.numpy(), arrays, normalize=normalize, training=training
    )
    y = unit.train(training)(x)
    torch.testing.assert_close(y, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def test_parameter_names_are_the_published_ones() -> None:
    shapes = {k: tuple(v.shape) for k, v in GloRe(8, 4).state_dict().items()}
    assert shapes == {
        "conv_state.weight": (8, 8, 1, 1),
        "conv_state.bias": (8,),
        "conv_proj.weight": (4, 8, 1, 1),
        "conv_proj.bias": (4,),
        "gcn.conv1.weight": (4, 4, 1),
        "gcn.conv1.bias": (4,),
        "gcn.conv2.weight": (8, 8, 1),
        "conv_extend.weight": (8, 8, 1, 1),
        "blocker.weight": (8,),
        "blocker.bias": (8,),
        "blocker.running_mean": (8,),
        "blocker.running_var": (8,),
        "blocker.num_batches_tracked": (),
    }
    assert GloRe is GlobalReasoningUnit
    assert GloRe(8, 4).blocker.eps == 1e-4


@pytest.mark.parametrize("training", [False, True])
def test_zero_init_is_the_identity_and_learns(training: bool) -> None:
    unit = GlobalReasoningUnit(6, 3).train(training)
    x = torch.randn(2, 6, 5, 4)
    assert torch.equal(unit(x), x)
    unit(x).square().sum().backward()
    assert unit.blocker.weight.grad is not None
    assert unit.blocker.weight.grad.abs().sum() > 0


def test_gradients(unit: GlobalReasoningUnit) -> None:
    unit = unit.double().eval()
    x = torch.randn(2, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, (x,))
    assert torch.autograd.gradgradcheck(unit, (x,))


def test_state_without_bias(unit: GlobalReasoningUnit) -> None:
    x = torch.randn(2, 6, 3, 2)
    assert unit.conv_state.bias is not None
    nn.init.zeros_(unit.conv_state.bias)
    expected = unit(x)
    unit.conv_state.bias = None
    torch.testing.assert_close(unit(x), expected)


@pytest.mark.parametrize("training", [False, True])
def test_tokens_are_a_map_without_its_second_axis(training: bool) -> None:
    """dims=1 on the tokens (N, D, L) of a transformer, dims=2 on the map (N, D, h, w) of these."""
    torch.manual_seed(3)
    on_tokens = GlobalReasoningUnit(6, 3, dims=1, zero_init=False).double().train(training)
    on_map = GlobalReasoningUnit(6, 3, dims=2, zero_init=False).double().train(training)
    state = on_tokens.state_dict()
    on_map.load_state_dict({k: v.reshape(on_map.state_dict()[k].shape) for k, v in state.items()})
    tokens = torch.randn(2, 4 * 5, 6, dtype=torch.float64).mT.contiguous().requires_grad_()
    as_map = tokens.detach().unflatten(2, (4, 5)).requires_grad_()
    weight = torch.randn(2, 6, 4 * 5, dtype=torch.float64)
    one, other = on_tokens(tokens), on_map(as_map)
    torch.testing.assert_close(other.flatten(2), one, rtol=0, atol=1e-12)
    (one * weight).sum().backward()
    (other * weight.view_as(other)).sum().backward()
    assert tokens.grad is not None
    assert as_map.grad is not None
    torch.testing.assert_close(as_map.grad.flatten(2), tokens.grad, rtol=0, atol=1e-12)
    order = torch.randperm(20)
    torch.testing.assert_close(on_tokens(tokens[..., order]), on_tokens(tokens)[..., order])


def test_projection_without_bias(unit: GlobalReasoningUnit) -> None:
    x = torch.randn(2, unit.in_channels, 5, 4)
    without = copy.deepcopy(unit)
    assert unit.conv_proj.bias is not None
    nn.init.zeros_(unit.conv_proj.bias)
    without.conv_proj.register_parameter("bias", None)
    results = without(x), unit(x)
    torch.testing.assert_close(*results)
    for result in results:
        result.square().sum().backward()
    torch.testing.assert_close(without.conv_proj.weight.grad, unit.conv_proj.weight.grad)


def test_batch_of_one_trains_on_a_map(unit: GlobalReasoningUnit) -> None:
    assert unit(torch.randn(1, 6, 2, 1)).isfinite().all()


def test_one_value_a_channel_in_training_is_refused(unit: GlobalReasoningUnit) -> None:
    x = torch.randn(1, 6, 1, 1)
    with pytest.raises(ValueError, match="x: expected more than one value a channel in training"):
        unit(x)
    assert unit.eval()(x).isfinite().all()
    assert unit.train()(torch.randn(2, 6, 1, 1)).isfinite().all()
    unit.blocker.eval()
    assert unit(x).isfinite().all()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layout_of_the_input_is_kept(dtype: torch.dtype, training: bool) -> None:
    wide = torch.randn(2, 6, 5, 4, 3)
    inputs = {
        1: wide[..., 0, 0].transpose(1, 2).contiguous().transpose(1, 2),
        2: wide[..., 0].to(memory_format=torch.channels_last),
        3: wide.to(memory_format=torch.channels_last_3d),
    }
    for dims, x in inputs.items():
        unit = GlobalReasoningUnit(6, 4, dims=dims).train(training)
        x = x.to(dtype)
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            y = unit(x)
        assert y.stride() == x.stride(), dims
        assert torch.equal(y, x), dims  # zero initialisation: the identity


def test_works_as_a_module(unit: GlobalReasoningUnit) -> None:
    unit.eval()
    x = torch.randn(2, 6, 5, 4)
    y = unit(x)
    assert torch.equal(copy.deepcopy(unit)(x), y)
    assert torch.equal(pickle.loads(pickle.dumps(unit))(x), y)
    channels_last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(unit(channels_last), y)
    torch.testing.assert_close(nn.SyncBatchNorm.convert_sync_batchnorm(unit)(x), y)
    assert unit(x[:0]).shape == (0, 6, 5, 4)
    assert "6, 3, state_channels=6, dims=2, normalize=False" in repr(unit)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(unit: GlobalReasoningUnit, dtype: torch.dtype) -> None:
    unit.eval()
    x = torch.randn(2, 6, 5, 4)
    y = unit(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert unit(x).dtype == torch.float32
    halved = copy.deepcopy(unit).to(dtype)(x.to(dtype))
    assert halved.dtype == dtype
    torch.testing.assert_close(halved.float(), y, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("shape", [(2, 6, 5), (6, 5, 5), (2, 6, 5, 5, 5)])
def test_wrong_axes_are_refused(unit: GlobalReasoningUnit, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x: expected shape \(N, channels, H, W\), got"):
        unit(torch.zeros(shape))


def test_wrong_input_is_refused(unit: GlobalReasoningUnit) -> None:
    with pytest.raises(ValueError, match="x: expected channels = 6, as in_channels, got .* 5"):
        unit(torch.zeros(2, 5, 3, 3))
    with pytest.raises(ValueError, match="x: expected W of at least 1, got shape"):
        unit(torch.zeros(2, 6, 3, 0))
    with pytest.raises(TypeError, match="x: expected a floating-point tensor, got torch.int64"):
        unit(torch.zeros(2, 6, 3, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="x: expected a torch.Tensor, got list"):
        unit([1])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("scale", [1, 10, 50])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_overflow(normalize: bool, scale: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    unit = GlobalReasoningUnit(64, 16, normalize=normalize, zero_init=False)
    x = torch.randn(1, 64, 32, 32) * scale
    expected = unit(x)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(unit(x), expected)
        halved = unit(x.to(dtype))
    assert halved.dtype == dtype
    torch.testing.assert_close(halved.float(), expected, rtol=0.02, atol=0.1 * scale)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="num_nodes: expected an integer of at least 1, got 0"):
        GlobalReasoningUnit(4, 0)
    with pytest.raises(ValueError, match="in_channels: expected an integer of at least 1, got -3"):
        GlobalReasoningUnit(-3, 4)
    with pytest.raises(TypeError, match=r"state_channels: expected an integer, got float 2\.5"):
        GlobalReasoningUnit(4, 4, state_channels=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dims: expected 1, 2 or 3, got 4"):
        GlobalReasoningUnit(4, 4, dims=4)
    with pytest.raises(TypeError, match="normalize: expected a bool, got str 'no'"):
        GlobalReasoningUnit(4, 4, normalize="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, None])
@pytest.mark.parametrize("tracked", [True, False])
def test_batch_norm_is_that_of_the_module(momentum: float | None, tracked: bool) -> None:
    """Folded or run as a module (here because of a hook): same results, running statistics."""
    torch.manual_seed(0)
    folded = GlobalReasoningUnit(6, 3, zero_init=False).double()
    folded.blocker = torch.nn.BatchNorm2d(
        6, eps=1e-4, momentum=momentum, track_running_stats=tracked
    ).double()
    as_module = copy.deepcopy(folded)
    runs: list[object] = []
    as_module.blocker.register_forward_hook(lambda *_: runs.append(1))
    assert folded._folds() == (momentum is not None)
    assert not as_module._folds()
    for training in (True, True, False, True):
        x = torch.randn(2, 6, 5, 4, dtype=torch.float64) + 3
        results = [unit.train(training)(x) for unit in (folded, as_module)]
        torch.testing.assert_close(results[0], results[1])
    assert len(runs) == 4
    states = [unit.blocker.state_dict() for unit in (folded, as_module)]
    torch.testing.assert_close(states[0], states[1])
