"""Slow references in plain loops of what the library computes, one image at a time, in NumPy only.

They share no code with the library and favour being obviously right over speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Quartile = Literal["linear", "nested-median"]
Update = tuple[Sequence[str], Array, Array, Array, bool]
Box = Sequence[float]


def _as_unit(values: Array) -> Array:
    """Floats of an image-like array: uint8 means value / 255, float64 stays, others float32."""
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    return values if values.dtype == np.float64 else values.astype(np.float32)


def _present(image_labels: Array) -> list[int]:
    return [c for c in range(len(image_labels)) if image_labels[c]]


def normalize_cam(cam: Array, *, mode: Literal["max", "minmax"] = "max") -> Array:
    """Normalise every map of ``(C, H, W)`` by itself; a map without range gives zeros."""
    kind = np.float64 if cam.dtype == np.float64 else np.float32
    out = np.zeros(cam.shape, dtype=kind)
    for c in range(cam.shape[0]):
        # Both modes are free of scale, so uint8 levels need no division by 255 first.
        low, high = kind(cam[c].min()), kind(cam[c].max())
        if mode == "max":
            low = kind(0)
        if high > low:
            for i, j in np.ndindex(cam[c].shape):
                out[c, i, j] = max(kind(cam[c, i, j]) - low, kind(0)) / (high - low)
    return out


def background_from_cam(cam: Array, image_labels: Array, *, power: float = 1.0) -> Array:
    """Background evidence ``(H, W)`` of maps ``(C, H, W)``."""
    maps = _as_unit(cam)
    out = np.ones(cam.shape[1:], dtype=maps.dtype)
    for i, j in np.ndindex(out.shape):
        strongest = max([maps[c, i, j] for c in _present(image_labels)], default=maps.dtype.type(0))
        out[i, j] = float(maps.dtype.type(1) - strongest) ** power
    return out


def initial_labels(
    cam: Array, saliency: Array, image_labels: Array, *, fg_threshold: float = 0.3,
    conflict_threshold: float = 0.9, attention_threshold: float = 0.8,
    saliency_threshold: float = 32 / 255, ignore_index: int = 255, dtype: npt.DTypeLike = np.uint8,
) -> Array:  # fmt: skip
    """Label map ``(H, W)`` from OA-CAMs ``(C, H, W)`` and saliency ``(H, W)``."""
    maps, salient = _as_unit(cam), _as_unit(saliency)
    map_kind, kind = maps.dtype.type, salient.dtype.type
    out = np.zeros(saliency.shape, dtype=dtype)
    for i, j in np.ndindex(saliency.shape):
        best, label = kind(1) - salient[i, j], 0
        if best < kind(fg_threshold):
            best = kind(0)
        certain = int(best > kind(conflict_threshold))
        attended = False
        for c in _present(image_labels):
            value = maps[c, i, j]
            if value < map_kind(fg_threshold):
                value = map_kind(0)
            certain += int(value > map_kind(conflict_threshold))
            attended = attended or bool(value > map_kind(attention_threshold))
            if value > best:
                best, label = value, c + 1
        doubtful = attended or salient[i, j] >= kind(saliency_threshold)
        if certain >= 2 or (label == 0 and doubtful):
            label = ignore_index
        out[i, j] = label
    return out


def ignore_sparse_labels(
    labels: Array, *, min_object_ratio: float = 0.01, ignore_index: int = 255
) -> Array:
    """The label map, or all ``ignore_index`` where its objects are too few."""
    objects = sum(1 for value in labels.flat if value not in (0, ignore_index))
    if objects / labels.size < min_object_ratio:
        return np.full_like(labels, ignore_index)
    return labels.copy()


def _upper_quartile(ordered: Sequence[Any], quartile: Quartile) -> Any:
    if not ordered:
        return math.inf
    if quartile == "nested-median":
        middle = median(ordered)
        above = [value for value in ordered if value > middle]
        return median(above) if above else math.inf
    # The 75th percentile lies at rank 3 (n - 1) / 4, in whole steps and quarters of one.
    whole, quarters = divmod(3 * (len(ordered) - 1), 4)
    low, high = ordered[whole], ordered[min(whole + 1, len(ordered) - 1)]
    return low + (high - low) * type(low)(quarters / 4)


def pom_thresholds(
    cam: Array, labels: Array, image_labels: Array, *,
    bg_threshold: float = 0.3, quartile: Quartile = "linear", ignore_index: int = 255,
) -> Array:  # fmt: skip
    """POM's threshold of every class, ``(C,)``; +inf where a class mines nothing."""
    maps = _as_unit(cam)
    out = np.full(len(image_labels), np.inf, dtype=maps.dtype)
    for c in _present(image_labels):
        inside, above = [], []
        for i, j in np.ndindex(labels.shape):
            if labels[i, j] == c + 1 and labels[i, j] != ignore_index:
                inside.append(maps[c, i, j])
            if maps[c, i, j] > maps.dtype.type(bg_threshold):
                above.append(maps[c, i, j])
        if any(value != 0 for value in inside):
            out[c] = median(inside)
        else:
            out[c] = _upper_quartile(sorted(above), quartile)
    return out


