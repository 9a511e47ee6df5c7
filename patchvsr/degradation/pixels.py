"""Between 8-bit code values and float: rounding and back."""

from __future__ import annotations

import torch
from torch import Tensor

from patchvsr.errors import UserError


def quantise(frames: Tensor, bits: int = 8) -> Tensor:
    """Clamp 0..1 and round to 8 or 16 bit, halves up as MATLAB's `uint8` does; frame by frame.

    Raises:
        UserError: a value is not a finite number.
    """
    kind = {8: torch.uint8, 16: torch.uint16}[bits]
    out = torch.empty(frames.shape, dtype=kind, device=frames.device)
    for index, frame in enumerate(frames):
        if not torch.isfinite(frame.sum(dtype=torch.float64)):
            raise UserError(f"frame {index} holds values that are not finite numbers, so it cannot be stored")
        out[index] = frame.float().clamp(0, 1).mul_(2**bits - 1).add_(0.5).to(kind)
    return out


def to_float(frames: Tensor) -> Tensor:
    """8-bit frames as float32 in 0..1."""
    return frames.to(torch.float32).div_(255)
