"""Segment any pictures with a trained checkpoint: palette PNGs and overlays.

python examples/voc/predict.py --checkpoint runs/mini/segmentation_2/network.safetensors *.jpg
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from pipeline.crf import refine, require_crf
from pipeline.figures import COLORS
from pipeline.photos import read_image
from pipeline.predictions import Segmenter, load_segmenter
from torch import Tensor
from tqdm import tqdm

from wsss_nonsalient.io import write_label

TEST_SERVER = Path("results", "VOC2012", "Segmentation", "comp6_test_cls")


def main(argv: Sequence[str] | None = None) -> None:
    """Check all pictures, then write `labels/ID.png` and `overlays/ID.png` for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a network.safetensors")
    parser.add_argument("--out", type=Path, default=Path("predictions"))
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--crf", action="store_true", help="refine by a conditional random field")
    parser.add_argument(
        "--voc-test-server", type=Path, metavar="DIR", help=f"write DIR/{TEST_SERVER} too"
    )
    args = parser.parse_args(argv)
    try:
        if args.crf:
            require_crf()
        check_pictures(args.images)
        segmenter = load_segmenter(args.checkpoint, args.device)
        for path, image, labels in predict(segmenter, args.images, args.crf):
            write(args.out, path.stem, image, labels)
            if args.voc_test_server is not None:
                write_into(args.voc_test_server / TEST_SERVER, path.stem, labels)
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{len(args.images)} pictures: {args.out / 'labels'}, {args.out / 'overlays'}")


def check_pictures(paths: Sequence[Path]) -> None:
    """Read every picture once.

    Raises:
        OSError: One cannot be read.
        ValueError: Two have the same name without folder and ending; one is no picture.
    """
    names: dict[str, Path] = {}
    for path in paths:
        if path.stem in names:
            raise ValueError(f"{path} and {names[path.stem]} would both become {path.stem}.png")
        names[path.stem] = path
    for path in tqdm(paths, desc="check", unit="picture", leave=False):
        read_image(path)


def predict(
    segmenter: Segmenter, paths: Sequence[Path], crf: bool
) -> Iterator[tuple[Path, Tensor, Tensor]]:
    """Each picture, uint8 (3, H, W), and its labels, uint8 (H, W)."""
    for path in tqdm(paths, desc="predict", unit="picture"):
        image = read_image(path)
        probabilities = segmenter.probabilities(image)
        labels = refine(probabilities, image) if crf else probabilities.argmax(dim=0)
        yield path, image, labels.to(torch.uint8)


def write(out: Path, name: str, image: Tensor, labels: Tensor) -> None:
    """Write a label map, and the picture with the objects in their colours."""
    write_into(out / "labels", name, labels)
    color = torch.from_numpy(COLORS[labels.numpy()].copy()).permute(2, 0, 1)
    weight = torch.where(labels == 0, 0.0, 0.55)
    overlay = torch.lerp(image.float(), color.float(), weight.expand_as(image))
    folder = out / "overlays"
    folder.mkdir(parents=True, exist_ok=True)
    pixels = overlay.round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(folder / f"{name}.png")


def write_into(folder: Path, name: str, labels: Tensor) -> None:
    """Write a palette PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    write_label(folder / f"{name}.png", labels)


if __name__ == "__main__":
    main()
