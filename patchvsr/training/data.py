"""Training clips: tiles of sharp stills and videos, degraded on the fly.

Stills become clips by smooth synthetic camera paths. Every batch is a function of (seed, step) alone, so a resumed
run sees the same batches as an uninterrupted one.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from patchvsr.degradation import degradations, quantise, resize_bicubic, to_float
from patchvsr.errors import UserError
from patchvsr.position import Place
from patchvsr.training.config import TrainingConfig
from patchvsr.training.sources import Footage

LARGEST = 512
"""Pixels: frames that tiles are cut from are no larger, which keeps a step's degradation cheap."""
MOTION = 64
"""Pixels that the frames of a clip leave to each side's motion."""


def frame_side(least: int, frames: int, scales: Iterable[int]) -> int:
    """Side of the square frames that tiles are cut from, a multiple of every scale.

    Args:
        least: the smallest height or width of all sources.
        frames: of the clip; more than one need room to move.
        scales: those of the run.
    """
    room = min(least, LARGEST) - (MOTION if frames > 1 else 0)
    return room // math.lcm(*scales) * math.lcm(*scales)


@dataclass(frozen=True, slots=True)
class Batch:
    """Tiles for one training step; shapes as in `TileInput`, frames in 0..1.

    Attributes:
        high: `[B, T, 3, s, s]` sharp tiles.
        up: the same tiles of the upsampled frames.
        frames: each sample's whole upsampled frames `[T, 3, S, S]`.
        surround: each sample's `[T, 3, s, s]` view of the whole frame.
        boxes: each tile's box in pixels: top, left, height, width, frame height, frame width.
        scale: `[B]`.
    """

    high: Tensor
    up: Tensor
    frames: list[Tensor]
    surround: Tensor
    boxes: list[tuple[int, int, int, int, int, int]]
    scale: Tensor
    captions: list[str]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("high", "up", "surround", "scale")}
        return replace(self, frames=[frame.to(device) for frame in self.frames], **moved)

    def places(self, spatial: int) -> tuple[Place, ...]:
        """The boxes in latent pixels."""
        return tuple(Place(*(round(value / spatial) for value in box)) for box in self.boxes)