def _excess(
    maps: Array,
    limits: Array,
    present: Sequence[int],
    i: int,
    j: int,
    rival_threshold: float | None,
) -> float:
    """How far the maps that may mine a pixel are above their thresholds; -inf without any."""
    excess = -math.inf
    for c in present:
        others = [maps[d, i, j] for d in present if d != c]
        if rival_threshold is not None and any(
            value > maps.dtype.type(rival_threshold) for value in others
        ):
            continue
        excess = max(excess, maps[c, i, j] - limits[c])
    return excess


def pom_refine(
    labels: Array, cam: Array, image_labels: Array, *, bg_threshold: float = 0.3,
    quartile: Quartile = "linear", rival_threshold: float | None = None, ignore_index: int = 255,
) -> Array:  # fmt: skip
    """The label map with the background pixels that a CAM believes to be object ignored."""
    maps, present = _as_unit(cam), _present(image_labels)
    options: dict[str, Any] = {"bg_threshold": bg_threshold, "quartile": quartile}
    limits = pom_thresholds(cam, labels, image_labels, ignore_index=ignore_index, **options)
    out = labels.copy()
    for i, j in np.ndindex(labels.shape):
        if labels[i, j] == 0 and _excess(maps, limits, present, i, j, rival_threshold) > 0:
            out[i, j] = ignore_index
    return out


def confident_labels(
    probabilities: Array, image_labels: Array, pseudo_labels: Array | None = None, *,
    background_threshold: float = 0.95, object_threshold: float = 0.3, ignore_index: int = 255,
    dtype: npt.DTypeLike = np.uint8,
) -> Array:  # fmt: skip
    """Label map ``(H, W)`` from probabilities ``(C + 1, H, W)``, the background's first."""
    values = _as_unit(probabilities)
    kind = values.dtype.type
    out = np.full(values.shape[1:], ignore_index, dtype=dtype)
    for i, j in np.ndindex(out.shape):
        objects, best, label = kind(0), kind(-1), 0
        for c in _present(image_labels):
            objects = objects + values[c + 1, i, j]
            if values[c + 1, i, j] > best:
                best, label = values[c + 1, i, j], c + 1
        total = values[0, i, j] + objects
        if total > 0 and objects / total > kind(object_threshold):
            out[i, j] = label
        elif total > 0 and values[0, i, j] / total > kind(background_threshold):
            other = 0 if pseudo_labels is None else pseudo_labels[i, j]
            out[i, j] = other
    return out


def pom_weights(
    cam: Array, labels: Array, image_labels: Array, *, softness: float = 0.2,
    bg_threshold: float = 0.3, quartile: Quartile = "linear",
    rival_threshold: float | None = None, ignore_index: int = 255,
) -> Array:  # fmt: skip
    """The weight of each pixel that takes the place of POM's ignored pixels."""
    maps, present = _as_unit(cam), _present(image_labels)
    options: dict[str, Any] = {"bg_threshold": bg_threshold, "quartile": quartile}
    limits = pom_thresholds(cam, labels, image_labels, ignore_index=ignore_index, **options)
    out = np.ones(labels.shape, dtype=maps.dtype)
    for i, j in np.ndindex(labels.shape):
        if labels[i, j] == ignore_index:
            out[i, j] = 0
        elif labels[i, j] == 0:
            excess = _excess(maps, limits, present, i, j, rival_threshold)
            if excess > 0:
                out[i, j] = max(0.0, 1 - excess / softness) if softness > excess else 0
    return out


def dilate(mask: Array, kernel_size: int) -> npt.NDArray[np.bool_]:
    """Dilation by a square; an even one reaches one pixel more down and right than up and left."""
    # A pixel is lit if its window, which looks the opposite way, holds any lit pixel.
    before, after = kernel_size // 2, (kernel_size - 1) // 2
    out = np.zeros(mask.shape, dtype=np.bool_)
    for i, j in np.ndindex(mask.shape):
        rows = slice(max(i - before, 0), i + after + 1)
        columns = slice(max(j - before, 0), j + after + 1)
        out[i, j] = bool(np.any(mask[rows, columns]))
    return out


