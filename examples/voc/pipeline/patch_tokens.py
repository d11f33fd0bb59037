"""Transformers as trunks: the tokens of their patches, laid out as a map."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

#: timm's modules of transformers that take pictures of any size (`dynamic_img_size`).
FAMILIES = ("vision_transformer", "deit", "eva")


class PatchTokens(nn.Module):
    """Features (N, D, h, w) of a ViT-type model of timm, built with `dynamic_img_size`.

    Tokens of no patch (class, distillation and register tokens) are dropped, the others put where
    their patches are. A picture whose sides are no multiples of the patch size is padded below and
    on the right, with the mean colour, so h and w are H and W over the patch size, rounded up.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        own: Any = model
        for name in ("fc_norm", "attn_pool"):  # of the head, which is not run
            if getattr(own, name, None) is not None:
                setattr(own, name, nn.Identity())
        self.model = own
        self.patch_size: tuple[int, int] = tuple(own.patch_embed.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalised pictures (N, 3, H, W)."""
        (height, width), (high, wide) = images.shape[-2:], self.patch_size
        padded = functional.pad(images, (0, -width % wide, 0, -height % high))
        tokens: Tensor = self.model.forward_features(padded)
        patches = tokens[:, self.model.num_prefix_tokens :].mT
        size = padded.shape[-2] // high, padded.shape[-1] // wide
        features: Tensor = patches.unflatten(2, size)
        return features
