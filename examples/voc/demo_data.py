"""A procedural data set in PASCAL VOC's folders: nothing to download, and objects that hide.

Each picture has one salient object, large and in full colour, and up to two small ones of low
contrast near the border that the saliency map does not see. A class is a shape with a texture and a
hue; non-salient objects have the same, fainter.

    python examples/voc/demo_data.py runs/demo_data --train 200 --val 100
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from wsss_nonsalient.io import write_image_labels, write_label

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Appearance:
    """How the pictures look; lengths are for pictures 96 pixels high and grow with them.

    Attributes:
        counts: Shares of the pictures with none, one and two non-salient objects.
        other_class: Share of the non-salient objects whose class is not the salient one's.
        salient_radius: Smallest and largest radius.
        hidden_radius: The same, of non-salient objects.
        salient_contrast: 1 is full colour, 0 is that of the ground.
        hidden_contrast: The same, of non-salient objects.
        hidden_texture: Strength of the texture of non-salient objects; a salient one's is 1.
        texture: Largest change of brightness by a salient object's texture.
        period: Of textures, in pixels.
        ground_noise: Largest change of the ground's brightness.
        saliency_wobble: How far the saliency map's outline strays, in pixels.
        size_jitter: Pictures are up to this many pixels smaller than asked for.
    """

    counts: tuple[float, float, float] = (0.25, 0.4, 0.35)
    other_class: float = 0.85
    salient_radius: tuple[float, float] = (22.0, 28.0)
    hidden_radius: tuple[float, float] = (9.5, 13.0)
    salient_contrast: float = 0.95
    hidden_contrast: float = 0.4
    hidden_texture: float = 0.6
    texture: float = 0.5
    period: float = 6.5
    ground_noise: float = 0.16
    saliency_wobble: float = 2.5
    size_jitter: int = 8


APPEARANCE = Appearance()
VERSION = 1  # of the code that draws
VAL_START = 100_000  # index of the first validation picture
TRAIN, VAL, SIZE = 200, 100, (96, 128)

# Signed distance (about) to the outline of a shape of radius 1; negative inside.
Shape = Callable[[Array, Array], Array]
# A pattern from -1 to 1, of period 2 pi.
Texture = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Kind:
    """A class."""

    name: str
    colour: tuple[float, float, float]
    shape: Shape
    texture: Texture


KINDS = (
    Kind("ball", (0.9, 0.2, 0.15), lambda x, y: np.hypot(x, y) - 1, lambda u, v: np.sin(v)),
    Kind(
        "box",
        (0.2, 0.3, 0.95),
        lambda x, y: np.maximum(abs(x), abs(y)) - 0.87,
        lambda u, v: 2 * np.sin(0.6 * u) * np.sin(0.6 * v),
    ),
    Kind(
        "tent",
        (0.9, 0.8, 0.1),
        lambda x, y: np.maximum(0.89 * abs(x) - 0.45 * y, y) - 0.65,
        lambda u, v: np.sin(u),
    ),
    Kind(
        "flower",
        (0.85, 0.2, 0.85),
        lambda x, y: np.hypot(x, y) - 0.92 - 0.25 * np.cos(5 * np.arctan2(y, x)),
        lambda u, v: np.cos(np.hypot(u, v)),
    ),
    Kind(
        "leaf",
        (0.15, 0.75, 0.2),
        lambda x, y: np.hypot(abs(x) + 0.45, y) - 1.25,
        lambda u, v: np.sin((u + v) / 1.414),
    ),
    Kind(
        "cross",
        (0.1, 0.8, 0.85),
        lambda x, y: np.maximum(
            np.minimum(abs(x), abs(y)) - 0.42, np.maximum(abs(x), abs(y)) - 1.05
        ),
        lambda u, v: 1.6 * (np.cos(u) + np.cos(v)) - 0.8,
    ),
)


@dataclass(frozen=True)
class Picture:
    """A picture and its truth.

    Attributes:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W): 0 is background, c + 1 class c, 255 a thin line around each object.
        saliency: uint8 (H, W).
        classes: Ascending classes.
        hidden: bool (H, W), the non-salient objects.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    saliency: npt.NDArray[np.uint8]
    classes: tuple[int, ...]
    hidden: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Thing:
    label: int
    y: float
    x: float
    radius: float
    turn: float


