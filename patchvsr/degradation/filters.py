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

    By FFT in float64, since direct convolution in float32 was seen to round differently with other numbers of threads,
    which a video codec makes visible.

    Args:
        frame: `[C, H, W]`, float.
        kernel: `[k, k]`.
        edges: what lies outside the frame.

    Returns:
        `[C, H, W]`, of the dtype of `frame`.
    """
    height, width = frame.shape[-2:]
    reach = kernel.shape[-1] // 2
    rows, columns = (edge_index(torch.arange(-reach, size + reach), size, edges) for size in (height, width))
    shape = (_quick(len(rows)), _quick(len(columns)))
    response = torch.fft.rfft2(kernel.double(), s=shape).conj()
    out = torch.empty_like(frame)
    for target, channel in zip(out, frame, strict=True):  # one by one, since spectra are large
        spectrum = torch.fft.rfft2(channel[rows[:, None], columns].double(), s=shape).mul_(response)
        target.copy_(torch.fft.irfft2(spectrum, s=shape)[:height, :width])
    return out


def _quick(size: int) -> int:
    """The next length whose FFT is quick: with no prime factors above 5."""
    while 60**16 % size:
        size += 1
    return size


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
    """Resize `[C, H, W]` (float) to any size as OpenCV's `resize` does: no antialiasing but that of `area`.

    Raises:
        UserError: the method is unknown.
    """
    if method not in get_args(Method):
        raise UserError(f"unknown way to resize '{method}'{nearest(method, get_args(Method))}")
    if frame.shape[-2:] == (height, width):
        return frame
    if method == "area":
        return _averaged(_averaged(frame, height, -2), width, -1)
    return F.interpolate(frame[None], (height, width), mode=method)[0]


def _averaged(values: Tensor, out: int, dim: int) -> Tensor:
    """The mean of what each of `out` equal parts of an axis covers, pixels in part where the ratio is not whole."""
    size = values.shape[dim]
    values = values.movedim(dim, -1)
    edges = torch.arange(out + 1, dtype=torch.float64) * size / out
    whole = edges.floor().long().clamp(max=size - 1)
    before = F.pad(values.double().cumsum(-1), (1, 0))[..., whole]  # the integral up to the pixel that an edge is in
    integral = before + values[..., whole] * (edges - whole)
    return (integral.diff(dim=-1) * (out / size)).to(values.dtype).movedim(-1, dim)
