"""Values of arguments: what dtype they are read in, and whether they are what they must be.

Checks of values cost a synchronisation on a GPU, so they are made only where :func:`reads_values`
allows it, and :func:`verify` reads all of a call's in one go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._checks import WIDE_UNSIGNED, check_bool

Array = np.ndarray[Any, np.dtype[Any]]
_BITS_OF_ONE = {4: 0x3F800000, 8: 0x3FF0000000000000}  #: of float32 and of float64
TensorOrArray = Any  #: for operators that both have alike

_value_checks: ContextVar[bool | None] = ContextVar("value_checks", default=None)


@contextmanager
def value_checks(enabled: bool) -> Generator[None, None, None]:
    """Turn the checks of tensor *values* off, or fully on, inside a ``with`` block.

    Label functions check values (NaN, range, 0/1 labels, label range) by default, with one read of
    the device a call; losses check those of their targets on the CPU only. ``value_checks(False)``
    leaves all of these out, so that nothing synchronises; ``value_checks(True)`` lets losses check
    on a GPU too. Types, shapes, devices and options are checked always. The setting belongs to the
    current thread (or task) and blocks nest. Compiling and exporting leave value checks out.

    Args:
        enabled: False for no value checks, True for all of them.

    Raises:
        TypeError: ``enabled`` is not a bool.

    Example:
        >>> import torch
        >>> from wsss_nonsalient import normalize_cam, value_checks
        >>> with value_checks(False):
        ...     normalize_cam(torch.tensor([[[1.0, 2.0]]]))
        tensor([[[0.5000, 1.0000]]])
    """
    check_bool("enabled", enabled)
    token = _value_checks.set(enabled)
    try:
        yield
    finally:
        _value_checks.reset(token)


def is_traced() -> bool:
    """Whether this call is being compiled or exported, where values have no meaning."""
    return torch.compiler.is_compiling()


def is_eager_cpu(tensor: Tensor) -> bool:
    """Whether to go the ways of a CPU: values can be read, and kernels are not fused."""
    return tensor.device.type == "cpu" and not is_traced()


def reads_values(tensor: Tensor, *, in_training_step: bool = False) -> bool:
    """Whether values may be checked now, which on a GPU costs one synchronisation."""
    if is_traced() or tensor.is_meta:
        return False
    enabled = _value_checks.get()
    if enabled is None:
        return not in_training_step or tensor.device.type == "cpu"
    return enabled


def native_integers(labels: Tensor) -> Tensor:
    """Labels in a dtype that all operations support; uint16 and wider unsigned become int64."""
    return labels.to(torch.int64) if labels.dtype in WIDE_UNSIGNED else labels


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in: float64 if any tensor is, else float32 (half precision too)."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def unit_interval(image: Tensor, dtype: torch.dtype) -> Tensor:
    """An image-like tensor in [0, 1]: uint8 means value / 255."""
    if image.dtype != torch.uint8:
        return image.to(dtype)
    # a tensor on the device: a GPU divides by a Python number through its rounded reciprocal
    return image.to(dtype) / torch.full((), 255, dtype=dtype, device=image.device)


def to_list(tensor: Tensor) -> list[Any]:
    """``Tensor.tolist`` with a type: torch's own stub leaves the items unknown."""
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def from_array(array: Any) -> Tensor:
    """A tensor of a NumPy array that may be written to."""
    result: Tensor = torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]
    return result


def to_array(tensor: Tensor) -> Array:
    """The values of a tensor on a CPU; of half precision, which NumPy is slow at, in float32."""
    is_half = tensor.dtype in (torch.float16, torch.bfloat16)
    array: Array = (tensor.float() if is_half else tensor).detach().resolve_neg().numpy()
    return array


def readable(tensor: Tensor) -> TensorOrArray:
    """An array where values can be read, whose calls take less, and elsewhere the tensor."""
    return to_array(tensor) if is_eager_cpu(tensor) else tensor


