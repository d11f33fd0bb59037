"""What looks true of the core and is not, as docs/properties.md lists it: counterexamples."""

from __future__ import annotations

import pytest
import torch

import wsss_nonsalient as wn


def test_even_dilations_do_not_add_up() -> None:
    """Two of size 2 lean to one side together; one of size 3 does not lean."""
    mask = torch.tensor([[False, False, True, False, False]])
    twice = wn.dilate(wn.dilate(mask, 2), 2)
    assert twice.tolist() == [[False, False, True, True, True]]
    assert wn.dilate(mask, 3).tolist() == [[False, True, True, True, False]]


def test_even_dilation_does_not_commute_with_flips() -> None:
    mask = torch.tensor([[True, False, False]])
    assert wn.dilate(mask, 2).tolist() == [[True, True, False]]
    assert wn.dilate(mask.flip(-1), 2).flip(-1).tolist() == [[True, False, False]]


def test_a_higher_fg_threshold_can_add_an_object() -> None:
    """Above the conflict threshold it ends a conflict, since it sets one of two values to 0."""
    cam, saliency, classes = torch.tensor([[[0.9]], [[0.5]]]), torch.tensor([[1.0]]), torch.ones(2)
    low, high = (
        wn.initial_labels(cam, saliency, classes, fg_threshold=t, conflict_threshold=0.4).item()
        for t in (0.3, 0.6)
    )
    assert (low, high) == (255, 1)


def test_a_stronger_map_can_cost_an_object_its_pixel() -> None:
    saliency, classes = torch.tensor([[0.05]]), torch.ones(1)
    weak, strong = (
        wn.initial_labels(torch.tensor([[[value]]]), saliency, classes).item()
        for value in (0.2, 0.96)
    )
    assert (weak, strong) == (0, 255)  # in conflict with the background, which is certain too
    two = torch.tensor([[[0.95]], [[0.85]]])
    saliency = torch.tensor([[1.0]])
    assert wn.initial_labels(two, saliency, torch.ones(2)).item() == 1
    two[1] = 0.92
    assert wn.initial_labels(two, saliency, torch.ones(2)).item() == 255


def test_more_pixels_of_a_class_can_mine_more() -> None:
    """A label pixel where the map is weak lowers the median."""
    cam = torch.tensor([[[0.1, 0.5, 0.6, 0.8]]])
    few, more = torch.tensor([[0, 0, 0, 1]]), torch.tensor([[1, 0, 0, 1]])
    classes = torch.ones(1)
    assert wn.pom_refine(few, cam, classes).tolist() == [[0, 0, 0, 1]]
    assert wn.pom_refine(more, cam, classes).tolist() == [[1, 255, 255, 1]]


def test_a_stronger_map_can_mine_less() -> None:
    """Where the class has its label the map is stronger: the median goes up."""
    labels, classes = torch.tensor([[0, 1]]), torch.ones(1)
    weak, strong = torch.tensor([[[0.6, 0.5]]]), torch.tensor([[[0.6, 0.7]]])
    assert wn.pom_refine(labels, weak, classes).tolist() == [[255, 1]]
    assert wn.pom_refine(labels, strong, classes).tolist() == [[0, 1]]


def test_masking_with_more_classes_in_the_image_can_ignore_more() -> None:
    """A class more makes an image complex."""
    prediction = torch.tensor([[1, 0, 0, 0]])
    pseudo = torch.zeros_like(prediction)
    one, two = (
        wn.nsrm_mask(prediction, pseudo, torch.tensor(classes), kernel_size=3).tolist()
        for classes in ([1, 0], [1, 1])
    )
    assert (one, two) == ([[1, 0, 0, 0]], [[1, 0, 255, 255]])


def test_mining_does_not_commute_with_masking() -> None:
    """Pixels that were mined before count as no background, and enter the mask."""
    cam = torch.tensor([[[0.5, 0.9, 0.1, 0.9]], [[0.0, 0.0, 0.0, 0.0]]])
    prediction, classes = torch.tensor([[1, 0, 0, 0]]), torch.ones(2)
    nothing = torch.zeros_like(prediction)
    mined_first = wn.nsrm_mask(
        wn.pom_refine(prediction, cam, classes), nothing, classes, kernel_size=3
    )
    masked = wn.nsrm_mask(prediction, nothing, classes, kernel_size=3)
    assert mined_first.tolist() == [[1, 255, 0, 255]]
    assert wn.pom_refine(masked, cam, classes).tolist() == [[1, 255, 255, 255]]


