"""Context branches: what a tile knows of the rest of the frame.

A branch chooses the frames to look at (resized to the size of a tile) and encodes their latents to context tokens,
a quarter as many as the tile has. Source: PatchVSR (arXiv 2509.26025), global context branch.
"""
from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from patchvsr.attention import CrossStates, decouple, text_key_value
from patchvsr.degradation import resize_bicubic
from patchvsr.registry import Registry


class ContextView(ABC):
    """Chooses the frames that the context branch sees.

    Attributes:
        whole: every tile sees the same frames, so they are cut and encoded once per clip.
        masked: a mask of the tile's box means something in these frames.
    """

    whole = True
    masked = True

    @abstractmethod
    def frames(self, video: Tensor, box: tuple[int, int, int, int]) -> Tensor:
        """Frames `[T, 3, h, w]` for the tile whose box (top, left, height, width; pixels) lies in `[T, 3, H, W]`."""


contexts: Registry[type[ContextView] | None] = Registry("context")
contexts.register("none")(None)


@contexts.register("global")
class GlobalView(ContextView):
    """The paper's: the whole frame, resized to the size of a tile."""

    def frames(self, video: Tensor, box: tuple[int, int, int, int]) -> Tensor:
        """The whole video at the tile's size."""
        return resize_bicubic(video, box[2], box[3])


@contexts.register("neighbourhood")
class NeighbourhoodView(ContextView):
    """A crop of three tile sizes centred on the tile (edges repeated beyond the frame), resized to the tile's size."""

    whole = False
    masked = False

    def frames(self, video: Tensor, box: tuple[int, int, int, int]) -> Tensor:
        """The crop around the tile, at the tile's size."""
        top, left, height, width = box
        rows = torch.arange(top - height, top + 2 * height, device=video.device).clamp(0, video.shape[-2] - 1)
        columns = torch.arange(left - width, left + 2 * width, device=video.device).clamp(0, video.shape[-1] - 1)
        return resize_bicubic(video[..., rows[:, None], columns], height, width)


class ContextEncoder(nn.Module):
    """Transformer encoder of context latents: twice the base's patch stride, so a quarter of its tokens.

    Args:
        channels: latent channels plus mask channels.
        patch: latent pixels per base token, in height and width.
        dim, heads, ffn_dim: of the Wan blocks.
        layers: number of blocks.
    """

    def __init__(self, channels: int, patch: int, dim: int, heads: int, ffn_dim: int, layers: int) -> None:
        super().__init__()
        self.stride = 2 * patch
        size = (1, self.stride, self.stride)
        self.patch_embedding = nn.Conv3d(channels, dim, kernel_size=size, stride=size)
        self.rope = WanRotaryPosEmbed(dim // heads, size, 1024)
        self.blocks = nn.ModuleList(
            WanTransformerBlock(dim, ffn_dim, heads, cross_attn_norm=True) for _ in range(layers)
        )
        decouple(self.blocks)
        self.norm = nn.LayerNorm(dim)
        self.modulation = nn.Linear(dim, 6 * dim)

    def forward(self, latents: Tensor, condition: Tensor, text: Tensor) -> Tensor:
        """Context tokens `[B, N, dim]`.

        Args:
            latents: `[B, channels, T, h, w]`; padded by repeating edges where the stride does not fit.
            condition: `[B, dim]` from the branch's conditioning encoding.
            text: prompt tokens `[1 or B, L, dim]`.
        """
        short = [-size % self.stride for size in latents.shape[-2:]]
        if any(short):
            latents = F.pad(latents.flatten(1, 2), (0, short[1], 0, short[0]), "replicate").unflatten(
                1, latents.shape[1:3]
            )
        rotary = self.rope(latents)
        hidden = self.patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()
        modulation = self.modulation(F.silu(condition)).unflatten(1, (6, -1))
        for block in self.blocks:
            hidden = block(hidden, CrossStates(text_key_value(block.attn2, text)), modulation, rotary)
        return self.norm(hidden.to(self.norm.weight.dtype))