def nsrm_mask(
    prediction: Array, pseudo_labels: Array, image_labels: Array, *,
    saliency: Array | None = None, kernel_size: int = 30, min_classes: int = 2,
    keep_ignored: bool = False, restrict_to_image_labels: bool = False, ignore_index: int = 255,
) -> Array:  # fmt: skip
    """The prediction merged with the pseudo label, ignored far from any object."""
    masked = len(_present(image_labels)) >= min_classes
    allowed = {0, ignore_index} | {c + 1 for c in _present(image_labels)}
    out = prediction.copy()
    mask = np.zeros(prediction.shape, dtype=np.bool_)
    for i, j in np.ndindex(prediction.shape):
        predicted, pseudo = int(prediction[i, j]), int(pseudo_labels[i, j])
        pseudo_object = pseudo not in (0, ignore_index)
        label, is_object = predicted, predicted != 0
        if restrict_to_image_labels and predicted not in allowed:
            label = pseudo if pseudo_object else ignore_index
            is_object = pseudo_object
        elif masked and predicted == 0 and pseudo_object:
            label, is_object = pseudo, True
        elif masked and predicted == 0 and keep_ignored and pseudo == ignore_index:
            label = ignore_index
        out[i, j] = label
        # Saliency adds to the objects, it does not stand in for them.
        mask[i, j] = is_object or (saliency is not None and bool(saliency[i, j] != 0))
    if masked:
        out[~dilate(mask, kernel_size)] = ignore_index
    return out


def _log_loss(logit: float) -> float:
    """-log sigmoid(logit), exact for any size of it."""
    return max(-logit, 0.0) + math.log1p(math.exp(-abs(logit)))


def multilabel_soft_margin_loss(
    logits: Array, target: Array, *, weight: Array | None = None
) -> float:
    """Mean over the classes of weight times binary cross-entropy, for one image ``(C,)``."""
    pairs = [(float(x), float(t)) for x, t in zip(logits, target, strict=True)]
    losses = [t * _log_loss(x) + (1 - t) * _log_loss(-x) for x, t in pairs]
    weights = [1.0] * len(losses) if weight is None else [float(w) for w in weight]
    return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / len(losses)


def integral_attention_loss(logits: Array, target: Array) -> float:
    """Mean of the positive side plus mean of the negative one, over all elements that are given."""
    pairs = [(float(x), float(t)) for x, t in zip(logits.flat, target.flat, strict=True)]
    positive = [t * _log_loss(x) for x, t in pairs if t > 0]
    negative = [_log_loss(-x) for x, t in pairs if t == 0]
    return sum(math.fsum(side) / len(side) for side in (positive, negative) if side)


def _reason(x: Array, weights: Mapping[str, Array], normalize: bool) -> Array:
    """One image ``(channels, places)`` up to ``conv_extend``, in the published order."""
    state = weights["conv_state.weight"] @ x + weights["conv_state.bias"][:, None]
    project = weights["conv_proj.weight"] @ x + weights["conv_proj.bias"][:, None]
    nodes = state @ project.T / (x.shape[1] if normalize else 1)
    across = weights["gcn.conv1.weight"] @ nodes.T + weights["gcn.conv1.bias"][:, None]
    reasoned = weights["gcn.conv2.weight"] @ np.maximum(nodes + across.T, 0)
    extended: Array = weights["conv_extend.weight"] @ (reasoned @ project)
    return extended


def global_reasoning(
    x: Array, state: Mapping[str, Array], *, normalize: bool = False, training: bool = False
) -> tuple[Array, Array, Array]:
    """The unit on a batch ``(N, C, *spatial)``, and its running mean and variance afterwards.

    ``state`` has the published parameter names; float64 throughout.
    """
    weights = {k: np.asarray(v, np.float64).reshape(v.shape[:2]) for k, v in state.items()}
    flat = x.reshape(*x.shape[:2], -1).astype(np.float64)
    extended = np.stack([_reason(image, weights, normalize) for image in flat])
    running = np.stack([weights["blocker.running_mean"], weights["blocker.running_var"]])
    out = np.empty_like(flat)
    for c in range(x.shape[1]):
        values = extended[:, c]
        mean, var = running[:, c]
        if training:
            mean = values.sum() / values.size
            var = ((values - mean) ** 2).sum() / values.size
            unbiased = var * values.size / (values.size - 1)
            running[:, c] = 0.9 * running[:, c] + 0.1 * np.array([mean, unbiased])
        scale = weights["blocker.weight"][c] / math.sqrt(var + 1e-4)
        out[:, c] = flat[:, c] + (values - mean) * scale + weights["blocker.bias"][c]
    return out.reshape(x.shape), running[0], running[1]