def draw_picture(
    seed: int, index: int, size: tuple[int, int] = SIZE, appearance: Appearance = APPEARANCE
) -> Picture:
    """The picture of an index, the same every time."""
    dice = np.random.default_rng((seed, index))
    height, width = (side - int(dice.integers(appearance.size_jitter + 1)) for side in size)
    scale = size[0] / 96
    things = _place(dice, index + seed, height, width, scale, appearance)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    image = _ground(dice, y, x, scale, appearance)
    mask = np.zeros((height, width), np.uint8)
    distances = []
    for i, thing in enumerate(things):
        u, v = _own_axes(thing, y, x)
        kind = KINDS[thing.label]
        distance = thing.radius * kind.shape(u / thing.radius, v / thing.radius)
        image = _paint(image, distance, u, v, kind, i == 0, scale, appearance)
        mask[(distance >= 0) & (distance < 1.5) & (mask == 0)] = 255
        mask[distance < 0] = thing.label + 1
        distances.append(distance)
    grain = 1 + 0.03 * dice.standard_normal((height, width, 1))
    return Picture(
        image=_to_bytes(image * grain),
        mask=mask,
        saliency=_draw_saliency(dice, distances[0], scale, appearance),
        classes=tuple(sorted({thing.label for thing in things})),
        hidden=np.any([distance < 0 for distance in distances[1:]] or [mask > 255], axis=0),
    )


def _place(
    dice: np.random.Generator, turn: int, height: int, width: int, scale: float, look: Appearance
) -> list[_Thing]:
    """The salient object, whose class goes round with the index, and the others around it."""
    label = turn % len(KINDS)
    radius = scale * dice.uniform(*look.salient_radius)
    y, x = (side * dice.uniform(0.43, 0.57) for side in (height, width))
    things = [_Thing(label, y, x, radius, dice.uniform(-0.3, 0.3))]
    count = int(dice.choice(len(look.counts), p=look.counts))
    for _ in range(200):
        if len(things) > count:
            break
        radius = scale * dice.uniform(*look.hidden_radius)
        y, x = (dice.uniform(0.85 * radius, side - 0.85 * radius) for side in (height, width))
        border = min(y, x, height - y, width - x)
        gaps = [np.hypot(y - t.y, x - t.x) - 1.15 * (radius + t.radius) for t in things]
        if border < 1.5 * radius and min(gaps) > 2 * scale:
            other = dice.random() < look.other_class
            own = (label + int(dice.integers(1, len(KINDS)))) % len(KINDS) if other else label
            things.append(_Thing(own, y, x, radius, dice.uniform(-0.3, 0.3)))
    return things


def _own_axes(thing: _Thing, y: Array, x: Array) -> tuple[Array, Array]:
    right, down = x - thing.x, y - thing.y
    cos, sin = np.cos(thing.turn), np.sin(thing.turn)
    return cos * right + sin * down, cos * down - sin * right


def _ground(dice: np.random.Generator, y: Array, x: Array, scale: float, look: Appearance) -> Array:
    """Nearly gray, with spots of three sizes and a faint weave."""
    shape = y.shape
    base = dice.uniform(0.4, 0.6) + dice.uniform(-0.04, 0.04, 3)
    spots = sum(_noise(dice, shape, cell * scale) for cell in (4, 10, 40)) / 2
    angle, period = dice.uniform(0, np.pi), scale * dice.uniform(4, 9)
    weave = np.sin(2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y))
    brightness = 1 + look.ground_noise * (spots + 0.3 * weave)
    tint = np.stack([_noise(dice, shape, 25 * scale) for _ in "RGB"], axis=-1)
    ground: Array = base * brightness[..., None] + 0.03 * tint
    return ground


def _paint(
    image: Array,
    distance: Array,
    u: Array,
    v: Array,
    kind: Kind,
    salient: bool,
    scale: float,
    look: Appearance,
) -> Array:
    contrast = look.salient_contrast if salient else look.hidden_contrast
    strength = look.texture * (1.0 if salient else look.hidden_texture)
    wave = 2 * np.pi / (look.period * scale)
    pattern = np.tanh(2 * kind.texture(wave * u, wave * v))
    ground = image.mean((0, 1))
    colour = (1 - contrast) * ground + contrast * np.array(kind.colour)
    surface = colour * (1 + strength * pattern)[..., None]
    surface += (1 - contrast) * (image - ground)  # the ground's spots show through
    alpha = 1 / (1 + np.exp(np.clip(2 * distance, -50, 50)))[..., None]
    painted: Array = (1 - alpha) * image + alpha * surface
    return painted


