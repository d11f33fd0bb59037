"""What the networks are trained on: pictures as they are drawn, or cached features of a trunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from wsss_nonsalient.io import read_label

from .config import AugmentationConfig
from .photos import Photo, read_image

IGNORED = 255
MEAN_COLOR = (124, 116, 104)  # of ImageNet's pictures


class Visit(NamedTuple):
    """A picture's turn: its place in the list, and the epoch, which decides on its augmentation."""

    picture: int
    epoch: int


class Sample(NamedTuple):
    """What goes into a network; as a batch, each has a first axis."""

    picture: Tensor  #: its place in the list
    mirrored: Tensor  #: bool
    inputs: Tensor  #: float32 (3, H, W) in [0, 1], or features (C, h, w)
    label: Tensor  #: uint8 (H, W) of the same geometry; (0, 0) without labels


class Samples(Dataset[Sample]):
    """Training samples, and what networks see of a picture when they are not trained."""

    def __getitem__(self, visit: Visit) -> Sample:
        """The sample of a visit, the same every time."""
        raise NotImplementedError

    def pair(self, picture: int) -> Tensor:
        """(2, C, H, W): inputs of a picture and of its mirror image."""
        raise NotImplementedError


class PictureSamples(Samples):
    """Pictures, resized to a square of `size` or (0) as they are, and augmented.

    Raises:
        ValueError: Training samples with labels would differ in size; random sizes have no crop.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        size: int,
        augmentation: AugmentationConfig,
        seed: int,
        labels: Path | None = None,
        label_size: int = 0,
    ) -> None:
        self.photos, self.size, self.seed = photos, size, seed
        self.labels, self.label_size = labels, label_size
        self.augmentation = augmentation
        if labels is not None and not (size or augmentation.crop):
            raise ValueError("expected a size or a crop: pictures as they are do not make a batch")
        if not augmentation.crop and augmentation.scales != (1, 1):
            raise ValueError(f"scales: random sizes need a crop, got {augmentation.scales}, crop 0")
        self.crop = _crop(augmentation) if augmentation.crop else None
        jitter = augmentation.color_jitter
        self.color = v2.ColorJitter(*jitter) if jitter else v2.Identity()

    def __getitem__(self, visit: Visit) -> Sample:
        """The augmented picture of a visit, and its label."""
        photo = self.photos[visit.picture]
        image = tv_tensors.Image(self._resized(photo))
        mask = tv_tensors.Mask(_label(self.labels, photo))
        if self.size and self.labels is not None:
            mask = v2.functional.resize(mask, [self.size] * 2, v2.InterpolationMode.NEAREST)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_visit_seed(self.seed, visit))
            mirrored = self.augmentation.flip and bool(torch.rand(()) < 0.5)
            image = self.color(image)
            if self.crop is not None:
                image, mask = self.crop(image, mask)
        if mirrored:
            image, mask = image.flip(-1), mask.flip(-1)
        return _sample(visit, mirrored, image.float() / 255, _small(mask, self.label_size))

    def pair(self, picture: int) -> Tensor:
        """The picture and its mirror image."""
        image = self._resized(self.photos[picture]).float() / 255
        return torch.stack([image, image.flip(-1)])

    def _resized(self, photo: Photo) -> Tensor:
        image = read_image(photo.image)
        return v2.functional.resize(image, [self.size] * 2) if self.size else image


class FeatureSamples(Samples):
    """Features of pictures and of their mirror images, one file `ID.npy` (2, C, h, w) each."""

    def __init__(
        self,
        photos: Sequence[Photo],
        folder: Path,
        augmentation: AugmentationConfig,
        seed: int,
        labels: Path | None = None,
        label_size: int = 0,
    ) -> None:
        self.photos, self.folder, self.seed = photos, folder, seed
        self.labels, self.label_size, self.flip = labels, label_size, augmentation.flip

    def __getitem__(self, visit: Visit) -> Sample:
        """The features of a visit, and its label."""
        photo = self.photos[visit.picture]
        generator = torch.Generator().manual_seed(_visit_seed(self.seed, visit))
        mirrored = self.flip and bool(torch.rand((), generator=generator) < 0.5)
        label = _small(_label(self.labels, photo), self.label_size)
        features = self._pair(visit.picture)[int(mirrored)].float()
        return _sample(visit, mirrored, features, label.flip(-1) if mirrored else label)

    def pair(self, picture: int) -> Tensor:
        """The features of the picture and of its mirror image."""
        return self._pair(picture).float()

    def _pair(self, picture: int) -> Tensor:
        return torch.from_numpy(np.load(self.folder / f"{self.photos[picture].key}.npy"))


def _crop(augmentation: AugmentationConfig) -> nn.Module:
    """Random size and random crop of a picture and its label; what lies outside is ignored."""
    fill = {tv_tensors.Image: MEAN_COLOR, tv_tensors.Mask: IGNORED}
    crop = v2.RandomCrop(augmentation.crop, pad_if_needed=True, fill=fill)
    transform: nn.Module = v2.Compose([_RandomScale(*augmentation.scales), crop])
    return transform


class _RandomScale(nn.Module):
    """Resize by a random factor."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        factor = self.low + (self.high - self.low) * float(torch.rand(()))
        size = [max(1, round(side * factor)) for side in image.shape[-2:]]
        nearest = v2.InterpolationMode.NEAREST
        return v2.functional.resize(image, size), v2.functional.resize(mask, size, nearest)


def _label(folder: Path | None, photo: Photo) -> Tensor:
    if folder is None:
        return torch.zeros(0, 0, dtype=torch.uint8)
    return read_label(folder / f"{photo.key}.png")


def _small(label: Tensor, size: int) -> Tensor:
    if not size or not label.numel():
        return label
    small: Tensor = v2.functional.resize(label[None], [size] * 2, v2.InterpolationMode.NEAREST)[0]
    return small


def _sample(visit: Visit, mirrored: bool, inputs: Tensor, label: Tensor) -> Sample:
    plain = [value.as_subclass(Tensor) for value in (inputs, label)]
    return Sample(torch.tensor(visit.picture), torch.tensor(mirrored), *plain)


def _visit_seed(seed: int, visit: Visit) -> int:
    """A seed of its own for each visit, whatever process or worker it falls to."""
    return int(np.random.SeedSequence([seed, *visit]).generate_state(1)[0])
