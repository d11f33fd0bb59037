"""NSROM on PASCAL VOC, or on any data set of its shape: from image-level labels to segmentation.

    python examples/voc/run.py --config demo --out runs/demo
    python examples/voc/run.py --config paper --out runs/paper --voc-root VOCdevkit

Each stage is skipped when it is complete, and a killed run goes on when started again. Every field
of the configuration can be set on the command line, such as `--classifier.training.epochs 5`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo_data import write_demo_data
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # type: ignore[attr-defined]
from lightning_fabric import Fabric
from pipeline.classify import classify
from pipeline.config import Config, TrunkConfig
from pipeline.crf import require_crf
from pipeline.integral import integral
from pipeline.label import label
from pipeline.mask import mask
from pipeline.photos import open_data_set, read_split
from pipeline.predictions import predict
from pipeline.report import write_report
from pipeline.results import collect_results, seconds_of
from pipeline.run_folder import Run, claim, write_json
from pipeline.saliency import NONE, check_saliency, is_function, with_source
from pipeline.segment import segment
from pipeline.validation import check_writable, validate

CONFIGS = Path(__file__).parent / "configs"


def segmentation_round(run: Run, name: str, labels: str) -> None:
    """Train a segmentation network, and write what it predicts for the validation pictures."""
    segment(run, run.folder / "labels" / labels, name)
    predict(run, name, run.val, f"val/{name}")
    if run.config.segmentation.crf:
        predict(run, name, run.val, f"val/{name}_crf", crf=True)


STAGES: dict[str, Callable[[Run], None]] = {
    "classify": classify,
    "integral": integral,
    "label": label,
    "segment": lambda run: segmentation_round(run, "segmentation_1", "pom"),
    "predict": lambda run: predict(run, "segmentation_1", run.train, "predictions/segmentation_1"),
    "mask": mask,
    "segment_again": lambda run: segmentation_round(run, "segmentation_2", "nsrm"),
}


class NamedConfigFile(ActionConfigFile):
    """Takes the name of a file in `configs` in place of a path."""

    def __call__(self, parser: Any, config: Any, values: Any, option_string: Any = None) -> None:
        """Read the file."""
        own = CONFIGS / f"{values}.toml"
        super().__call__(  # type: ignore[no-untyped-call]
            parser, config, str(own if own.is_file() else values), option_string
        )


def build_parser(description: str | None) -> ArgumentParser:
    """Options of `run.py` and `ablate.py`: the fields of `Config`, and where and on what to run."""
    parser = ArgumentParser(description=description, parser_mode="toml")
    parser.add_argument(
        "--config", action=NamedConfigFile, help="demo, mini, paper, or a TOML file"
    )
    parser.add_argument("--out", type=Path, required=True, help="run folder; a killed run goes on")
    parser.add_argument("--voc-root", type=Path, help="folder with JPEGImages etc.")
    parser.add_argument("--weights", help="ImageNet weights of both trunks, if they are the same")
    parser.add_argument(
        "--cache", type=Path, help="folder of features, for runs on the same pictures"
    )
    parser.add_argument("--accelerator", default="auto", help="cpu, cuda, mps or auto")
    parser.add_argument("--devices", type=int, default=1, help="processes, of one device each")
    parser.add_argument("--machines", type=int, default=1, help="each with as many devices")
    parser.add_argument("--precision", default="32-true", help="such as 16-mixed or bf16-mixed")
    parser.add_argument("--workers", type=int, default=0, help="processes that read pictures")
    parser.add_class_arguments(Config, as_group=False)
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, resume or just read the run in `--out`; prints its scores and returns its results."""
    parser = build_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stages", nargs="+", choices=list(STAGES), default=list(STAGES), help="default: all"
    )
    args = parser.parse_args(argv)
    try:
        run = prepare(args, parser.instantiate(args), start_fabric(args))
        for name in args.stages:
            STAGES[name](run)
        return finish(run)
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error


def start_fabric(args: Namespace) -> Fabric:
    """Start the processes: those beyond the first run this script again, with the same options."""
    fabric = Fabric(
        accelerator=args.accelerator,
        devices=args.devices,
        num_nodes=args.machines,
        precision=args.precision,
        strategy="ddp" if args.devices * args.machines > 1 else "auto",
    )
    fabric.launch()
    return fabric


def prepare(args: Namespace, options: Namespace, fabric: Fabric) -> Run:
    """Check data set and folder before hours are spent."""
    config = with_weights(
        Config(**{name: options[name] for name in Config.__dataclass_fields__}), args.weights
    )
    if config.segmentation.crf:
        require_crf()
    check_saliency(config)
    check_writable(args.out)
    root = args.voc_root
    if root is None:
        if not config.data.procedural:
            raise ValueError("--voc-root: expected a folder with JPEGImages, got none")
        root = args.out / "data"
        if fabric.is_global_zero:
            write_demo_data(root)
        fabric.barrier()
    data = open_data_set(root)
    run = Run(
        folder=args.out,
        config=config,
        seed=args.seed,
        data=data,
        train=read_split(data, config.data.train),
        val=read_split(data, config.data.val),
        fabric=fabric,
        features=args.cache or args.out / "features",
        workers=args.workers,
    )
    claim(run)
    if not (run.folder / "results.json").is_file() and fabric.is_global_zero:
        source = config.data.saliency
        needs_files = source != NONE and not is_function(source)
        photos = [*run.train, *run.val]
        validate(
            with_source(photos, data.root, source) if needs_files else photos,
            data.num_classes,
            saliency=needs_files,
            masks=True,
            allow_no_class=False,
        )
    fabric.barrier()
    return run


def with_weights(config: Config, weights: str | None) -> Config:
    """The configuration with the weights of `--weights`."""
    if weights is None:
        return config
    if config.cam_trunk.name != config.segmentation_trunk.name:
        raise ValueError(
            f"--weights: the trunks are {config.cam_trunk.name} and "
            f"{config.segmentation_trunk.name}; expected --cam_trunk.weights and "
            "--segmentation_trunk.weights"
        )
    if not Path(weights).is_file() and weights not in ("imagenet", "random"):
        raise FileNotFoundError(f"--weights: {weights} does not exist")
    own: list[TrunkConfig] = [
        replace(trunk, weights=weights) for trunk in (config.cam_trunk, config.segmentation_trunk)
    ]
    return replace(config, cam_trunk=own[0], segmentation_trunk=own[1])


def finish(run: Run) -> dict[str, Any]:
    """Score what there is, and write `results.json` and `report.md`."""
    results: dict[str, Any] = {}
    if run.fabric.is_global_zero:
        path = run.folder / "results.json"
        write_json(path, collect_results(run))
        results = json.loads(path.read_text())
        write_report(
            run.folder, run.data, run.train, run.val, {**results, "seconds": seconds_of(run)}
        )
        print(f"report: {run.folder / 'report.md'}")
    run.fabric.barrier()
    return results


if __name__ == "__main__":
    main()
