"""Segment any pictures with a trained checkpoint: palette PNGs and overlays.

python examples/voc/predict.py --checkpoint runs/mini/segmentation_2/network.safetensors *.jpg
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from pipeline.crf import refine, require_crf
from pipeline.figures import COLORS, write_bytes
from pipeline.photos import read_image
from pipeline.predictions import Segmenter, load_segmenter
from pipeline.validation import check_writable
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
        check_device(args.device)
        segmenter = load_segmenter(args.checkpoint, args.device)
        check_pictures(args.images)
        for folder in filter(None, (args.out, args.voc_test_server)):
            check_writable(folder)
        found: Counter[int] = Counter()
        for path, image, labels in predict(segmenter, args.images, args.crf):
            found.update(labels.unique().tolist())
            write(args.out, path.stem, image, labels)
            if args.voc_test_server is not None:
                write_into(args.voc_test_server / TEST_SERVER, path.stem, labels)
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error
    names = segmenter.class_names
    counts = [f"{name} in {found[i]}" for i, name in enumerate(names, 1) if i in found]
    print(f"pictures: {len(args.images)}; found: {', '.join(counts) or 'no object'}")
    print(f"written: {args.out / 'labels'}, {args.out / 'overlays'}")


def check_device(name: str) -> None:
    """Use a device once.

    Raises:
        ValueError: There is no such device here.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # the latter: PyTorch without CUDA
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device: {name!r} cannot be used here ({reason})") from error


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
    pixels = overlay.round().to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    write_bytes(out / "overlays" / f"{name}.png", buffer.getvalue())


def write_into(folder: Path, name: str, labels: Tensor) -> None:
    """Write a palette PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    write_label(folder / f"{name}.png", labels)


if __name__ == "__main__":
    main()
