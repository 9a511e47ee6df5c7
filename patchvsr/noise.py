"""Noise that belongs to places in the clip, not to tiles, batches or chunks."""
from __future__ import annotations

import hashlib

import torch
from torch import Tensor


class NoiseField:
    """Standard normal noise by frame position: a function of (seed, clip, purpose, frame) alone.

    Args:
        seed: the run's.
        clip: the clip's name.
    """

    def __init__(self, seed: int, clip: str) -> None:
        self.seed, self.clip = seed, clip

    def frame(self, purpose: str, index: int, shape: tuple[int, int, int]) -> Tensor:
        """Noise `[C, h, w]`, float32, for the latent frame whose first video frame is `index`; drawn on the CPU."""
        key = hashlib.sha256(f"{self.seed}\0{self.clip}\0{purpose}\0{index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "big", signed=True))
        return torch.randn(shape, generator=generator)

    def chunk(
        self, purpose: str, first: int, frames: int, stride: int, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> Tensor:
        """Noise `[C, frames, h, w]` for latent frames that start `stride` video frames apart from `first` on."""
        field = torch.empty(shape[0], frames, *shape[1:], dtype=dtype)
        for index in range(frames):
            field[:, index] = self.frame(purpose, first + index * stride, shape)
        return field
