"""Properties of the core, as docs/properties.md lists them; tests/conventions.py has others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import wsss_nonsalient as wn
from tests.functions import FUNCTIONS, LABEL_FUNCTIONS
from tests.helpers import IGNORE, KINDS, Images, assert_same, make_images, many_properties
from tests.test_accumulation import accumulated, batches
from tests.test_accumulation import assert_same as same_state
from tests.test_nsrm import mask, sparse_images

seeds = st.integers(0, 2**32)
kinds = st.sampled_from(KINDS)
thresholds = st.sampled_from([0.0, 0.1, 0.3, 0.45, 0.6, 0.8, 0.95, 1.0])
quartiles = st.sampled_from(["linear", "nested-median"])
modes = st.sampled_from(["max", "minmax"])


def raw_maps(seed: int, kind: str) -> Tensor:
    return make_images(seed, kind=kind).cam * 7 - 3  # type: ignore[arg-type]


def label(images: Images, **options: Any) -> Tensor:
    return images.call(wn.initial_labels, ("cam", "saliency", "image_labels"), **options)


def refine(images: Images, **options: Any) -> Tensor:
    return images.call(wn.pom_refine, ("labels", "cam", "image_labels"), **options)


def find_thresholds(images: Images, **options: Any) -> Tensor:
    return images.call(wn.pom_thresholds, ("cam", "labels", "image_labels"), **options)


def never_more(fewer: Tensor, more: Tensor) -> None:
    """All pixels that the first ignores, the second ignores too."""
    assert ((more == IGNORE) | (fewer != IGNORE)).all()


# Maps.


@many_properties
@given(seeds, kinds, modes)
def test_normalised_maps_reach_from_0_to_1_or_are_0(seed: int, kind: str, mode: Any) -> None:
    cam = wn.normalize_cam(raw_maps(seed, kind), mode=mode)
    highest = cam.amax(dim=(-2, -1))
    assert ((cam >= 0) & (cam <= 1)).all()
    assert ((highest == 1) | (highest == 0)).all()


@many_properties
@given(seeds, kinds, modes, st.sampled_from([torch.float16, torch.float32, torch.float64]))
def test_normalising_twice_is_normalising_once(
    seed: int, kind: str, mode: Any, dtype: torch.dtype
) -> None:
    once = wn.normalize_cam(raw_maps(seed, kind).to(dtype), mode=mode)
    assert_same(wn.normalize_cam(once, mode=mode), once)


@many_properties
@given(seeds, kinds, modes, st.integers(-10, 10))
def test_normalising_forgets_a_scale_of_two(seed: int, kind: str, mode: Any, power: int) -> None:
    cam = raw_maps(seed, kind)
    assert_same(wn.normalize_cam(cam * 2.0**power, mode=mode), wn.normalize_cam(cam, mode=mode))


@many_properties
@given(seeds, kinds, st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_resizing_keeps_range_and_order(seed: int, kind: str, size: tuple[int, int]) -> None:
    lower = make_images(seed, kind=kind).cam  # type: ignore[arg-type]
    higher = torch.maximum(lower, make_images(seed + 1).cam)
    small, large = wn.resize_cam(lower, size), wn.resize_cam(higher, size)
    assert ((small >= 0) & (large <= 1)).all()
    assert (small <= large).all()
    assert_same(wn.resize_cam(lower, lower.shape[-2:]), lower)


# All functions of pictures.


@pytest.mark.parametrize("name", list(LABEL_FUNCTIONS))
@many_properties
@given(seeds)
def test_transposing_commutes(name: str, seed: int) -> None:
    """With flips (tests/conventions.py), all eight ways to turn a picture; odd kernels."""
    function = FUNCTIONS[name]
    arguments = function.arguments(seed)
    turned = {
        key: value.mT if function.kinds[key] != "multi-hot" else value
        for key, value in arguments.items()
    }
    result = function(arguments)
    assert_same(function(turned), result if name == "pom_thresholds" else result.mT)


# Initial labels.


@many_properties
@given(seeds, kinds)
def test_labels_are_background_ignored_or_a_class_of_the_image(seed: int, kind: str) -> None:
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    for own in images.each():
        classes = (own.image_labels.nonzero().flatten() + 1).tolist()
        assert set(label(own).unique().tolist()) <= {0, IGNORE, *classes}


@many_properties
@given(seeds, kinds, thresholds, thresholds)
@pytest.mark.parametrize(
    "option", ["conflict_threshold", "attention_threshold", "saliency_threshold"]
)
def test_a_higher_threshold_never_ignores_more(
    option: str, seed: int, kind: str, one: float, other: float
) -> None:
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    low, high = (label(images, **{option: value}) for value in sorted((one, other)))
    never_more(high, low)


@many_properties
@given(seeds, kinds, thresholds, thresholds)
def test_a_higher_fg_threshold_adds_no_object(
    seed: int, kind: str, one: float, other: float
) -> None:
    """As long as it is not above the conflict threshold."""
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    options = {"conflict_threshold": max(one, other)}
    low, high = (label(images, fg_threshold=v, **options) for v in sorted((one, other)))
    is_object = (high != 0) & (high != IGNORE)
    assert (low[is_object] == high[is_object]).all()


@many_properties
@given(seeds, kinds, thresholds)
def test_less_saliency_keeps_the_background(seed: int, kind: str, factor: float) -> None:
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    less = label(images._replace(saliency=images.saliency * factor))
    assert (less[label(images) == 0] == 0).all()


# POM.


@many_properties
@given(seeds, kinds, thresholds, quartiles)
def test_mining_only_turns_background_to_ignored(
    seed: int, kind: str, bg_threshold: float, quartile: Any
) -> None:
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    refined = refine(images, bg_threshold=bg_threshold, quartile=quartile)
    changed = refined != images.labels
    assert (images.labels[changed] == 0).all()
    assert (refined[changed] == IGNORE).all()


@many_properties
@given(seeds, kinds, thresholds, quartiles)
def test_mining_twice_is_mining_once(
    seed: int, kind: str, bg_threshold: float, quartile: Any
) -> None:
    """Neither threshold looks at which pixels are background and which ignored."""
    options = {"bg_threshold": bg_threshold, "quartile": quartile}
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    once = refine(images, **options)
    again = images._replace(labels=once)
    assert_same(refine(again, **options), once)
    assert_same(find_thresholds(again, **options), find_thresholds(images, **options))


@many_properties
@given(seeds, kinds, thresholds, thresholds, quartiles)
def test_a_higher_bg_threshold_never_mines_more(
    seed: int, kind: str, one: float, other: float, quartile: Any
) -> None:
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    low, high = sorted((one, other))
    never_more(
        refine(images, bg_threshold=high, quartile=quartile),
        refine(images, bg_threshold=low, quartile=quartile),
    )


@many_properties
@given(seeds, kinds, quartiles)
def test_thresholds_are_values_of_maps_or_infinite(seed: int, kind: str, quartile: Any) -> None:
    images = make_images(seed, kind=kind)  # type: ignore[arg-type]
    found = find_thresholds(images, quartile=quartile)
    assert (((found >= 0) & (found <= 1)) | found.isposinf()).all()
    assert found[~images.image_labels].isposinf().all()


@many_properties
@given(seeds, kinds, st.sampled_from([0.0, 0.1, 0.3, 0.5]))
def test_mining_and_dropping_sparse_images_commute(seed: int, kind: str, ratio: float) -> None:
    images = make_images(seed, kind=kind, object_ratio=0.3)  # type: ignore[arg-type]
    dropped = wn.ignore_sparse_labels(images.labels, min_object_ratio=ratio)
    assert_same(
        refine(images._replace(labels=dropped)),
        wn.ignore_sparse_labels(refine(images), min_object_ratio=ratio),
    )


# NSRM.

switches = st.fixed_dictionaries(
    {
        "keep_ignored": st.booleans(),
        "restrict_to_image_labels": st.booleans(),
        "with_saliency": st.booleans(),
        "kernel_size": st.integers(1, 9),
        "min_classes": st.integers(0, 4),
    }
)


@many_properties
@given(seeds, switches)
def test_masking_twice_is_masking_once(seed: int, options: dict[str, Any]) -> None:
    images = sparse_images(seed)
    once = mask(images, **options)
    assert_same(mask(images._replace(prediction=once), **options), once)


@many_properties
@given(seeds, switches)
def test_masking_makes_no_class_of_its_own(seed: int, options: dict[str, Any]) -> None:
    images = sparse_images(seed)
    result = mask(images, **options)
    known = (result == images.prediction) | (result == images.labels) | (result == IGNORE)
    assert known.all()


@many_properties
@given(seeds, switches)
def test_more_saliency_and_fewer_complex_images_never_ignore_more(
    seed: int, options: dict[str, Any]
) -> None:
    images = sparse_images(seed)
    never_more(mask(images, **{**options, "with_saliency": True}),
               mask(images, **{**options, "with_saliency": False}))  # fmt: skip
    never_more(mask(images, **{**options, "min_classes": options["min_classes"] + 1}),
               mask(images, **options))  # fmt: skip


@many_properties
@given(seeds, switches)
def test_switches_never_ignore_less(seed: int, options: dict[str, Any]) -> None:
    images = sparse_images(seed)
    for switch in ("keep_ignored", "restrict_to_image_labels"):
        off, on = ({**options, switch: value} for value in (False, True))
        never_more(mask(images, **off), mask(images, **on))


# Dilation.


@many_properties
@given(seeds, st.integers(1, 12))
def test_dilation_is_extensive_and_keeps_unions(seed: int, kernel_size: int) -> None:
    random = torch.Generator().manual_seed(seed)
    one, other = torch.rand(2, 7, 13, generator=random) < 0.05
    both = wn.dilate(one | other, kernel_size)
    assert_same(both, wn.dilate(one, kernel_size) | wn.dilate(other, kernel_size))
    assert (both | ~one).all()
    assert (wn.dilate(both, 3) | ~both).all()


# Accumulation.


@many_properties
@given(st.integers(0, 2**20), st.integers(1, 5))
def test_the_same_batch_again_changes_nothing_and_maps_never_shrink(seed: int, number: int) -> None:
    updates = batches(number, seed=seed)
    same_state(accumulated([*updates, *updates]), accumulated(updates))
    accumulator, before = wn.OACAMAccumulator(5, map_size=(3, 4)), torch.zeros(8, 5, 3, 4)
    keys = [f"image/{i}" for i in range(8)]
    zeros = torch.zeros(8, 5)
    accumulator.update(keys, torch.zeros(8, 5, 3, 4), zeros, zeros)
    for update in updates:
        accumulator.update(*update)
        after = accumulator.compute(keys)
        assert (after >= before).all()
        before = after


# Losses and the unit.


@many_properties
@given(seeds)
def test_losses_are_not_negative_and_do_not_depend_on_the_order(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 5, generator=random, dtype=torch.float64) * 9
    target = (torch.rand(4, 5, generator=random) < 0.5).long()
    order, classes = torch.randperm(4, generator=random), torch.randperm(5, generator=random)
    loss = wn.multilabel_soft_margin_loss(logits, target)
    mixed = logits[order][:, classes], target[order][:, classes]
    assert loss >= 0
    torch.testing.assert_close(wn.multilabel_soft_margin_loss(*mixed), loss)
    maps, attended = logits[..., None, None], (target * torch.rand(4, 5))[..., None, None]
    loss = wn.integral_attention_loss(maps, attended)
    assert loss >= 0
    mixed = maps[order][:, classes], attended[order][:, classes]
    torch.testing.assert_close(wn.integral_attention_loss(*mixed), loss)


@many_properties
@given(seeds, st.booleans())
def test_the_unit_does_not_know_where_a_position_is(seed: int, training: bool) -> None:
    torch.manual_seed(seed % 2**32)
    unit = wn.GloRe(6, 4, dims=1, zero_init=False).double().train(training)
    x, order = torch.randn(2, 6, 11, dtype=torch.float64), torch.randperm(11)
    torch.testing.assert_close(unit(x[..., order]), unit(x)[..., order])


# Scores.


def score(prediction: Tensor, target: Tensor) -> wn.SegmentationResults:
    counter = wn.SegmentationScore(4)
    counter.update(prediction, target)
    return counter.compute()


@many_properties
@given(seeds, st.booleans())
def test_scores_are_shares_and_the_strict_mean_is_the_lower_one(seed: int, perfect: bool) -> None:
    images = make_images(seed)
    prediction = images.labels if perfect else images.prediction
    results = score(prediction, images.labels)
    for value in (*results.per_class_iou.tolist(), *results[1:]):
        assert value != value or 0 <= value <= 1
    assert results.mean_iou_strict <= results.mean_iou
    shares = results.missed + results.objects_ignored + results.confused
    assert shares != shares or shares <= 1 + 1e-12
    if perfect:
        assert results.mean_iou == results.pixel_accuracy == 1


@many_properties
@given(seeds)
def test_prediction_and_target_have_one_mean_iou_whichever_is_which(seed: int) -> None:
    images = make_images(seed)
    one, other = (
        score(*pair)
        for pair in ((images.prediction, images.labels), (images.labels, images.prediction))
    )
    torch.testing.assert_close(one.per_class_iou, other.per_class_iou, equal_nan=True)
    assert one.precision == pytest.approx(other.recall)
