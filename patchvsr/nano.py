"""Nano: a small rectified-flow video transformer that learns on two CPU cores.

A `WanTransformer3DModel` works at 1/16 of the frame; around it stand a convolutional stem and head at 1/4 and 1/8
with skips, because bare 16-pixel tokens learn too slowly to draw fine detail at this size. Nothing in the stem and
head looks at a whole tile (norms act per position), so a tile's tone does not depend on where the tile was cut.
"""
from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin, WanTransformer3DModel
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn
from torch.nn import functional as F

from patchvsr import wan
from patchvsr.wan import TextStates, TileFeatures


def fold(latents: Tensor) -> Tensor:
    """`[B, C, T, h, w]` to `[B * T, C, h, w]`, channels last."""
    return latents.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def unfold(maps: Tensor, frames: int) -> Tensor:
    """`[B * T, C, h, w]` to `[B, C, T, h, w]`."""
    return maps.unflatten(0, (-1, frames)).transpose(1, 2)


def _normed(maps: Tensor) -> Tensor:
    """`[N, C, h, w]` over the root of its mean square along C, at each position. Sums are float32.

    Written out because torch's own, on a CPU, is five passes over the maps.
    """
    length = torch.linalg.vector_norm(maps, dim=1, keepdim=True, dtype=torch.promote_types(maps.dtype, torch.float32))
    return maps * (length.square() / maps.shape[1] + 1e-6).rsqrt().to(maps.dtype)


