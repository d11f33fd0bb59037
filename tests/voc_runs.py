"""Options of a very small run of examples/voc/run.py."""

from __future__ import annotations

from pathlib import Path


def options(small_data: Path, out: Path, *more: str) -> list[str]:
    epochs = [
        f"--{name}.training.epochs={count}"
        for name, count in (("classifier", 4), ("integral", 3), ("segmentation", 3))
    ]
    where = ["--config", "demo", "--voc-root", str(small_data), "--out", str(out)]
    small = ["--classifier.size=64", "--integral.size=64", "--segmentation.augmentation.crop=64"]
    batches = [
        f"--{name}.training.batch_size=3" for name in ("classifier", "integral", "segmentation")
    ]
    return [*where, "--accelerator=cpu", *epochs, *small, *batches, *more]
