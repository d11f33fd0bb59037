"""The CAM dumps of other codebases that are one .npy file an image, as objects to and from CAMs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .._values import from_array, to_list
from ._arrays import Array, is_array, is_dict, is_list, native
from ._files import RefusedError, shown
from .cams import CAMs

Entries = Mapping[int, Array] | Mapping[str, Array | Tensor]


class DictFormat(NamedTuple):
    """One of the formats that pickle a dictionary."""

    parse: Callable[[Any, int], CAMs]  #: from the dictionary and the file's length
    build: Callable[[CAMs], Entries]


def make_cams(classes: Sequence[int] | Array, maps: Sequence[Array] | Array, size: int) -> CAMs:
    """Put maps in ascending order of class; ``size`` is the file's length, which bounds memory."""
    maps = list(maps)
    if len(classes) != len(maps):
        raise RefusedError(f"it has {len(classes)} classes, but {len(maps)} maps")
    ids = [_class_id(c) for c in classes]
    if len(set(ids)) < len(ids):
        raise RefusedError("it has a class twice")
    if not maps:
        return CAMs(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 0, 0))
    _check_maps(maps, size)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    stacked = np.stack([native(maps[i]) for i in order])
    if stacked.dtype.kind == "f" and not np.isfinite(stacked).all():
        raise RefusedError("its maps have NaN or infinite values")
    return CAMs(torch.tensor([ids[i] for i in order]), from_array(stacked))


def _check_maps(maps: list[Array], size: int) -> None:
    first = maps[0]
    for item in maps:
        if not is_array(item) or item.ndim != 2 or 0 in item.shape:
            raise RefusedError(f"expected maps of shape (H, W), got {_described(item)}")
        if item.shape != first.shape or item.dtype != first.dtype:
            raise RefusedError(f"its maps differ: {_described(first)} and {_described(item)}")
    if first.dtype.kind != "f" and first.dtype != np.uint8:
        raise RefusedError(f"expected maps of floating point or uint8, got {_described(first)}")
    if sum(item.nbytes for item in maps) > 8 * size + 2**20:
        raise RefusedError("it unpacks to far more than its own size")


def _class_id(value: Any) -> int:
    if isinstance(value, np.integer):
        value = value.item()
    if type(value) is not int or not 0 <= value < 2**31:
        raise RefusedError(f"expected classes from 0, got {shown(ascii(value))}")
    return value


def _described(value: Any) -> str:
    if is_array(value):
        return f"shape {value.shape} of {value.dtype}"
    return type(value).__name__


def _entry(value: Any, *names: str) -> Any:
    for name in names:
        if name in value:
            return value[name]
    raise RefusedError(f"it has no {names[0]!r}, but {shown(', '.join(map(ascii, value)))}")


def _keys(value: Any) -> Array:
    keys = _entry(value, "keys")
    if is_list(keys):
        keys = np.array([_class_id(key) for key in keys], np.int64)
    if not is_array(keys) or keys.ndim != 1 or keys.dtype.kind not in "iuf":
        raise RefusedError(f"expected 'keys' of shape (n,), integers, got {_described(keys)}")
    if keys.dtype.kind == "f" and keys.size:
        raise RefusedError(f"expected 'keys' of integers, got {keys.dtype}")
    return keys


def _maps(value: Any, *names: str) -> Array:
    maps = _entry(value, *names)
    if not is_array(maps) or (maps.ndim != 3 and maps.size):
        raise RefusedError(f"expected {names[0]!r} of shape (n, H, W), got {_described(maps)}")
    return maps if maps.size else np.zeros((0, 0, 0), np.float32)


def _check_dict(value: Any, keys: type) -> None:
    if not is_dict(value):
        raise RefusedError(f"expected a dictionary, got {_described(value)}")
    for key in value:
        if type(key) is not keys:
            raise RefusedError(
                f"expected {keys.__name__} as dictionary keys, got {shown(ascii(key))}"
            )


def _parse_psa(value: Any, size: int) -> CAMs:
    _check_dict(value, int)
    return make_cams(list(value), list(value.values()), size)


def _parse_psa_crf(value: Any, size: int) -> CAMs:
    _check_dict(value, int)
    if 0 not in value:
        raise RefusedError("it has no 0, the background, so it is not psa-crf; is it psa?")
    items = {key - 1: item for key, item in value.items() if key != 0}
    return make_cams(list(items), list(items.values()), size)


