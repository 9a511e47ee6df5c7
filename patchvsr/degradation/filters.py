"""Filtering and resampling as image libraries do it, with the edge rules that published degradations name."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from patchvsr.errors import UserError, nearest

Edges = Literal["replicate", "reflect"]
"""`replicate` repeats the outermost pixel; `reflect` mirrors about its centre, as OpenCV's default does."""
Method = Literal["area", "bilinear", "bicubic"]
"""Ways of `resample`."""


def edge_index(index: Tensor, size: int, edges: Edges) -> Tensor:
    """Positions along an axis of `size` pixels, those outside of it replaced by the rule for edges.

    Raises:
        UserError: the rule is unknown.
    """
    if edges not in get_args(Edges):
        raise UserError(f"unknown rule for edges '{edges}'{nearest(edges, get_args(Edges))}")
    if edges == "replicate":
        return index.clamp(0, size - 1)
    period = max(1, 2 * (size - 1))
    index = index % period
    return torch.where(index < size, index, period - index)


def correlate(frame: Tensor, kernel: Tensor, edges: Edges = "reflect") -> Tensor:
    """Filter each channel with an odd square kernel, not flipped, as OpenCV's `filter2D` does.

    Args:
        frame: `[C, H, W]`, float.
        kernel: `[k, k]`; converted to the dtype of `frame`.
        edges: what lies outside the frame.

    Returns:
        `[C, H, W]`.
    """
    reach = kernel.shape[-1] // 2
    rows, columns = (
        edge_index(torch.arange(-reach, size + reach, device=frame.device), size, edges) for size in frame.shape[-2:]
    )
    padded = frame[:, rows[:, None], columns]
    return F.conv2d(padded[:, None], kernel.to(frame)[None, None])[:, 0]


def sample_filtered(values: Tensor, taps: Tensor, first: int, step: int, dim: int, edges: Edges) -> Tensor:
    """Filter along one axis and keep every `step`-th result, computing no other.

    Args:
        values: any shape; the axis `dim` is a multiple of `step` long.
        taps: `[k]` weights.
        first: where the first tap of the first result lies, in pixels.
        step: pixels from one result to the next.
        dim: the axis.
        edges: what lies outside.
    """
    size = values.shape[dim]
    starts = torch.arange(size // step, device=values.device) * step + first
    total = torch.zeros((), dtype=values.dtype, device=values.device)
    for offset, weight in enumerate(taps.tolist()):
        total = total + weight * values.index_select(dim, edge_index(starts + offset, size, edges))
    return total


def resample(frame: Tensor, height: int, width: int, method: Method) -> Tensor:
    """Resize `[C, H, W]` (float32) to any size as OpenCV's `resize` does: no antialiasing but that of `area`.

    Raises:
        UserError: the method is unknown.
    """
    if method not in get_args(Method):
        raise UserError(f"unknown way to resize '{method}'{nearest(method, get_args(Method))}")
    if frame.shape[-2:] == (height, width):
        return frame
    if method == "area":
        rows, columns = (_overlap(*sizes).to(frame) for sizes in zip(frame.shape[-2:], (height, width), strict=True))
        return rows @ (frame @ columns.T)
    return F.interpolate(frame[None], (height, width), mode=method)[0]


def _overlap(size: int, out: int) -> Tensor:
    """`[out, size]`: how much of each output pixel each input pixel covers; exact means, also between whole ratios."""
    edges = torch.arange(out + 1, dtype=torch.float64) * size / out
    pixels = torch.arange(size, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return covered.clamp_min(0) * out / size
