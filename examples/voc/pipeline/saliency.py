"""Where the saliency of a picture comes from: a folder, a function, or nowhere."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsss_nonsalient.io import read_saliency, write_label

from .config import Config
from .photos import Photo, read_image
from .run_folder import Run

NONE = "none"
SaliencyFunction = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def check_saliency(config: Config) -> None:
    """Refuse a source that cannot work, before hours are spent.

    Raises:
        ValueError: The function cannot be imported; or NSRM is to take saliency that there is not.
    """
    source = config.data.saliency
    if is_function(source):
        saliency_function(source)
    elif source == NONE and config.mask.use_saliency:
        raise ValueError("mask.use_saliency: expected false with data.saliency none, got true")


def is_function(source: str) -> bool:
    """Whether the source is an import path `module:function`, not a folder."""
    return re.fullmatch(r"[A-Za-z_][\w.]+:\w+", source) is not None


def saliency_function(source: str) -> SaliencyFunction:
    """The function of an import path `module:function`."""
    module, _, name = source.partition(":")
    try:
        function: SaliencyFunction = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"data.saliency: expected a folder, none or module:function, got {source!r} ({error})"
        ) from error
    return function


def with_source(photos: Iterable[Photo], root: Path, source: str) -> list[Photo]:
    """The pictures with the saliency maps that labels are made from, if these are files."""
    return [replace(photo, saliency=root / source / f"{photo.key}.png") for photo in photos]


def saliency_of(run: Run, photo: Photo) -> Tensor | None:
    """The uint8 saliency map (H, W) that labels are made from; None: there is none.

    What a function gives is kept in the run folder as `saliency/ID.png`.
    """
    source = run.config.data.saliency
    if source == NONE:
        return None
    if not is_function(source):
        return read_saliency(run.data.root / source / f"{photo.key}.png")
    path = run.folder / "saliency" / f"{photo.key}.png"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label(path, _computed(source, photo), palette=None)
    return read_saliency(path)


def _computed(source: str, photo: Photo) -> Tensor:
    picture = np.ascontiguousarray(read_image(photo.image).numpy().transpose(1, 2, 0))
    saliency = np.asarray(saliency_function(source)(picture))
    wanted = f"{photo.image}: expected {source} to give {picture.shape[:2]} values in [0, 1]"
    if saliency.shape != picture.shape[:2]:
        raise ValueError(f"{wanted}, got {saliency.shape}")
    if not ((saliency >= 0) & (saliency <= 1)).all():
        raise ValueError(f"{wanted}, got {saliency.min()} to {saliency.max()}")
    return torch.from_numpy((saliency * 255).round().astype(np.uint8))
