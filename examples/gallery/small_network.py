"""A network, and pictures for it, small enough to be trained while the documentation is built."""

from procedural_scene import CLASS_NAMES, Scene, make_scene
from torch import Tensor, nn, stack
from torch.nn.functional import interpolate

from wsss_nonsalient import CAMHead, CAMOutput

SIZE = (96, 128)  # height and width of the pictures that the network sees


class SmallNetwork(nn.Module):
    """Three convolutions, and the head with the global reasoning unit.

    Args:
        num_nodes: Nodes of the unit.
        channels: Channels of the features.
    """

    def __init__(self, num_nodes: int = 8, channels: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.head = CAMHead(channels, len(CLASS_NAMES), hidden_channels=None, num_nodes=num_nodes)

    def forward(self, images: Tensor) -> CAMOutput:
        """Logits and class maps, (N, C, 24, 32)."""
        output: CAMOutput = self.head(self.trunk(images))
        return output


def load_scenes(count: int) -> tuple[list[Scene], Tensor, Tensor]:
    """Scenes, their pictures (N, 3, 96, 128) around 0, and their image-level labels (N, C)."""
    scenes = [make_scene(seed) for seed in range(count)]
    images = stack([small(scene.image) for scene in scenes]) - 0.5
    return scenes, images, stack([scene.image_labels for scene in scenes]).float()


def small(maps: Tensor) -> Tensor:
    """(C, H, W) maps in the size that the network sees."""
    return interpolate(maps[None], SIZE, mode="bilinear", antialias=True)[0]
