"""Noise of second-order degradations (Wang et al., "Real-ESRGAN", 2021), in colour or the same in all channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def add_gaussian(frame: Tensor, sigma: float, grey: bool, rng: np.random.Generator) -> Tensor:
    """Add normal noise to a frame `[3, H, W]` (float, 0..1); `sigma` is in steps of 8 bit. Nothing is clamped."""
    shape = (1 if grey else 3, *frame.shape[1:])
    return frame + torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(frame) * (sigma / 255)


def add_poisson(frame: Tensor, strength: float, grey: bool, rng: np.random.Generator) -> Tensor:
    """Add shot noise to a frame `[3, H, W]` (float, 0..1), as Real-ESRGAN scales it. Nothing is clamped.

    A pixel counts as so many photons, at white, as the frame has distinct 8-bit values (rounded up to a power of 2);
    the deviation of the Poisson draw from its mean is multiplied by `strength` and added.
    """
    red, green, blue = frame
    light = (0.299 * red + 0.587 * green + 0.114 * blue)[None] if grey else frame
    codes = light.mul(255).round_().clamp_(0, 255).to(torch.uint8).numpy()
    levels = np.count_nonzero(np.bincount(codes.reshape(-1), minlength=256))
    white = 2.0 ** np.ceil(np.log2(levels))
    mean = codes * (white / 255)
    shot = rng.poisson(mean) - mean
    shot *= strength / white
    return frame + torch.from_numpy(shot).to(frame)
