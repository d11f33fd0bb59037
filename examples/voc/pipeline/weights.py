"""Weights of networks: read without running what a pickle asks for, and loaded name by name."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

_SHOWN = 30  # names of each kind in an error
_COUNTER = "num_batches_tracked"  # of a batch norm: old files lack it, and nothing depends on it


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name.

    A file of `torch.save` is read with `weights_only=True`: it cannot run code. It holds a state
    dict, or one under `state_dict` beside the optimizer and the like.

    Args:
        path: A `.safetensors` file, or one that `torch.save` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} is no file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: expected a state dict, tensors by name, and nothing that takes code to read"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, LookupError) as error:
        raise ValueError(f"{path} is no weights file, or it is damaged: {error}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path}: expected a state dict, tensors by name, got {type(content)}")
    others = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(f"{path}: expected tensors by name, but {shown(others)} are none")
    return {str(name): value for name, value in content.items()}


def load_named(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str,
    names: Mapping[str, str] | None = None,
    left_over: Collection[str] = (),
) -> None:
    """Load every parameter and every buffer of a module, each from the tensor of its name.

    Args:
        module: What is loaded, in place.
        state: Tensors by name.
        source: Where they are from, for errors.
        names: The name in `state` of each entry of the module's state dict; None: the same.
        left_over: Names in `state` that may be there and are not loaded.

    Raises:
        ValueError: Names are missing, unknown, or of tensors of another shape. All are listed.
    """
    own = module.state_dict()
    given = {key: names[key] if names else key for key in own}
    found = {key: name for key, name in given.items() if name in state}
    known = {*given.values(), *left_over}
    faults = {
        "missing": [
            name for key, name in given.items() if key not in found and not key.endswith(_COUNTER)
        ],
        "unknown": [name for name in state if name not in known],
        "of another shape": [
            f"{name} (expected {tuple(own[key].shape)}, got {tuple(state[name].shape)})"
            for key, name in found.items()
            if state[name].shape != own[key].shape and not key.endswith(_COUNTER)
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {shown(names)}" for kind, names in faults.items() if names)
        raise ValueError(f"{source} does not fit the network. Names {listed}")
    values = {
        key: state[name] for key, name in found.items() if state[name].shape == own[key].shape
    }
    module.load_state_dict({**own, **values})


def released_names(names: Iterable[str], state: Mapping[str, Tensor]) -> dict[str, str]:
    """What a file of the released implementation calls each of these names.

    It may put the `module.` of DataParallel before them, and leave out `base.` throughout.
    """
    wrapped = any(name.startswith("module.") for name in state)
    based = any(name.removeprefix("module.").startswith("base.") for name in state)
    found = {}
    for name in names:
        plain = name if based else name.removeprefix("base.")
        inner = f"module.{plain}"
        found[name] = inner if inner in state or (wrapped and plain not in state) else plain
    return found


def shown(names: Iterable[str]) -> str:
    """Names for an error: all of them, unless there are very many."""
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