class ClipSampler:
    """Draws batches of tiles.

    Args:
        footage: what to draw from.
        config: the run; a stage 1 tile is the whole frame instead of a crop of it.
        tile: side of a tile in pixels.

    Raises:
        UserError: frames that are smaller than a tile, or a degradation that cannot make one of the scales.
    """

    def __init__(self, footage: Sequence[Footage], config: TrainingConfig, tile: int) -> None:
        self.stills = [f for f in footage if len(f) == 1]
        self.videos = [f for f in footage if len(f) > 1]
        self.tile, self.scales, self.whole, self.config = tile, config.scales, config.stage == 1, config
        self.least = min(min(f.shape[1:]) for f in footage)
        if config.frame % math.lcm(*self.scales):
            raise UserError(f"frame={config.frame} is no multiple of every scale ({', '.join(map(str, self.scales))})")
        for frames in (1, 2):
            if self._largest(frames) < tile:
                raise UserError(
                    f"frames of {self._largest(frames)} pixels are smaller than a tile of {tile}; give larger files, "
                    "or a smaller tile or a larger frame in the config"
                )
        self.methods = [degradations.get(name) for name in config.degradations]
        for method in self.methods:
            for scale in self.scales:
                method.low_size(self._largest(1), self._largest(1), scale)  # refuses what it cannot make
        self._thumbnails: dict[Path, Tensor] = {}

    def draw(self, seed: int, step: int, size: int, frames: int) -> Batch:
        """The batch of a step: `size` tiles of `frames` frames."""
        rng = np.random.default_rng([seed, step])
        samples = [self._sample(rng, frames, f"{seed} {step} {index}") for index in range(size)]
        high, up, whole, surround, boxes, scale, captions = zip(*samples, strict=True)
        return Batch(
            torch.stack(high), torch.stack(up), list(whole), torch.stack(surround), list(boxes),
            torch.tensor(scale, dtype=torch.float32), list(captions),
        )  # fmt: skip

    def _sample(self, rng: np.random.Generator, frames: int, name: str) -> tuple:
        sharp, caption = self._clip(rng, frames)
        if self.whole:
            sharp = quantise(resize_bicubic(sharp, self.tile, self.tile)).float() / 255
        scale = int(rng.choice(list(self.scales), p=list(self.scales.values())))
        low = self.methods[rng.integers(len(self.methods))](sharp, scale, name)
        size = sharp.shape[-1]
        up = resize_bicubic(to_float(quantise(low)), size, size)
        top, left = (4 * int(rng.integers((size - self.tile) // 4 + 1)) for _ in range(2))
        box = (slice(top, top + self.tile), slice(left, left + self.tile))
        surround, place = self._surround(rng, up, top, left)
        return sharp[..., *box], up[..., *box], up, surround, place, scale, caption

    def _clip(self, rng: np.random.Generator, frames: int) -> tuple[Tensor, str]:
        size = self._side(frames, rng)
        if self.videos and (not self.stills or rng.random() < (0.15 if frames == 1 else 0.45)):
            source = self.videos[rng.integers(len(self.videos))]
            first = int(rng.integers(len(source) - frames + 1))
            clip = to_float(source.read(first, frames))
            top, left = (int(rng.integers(length - size + 1)) for length in clip.shape[-2:])
            clip = clip[..., top : top + size, left : left + size]
        else:
            source = self.stills[rng.integers(len(self.stills))]
            clip = camera_path(self._zoomed(to_float(source.read()), size, rng), frames, size, rng)
        for axis in (-1, -2):
            clip = clip.flip(axis) if rng.random() < 0.5 else clip
        return clip.transpose(-1, -2) if rng.random() < 0.5 else clip, source.caption

    def _side(self, frames: int, rng: np.random.Generator) -> int:
        """Side of the next frame; a whole one that becomes a tile by resizing is anything from the tile's size up."""
        largest = self._largest(frames)
        return int(rng.integers(self.tile, largest + 1)) if self.whole else largest

    def _largest(self, frames: int) -> int:
        return self.config.frame or frame_side(self.least, frames, self.scales)

    def _zoomed(self, still: Tensor, least: int, rng: np.random.Generator) -> Tensor:
        if rng.random() >= self.config.zoom:
            return still
        factor = max(float(rng.uniform(0.5, 1)), least / min(still.shape[-2:]))
        return resize_bicubic(still, *(max(round(size * factor), least) for size in still.shape[-2:])).clamp(0, 1)

    def _surround(self, rng: np.random.Generator, up: Tensor, top: int, left: int) -> tuple[Tensor, tuple]:
        """The whole frame at tile size; half of the time it is a wall of frames, so that tiles are also seen as the
        small shares of a frame that they are at 4K (our stills are only twice a tile wide)."""
        size, tile = up.shape[-1], self.tile
        rows, columns = (int(rng.integers(1, 5)), int(rng.integers(1, 9))) if rng.random() < 0.5 else (1, 1)
        if self.whole or (rows, columns) == (1, 1):
            return resize_bicubic(up, tile, tile), (top, left, tile, tile, size, size)
        row, column = int(rng.integers(rows)), int(rng.integers(columns))
        edges_y = [round(i * tile / rows) for i in range(rows + 1)]
        edges_x = [round(i * tile / columns) for i in range(columns + 1)]
        wall = torch.empty(len(up), 3, tile, tile)
        for y in range(rows):
            for x in range(columns):
                height, width = edges_y[y + 1] - edges_y[y], edges_x[x + 1] - edges_x[x]
                here = up if (y, x) == (row, column) else self._thumbnail(rng)[None]
                wall[..., edges_y[y] : edges_y[y + 1], edges_x[x] : edges_x[x + 1]] = resize_bicubic(
                    here, height, width
                )
        return wall, (row * size + top, column * size + left, tile, tile, rows * size, columns * size)

    def _thumbnail(self, rng: np.random.Generator) -> Tensor:
        """A small picture of any source, `[3, 128, 128]`, kept once it is made."""
        source = (*self.stills, *self.videos)[rng.integers(len(self.stills) + len(self.videos))]
        if source.path not in self._thumbnails:
            self._thumbnails[source.path] = resize_bicubic(to_float(source.read(0, 1)), 128, 128)[0]
        return self._thumbnails[source.path]


def camera_path(still: Tensor, frames: int, size: int, rng: np.random.Generator) -> Tensor:
    """A clip `[frames, 3, size, size]` of a camera that glides over a still `[1, 3, H, W]` (sub-pixel, bicubic).

    One frame is cut at whole pixels, so that it is as sharp as the still.
    """
    height, width = still.shape[-2:]
    room = np.array([height - size, width - size])
    if frames == 1:
        top, left = (int(rng.integers(r + 1)) for r in room)
        return still[..., top : top + size, left : left + size]
    reach = np.minimum(room, 7.0 * (frames - 1) * rng.random())
    angle = rng.random() * 2 * math.pi
    travel = np.array([math.sin(angle), math.cos(angle)]) * reach
    start = np.maximum(-travel, 0) + rng.random(2) * (room - np.abs(travel))
    share = np.linspace(0, 1, frames)
    ease = share + rng.uniform(-0.3, 0.3) * share * (1 - share)
    clip = []
    for position in start + ease[:, None] * travel:
        offset = torch.from_numpy(position.astype(np.float32))
        rows = (torch.arange(size) + offset[0] + 0.5) / height * 2 - 1
        columns = (torch.arange(size) + offset[1] + 0.5) / width * 2 - 1
        grid = torch.stack([columns.expand(size, -1), rows[:, None].expand(-1, size)], -1)[None]
        clip.append(F.grid_sample(still, grid, mode="bicubic", padding_mode="reflection", align_corners=False))
    return torch.cat(clip).clamp(0, 1)
