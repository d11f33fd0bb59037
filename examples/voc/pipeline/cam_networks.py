"""What the classifier and the integral attention model share: trunk, head, maps of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from wsss_nonsalient import normalize_cam
from wsss_nonsalient.cam import Normalization
from wsss_nonsalient.io import CAMs, write_cams

from .config import CAMNetworkConfig
from .features import build_samples
from .networks import Network, build_classifier
from .photos import Photo
from .run_folder import Run
from .samples import Samples
from .trunks import build_trunk


def cam_samples(run: Run, photos: Sequence[Photo], config: CAMNetworkConfig) -> Samples:
    """Pictures, or features of a frozen trunk, for a network of this configuration."""
    return build_samples(run, photos, run.config.cam_trunk, config.size, config.augmentation)


def build_cam_network(run: Run, config: CAMNetworkConfig) -> Network:
    """Trunk and head with the initial parameters that belong to the seed."""
    torch.manual_seed(run.seed)
    own = run.config.cam_trunk
    trunk = build_trunk(own.name, output_stride=own.output_stride, weights=own.weights)
    trunk.requires_grad_(not own.frozen)
    if own.freeze_batch_norm:
        trunk.freeze_batch_norm()
    head = build_classifier(
        trunk.out_channels,
        run.data.num_classes,
        hidden_channels=config.hidden_channels,
        hidden_kernel=config.hidden_kernel,
        num_nodes=config.num_nodes,
    )
    return Network(trunk, head)


def trained_part(run: Run, network: Network) -> nn.Module:
    """What the samples go into: the head if the trunk is frozen, else the whole network."""
    return network.head if run.config.cam_trunk.frozen else network


def mirror(maps: Tensor, mirrored: Tensor) -> Tensor:
    """Maps (N, C, h, w) with those of mirrored inputs flipped back, or there and back again."""
    return torch.where(mirrored[:, None, None, None], maps.flip(-1), maps)


@torch.inference_mode()
def predict_maps(
    run: Run, network: nn.Module, samples: Samples, indices: Sequence[int], name: str
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each picture's index, logits (C,) and raw maps (C, h, w): means with the mirror image."""
    network.eval().to(run.fabric.device)
    hidden = not run.fabric.is_global_zero
    for index in tqdm(indices, desc=name, unit="picture", disable=hidden):
        with run.fabric.autocast():
            logits, maps = network(samples.pair(index).to(run.fabric.device))
        plain, mirrored = maps.float()
        yield index, logits.float().mean(0).cpu(), ((plain + mirrored.flip(-1)) / 2).cpu()


def write_maps(
    run: Run,
    network: nn.Module,
    samples: Samples,
    photos: Sequence[Photo],
    folder: Path,
    mode: Normalization,
) -> None:
    """Write the normalised maps of each picture's classes to `folder/ID.npz`; those there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    mine = range(run.fabric.global_rank, len(photos), run.fabric.world_size)
    todo = [i for i in mine if not (folder / f"{photos[i].key}.npz").is_file()]
    for i, _, maps in predict_maps(run, network, samples, todo, folder.name):
        classes = torch.tensor(photos[i].classes, dtype=torch.int64)
        own = normalize_cam(maps[classes], mode=mode)
        write_cams(folder, photos[i].key, CAMs(classes, own))
