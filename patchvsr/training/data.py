"""Training clips: sharp stills and shots from a folder with a MANIFEST.csv, degraded on the fly.

Stills become clips by smooth synthetic camera paths. Every batch is a function of (seed, step) alone, so a resumed
run sees the same batches as an uninterrupted one.
"""
from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from patchvsr.degradation import degradations, quantise, resize_bicubic, to_float
from patchvsr.errors import UserError
from patchvsr.position import Place
from patchvsr.video import read_frames

FRAME = {1: 504, 5: 444}
"""Side of the square frames that clips of 1 and 5 frames are cut to: divisible by every training scale."""


@dataclass(frozen=True, slots=True)
class Source:
    """One still (1 frame) or shot of the pack: `frames` is uint8 `[T, 3, H, W]`."""

    frames: Tensor
    caption: str


def load_sources(folder: Path, split: str) -> list[Source]:
    """All clips of a split, in memory.

    Raises:
        UserError: no manifest, a listed file that is missing or changed, an unreadable one, or an empty split.
    """
    manifest = folder / "MANIFEST.csv"
    if not manifest.is_file():
        raise UserError(f"{folder} holds no MANIFEST.csv with the columns file, kind, sha256, caption and split")
    sources = []
    with manifest.open(newline="") as rows:
        for row in csv.DictReader(rows):
            if row["split"] != split:
                continue
            path = folder / row["file"]
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
                raise UserError(f"{path} is missing or not the file that MANIFEST.csv lists; fetch the pack again")
            frames = read_frames(path) if row["kind"] == "shot" else _read_still(path)
            sources.append(Source(frames, row["caption"]))
    if not sources:
        raise UserError(f"{manifest} lists no file of split '{split}'")
    return sources


def _read_still(path: Path) -> Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]


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

    def places(self, spatial: int) -> tuple[Place, ...]:
        """The boxes in latent pixels."""
        return tuple(Place(*(round(value / spatial) for value in box)) for box in self.boxes)


class ClipSampler:
    """Draws batches of tiles.

    Args:
        sources: what to draw from.
        tile: tile size in pixels.
        scales: scales and their probabilities.
        methods: degradations to draw from.
        whole: a tile is the whole frame (stage 1) instead of a crop of it.
    """

    def __init__(
        self, sources: list[Source], tile: int, scales: dict[int, float], methods: list[str], whole: bool
    ) -> None:
        self.stills = [s for s in sources if len(s.frames) == 1]
        self.shots = [s for s in sources if len(s.frames) > 1]
        self.tile, self.scales, self.whole = tile, scales, whole
        self.methods = [degradations.get(name) for name in methods]
        self.thumbnails = [resize_bicubic(to_float(s.frames[:1]), 128, 128)[0] for s in sources]

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
        size = FRAME[frames]
        if self.shots and rng.random() < (0.15 if frames == 1 else 0.45):
            source = self.shots[rng.integers(len(self.shots))]
            first = int(rng.integers(len(source.frames) - frames + 1))
            clip = to_float(source.frames[first : first + frames])
            top, left = (int(rng.integers(length - size + 1)) for length in clip.shape[-2:])
            clip = clip[..., top : top + size, left : left + size]
        else:
            source = self.stills[rng.integers(len(self.stills))]
            clip = camera_path(to_float(source.frames), frames, size, rng)
        if rng.random() < 0.5:
            clip = clip.flip(-1)
        return clip, source.caption

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
                here = up if (y, x) == (row, column) else self.thumbnails[rng.integers(len(self.thumbnails))][None]
                wall[..., edges_y[y] : edges_y[y + 1], edges_x[x] : edges_x[x + 1]] = resize_bicubic(
                    here, height, width
                )
        return wall, (row * size + top, column * size + left, tile, tile, rows * size, columns * size)


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