def _draw_saliency(
    dice: np.random.Generator, distance: Array, scale: float, look: Appearance
) -> npt.NDArray[np.uint8]:
    """Soft, wobbling outlines, a dim part inside, a faint glow outside; the salient object only."""
    wobble = look.saliency_wobble * scale * _noise(dice, distance.shape, 14 * scale)
    inside = 1 / (1 + np.exp(np.clip((distance + wobble) / (1.2 * scale), -50, 50)))
    dim = 1 - 0.35 * np.clip(_noise(dice, distance.shape, 22 * scale), 0, 1)
    glow = 0.08 * np.clip(_noise(dice, distance.shape, 30 * scale), 0, 1)
    return _to_bytes(np.maximum(inside * dim, glow))


def _noise(dice: np.random.Generator, shape: tuple[int, ...], cell: float) -> Array:
    """Smooth noise, mostly in [-1, 1], with bumps about `cell` pixels wide."""
    height, width = shape
    coarse = dice.uniform(-1, 1, (int(height / cell) + 3, int(width / cell) + 3))
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _to_bytes(values: Array) -> npt.NDArray[np.uint8]:
    return (255 * values.clip(0, 1) + 0.5).astype(np.uint8)


def write_demo_data(
    root: Path,
    *,
    train: int = TRAIN,
    val: int = VAL,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    appearance: Appearance = APPEARANCE,
) -> None:
    """Write the data set, complete or not at all; one with the same parameters is kept.

    Args:
        root: The folder, which is made.
        train: Number of pictures in the list `train`.
        val: Number of pictures in the list `val`.
        size: Height and width.
        seed: Each picture depends on it and on its index only.
        appearance: How the pictures look.

    Raises:
        FileExistsError: The folder holds something else.
        ValueError: A number is too small.
    """
    made_by = json.dumps(
        {
            "version": VERSION,
            "train": train,
            "val": val,
            "size": size,
            "seed": seed,
            "appearance": asdict(appearance),
        },
        indent=2,
    )
    if _holds(root, made_by):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.with_name(f".{root.name}.{secrets.token_hex(4)}.partial")
    try:
        for name in ("JPEGImages", "SegmentationClass", "saliency", "ImageSets/Segmentation"):
            (partial / name).mkdir(parents=True)
        _write_split(partial, "train", range(train), size, seed, appearance)
        _write_split(partial, "val", range(VAL_START, VAL_START + val), size, seed, appearance)
        (partial / "classes.txt").write_text("".join(f"{kind.name}\n" for kind in KINDS))
        (partial / "demo.json").write_text(made_by + "\n")
        partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _holds(root: Path, made_by: str) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / "demo.json"
    if record.is_file() and record.read_text() == made_by + "\n":
        return True
    raise FileExistsError(f"{root} holds something else than this demo data; remove it")


def _write_split(
    root: Path,
    split: str,
    indexes: range,
    size: tuple[int, int],
    seed: int,
    appearance: Appearance,
) -> None:
    classes = {}
    for index in indexes:
        picture, key = draw_picture(seed, index, size, appearance), f"demo_{index:06d}"
        image = Image.fromarray(picture.image)
        image.save(root / "JPEGImages" / f"{key}.jpg", quality=93, subsampling=0)
        write_label(root / "SegmentationClass" / f"{key}.png", torch.from_numpy(picture.mask))
        Image.fromarray(picture.saliency).save(root / "saliency" / f"{key}.png")
        classes[key] = picture.classes
    ids = "".join(f"{key}\n" for key in classes)
    (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(ids)
    write_image_labels(root / "ImageSets" / f"{split}_cls.txt", classes)


def main(argv: Sequence[str] | None = None) -> None:
    """Write a data set from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="folder to make")
    parser.add_argument("--train", type=int, default=TRAIN, help="pictures (default: %(default)s)")
    parser.add_argument("--val", type=int, default=VAL, help="pictures (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, nargs=2, default=SIZE, metavar=("HEIGHT", "WIDTH"), help="pixels"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    height, width = args.size
    write_demo_data(args.root, train=args.train, val=args.val, size=(height, width), seed=args.seed)


if __name__ == "__main__":
    main()
