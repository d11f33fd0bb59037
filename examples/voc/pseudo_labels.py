"""Pseudo labels of VOC photos from image-level labels and saliency maps, every step scored.

A classifier on a frozen trunk gives CAMs. Their running maximum over training is the target of the
integral model, whose maps are the OA-CAMs. OA-CAMs and saliency give the initial labels, and POM
takes out of the background what the CAMs believe to be object. True masks are read by the scores
and the figures alone, and nothing is chosen with them but the background thresholds of the bare
maps' own rows.

    python examples/voc/pseudo_labels.py --voc-root VOCdevkit --list train_balanced \
        --weights tf_efficientnet_lite0.safetensors --out runs/unit --num-nodes 64
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from voc_data import Photo, check_images, check_photos, find_root, image_labels, read_split
from voc_features import build_trunk, cache_features, load_features, weights_digest
from voc_figures import write_figures
from voc_labels import best_threshold, label_and_score
from voc_results import load_model, open_run, save_model, versions, write_results
from voc_training import (
    build_model,
    mean_average_precision,
    predict,
    train_classifier,
    train_integral,
)

from wsss_nonsalient import OACAMAccumulator, normalize_cam
from wsss_nonsalient.io import VOC_CLASSES

NO_CONFIG = ("voc_root", "out", "cache", "weights", "device", "figures")  # where, not what


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True, help="folder with JPEGImages etc.")
    parser.add_argument("--list", required=True, help="name or file of the split to label")
    parser.add_argument("--val-list", help="split for the classifier's mean average precision")
    parser.add_argument("--trunk", default="tf_efficientnet_lite0", help="a timm model")
    parser.add_argument("--weights", required=True, help="the trunk's weights, or 'random'")
    parser.add_argument("--out", type=Path, required=True, help="run folder; a killed run goes on")
    parser.add_argument("--cache", type=Path, help="folder of trunk features that runs share")
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--output-stride", type=int, default=16, choices=(8, 16))
    parser.add_argument("--hidden-channels", type=int, default=256)
    parser.add_argument("--num-nodes", type=int, default=64, help="of the unit; 0 leaves it out")
    parser.add_argument("--epochs", type=int, default=15, help="of each of the two networks")
    parser.add_argument("--lr", type=float, default=1e-3, help="the first learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=int, default=8, help="how many photos to draw")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    if args.epochs < 2:
        parser.error("--epochs: expected at least 2, since the first one's maps are left out")
    return args


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, resume or just read the run in `--out`; prints its table and returns its results."""
    args = parse(argv)
    try:
        photos, val = read_data(args)
        config = {key: value for key, value in vars(args).items() if key not in NO_CONFIG}
        config["weights_sha256"] = weights_digest(args.weights)
        trunk = build_trunk(args.trunk, args.weights, args.output_stride)
        results = open_run(args.out, config)
    except (OSError, ValueError, RuntimeError) as error:
        raise SystemExit(f"error: {error}") from error
    if results is None:
        results = {"config": config, "versions": versions(), **run(args, photos, val, trunk)}
        write_results(args.out, results)
    print((args.out / "results.md").read_text())
    return results


def read_data(args: argparse.Namespace) -> tuple[list[Photo], list[Photo]]:
    """The photos to label and those of `--val-list`, checked before anything is computed."""
    root = find_root(args.voc_root)
    photos = read_split(root, args.list)
    check_photos(photos)
    val = read_split(root, args.val_list) if args.val_list else []
    check_images(val)
    return photos, val


def run(
    args: argparse.Namespace, photos: Sequence[Photo], val: Sequence[Photo], trunk: nn.Module
) -> dict[str, Any]:
    """All stages of the method, in order."""
    seconds: dict[str, float] = {}
    results: dict[str, Any] = {"photos": len(photos), "seconds": seconds}
    with timed(seconds, "features"):
        digest = weights_digest(args.weights)[:12]
        name = f"{args.trunk}-{digest}-{args.image_size}px-os{args.output_stride}"
        cache = (args.cache or args.out / "features") / name
        cache_features(trunk, args.trunk, [*photos, *val], args.image_size, cache, args.device)
        features = load_features(photos, cache)
    with timed(seconds, "classifier"):
        classifier, accumulated = classify(args, photos, features)
        cam = normalize_cam(predict(classifier, features)[1])
    if val:
        logits, _ = predict(classifier, load_features(val, cache))
        results["val_map"] = mean_average_precision(logits, image_labels(val))
    with timed(seconds, "integral model"):
        integral = integrate(args, features, accumulated)
        oa_cam = normalize_cam(predict(integral, features)[1], mode="minmax")
    maps = {"CAM": cam, "accumulated": accumulated, "OA-CAM": oa_cam}
    with timed(seconds, "labels"):
        thresholds = {name: best_threshold(own, photos, name) for name, own in maps.items()}
        rows = label_and_score(photos, maps, thresholds, args.out / "labels")
    with timed(seconds, "figures"):
        write_figures(photos, maps, args.out / "figures", args.figures)
    return {**results, "thresholds": thresholds, "rows": rows}


def classify(
    args: argparse.Namespace, photos: Sequence[Photo], features: Tensor
) -> tuple[nn.Module, Tensor]:
    """The trained classifier, and the running maximum of its maps over training."""
    model, keys = new_model(args, features), [photo.key for photo in photos]
    accumulator = OACAMAccumulator(len(VOC_CLASSES))
    done = args.out / "classifier.safetensors"
    if not done.is_file():
        train_classifier(
            model, features, image_labels(photos), keys, accumulator,
            epochs=args.epochs, lr=args.lr, seed=args.seed,
        )  # fmt: skip
        accumulator.save(args.out / "accumulated.npz")
        save_model(model, done)  # last: it says that the stage is complete
    load_model(model, done)
    return model, accumulator.load(args.out / "accumulated.npz").compute(keys)


def integrate(args: argparse.Namespace, features: Tensor, accumulated: Tensor) -> nn.Module:
    """The trained integral attention model."""
    model, done = new_model(args, features), args.out / "integral.safetensors"
    if not done.is_file():
        train_integral(model, features, accumulated, epochs=args.epochs, lr=args.lr, seed=args.seed)
        save_model(model, done)
    load_model(model, done)
    return model


def new_model(args: argparse.Namespace, features: Tensor) -> nn.Module:
    """A network with the initial parameters that belong to the seed."""
    torch.manual_seed(args.seed)
    model = build_model(features.shape[2], args.hidden_channels, len(VOC_CLASSES), args.num_nodes)
    return model.to(args.device)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the stage took."""
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 1)


if __name__ == "__main__":
    main()
