"""What every label function keeps to, whatever it computes.

Each convention takes a function of images that gives label maps ``(*, H, W)``, numbers of each
pixel ``(*, H, W)`` or numbers of each class ``(*, C)``, and images to try it on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.helpers import IGNORE, Images, assert_same, shares_memory

Call = Callable[[Images], Tensor]
Convention = Callable[[Call, Images], None]


def _is_per_class(result: Tensor, images: Images) -> bool:
    return result.ndim == images.image_labels.ndim


def batch_gives_what_its_images_give(call: Call, images: Images) -> None:
    assert_same(call(images), torch.stack([call(image) for image in images.each()]))
    many_axes = images.map(lambda tensor: tensor[None, :, None])
    assert_same(call(many_axes), call(images)[None, :, None])


def images_permute(call: Call, images: Images) -> None:
    assert_same(call(images.map(lambda tensor: tensor.flip(0))), call(images).flip(0))


def classes_permute(call: Call, images: Images) -> None:
    # Ties go to the lowest class, so there must be none.
    ranks = images.cam.flatten().argsort().argsort().view_as(images.cam)
    images = images._replace(cam=ranks / ranks.numel())
    num_classes = images.image_labels.shape[-1]
    order = torch.arange(num_classes).roll(1)  # new class c was order[c]
    renamed = torch.arange(256, dtype=torch.uint8)
    renamed[order + 1] = torch.arange(1, num_classes + 1, dtype=torch.uint8)
    order, renamed = order.to(images.cam.device), renamed.to(images.cam.device)
    permuted = Images(
        images.cam[..., order, :, :],
        images.saliency,
        renamed[images.labels.long()],
        renamed[images.prediction.long()],
        images.image_labels[..., order],
    )
    result = call(images)
    if _is_per_class(result, images):
        result = result[..., order]
    elif not result.is_floating_point():
        result = renamed[result.long()]
    assert_same(call(permuted), result)


def _flips(call: Call, images: Images, axis: int) -> None:
    flipped = images.map(lambda tensor: tensor.flip(axis))
    flipped = flipped._replace(image_labels=images.image_labels)
    result = call(images)
    assert_same(call(flipped), result if _is_per_class(result, images) else result.flip(axis))


def flips_left_and_right(call: Call, images: Images) -> None:
    _flips(call, images, -1)


def flips_up_and_down(call: Call, images: Images) -> None:
    _flips(call, images, -2)


def inputs_stay_and_are_not_aliased(call: Call, images: Images) -> None:
    before = images.map(Tensor.clone)
    result = call(images)
    for tensor, copy in zip(images, before, strict=True):
        assert_same(tensor, copy)
        assert not shares_memory(result, tensor)


def runs_without_autograd(call: Call, images: Images) -> None:
    cam, saliency = images.cam.clone(), images.saliency.clone()
    learnt = images._replace(cam=cam.requires_grad_(), saliency=saliency.requires_grad_())
    result = call(learnt)
    assert not result.requires_grad
    assert_same(result, call(images))


def takes_views(call: Call, images: Images) -> None:
    def view(tensor: Tensor) -> Tensor:
        return tensor.repeat_interleave(2, dim=-1)[..., 1::2]

    views = images.map(view)
    assert not any(tensor.is_contiguous() for tensor in views)
    assert_same(call(views), call(images))


def runs_under_inference_mode(call: Call, images: Images) -> None:
    with torch.inference_mode():
        result = call(images.map(Tensor.clone))
    assert_same(result.clone(), call(images))


def absent_maps_are_never_read(call: Call, images: Images) -> None:
    absent = ~images.image_labels[..., None, None]
    broken = images._replace(cam=images.cam.masked_fill(absent, torch.nan))
    assert_same(call(broken), call(images))


def an_absent_class_changes_nothing(call: Call, images: Images) -> None:
    full = torch.ones_like(images.cam[:, :1])
    none = torch.zeros_like(images.image_labels[:, :1])
    more = images._replace(
        cam=torch.cat([images.cam, full], dim=1),
        image_labels=torch.cat([images.image_labels, none], dim=1),
    )
    result = call(images)
    if _is_per_class(result, images):
        result = torch.cat([result, torch.full_like(result[:, :1], torch.inf)], dim=1)
    assert_same(call(more), result)


def empty_batch_stays_empty(call: Call, images: Images) -> None:
    assert_same(call(images.map(lambda tensor: tensor[:0])), call(images)[:0])


def survives_no_class_and_no_label(call: Call, images: Images) -> None:
    """All pixels ignored in the first image, no class in the second one."""
    ignored = torch.full_like(images.labels[:1], IGNORE)
    labels = torch.cat([ignored, images.labels[1:]])
    image_labels = images.image_labels.clone()
    image_labels[1] = False
    batch_gives_what_its_images_give(
        call, images._replace(labels=labels, prediction=labels, image_labels=image_labels)
    )


CONVENTIONS: tuple[Convention, ...] = (
    batch_gives_what_its_images_give,
    images_permute,
    classes_permute,
    flips_left_and_right,
    flips_up_and_down,
    inputs_stay_and_are_not_aliased,
    runs_without_autograd,
    takes_views,
    runs_under_inference_mode,
    absent_maps_are_never_read,
    an_absent_class_changes_nothing,
    empty_batch_stays_empty,
    survives_no_class_and_no_label,
)