class PositionNorm(nn.Module):
    """RMS norm over the channels of every position of `[N, C, h, w]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, maps: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Same shape and dtype; times 1 + `scale` plus `shift`, both `[N, C, 1, 1]`, in the same pass if given."""
        weight = self.weight.to(maps.dtype)[:, None, None]
        if scale is None or shift is None:
            return _normed(maps) * weight
        return torch.addcmul(shift, _normed(maps), (1 + scale) * weight)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip, scaled and shifted by a time embedding of width `embedding` (0: none).

    With `temporal`, a 1x1 convolution over each position's previous, own and next frame follows (zero-initialised).
    """

    def __init__(self, channels: int, embedding: int = 0, temporal: bool = False) -> None:
        super().__init__()
        self.norm = PositionNorm(channels)
        self.modulation = nn.Linear(embedding, 2 * channels) if embedding else None
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.temporal = nn.Conv2d(3 * channels, channels, 1) if temporal else None
        if self.temporal is not None:
            nn.init.zeros_(self.temporal.weight)
            nn.init.zeros_(self.temporal.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, embedding: Tensor | None, frames: int) -> Tensor:
        """`[B * T, C, h, w]` and `[B, embedding]` to `[B * T, C, h, w]`."""
        if self.modulation is not None and embedding is not None:
            scale, shift = self.modulation(F.silu(embedding)).repeat_interleave(frames, 0)[..., None, None].chunk(2, 1)
            hidden = self.norm(maps, scale.to(maps.dtype), shift.to(maps.dtype))
        else:
            hidden = self.norm(maps)
        maps = maps + self.conv_2(F.silu(self.conv_1(hidden)))
        if self.temporal is None:
            return maps
        return maps + self.temporal(_with_neighbours(F.silu(maps), frames))


def _with_neighbours(maps: Tensor, frames: int) -> Tensor:
    """Each frame's channels between those of the frame before and of the one after it (zeros beyond the ends).

    `[B * T, C, h, w]` to `[B * T, 3 C, h, w]`, channels last, written once.
    """
    clip = maps.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
    before, own, after = 3 * [clip.shape[-1]]
    out = clip.new_empty(*clip.shape[:-1], before + own + after)
    out[:, 1:, ..., :before] = clip[:, :-1]
    out[:, 0, ..., :before] = 0
    out[..., before : before + own] = clip
    out[:, :-1, ..., before + own :] = clip[:, 1:]
    out[:, -1, ..., before + own :] = 0
    return out.flatten(0, 1).permute(0, 3, 1, 2)


def _through(blocks: nn.ModuleList, maps: Tensor, embedding: Tensor | None, frames: int) -> Tensor:
    for block in blocks:
        maps = block(maps, embedding, frames)
    return maps


class LevelStem(nn.Module):
    """Small convolutional U-Net that reads a condition, with the resolutions of the nano base's stem and head."""

    def __init__(self, latent_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        fine, coarse = widths
        self.conv_in = nn.Conv2d(latent_channels, fine, 3, padding=1)
        self.fine = nn.ModuleList(ResidualBlock(fine) for _ in range(2))
        self.down = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList(ResidualBlock(coarse, temporal=last) for last in (False, True))
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.head = ResidualBlock(fine)

    def forward(self, maps: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """From `[B * T, C, h, w]`: maps at the latents' resolution, at half of it, and back at full for the head."""
        fine = _through(self.fine, self.conv_in(maps), None, frames)
        coarse = _through(self.coarse, self.down(fine), None, frames)
        return fine, coarse, self.head(fine + F.pixel_shuffle(self.up(coarse), 2), None, frames)


class NanoTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """The nano base. Its network predicts the clean latents, from which the velocity follows.

    A fixed skip from the noisy latents would carry noise that the network must cancel exactly, since their variance
    differs from place to place (next to none in flat areas). So the head predicts, for every value, what to draw and
    how much of the noisy value to keep, as a Wiener filter with a local variance does.

    Args:
        latent_channels: channels of the codec's latents.
        widths: channels at the latents' resolution and at half of it.
        depths: residual blocks of the stem at these two resolutions, then of the head at half and at full resolution.
        dim: width of the transformer; must be a multiple of `heads`.
        heads, layers, ffn_dim: of the transformer.
        text_dim: width of the prompt embeddings.
    """

    _keep_in_fp32_modules = WanTransformer3DModel._keep_in_fp32_modules  # those of the one inside
    _repeated_blocks = ["WanTransformerBlock", "ResidualBlock"]  # for `compile_repeated_blocks`

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 48,
        widths: tuple[int, int] = (64, 64),
        depths: tuple[int, int, int, int] = (1, 2, 2, 2),
        dim: int = 96,
        heads: int = 2,
        layers: int = 3,
        ffn_dim: int = 192,
        text_dim: int = 64,
    ) -> None:
        super().__init__()
        fine, coarse = widths
        self.dit = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=heads,
            attention_head_dim=dim // heads,
            in_channels=coarse,
            out_channels=coarse,
            text_dim=text_dim,
            freq_dim=64,
            ffn_dim=ffn_dim,
            num_layers=layers,
            rope_max_seq_len=1024,
        )
        self.conv_in = nn.Conv2d(latent_channels, fine, 3, padding=1)
        self.fine_in = nn.ModuleList(ResidualBlock(fine, dim) for _ in range(depths[0]))
        self.down = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        self.coarse_in = nn.ModuleList(ResidualBlock(coarse, dim, i == 0) for i in range(depths[1]))
        self.coarse_out = nn.ModuleList(ResidualBlock(coarse, dim, i == 0) for i in range(depths[2]))
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.fine_out = nn.ModuleList(ResidualBlock(fine, dim, i == 0) for i in range(depths[3]))
        self.norm_out = PositionNorm(fine)
        self.conv_out = nn.Conv2d(fine, 2 * latent_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(
        self,
        latents: Tensor,
        t: Tensor,
        text: TextStates,
        features: TileFeatures,
        levels: tuple[Tensor, ...] = (),
        injections: tuple[Tensor, ...] = (),
        gates: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Velocity `[B, C, T, h, w]` (float32) of noisy latents at time t `[B]`; h and w are multiples of 4.

        `levels` are the patch branch's projected maps, `[B * T, C, h, w]`: for the two resolutions of the stem, and for
        the head. The last is needed because the base, trained without a condition, has learnt to answer pure noise
        with nothing, whatever stands in its stem.
        """
        frames = latents.shape[2]
        noise_share = t.view(-1, 1, 1, 1, 1).float()
        size = ((1 - noise_share) ** 2 + noise_share**2).sqrt()
        scaled = latents.float() / size
        noisy = scaled.to(self.conv_in.weight.dtype)
        embedding = wan.embed_time(self.dit, t, noisy, features.condition)
        fine = self.conv_in(fold(noisy))
        fine = fine + levels[0] if levels else fine
        fine = _through(self.fine_in, fine, embedding, frames)
        coarse = self.down(fine)
        coarse = _through(self.coarse_in, coarse + levels[1] if levels else coarse, embedding, frames)
        tokens = wan.forward(self.dit, unfold(coarse, frames), embedding, text, features, injections, gates)
        hidden = _through(self.coarse_out, coarse + fold(tokens), embedding, frames)
        hidden = fine + F.pixel_shuffle(self.up(hidden), 2)
        hidden = _through(self.fine_out, hidden + levels[2] if levels else hidden, embedding, frames)
        drawn, kept = unfold(self.conv_out(F.silu(self.norm_out(hidden))), frames).float().chunk(2, 1)
        clean = drawn + kept * scaled
        return (latents.float() - clean) / noise_share
