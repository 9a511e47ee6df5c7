"""Painting a texture band by band, so that a large one never exists in floating point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.render.noise import FloatArray
from benchmarks.render.texture import encode

Painter = Callable[[FloatArray, FloatArray, slice], tuple[FloatArray, FloatArray]]
"""Takes layer coordinates y, x `[h, W]` and the rows they are; gives gamma-2 colour `[h, W, 3]` and alpha `[h, W]`."""

_BAND = 64


def texels_of(extent: tuple[float, float], density: float) -> tuple[int, int]:
    """Rows and columns of a texture of this width and height."""
    return round(extent[1] * density), round(extent[0] * density)


def painted(extent: tuple[float, float], texels: tuple[int, int], paint: Painter) -> NDArray[np.uint8]:
    """Texels `[H, W, 4]` as `Texture` stores them."""
    rows, columns = texels
    out = np.empty((rows, columns, 4), np.uint8)
    x = ((np.arange(columns, dtype=np.float32) + 0.5) / columns - 0.5) * extent[0]
    y = ((np.arange(rows, dtype=np.float32) + 0.5) / rows - 0.5) * extent[1]
    for start in range(0, rows, _BAND):
        band = slice(start, min(start + _BAND, rows))
        grid = np.meshgrid(y[band], x, indexing="ij")
        out[band] = encode(*paint(grid[0], grid[1], band))
    return out
