"""The global reasoning unit where others break: scales, half precision, odd shapes, copies."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import reference
from wsss_nonsalient import GlobalReasoningUnit

HALVES = [torch.float16, torch.bfloat16]


def make_unit(channels: int = 6, nodes: int = 4, **options: Any) -> GlobalReasoningUnit:
    torch.manual_seed(0)
    return GlobalReasoningUnit(channels, nodes, zero_init=False, **options)


def exact(unit: GlobalReasoningUnit, x: Tensor) -> Tensor:
    """The published order in float64."""
    arrays = {k: v.double().numpy() for k, v in unit.state_dict().items()}
    result, _, _ = reference.global_reasoning(
        x.double().numpy(), arrays, normalize=unit.normalize, training=unit.training
    )
    return torch.from_numpy(result)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("scale", [1, 10, 50])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 64, 32, 32), (2, 64, 7, 13), (1, 64, 1, 2), (3, 64, 1, 1)])
def test_scales_in_single_precision(
    normalize: bool, scale: int, training: bool, shape: tuple[int, ...]
) -> None:
    """As near to float64 as the size of what is added up lets single precision be."""
    unit = make_unit(64, 16, normalize=normalize).train(training)
    x = torch.randn(shape) * scale
    expected = exact(unit, x)
    size = float((expected - x).abs().max()) + float(x.abs().max())
    assert float((unit(x).detach() - expected).abs().max()) <= 2e-4 * size


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("scale", [1, 10, 50])
@pytest.mark.parametrize("normalize", [False, True])
def test_training_under_autocast_has_finite_gradients(
    dtype: torch.dtype, scale: int, normalize: bool
) -> None:
    unit = make_unit(64, 16, normalize=normalize).train()
    x = (torch.randn(2, 64, 32, 32) * scale).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        y = unit(x.to(dtype))
    y.float().square().mean().backward()  # outside, as PyTorch asks for
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in unit.parameters())


@pytest.mark.parametrize("scale", [1.0, 50.0])
@pytest.mark.parametrize("seed", range(8))
def test_more_nodes_than_positions_in_training(scale: float, seed: int) -> None:
    """The variance of a channel that hardly varies is never negative, however it is added up."""
    unit = make_unit(256, 64)
    torch.manual_seed(seed)
    x = (torch.randn(1, 256, 1, 2) * scale).requires_grad_()
    y = unit(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert _running_variance(unit).isfinite().all()
    assert (_running_variance(unit) >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_channel_without_variance_stays_finite(seed: int) -> None:
    """Channels that two positions do not tell apart: rounding makes no negative variance of it."""
    torch.manual_seed(seed)
    unit = GlobalReasoningUnit(64, 64, zero_init=False)
    x = torch.randn(1, 64, 1, 2) * 50
    with torch.no_grad():
        projection = unit.conv_proj(x).flatten(2)
        nodes = unit.gcn(unit.conv_state(x).flatten(2) @ projection.mT)[0]
        seen = nodes @ projection[0].diff(dim=1)  # what the difference looks like in state space
        weight = unit.conv_extend.weight.flatten(1)
        weight -= weight @ seen @ seen.mT / seen.square().sum()
    y = unit(x)
    assert y.isfinite().all()
    assert _running_variance(unit).isfinite().all()
    assert (_running_variance(unit) >= 0).all()


def _running_variance(unit: GlobalReasoningUnit) -> Tensor:
    variance = unit.blocker.running_var
    assert variance is not None
    return variance


def test_evaluation_after_training_uses_what_was_tracked() -> None:
    unit = make_unit()
    for seed in range(3):
        unit.train()(torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(seed)))
    before = copy.deepcopy(unit.state_dict())
    x = torch.randn(1, 6, 1, 1)
    torch.testing.assert_close(unit.eval()(x).double(), exact(unit, x), rtol=1e-4, atol=1e-4)
    for name, value in unit.state_dict().items():  # evaluation tracks nothing
        assert torch.equal(value, before[name]), name


def _replica(module: nn.Module) -> Any:
    """As DataParallel makes them: parameters are plain tensors of a graph."""
    copies = {own: own._replicate_for_data_parallel() for own in module.modules()}
    for own, replica in copies.items():
        for name, child in own.named_children():
            setattr(replica, name, copies[child])
        for name, parameter in own.named_parameters(recurse=False):
            setattr(replica, name, parameter * 1)
        for name, buffer in own.named_buffers(recurse=False):
            setattr(replica, name, buffer)
    return copies[module]


@pytest.mark.parametrize("training", [False, True])
def test_replicas_of_data_parallel(training: bool) -> None:
    unit = make_unit().train(training)
    x = torch.randn(2, 6, 5, 4)
    other = copy.deepcopy(unit)
    replica = _replica(unit)
    y = replica(x)
    torch.testing.assert_close(y, other(x))
    y.sum().backward()
    other(x).sum().backward()
    for own, twin in zip(unit.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own.grad, twin.grad)


@pytest.mark.parametrize("training", [False, True])
def test_copies_give_the_same(training: bool) -> None:
    unit = make_unit().train(training)
    x = torch.randn(2, 6, 5, 4)
    buffer = io.BytesIO()
    torch.save(unit, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(unit),
        pickle.loads(pickle.dumps(unit)),
        torch.load(buffer, weights_only=False),
        make_unit().train(training),
    ]
    copies[-1].load_state_dict(unit.state_dict())
    expected = unit(x)
    for own in copies:
        assert torch.equal(own(x), expected)
        for name, value in own.state_dict().items():
            assert torch.equal(value, unit.state_dict()[name]), name


def test_converted_to_synchronised_batch_norm() -> None:
    unit = make_unit()
    unit.train()(torch.randn(2, 6, 5, 4))
    x = torch.randn(2, 6, 5, 4)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(unit))
    assert isinstance(converted.blocker, nn.SyncBatchNorm)
    assert list(converted.state_dict()) == list(unit.state_dict())
    torch.testing.assert_close(converted.eval()(x), unit.eval()(x))


@pytest.mark.parametrize("frozen", ["all", "norm", "projection"])
def test_frozen_parameters(frozen: str) -> None:
    unit = make_unit().train()
    own = {"all": unit, "norm": unit.blocker, "projection": unit.conv_proj}[frozen]
    own.requires_grad_(False)
    x = torch.randn(2, 6, 5, 4, requires_grad=True)
    unit(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    still = set(own.parameters())
    for parameter in unit.parameters():
        assert (parameter.grad is None) == (parameter in still)


def test_a_frozen_norm_tracks_nothing_and_is_that_of_evaluation() -> None:
    unit = make_unit().train()
    unit(torch.randn(4, 6, 5, 4))
    unit.blocker.eval()
    before = copy.deepcopy(unit.blocker.state_dict())
    x = torch.randn(2, 6, 5, 4)
    y = unit(x)
    assert torch.equal(y, unit.eval()(x))
    for name, value in unit.blocker.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(2, 6, 3, 2), (2, 6, 1, 1), (1, 6, 2, 1)])
def test_first_and_second_derivatives(training: bool, shape: tuple[int, ...]) -> None:
    unit = make_unit(normalize=True).double().train(training)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, (x,))
    assert torch.autograd.gradgradcheck(unit, (x,))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("training", [False, True])
def test_exports_with_any_number_of_images_and_any_size(dims: int, training: bool) -> None:
    unit = make_unit(dims=dims).train(training)
    torch.compiler.reset()
    sizes: dict[int, Any] = {0: torch.export.Dim("batch", min=2, max=64)}
    sizes |= {2 + axis: torch.export.Dim(f"side{axis}", min=2, max=64) for axis in range(dims)}
    x = torch.randn(3, 6, *range(5, 5 + dims))
    program = torch.export.export(unit, (x,), dynamic_shapes=(sizes,))
    for shape in ((3, 6, *range(5, 5 + dims)), (2, 6, *range(9, 9 + dims))):
        x = torch.randn(shape)
        twin = copy.deepcopy(unit)
        actual, expected = program.module()(x), twin(x)
        rounding = 1e-6 * float(expected.detach().abs().max())  # the sums are added up otherwise
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=rounding)


@pytest.mark.parametrize("training", [False, True])
def test_compiles_whole_and_tracks_the_same(training: bool) -> None:
    torch.compiler.reset()
    unit, plain = make_unit().train(training), make_unit().train(training)
    compiled = torch.compile(unit, fullgraph=True, backend="aot_eager")
    for shape in ((2, 6, 5, 4), (3, 6, 5, 4), (2, 6, 7, 9)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), plain(x))
    torch.testing.assert_close(unit.state_dict(), plain.state_dict())


@pytest.mark.filterwarnings("ignore")  # of the exporter itself
def test_onnx_of_any_size(tmp_path: Any) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    unit = make_unit().eval()
    sizes = {0: "batch", 2: "height", 3: "width"}
    path = tmp_path / "unit.onnx"
    torch.onnx.export(
        unit, (torch.randn(2, 6, 5, 4),), str(path), dynamo=True, dynamic_shapes=(sizes,),
        input_names=["x"],
    )  # fmt: skip
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for shape in ((2, 6, 5, 4), (3, 6, 9, 7)):
        x = torch.randn(shape)
        (got,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), unit(x).detach(), rtol=1e-4, atol=1e-4)
