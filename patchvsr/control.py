"""The control without diffusion: the same codec, stem and head as nano's arms, trained to regress the sharp frames.

It has no transformer, no noise and no sampling, so what an arm does better than this, its prior does.
"""
from __future__ import annotations

from typing import Self

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from patchvsr.base import BaseDefinition
from patchvsr.codec import tiles
from patchvsr.codec.tiles import Grid
from patchvsr.nano import LevelStem, PositionNorm, ResidualBlock, fold, unfold
from patchvsr.offload import compute_device


class RegressionControl(ModelMixin, ConfigMixin):
    """Latents of upsampled frames to latents of sharp ones, in one pass of convolutions.

    Args:
        latent_channels: of the codec.
        widths: channels at the latents' resolution and at half of it.
        depth: residual blocks after the stem.
        residual_std: scale of the difference that the network gives.
        tile: side in latent pixels, halo included, of what is calculated at once.
    """

    HALO = 32
    """Latent pixels that a result depends on to each side (a test measures it)."""

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 48,
        widths: tuple[int, int] = (64, 64),
        depth: int = 2,
        residual_std: float = 0.24,
        tile: int = 256,
    ) -> None:
        super().__init__()
        fine, coarse = widths
        self.stem = LevelStem(latent_channels, (fine, coarse))
        self.blocks = nn.ModuleList(ResidualBlock(fine, temporal=index == 0) for index in range(depth))
        self.norm_out = PositionNorm(fine)
        self.conv_out = nn.Conv2d(fine, latent_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    @classmethod
    def for_base(cls, definition: BaseDefinition) -> Self:
        """An untrained control with the sizes of a nano base."""
        config, std = definition.config, definition.residual_std
        assert std is not None
        return cls(config["latent_channels"], tuple(config["widths"]), residual_std=std)

    def residual(self, latents: Tensor) -> Tensor:
        """What is missing from `[B, C, T, h, w]`, in units of `residual_std`; h and w are even."""
        frames = latents.shape[2]
        hidden = self.stem(fold(latents), frames)[2]
        for block in self.blocks:
            hidden = block(hidden, None, frames)
        return unfold(self.conv_out(F.silu(self.norm_out(hidden))), frames)

    @torch.inference_mode()
    def forward(self, latents: Tensor) -> Tensor:
        """Sharp latents `[C, T, h, w]`, float32, of upsampled ones; in tiles whose halo makes them exact."""
        height, width = latents.shape[-2:]
        padded = F.pad(latents.flatten(0, 1)[None], (0, width % 2, 0, height % 2), "replicate")[0]
        padded = padded.unflatten(0, latents.shape[:2])
        tall, wide = (-(-size // 2) for size in (height, width))
        grid = Grid.over(tall, wide, self.config.tile // 2, self.HALO, tight=True)
        dtype, device = self.conv_out.weight.dtype, compute_device(self)

        def run(part: Tensor) -> Tensor:
            return self.residual(part[None].to(device, dtype))[0].float() * self.config.residual_std

        # Tiles begin at even latent pixels, as the whole does, so that the halved level is the same in both.
        return latents + tiles.stitch(padded, run, grid, 2, 2)[..., :height, :width]