def _parse_irn(value: Any, size: int) -> CAMs:
    _check_dict(value, str)
    return make_cams(_keys(value), _maps(value, "high_res", "cam"), size)


def _parse_puzzlecam(value: Any, size: int) -> CAMs:
    _check_dict(value, str)
    keys = _keys(value)
    if not len(keys) or int(keys[0]) != 0:
        raise RefusedError("its 'keys' do not start with 0, so it is not puzzlecam; is it irn?")
    return make_cams(keys[1:].astype(np.int64) - 1, _maps(value, "hr_cam", "cam"), size)


def _parse_clip_es(value: Any, size: int) -> CAMs:
    _check_dict(value, str)
    return make_cams(_keys(value), _maps(value, "attn_highres"), size)


def float_maps(cams: CAMs) -> Array:
    """(K, H, W) float32; uint8 maps divided by 255."""
    maps = cams.maps.detach().cpu()
    array: Array = (maps.float() / 255 if maps.dtype == torch.uint8 else maps.float()).numpy()
    return array


def _coarse(maps: Array) -> Tensor:
    """(K, H / 4, W / 4), rounded up."""
    if not maps.size:
        return from_array(maps)
    size = [(side + 3) // 4 for side in maps.shape[1:]]
    return interpolate(from_array(maps)[None], size, mode="bilinear", align_corners=False)[0]


def _build_psa(cams: CAMs) -> Entries:
    return dict(zip(to_list(cams.classes), float_maps(cams), strict=True))


def _build_psa_crf(cams: CAMs) -> Entries:
    maps = float_maps(cams)
    if maps.size and not (maps.min() >= 0 and maps.max() <= 1):
        raise ValueError("cams: expected maps in [0, 1] for psa-crf, which holds probabilities")
    background = 1 - maps.max(axis=0) if len(maps) else np.ones(maps.shape[1:], np.float32)
    classes = [c + 1 for c in to_list(cams.classes)]
    return {0: background, **dict(zip(classes, maps, strict=True))}


def _build_irn(cams: CAMs) -> Entries:
    maps = float_maps(cams)
    entries: dict[str, Array | Tensor] = {"keys": cams.classes.cpu(), "cam": _coarse(maps)}
    return {**entries, "high_res": maps}


def _build_puzzlecam(cams: CAMs) -> Entries:
    maps = float_maps(cams)
    keys = np.concatenate([[0], cams.classes.cpu().numpy() + 1]).astype(np.int64)
    entries: dict[str, Array | Tensor] = {"keys": keys, "cam": _coarse(maps)}
    return {**entries, "hr_cam": maps}


def _build_clip_es(cams: CAMs) -> Entries:
    with np.errstate(over="ignore"):
        maps = float_maps(cams).astype(np.float16)
    if not np.isfinite(maps).all():
        raise ValueError("cams: expected maps that float16 can hold, for clip-es")
    return {"keys": cams.classes.cpu().numpy(), "attn_highres": maps}


DICT_FORMATS = {
    "psa": DictFormat(_parse_psa, _build_psa),
    "psa-crf": DictFormat(_parse_psa_crf, _build_psa_crf),
    "irn": DictFormat(_parse_irn, _build_irn),
    "puzzlecam": DictFormat(_parse_puzzlecam, _build_puzzlecam),
    "clip-es": DictFormat(_parse_clip_es, _build_clip_es),
}


def possible_formats(value: Any) -> tuple[str, ...]:
    """The formats that the content of an .npy file can be, from its keys alone."""
    if is_array(value):
        return ("wsol",) if value.ndim == 2 else ()
    if not is_dict(value):
        return ()
    if all(type(key) is int for key in value):
        if not value:
            return ("psa",)
        return ("psa", "psa-crf") if 0 in value else ("psa",)
    if "keys" not in value:
        return ()
    marks = {"irn": "high_res", "puzzlecam": "hr_cam", "clip-es": "attn_highres"}
    found = tuple(name for name, mark in marks.items() if mark in value)
    if not found and "cam" in value:
        keys, cam = value["keys"], value["cam"]
        sized = (is_array(keys) or is_list(keys)) and is_array(cam) and cam.ndim
        return ("puzzlecam",) if sized and len(keys) == len(cam) + 1 else ("irn",)
    return found
