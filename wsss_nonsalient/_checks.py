"""Checks of types, shapes, devices and options: one line an argument, one wording an error."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor

Kind = Literal["image", "label", "multi-hot", "float", "bool", "mask"]
Choice = TypeVar("Choice", bound=str)

_FLOATS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
WIDE_UNSIGNED = frozenset(
    getattr(torch, name) for name in ("uint16", "uint32", "uint64") if hasattr(torch, name)
)
_NATIVE_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
_INTEGERS = _NATIVE_INTEGERS | WIDE_UNSIGNED
_BOOL = frozenset({torch.bool})

_KINDS: dict[Kind, tuple[frozenset[torch.dtype], str]] = {
    "image": (_FLOATS | {torch.uint8}, "a floating-point tensor in [0, 1] or a uint8 tensor"),
    "label": (_INTEGERS, "an integer tensor"),
    "multi-hot": (_FLOATS | _NATIVE_INTEGERS | _BOOL, "a bool, integer or floating-point tensor"),
    "float": (_FLOATS, "a floating-point tensor"),
    "bool": (_BOOL, "a bool tensor"),
    "mask": (_NATIVE_INTEGERS | _BOOL, "a bool or integer tensor"),
}


class Sizes:
    """What the earlier arguments of a call fixed: named axes, batch axes and device."""

    def __init__(
        self, *, one_device: bool = True, with_values: bool = False, **axes: tuple[int, str]
    ) -> None:
        self.one_device = one_device
        self.with_values = with_values
        self.axes = axes  # name -> (size, which argument fixed it)
        self.batch: tuple[tuple[int, ...], str] | None = None
        self.device: tuple[torch.device, str] | None = None

    def __getitem__(self, axis: str) -> int:
        return self.axes[axis][0]


def check_tensor(name: str, tensor: Tensor, axes: str, kind: Kind, sizes: Sizes) -> None:
    """Check type, dtype, number of axes, sizes and device, in words that name the argument.

    ``axes`` names them, as ``"* C H W"``: a leading star stands for any number of batch axes.
    Axes of one name have one size over all arguments of a call, at least 1 (but N, the images, may
    be 0).
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {described(tensor)}")
    dtypes, wanted = _KINDS[kind]
    if tensor.dtype not in dtypes:
        raise TypeError(f"{name}: expected {wanted}, got {tensor.dtype}")
    _check_shape(name, tensor, axes, sizes)
    if sizes.with_values and tensor.is_meta:
        raise ValueError(f"{name}: expected values, got a tensor on the device meta, without any")
    if sizes.device is None:
        sizes.device = (tensor.device, name)
    elif sizes.one_device and sizes.device[0] != tensor.device:
        device, owner = sizes.device
        raise ValueError(f"{name}: expected device {device}, as {owner}, got {tensor.device}")


def _check_shape(name: str, tensor: Tensor, axes: str, sizes: Sizes) -> None:
    names = axes.split()
    shape = tuple(tensor.shape)
    batched = names[0] == "*"
    own = names[1:] if batched else names
    if len(shape) < len(own) or (not batched and len(shape) != len(own)):
        raise ValueError(f"{name}: expected shape ({', '.join(names)}), got {shape}")
    split = len(shape) - len(own)
    for axis, size in zip(own, shape[split:], strict=True):
        _check_axis(name, shape, axis, size, sizes)
    if not batched:
        return
    if sizes.batch is None:
        sizes.batch = (shape[:split], name)
    elif sizes.batch[0] != shape[:split]:
        batch, owner = sizes.batch
        raise ValueError(
            f"{name}: expected batch axes {batch}, as {owner}, got {shape[:split]} "
            f"(shape {shape}, read as ({', '.join(names)}))"
        )


def _check_axis(name: str, shape: tuple[int, ...], axis: str, size: int, sizes: Sizes) -> None:
    if axis not in sizes.axes:
        if size < 1 and axis != "N":
            raise ValueError(f"{name}: expected {axis} of at least 1, got shape {shape}")
        sizes.axes[axis] = (size, name)
    elif sizes.axes[axis][0] != size:
        known, owner = sizes.axes[axis]
        raise ValueError(
            f"{name}: expected {axis} = {known}, as {owner}, got {axis} = {size} (shape {shape})"
            f"{_size_hint(axis, known, size)}"
        )