class Claim(NamedTuple):
    """Something that must hold of values: whether it does, and what to say if it does not."""

    holds: Tensor | bool  #: a 0-d bool tensor, or where values cost nothing to read a bool
    message: Callable[[], str]


def verify(*claims: Claim) -> None:
    """Raise the first claim that does not hold; all are read from the device in one go."""
    unread = [claim.holds for claim in claims if isinstance(claim.holds, Tensor)]
    values = iter(to_list(torch.stack(unread)) if unread else [])
    for claim in claims:
        if not (next(values) if isinstance(claim.holds, Tensor) else claim.holds):
            raise ValueError(claim.message())


def finite(name: str, tensor: Tensor) -> Claim:
    """Neither NaN nor infinity."""
    is_finite = torch.isfinite(tensor)

    def message() -> str:
        count = int((~is_finite).sum())
        return f"{name}: expected finite values, got {count} that are NaN or infinite"

    return Claim(is_finite.all(), message)


def bits(floats: Any, *, signed: bool) -> Any:
    """The bits of floating-point values as integers, which are in the order of values from 0 on."""
    return floats.view(f"{'i' if signed else 'u'}{floats.itemsize}")


def is_in_unit_interval(image: Array) -> bool:
    """Whether all values are in [0, 1], in one pass: their bits are at most those of 1."""
    if image.dtype == np.uint8 or not image.size:
        return True
    if bits(image, signed=False).max() <= _BITS_OF_ONE[image.itemsize]:
        return True
    return bool(image.min() >= 0 and image.max() <= 1)  # there may be a -0.0


def in_unit_interval(name: str, *images: Tensor, holds: bool | None = None) -> Claim:
    """Floating-point image-like tensors in [0, 1], without NaN; uint8 ones are.

    ``holds``: what :func:`is_in_unit_interval` said of them, where that is known already.
    """

    def message() -> str:
        wrong = next(w for i in images for w in to_list(i[~((i >= 0) & (i <= 1))][:1]))
        got = "NaN" if math.isnan(wrong) else f"{wrong:g}"
        hint = "; see normalize_cam" if name == "cam" else ""
        return f"{name}: expected values in [0, 1], got {got}{hint}"

    if holds is not None:
        return Claim(holds, message)
    checked = [i for i in images if i.is_floating_point() and i.numel()]
    if all(is_eager_cpu(i) for i in checked):
        return Claim(all(is_in_unit_interval(to_array(i)) for i in checked), message)
    lowest = torch.stack([i.amin() for i in checked])
    highest = torch.stack([i.amax() for i in checked])
    return Claim((lowest >= 0).all() & (highest <= 1).all(), message)


def multi_hot(name: str, labels: Tensor) -> Claim:
    """Exactly 0 or 1 everywhere."""

    def message() -> str:
        wrong = labels[(labels != 0) & (labels != 1)]
        return f"{name}: expected multi-hot labels, exactly 0 or 1, got {wrong[0].item()}"

    values = readable(labels)
    return Claim(((values == 0) | (values == 1)).all(), message)


def in_label_range(name: str, labels: Tensor, num_classes: int, ignore_index: int) -> Claim:
    """Labels 0..num_classes or ``ignore_index``."""

    def message() -> str:
        wide = labels.to(torch.int64)
        valid = ((wide >= 0) & (wide <= num_classes)) | (wide == ignore_index)
        wrong = wide[~valid][0].item()
        return (
            f"{name}: expected labels 0 to {num_classes} or {ignore_index} (ignored), got {wrong}"
        )

    info = torch.iinfo(labels.dtype)
    if not info.min <= ignore_index <= info.max:
        labels = labels.to(torch.int64)  # a narrower one would wrap what it is compared with
    values = readable(labels)
    outside = values > min(num_classes, info.max)
    if info.min < 0:
        outside |= values < 0
    outside &= values != ignore_index
    return Claim(~outside.any(), message)
