"""Blur kernels of second-order degradations (Wang et al., "Real-ESRGAN", 2021), all normalised to a sum of 1."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from patchvsr.errors import UserError, nearest

Kind = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc"]
"""Names as in the published configurations; `iso` kernels are round and use `sigma_x` alone."""


def blur_kernel(
    kind: Kind, size: int, *, sigma_x: float, sigma_y: float, angle: float, beta: float, cutoff: float
) -> Tensor:
    """A kernel of one kind.

    Args:
        kind: its family; each uses only those of the numbers below that it has.
        size: taps along each axis, odd.
        sigma_x, sigma_y: standard deviations along its axes, in pixels.
        angle: of the first axis, in radians.
        beta: shape; 1 is the Gaussian, or the plateau 1 / (1 + r^2).
        cutoff: of the low-pass, in radians per pixel; pi keeps everything along the axes.

    Returns:
        float64 `[size, size]`.

    Raises:
        UserError: the kind is unknown.
    """
    if kind not in get_args(Kind):
        raise UserError(f"unknown blur kernel '{kind}'{nearest(kind, get_args(Kind))}")
    if kind == "sinc":
        return sinc(size, cutoff)
    if kind.endswith("iso") and not kind.endswith("aniso"):
        sigma_y, angle = sigma_x, 0.0
    squared = _distance(size, sigma_x, sigma_y, angle)
    if kind.startswith("plateau"):
        weights = 1 / (1 + squared**beta)
    else:
        weights = torch.exp(-0.5 * squared ** (beta if kind.startswith("generalized") else 1))
    return weights / weights.sum()


def sinc(size: int, cutoff: float) -> Tensor:
    """The circular ideal low-pass cut to `size` taps, which rings as sharpened and over-compressed video does.

    Returns:
        float64 `[size, size]`; weights may be negative.
    """
    y, x = _grid(size)
    radius = torch.hypot(y, x)
    weights = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    weights[size // 2, size // 2] = cutoff**2 / (4 * math.pi)  # the limit at radius 0
    return weights / weights.sum()


def _distance(size: int, sigma_x: float, sigma_y: float, angle: float) -> Tensor:
    """Squared distance from the middle in standard deviations, `[size, size]`."""
    y, x = _grid(size)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return (along / sigma_x) ** 2 + (across / sigma_y) ** 2


def _grid(size: int) -> tuple[Tensor, Tensor]:
    """Rows and columns counted from the middle."""
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    return axis[:, None].expand(size, size), axis.expand(size, size)