def test_normalising_does_not_commute_with_resizing() -> None:
    cam = torch.tensor([[[0.0, 4.0, 0.0]]])
    assert wn.resize_cam(wn.normalize_cam(cam), (1, 2)).amax().item() == pytest.approx(0.25)
    assert wn.normalize_cam(wn.resize_cam(cam / 4, (1, 2))).amax().item() == 1


def test_normalising_remembers_a_scale_that_is_no_power_of_two() -> None:
    cam = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    scaled = wn.normalize_cam(cam * 3)
    assert not torch.equal(scaled, wn.normalize_cam(cam))
    torch.testing.assert_close(scaled, wn.normalize_cam(cam), rtol=1e-6, atol=0)


def test_accumulating_does_not_commute_with_resizing() -> None:
    """The maximum of resized maps is not the resized maximum."""
    maps = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])
    ones = torch.ones(2, 1)
    resized = wn.OACAMAccumulator(1, map_size=(1, 1), dtype=torch.float32)
    whole = wn.OACAMAccumulator(1, dtype=torch.float32)
    for accumulator in (resized, whole):
        accumulator.update(["a", "a"], maps, ones, ones)
    assert resized.compute(["a"]).item() == 0.5
    assert wn.resize_cam(whole.compute(["a"])[0], (1, 1)).item() == 1


def test_forced_maps_depend_on_the_order() -> None:
    maps, one = torch.tensor([[[[1.0, 0.2]]], [[[0.2, 1.0]]]]), torch.ones(1, 1)
    results = []
    for order in ([0, 1], [1, 0]):
        accumulator = wn.OACAMAccumulator(1, dtype=torch.float32)
        for i in order:
            accumulator.update(["a"], maps[i : i + 1], one, -9 * one, force_missing=True)
        results.append(accumulator.compute(["a"]).flatten().tolist())
    assert results[0] == pytest.approx([1.0, 0.2])
    assert results[1] == pytest.approx([0.2, 1.0])


def test_the_integral_loss_of_a_batch_is_not_the_mean_of_its_images() -> None:
    logits = torch.tensor([[[[0.0, 0.0]]], [[[2.0, 2.0]]]])
    target = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    whole = wn.integral_attention_loss(logits, target).item()
    parts = [wn.integral_attention_loss(x, t).item() for x, t in zip(logits, target, strict=True)]
    assert abs(whole - sum(parts) / 2) > 0.1


def test_the_mean_iou_of_a_data_set_is_not_the_mean_over_images() -> None:
    predictions, targets = torch.tensor([[[0, 0]], [[0, 1]]]), torch.tensor([[[0, 0]], [[1, 1]]])
    whole, parts = wn.SegmentationScore(2), []
    whole.update(predictions, targets)
    for prediction, target in zip(predictions, targets, strict=True):
        part = wn.SegmentationScore(2)
        part.update(prediction, target)
        parts.append(part.compute().mean_iou)
    assert whole.compute().mean_iou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert sum(parts) / 2 == pytest.approx((1 + 1 / 4) / 2)


def test_the_strict_mean_changes_when_prediction_and_target_swap() -> None:
    one, other = torch.tensor([[0, 255]]), torch.tensor([[0, 0]])
    results = []
    for pair in ((one, other), (other, one)):
        score = wn.SegmentationScore(2)
        score.update(*pair)
        results.append(score.compute().mean_iou_strict)
    assert results == [0.5, 1.0]


def test_ignoring_pixels_can_raise_both_mean_ious() -> None:
    """In the strict one they count as wrong for their own class, but for no other."""
    target = torch.tensor([[0, 1, 1]])
    results = []
    for prediction in ([0, 0, 1], [0, 255, 1]):
        score = wn.SegmentationScore(2)
        score.update(torch.tensor([prediction]), target)
        results.append(score.compute())
    wrong, ignored = results
    assert (wrong.mean_iou, ignored.mean_iou) == (0.5, 1.0)
    assert (wrong.mean_iou_strict, ignored.mean_iou_strict) == (0.5, 0.75)
    assert (wrong.missed, ignored.missed) == (0.5, 0.0)
    assert (wrong.objects_ignored, ignored.objects_ignored) == (0.0, 0.5)
