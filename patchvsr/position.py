"""Position encodings: how a tile knows where in the frame it is.

Four channels carry location: a mask in the context branch's input, an extra context token, the crop among the
conditioning encodings, and the start of the rotary positions. Each encoding uses some of them.
"""
from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchvsr.registry import Registry

ROPE_RANGE = 2
"""Rotary positions of `rope_offset` stay below this many tile sizes, whatever the frame's size."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tile's box in its frame, all in latent pixels."""

    top: int
    left: int
    height: int
    width: int
    frame_height: int
    frame_width: int

    def fractions(self) -> tuple[float, float, float, float]:
        """Top, left, height and width as shares of the frame."""
        return (
            self.top / self.frame_height,
            self.left / self.frame_width,
            self.height / self.frame_height,
            self.width / self.frame_width,
        )


class PositionEncoding(nn.Module, ABC):
    """Base class: no location at all. `dim` is the width of the context tokens.

    Attributes:
        mask_channels: channels that `mask` adds to the context branch's input.
        uses_crop: the crop is among the conditioning encodings.
        shares_context: the context branch sees nothing of the place, so one run serves every tile of a clip.
        needs_context: without a context branch this encoding has nowhere to go.
        moves_rope: rotary positions depend on the place, so tiles cannot share a forward pass.
    """

    mask_channels = 0
    uses_crop = False
    shares_context = True
    needs_context = False
    moves_rope = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def mask(self, place: Place, height: int, width: int, like: Tensor) -> Tensor | None:
        """`[1, height, width]` for the context branch's input, or None."""
        return None

    def token(self, place: Place, like: Tensor) -> Tensor | None:
        """An extra context token `[1, 1, dim]`, or None."""
        return None

    def rope_start(self, place: Place, patch: int) -> tuple[int, int]:
        """First rotary position of the tile along rows and columns, in tokens of `patch` latent pixels."""
        return 0, 0


positions: Registry[type[PositionEncoding]] = Registry("position")


@positions.register("none")
class NoPosition(PositionEncoding):
    """The tile does not know where it is (`no_pos`: neither mask nor crop)."""


@positions.register("crop")
class CropPosition(PositionEncoding):
    """Only the crop among the conditioning encodings: what is left of the paper's location without a global branch."""

    uses_crop = True
    shares_context = False


@positions.register("mask")
class MaskPosition(PositionEncoding):
    """The paper's: a mask of the tile's box as a channel of the context input, and the crop as conditioning."""

    mask_channels = 1
    uses_crop = True
    shares_context = False
    needs_context = True

    def mask(self, place: Place, height: int, width: int, like: Tensor) -> Tensor:
        """The share of each cell that the tile covers, so that boxes between cells are told apart."""
        rows = _coverage(place.top, place.height, place.frame_height, height)
        columns = _coverage(place.left, place.width, place.frame_width, width)
        return torch.outer(rows, columns)[None].to(like)


@positions.register("box")
class BoxPosition(PositionEncoding):
    """One context token of Fourier features of the tile's box, so that the context is encoded once per clip."""

    uses_crop = True
    needs_context = True
    bands = 6

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.project = nn.Sequential(nn.Linear(8 * self.bands, dim), nn.SiLU(), nn.Linear(dim, dim))

    def token(self, place: Place, like: Tensor) -> Tensor:
        """The projected Fourier features."""
        box = torch.tensor(place.fractions(), dtype=torch.float32, device=like.device)
        angles = box[:, None] * (math.pi * 2.0 ** torch.arange(self.bands, device=like.device))
        return self.project(torch.cat([angles.sin(), angles.cos()], 1).flatten().to(like)[None, None])


@positions.register("rope_offset")
class RopeOffset(PositionEncoding):
    """The tile's rotary positions start at its place in the frame, scaled into the trained range."""

    moves_rope = True

    def rope_start(self, place: Place, patch: int) -> tuple[int, int]:
        """Linear from 0 at the frame's first edge to (ROPE_RANGE - 1) tile sizes at its last."""
        starts = []
        pairs = ((place.top, place.height, place.frame_height), (place.left, place.width, place.frame_width))
        for start, size, frame in pairs:
            room = frame - size
            starts.append(round(start / room * (ROPE_RANGE - 1) * (size // patch)) if room else 0)
        return starts[0], starts[1]


def _coverage(start: int, size: int, length: int, cells: int) -> Tensor:
    edges = torch.arange(cells + 1, dtype=torch.float64) * (length / cells)
    inside = edges.clamp(start, start + size)
    return (inside.diff() * (cells / length)).float()


class ConditioningEncoding(nn.Module):
    """Scale, noise-augmentation level and, if wanted, the crop as one vector (sinusoidal features, then an MLP).

    Args:
        dim: width of the result.
        crop: include the tile's crop.
        zero: zero-initialise the last layer, so that an untrained encoding adds nothing.
    """

    bands = 8

    def __init__(self, dim: int, crop: bool, zero: bool) -> None:
        super().__init__()
        self.crop = crop
        self.project_in = nn.Linear(2 * self.bands * (6 if crop else 2), dim)
        self.project_out = nn.Linear(dim, dim)
        if zero:
            nn.init.zeros_(self.project_out.weight)
            nn.init.zeros_(self.project_out.bias)

    def forward(self, scale: Tensor, level: Tensor, crop: Tensor) -> Tensor:
        """`[B, dim]` from the scale `[B]` (> 1), the augmentation level `[B]` in 0..1 and the crop `[B, 4]`."""
        parts = [torch.log2(scale)[:, None] / 3, level[:, None]]
        values = torch.cat([*parts, crop] if self.crop else parts, dim=1).float()
        angles = values[..., None] * (math.pi * 2.0 ** torch.arange(self.bands, device=values.device) / 2)
        features = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return self.project_out(F.silu(self.project_in(features.to(self.project_in.weight.dtype))))