def _size_hint(axis: str, known: int, size: int) -> str:
    if axis == "C" and known > 1 and abs(known - size) == 1:
        return "; maps and image-level labels have foreground classes only, no background channel"
    if axis == "C" and size == 1:
        return "; image-level labels are multi-hot, one entry a class"
    if axis in ("H", "W"):
        return "; resize one of them first (resize_cam for maps)"
    return ""


def check_number(
    name: str, value: float, *, low: float = 0.0, high: float = 1.0, hint: str = ""
) -> None:
    """Check that an option is a real number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {described(value)}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a number in [{low:g}, {high:g}], got {value}{hint}")


def check_positive(name: str, value: float) -> None:
    """Check that an option is a real number above 0 and finite."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {described(value)}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a number above 0, got {value}")


def check_integer(name: str, value: int, *, minimum: int) -> None:
    """Check that an option is an integer of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an integer, got {described(value)}")
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, got {value}")


def check_side(name: str, value: float) -> None:
    """Check that an option is an integer of at least 1, or a float in (0, 1): a relative side."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected an integer or a float in (0, 1), got {described(value)}")
    if not (value >= 1 if isinstance(value, numbers.Integral) else 0 < value < 1):
        raise ValueError(
            f"{name}: expected an integer of at least 1 or a float in (0, 1), got {value}"
        )


def check_bool(name: str, value: bool) -> None:
    """Check that an option is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected a bool, got {described(value)}")


def check_choice(name: str, value: Choice, choices: Sequence[Choice]) -> None:
    """Check that an option is one of the words that it may be."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def check_text(name: str, value: str) -> None:
    """Check that an option is a string that UTF-8 can encode."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, got {described(value)}")
    if not _is_text(value):
        raise ValueError(f"{name}: expected a string that UTF-8 can encode, got {value!a}")


def _is_text(value: str) -> bool:
    return value.isascii() or value.encode("utf-8", "replace").decode() == value


def check_size(name: str, size: Sequence[int]) -> tuple[int, int]:
    """Check that a size is (height, width) and return it as a tuple."""
    if isinstance(size, str) or not isinstance(size, Sequence) or len(size) != 2:
        raise TypeError(f"{name}: expected two integers (height, width), got {size!r}")
    for side in size:
        check_integer(name, side, minimum=1)
    return int(size[0]), int(size[1])


def check_ignore_index(
    ignore_index: int, dtypes: dict[str, torch.dtype], num_classes: int | None = None
) -> int:
    """Check that ``ignore_index`` is no label and that it and all labels fit the dtypes.

    ``num_classes`` counts foreground classes, so labels are 0..num_classes. Returns it as Python's
    int: NumPy's own decide in which dtype arrays are compared and added.
    """
    check_integer("ignore_index", ignore_index, minimum=-(2**63))
    highest = num_classes or 0
    if 0 <= ignore_index <= highest:
        used = f"0 to {highest} are labels" if highest else "0 is the background"
        raise ValueError(
            f"ignore_index: expected a value that is no label, got {ignore_index}: {used}"
        )
    for name, dtype in dtypes.items():
        if dtype not in _INTEGERS:
            raise TypeError(f"{name}: expected an integer dtype, got {dtype}")
        info = torch.iinfo(dtype)
        largest = min(info.max, torch.iinfo(torch.int64).max)
        if highest > largest or not info.min <= ignore_index <= largest:
            raise ValueError(
                f"{name}: expected a dtype that holds the labels 0 to {highest} and ignore_index "
                f"{ignore_index}, got {dtype} with {info.min} to {largest}"
            )
    return int(ignore_index)


def check_keys(keys: Sequence[str]) -> list[str]:
    """Check that keys are strings, several of them, and return them as a list."""
    if isinstance(keys, str) or not isinstance(keys, Sequence):
        raise TypeError(f"keys: expected a sequence of strings, got {described(keys)}")
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"keys: expected strings, got {described(key)}")
        if not _is_text(key):
            raise ValueError(f"keys: expected strings that UTF-8 can encode, got {key!a}")
    return list(keys)


def described(value: object) -> str:
    """Type and value of an argument, for an error."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
