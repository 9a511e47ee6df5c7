"""Colour conversions that metrics share, each with the range that its identity names."""
from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.metrics.stream import Instant, Side
from patchvsr.degradation import quantise, resize_bicubic, to_float

Y_STUDIO = "Y of YCbCr BT.601 studio range 16..235, not rounded, from 8-bit RGB"
"""As MATLAB's rgb2ycbcr on doubles, which is what papers score on; a full-range Y scores 1.32 dB lower."""


def y_studio(frame: Tensor) -> Tensor:
    """BT.601 luma in studio range, float32 `[1, H, W]`, 16..235, of uint8 `[3, H, W]`."""
    red, green, blue = (channel.float() for channel in frame)
    luma = red.mul_(65.481).add_(green, alpha=128.553).add_(blue, alpha=24.966)
    return luma.div_(255).add_(16)[None]


def luma_full(frame: Tensor) -> Tensor:
    """BT.601 luma, full range 0..255, float32 `[H, W]`, of uint8 `[3, H, W]`."""
    red, green, blue = (channel.float() for channel in frame)
    return red.mul_(0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def shared_y(instant: Instant, side: Side) -> Tensor:
    """`y_studio` of the output's or the ground truth's frame, made once."""
    return instant.shared(f"y_studio {side}", lambda: y_studio(instant.side(side)))


def grey8(frame: Tensor) -> np.ndarray:
    """OpenCV's 8-bit grey `[H, W]` of uint8 `[3, H, W]`."""
    import cv2

    pixels: Any = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def upsampled_lq(instant: Instant) -> Tensor:
    """The input enlarged by MATLAB-compatible bicubic to the output's size and rounded to 8 bit, made once."""
    size = instant.output.shape[-2:]
    return instant.shared("upsampled", lambda: quantise(resize_bicubic(to_float(instant.lq[None]), *size))[0])


def reference(instant: Instant) -> Tensor:
    """The ground truth's frame or, without one, the enlarged input: uint8 `[3, H, W]`."""
    return instant.target if instant.target is not None else upsampled_lq(instant)


def as_float(frame: Tensor) -> Tensor:
    """uint8 `[3, H, W]` as float32 0..1 `[1, 3, H, W]`."""
    return to_float(frame[None])
