"""Noise that belongs to places in the clip, not to tiles, batches or chunks.

Frames may have a part of their noise in common, so that what is drawn from it does not flicker where nothing moves
(the mixed noise of Ge et al., "Preserve Your Own Correlation", ICCV 2023).
"""
from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor


class NoiseField:
    """Standard normal noise by frame position: a function of (seed, clip, purpose, frame) alone.

    Args:
        seed: the run's.
        clip: the clip's name.
        shared: share of the variance, 0..1, that all frames have in common.
    """

    def __init__(self, seed: int, clip: str, shared: float = 0.0) -> None:
        self.seed, self.clip, self.shared = seed, clip, shared
        self._common: dict[str, Tensor] = {}

    def frame(self, purpose: str, index: int, shape: tuple[int, int, int]) -> Tensor:
        """Noise `[C, h, w]`, float32, for the latent frame whose first video frame is `index`; drawn on the CPU."""
        if self.shared == 0:
            return self._draw(purpose, str(index), shape)
        if purpose not in self._common or self._common[purpose].shape != shape:
            self._common[purpose] = self._draw(purpose, "common", shape)
        common = self._common[purpose]
        if self.shared == 1:
            return common.clone()
        own = self._draw(purpose, str(index), shape)
        return math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * own

    def _draw(self, purpose: str, which: str, shape: tuple[int, int, int]) -> Tensor:
        key = hashlib.sha256(f"{self.seed}\0{self.clip}\0{purpose}\0{which}".encode()).digest()
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
