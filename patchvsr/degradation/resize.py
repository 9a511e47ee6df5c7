"""Resizing as MATLAB's `imresize` does it, and the degradations that are nothing else.

`resize_bicubic` gives what MATLAB's `imresize` gives: cubic kernel with a = -0.5, widened when shrinking, pixel
centres aligned, edges mirrored. torch's antialiased kernels agree in the interior and differ at the edges, where
they drop the taps outside the image, so the edges are computed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from patchvsr.degradation.interface import FrameDegradation
from patchvsr.errors import UserError


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


_KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {"bicubic": (_cubic, 2.0), "bilinear": (_triangle, 1.0)}


def _matrix(size: int, out: int, kind: str, rows: Tensor) -> Tensor:
    """Rows `rows` of the resizing matrix `[out, size]`, float32, with mirrored edges; each row sums to 1."""
    kernel, support = _KERNELS[kind]
    stretch = max(1.0, size / out)
    centre = (rows.double() + 0.5) * size / out - 0.5
    taps = 2 * math.ceil(support * stretch) + 2
    index = centre.floor()[:, None] + torch.arange(1 - taps // 2, taps // 2 + 1, dtype=torch.float64)
    weight = kernel((index - centre[:, None]) / stretch)
    weight = weight / weight.sum(dim=1, keepdim=True)
    index = index.long() % (2 * size)
    index = torch.where(index < size, index, 2 * size - 1 - index)
    return torch.zeros(len(rows), size).scatter_add_(1, index, weight.float())


def _edge_rows(size: int, out: int, kind: str) -> Tensor:
    """Output positions whose kernel reaches outside the input."""
    support = _KERNELS[kind][1] * max(1.0, size / out)
    centre = (torch.arange(out, dtype=torch.float64) + 0.5) * size / out
    return torch.nonzero((centre - support < 0.5) | (centre + support > size - 0.5))[:, 0]


def _resize(frames: Tensor, height: int, width: int, kind: str) -> Tensor:
    """Resize `[..., C, H, W]` frame by frame, so that memory stays that of one frame beside input and output."""
    if height < 1 or width < 1:
        raise UserError(f"frames of {frames.shape[-1]}x{frames.shape[-2]} cannot be resized to {width}x{height}")
    if frames.shape[-2:] == (height, width):
        return frames.float()
    rows, columns = frames.shape[-2:]
    top = _edge_rows(rows, height, kind)
    side = _edge_rows(columns, width, kind)
    flat = frames.reshape(-1, *frames.shape[-3:])
    out = flat.new_empty(len(flat), flat.shape[1], height, width, dtype=torch.float32)
    column_matrix = _matrix(columns, width, kind, torch.arange(width)).to(flat.device)
    row_matrix = _matrix(rows, height, kind, torch.arange(height)).to(flat.device)
    top, side = top.to(flat.device), side.to(flat.device)
    kind_of_device = flat.device.type if torch.amp.is_autocast_available(flat.device.type) else "cpu"
    with torch.autocast(kind_of_device, enabled=False):  # a training step's would round the products to bfloat16
        for target, frame in zip(out, flat, strict=True):
            frame = frame.float()
            target.copy_(F.interpolate(frame[None], (height, width), mode=kind, antialias=True)[0])
            target[..., side] = row_matrix @ (frame @ column_matrix[side].T)
            target[..., top, :] = (row_matrix[top] @ frame) @ column_matrix.T
    return out.reshape(*frames.shape[:-2], height, width)


def resize_bicubic(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize to any larger or smaller size as MATLAB's `imresize(..., 'bicubic')`; values may overshoot 0..1.

    Args:
        frames: `[T, 3, H, W]`, any float dtype and device.
        height, width: of the result, in pixels.

    Returns:
        `[T, 3, height, width]`, float32, not clamped.
    """
    return _resize(frames, height, width, "bicubic")


def resize_bilinear(frames: Tensor, height: int, width: int) -> Tensor:
    """As `resize_bicubic`, with the triangle kernel (widened when shrinking)."""
    return _resize(frames, height, width, "bilinear")


@dataclass(frozen=True)
class Resized(FrameDegradation):
    """A resize and nothing else.

    Attributes:
        name, version: see `Degradation`.
        detail: the protocol in words.
        resize: takes `[1, 3, H, W]` and the low-resolution height and width.
    """

    name: str
    version: int
    detail: str
    resize: Callable[[Tensor, int, int], Tensor]

    @property
    def identity(self) -> str:
        """Name, version and protocol in one line; equal identities mean equal low-resolution frames."""
        return f"{self.name} v{self.version} ({self.detail}, quantised to 8 bit)"

    def degraded(self, frame: Tensor, height: int, width: int) -> Tensor:
        """See `FrameDegradation.degraded`."""
        return self.resize(frame[None], height, width)[0]


bicubic = Resized("bicubic", 1, "BI, MATLAB-compatible imresize, a=-0.5, antialiased", resize_bicubic)
bilinear = Resized("bilinear", 1, "MATLAB-compatible imresize, triangle kernel, antialiased", resize_bilinear)
