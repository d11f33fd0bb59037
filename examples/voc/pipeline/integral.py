"""Integral: a second network learns the accumulated maps; its own maps are the OA-CAMs."""

from __future__ import annotations

from torch import Tensor, nn

from wsss_nonsalient import OACAMAccumulator, integral_attention_loss

from .cam_networks import build_cam_network, cam_samples, mirror, trained_part, write_maps
from .networks import load_network, save_network
from .run_folder import Run, is_complete, run_id, stage
from .samples import Sample, Samples
from .training import Schedule, train


def integral(run: Run) -> None:
    """Train the integral attention model; keep its OA-CAMs of the pictures to label."""
    if is_complete(run, "integral"):
        return
    with stage(run, "integral") as facts:
        config, path = run.config.integral, run.folder / "integral" / "network.safetensors"
        samples = cam_samples(run, run.train, config)
        part = trained_part(run, build_cam_network(run, config))
        if not path.is_file():
            losses = _train(run, part, samples)
            if run.fabric.is_global_zero:
                save_network(path, part.state_dict(), {"loss": losses})
            run.fabric.barrier()
        state, description = load_network(path)
        part.load_state_dict(state)
        facts["loss"] = description["loss"]
        write_maps(run, part, samples, run.train, run.folder / "maps" / "oa_cam", "minmax")


def _train(run: Run, network: nn.Module, samples: Samples) -> list[tuple[int, float]]:
    keys = [photo.key for photo in run.train]
    accumulator = OACAMAccumulator(run.data.num_classes, run_id=run_id(run))
    accumulator.load(run.folder / "classify" / "accumulated.npz")

    def step_loss(model: nn.Module, batch: Sample, _: int) -> Tensor:
        target = accumulator.compute([keys[i] for i in batch.picture.tolist()])
        target = mirror(target.to(batch.inputs.device), batch.mirrored)
        return integral_attention_loss(model(batch.inputs).cams, target)

    schedule = Schedule(
        len(keys),
        run.config.integral.training,
        run.seed,
        run.fabric.global_rank,
        run.fabric.world_size,
    )
    return train(
        run.fabric, network, samples, schedule, step_loss,
        checkpoint=run.folder / "integral" / "checkpoint.pt", name="integral", workers=run.workers,
    )  # fmt: skip
