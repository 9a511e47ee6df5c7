"""Continuous pictures: a raster finer than any frame it is made for, interpolated, with premultiplied alpha.

Stored as uint8 with gamma 2 (linear light is the square), so that a scene fits in memory; sampled in linear light.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.render.motion import Matrix
from benchmarks.render.noise import FloatArray

_GUARD = 3  # texels around a crop, so that interpolation never meets its edge


@dataclass(slots=True)
class Texture:
    """A picture over `[-width/2, width/2] x [-height/2, height/2]` in its layer's coordinates.

    Attributes:
        levels: uint8 `[H, W, 4]` premultiplied gamma-2 RGB and linear alpha, each level half as fine as the one before.
        width, height: extent in layer coordinates.
    """

    levels: list[NDArray[np.uint8]]
    width: float
    height: float
    _density: float = field(init=False)

    def __post_init__(self) -> None:
        self._density = self.levels[0].shape[1] / self.width

    def level_for(self, spacing: float) -> int:
        """The finest level whose texels are not finer than half the distance between samples (layer units)."""
        level = int(np.floor(np.log2(max(1.0, spacing * self._density * 0.999))))
        while len(self.levels) <= level and min(self.levels[-1].shape[:2]) > 8:
            self.levels.append(_halved(self.levels[-1]))
        return min(level, len(self.levels) - 1)

    def sample(self, to_layer: Matrix, xs: FloatArray, ys: FloatArray, spacing: float) -> Tensor:
        """Linear premultiplied RGBA `[4, len(ys), len(xs)]` on a grid of screen points; 0 outside the extent.

        Args:
            to_layer: screen to layer coordinates (a similarity).
            xs, ys: screen coordinates of the grid's columns and rows.
            spacing: distance between samples in layer coordinates.
        """
        picture = self.levels[self.level_for(spacing)]
        rows, columns = picture.shape[:2]
        to_texel = np.array([[columns / self.width, 0, columns / 2], [0, rows / self.height, rows / 2], [0, 0, 1.0]])
        m = to_texel @ to_layer
        corners = m @ np.array([[x, y, 1.0] for x in xs[[0, -1]] for y in ys[[0, -1]]]).T
        left, top = np.floor(corners[:2].min(axis=1)).astype(int) - _GUARD
        right, bottom = np.ceil(corners[:2].max(axis=1)).astype(int) + _GUARD
        if right <= 0 or bottom <= 0 or left >= columns or top >= rows:
            return torch.zeros(4, len(ys), len(xs))
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, columns), min(bottom, rows)
        crop = torch.from_numpy(picture[top:bottom, left:right]).permute(2, 0, 1).float().div_(255)
        crop[:3].square_()
        grid = _grid(m, xs, ys, (left, top, right - left, bottom - top))
        return F.grid_sample(crop[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _grid(m: Matrix, xs: FloatArray, ys: FloatArray, box: tuple[int, int, int, int]) -> Tensor:
    """grid_sample's coordinates `[1, rows, columns, 2]` of the screen grid in a crop of a texture."""
    left, top, width, height = box
    grid = torch.empty(1, len(ys), len(xs), 2)
    for axis, (start, size) in enumerate(((left, width), (top, height))):
        a, b, c = m[axis]
        along = torch.from_numpy(((a * xs + c - start) * 2 / size - 1).astype(np.float32))
        down = torch.from_numpy((b * ys * 2 / size).astype(np.float32))
        grid[0, :, :, axis] = along[None, :] + down[:, None]
    return grid


def _halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Box-filtered to half the size, in linear light."""
    rows, columns = (size - size % 2 for size in picture.shape[:2])
    out = np.empty((rows // 2, columns // 2, 4), np.uint8)
    for start in range(0, rows, 256):
        band = picture[start : min(start + 256, rows), :columns].astype(np.float32)
        band[..., :3] *= band[..., :3]
        small = (band[0::2, 0::2] + band[1::2, 0::2] + band[0::2, 1::2] + band[1::2, 1::2]) / 4
        small[..., :3] = np.sqrt(small[..., :3])
        out[start // 2 : start // 2 + len(small)] = small + 0.5
    return out


def encode(colour: FloatArray, alpha: FloatArray) -> NDArray[np.uint8]:
    """uint8 texels from gamma-2 colour `[H, W, 3]` (0..1, not premultiplied) and alpha `[H, W]`."""
    premultiplied = np.clip(colour, 0, 1) * np.sqrt(np.clip(alpha, 0, 1))[..., None]
    texels = np.concatenate([premultiplied, np.clip(alpha, 0, 1)[..., None]], axis=-1)
    return (texels * 255 + 0.5).astype(np.uint8)