def _between(length: int, start: Fraction, stop: Fraction, cell: int) -> tuple[int, int, Fraction]:
    """The two values of ``length`` around a cell's centre, and the weight of the second one."""
    position = (cell + Fraction(1, 2) - start) * length / (stop - start) - Fraction(1, 2)
    position = min(max(position, Fraction(0)), Fraction(length - 1))
    lower = math.floor(position)
    return lower, min(lower + 1, length - 1), position - lower


def place_map(
    one_map: Array, box: Box, size: tuple[int, int], *, flipped: bool = False
) -> npt.NDArray[np.float64]:
    """The map ``(h, w)`` of a crop on the grid of the whole image, exactly, and 0 outside."""
    if flipped:
        one_map = np.array([list(reversed(row)) for row in one_map])
    (height, width), (rows, columns) = size, one_map.shape
    left, top, right, bottom = (
        Fraction(round(Fraction(float(share)) * cells * 1024), 1024)
        for share, cells in zip(box, (width, height, width, height), strict=True)
    )
    out = np.zeros(size)
    for i, j in np.ndindex(size):
        y, x = i + Fraction(1, 2), j + Fraction(1, 2)
        if top <= y < bottom and left <= x < right:
            above, below, down = _between(rows, top, bottom, i)
            before, after, along = _between(columns, left, right, j)
            for row, share in ((above, 1 - down), (below, down)):
                for column, part in ((before, 1 - along), (after, along)):
                    out[i, j] += float(share * part) * float(one_map[row, column])
    return out


def accumulate_oa_cams(
    updates: Iterable[Update], *, min_probability: float = 0.1
) -> dict[tuple[str, int], npt.NDArray[np.uint8]]:
    """The uint8 OA-CAM of every key and class that has one, after all updates.

    An update is ``(keys, cams, image_labels, logits, force_missing)``, cams being raw maps.
    """
    stored: dict[tuple[str, int], npt.NDArray[np.uint8]] = {}
    for keys, cams, image_labels, logits, force_missing in updates:
        for n, key in enumerate(keys):
            maps = normalize_cam(cams[n], mode="max")
            for c in _present(image_labels[n]):
                place = (key, c)
                likely = 1 / (1 + math.exp(-float(logits[n, c]))) >= min_probability
                if likely or (force_missing and place not in stored):
                    rounded = [[round(255 * float(value)) for value in row] for row in maps[c]]
                    new = np.array(rounded, dtype=np.uint8)
                    stored[place] = np.maximum(stored.get(place, new), new)
    return stored


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return _share(sum(defined), len(defined))


def segmentation_score(
    prediction: Array, target: Array, num_classes: int, *,
    region: Array | None = None, ignore_index: int = 255,
) -> dict[str, Any]:  # fmt: skip
    """The named results of one prediction, or of many that are stacked."""
    inside = np.ones(target.shape, dtype=np.bool_) if region is None else region
    pixels = zip(prediction.flat, target.flat, inside.flat, strict=True)
    pairs = [(int(p), int(t)) for p, t, counted in pixels if counted and t != ignore_index]
    judged = [(p, t) for p, t in pairs if p != ignore_index]
    ious, strict, precision, recall = [], [], [], []
    for c in range(num_classes):
        hits = sum(p == c and t == c for p, t in judged)
        predicted = sum(p == c for p, _ in judged)
        true = sum(t == c for _, t in judged)
        ious.append(_share(hits, predicted + true - hits))
        strict.append(_share(hits, predicted + sum(t == c for _, t in pairs) - hits))
        precision.append(_share(hits, predicted))
        recall.append(_share(hits, true))
    objects = [(p, t) for p, t in pairs if t != 0]
    others = sum(p not in (0, ignore_index, t) for p, t in objects)
    background = [p not in (0, ignore_index) for p, t in pairs if t == 0]
    return {
        "per_class_iou": np.array(ious),
        "mean_iou": _mean(ious),
        "mean_iou_strict": _mean(strict),
        "pixel_accuracy": _share(sum(p == t for p, t in judged), len(judged)),
        "precision": _mean(precision),
        "recall": _mean(recall),
        "missed": _share(sum(p == 0 for p, _ in objects), len(objects)),
        "objects_ignored": _share(sum(p == ignore_index for p, _ in objects), len(objects)),
        "confused": _share(others, len(objects)),
        "false_objects": _share(sum(background), len(background)),
        "ignored": _share(sum(p == ignore_index for p, _ in pairs), len(pairs)),
    }
