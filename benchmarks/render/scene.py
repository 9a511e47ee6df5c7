"""The scene: its layers from front to back, rendered with area antialiasing, and their exact optical flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.render import made, nature
from benchmarks.render.motion import Matrix, Path, Pose, ball_path, camera, kite_path, similarity, still
from benchmarks.render.texture import Texture
from patchvsr.degradation import quantise
from patchvsr.errors import UserError

VERSION = 1  # raised whenever a rendered frame changes
DENSITY = 3200.0  # texels per frame height: half as fine again as 4K's 2160 pixels
SAMPLES = 2  # per pixel and axis, each of them bilinear in a texture of about its own spacing
WIDEST = 16 / 9
_STRIP = 30  # output rows rendered at a time
_PURE = 0.98  # share of a pixel that its layer must cover for its flow to be that of the pixel


@dataclass(frozen=True, slots=True)
class Layer:
    """A texture at a place in the world.

    Attributes:
        nearness: parallax; 1 is the board's depth, more is nearer to the camera.
        path: its pose at a frame.
    """

    name: str
    texture: Texture
    nearness: float
    path: Path

    def to_screen(self, frame: float) -> Matrix:
        """Layer to screen coordinates at a frame."""
        pose = self.path(frame)
        return camera(frame, self.nearness) @ similarity(pose.x, pose.y, pose.angle, pose.size)


class Flow(NamedTuple):
    """Forward flow from a frame to the next.

    Attributes:
        flow: float32 `[2, H, W]`, in pixels, x then y: what is at p goes to p + flow.
        occluded: bool `[H, W]`: it is hidden or out of view in the next frame, or the pixel here or there shows more
            than one layer, so that no single flow is its own.
    """

    flow: Tensor
    occluded: Tensor


class Scene:
    """A planar-layer scene with moving camera and objects, the same for every seed-equal instance.

    Args:
        seed: of all textures.
        density: texels per frame height; lower it only where frames are small and speed matters.
    """

    def __init__(self, seed: int = 0, density: float = DENSITY) -> None:
        ground, board = nature.ground(seed + 200, density), made.board(seed + 400, density)  # most memory first
        sky, leaves = nature.sky(seed + 100, density), nature.canopy(seed + 300, density)
        self.layers = (
            Layer("fence", made.fence(seed + 700, density), 1.35, still(Pose(0.0, 0.43))),
            Layer("kite", made.kite(seed + 600, density), 1.15, kite_path),
            Layer("ball", made.ball(seed + 500, density), 1.1, ball_path),
            Layer("tree", leaves, 1.05, still(Pose(-0.60, -0.27))),
            Layer("board", board, 1.0, still(Pose(0.28, 0.06))),
            Layer("bush", leaves, 0.85, still(Pose(0.62, -0.30, 0.35, 0.8))),
            Layer("ground", ground, 0.9, still(Pose(0.0, 0.29))),
            Layer("sky", sky, 0.3, still(Pose())),
        )

    def render(self, frame: float, height: int, width: int) -> Tensor:
        """One frame, float32 `[3, height, width]`, sRGB-encoded 0..1; filtered in linear light.

        Raises:
            UserError: the frame is wider than 16:9, which the scene does not fill.
        """
        out = torch.empty(3, height, width)
        for start, strip in self._rendered(frame, height, width):
            out[:, start : start + strip.shape[1]] = strip
        return out

    def render_uint8(self, frame: float, height: int, width: int) -> Tensor:
        """As `render`, quantised to uint8, without ever holding the whole frame in floating point."""
        out = torch.empty(3, height, width, dtype=torch.uint8)
        for start, strip in self._rendered(frame, height, width):
            out[:, start : start + strip.shape[1]] = quantise(strip[None])[0]
        return out

    def _rendered(self, frame: float, height: int, width: int) -> Iterator[tuple[int, Tensor]]:
        """First row and content of each strip of a frame."""
        _check(height, width)
        for start, stop in _strips(height):
            light = torch.zeros(3, (stop - start) * SAMPLES, width * SAMPLES)
            for _, columns, colour, share in self._visible(frame, height, width, start, stop):
                light[:, :, columns] += colour[:3] * share
            yield start, _srgb(F.avg_pool2d(light[None], SAMPLES)[0])

    def flow(self, frame: float, height: int, width: int) -> Flow:
        """Forward flow of a frame to the next one, at any size; see `Flow`. Errors as in `render`."""
        _check(height, width)
        here, there = self._owners(frame, height, width), self._owners(frame + 1, height, width)
        x = (np.arange(width) + 0.5 - width / 2) / height
        y = (np.arange(height) + 0.5 - height / 2) / height
        flow = np.empty((2, height, width), np.float32)
        occluded = np.empty((height, width), bool)
        moves = [layer.to_screen(frame + 1) @ np.linalg.inv(layer.to_screen(frame)) for layer in self.layers]
        table = np.stack([move[:2] - np.eye(3)[:2] for move in moves])
        for start, stop in _strips(height):
            owner = np.where(here[start:stop] < 0, -1 - here[start:stop], here[start:stop])
            step = table[owner] * height
            moved = step[..., 0] * x[None, :, None] + step[..., 1] * y[start:stop, None, None] + step[..., 2]
            flow[:, start:stop] = moved.transpose(2, 0, 1)
            hidden = _lost(there, owner, moved, start)
            occluded[start:stop] = hidden | (here[start:stop] < 0)
        return Flow(torch.from_numpy(flow), torch.from_numpy(occluded))

    def _owners(self, frame: float, height: int, width: int) -> NDArray[np.int8]:
        """Index of the layer that covers most of each pixel; -1 - index where it does not cover nearly all of it."""
        owners = np.empty((height, width), np.int8)
        for start, stop in _strips(height):
            best = torch.zeros(stop - start, width)
            owner = torch.zeros(stop - start, width, dtype=torch.int8)
            for index, columns, colour, share in self._visible(frame, height, width, start, stop):
                seen = torch.zeros(1, (stop - start) * SAMPLES, width * SAMPLES)
                seen[0, :, columns] = colour[3] * share
                covered = F.avg_pool2d(seen[None], SAMPLES)[0, 0]
                owner[covered > best] = index
                best = torch.maximum(best, covered)
            owners[start:stop] = torch.where(best >= _PURE, owner, -1 - owner).numpy()
        return owners

    def _visible(
        self, frame: float, height: int, width: int, start: int, stop: int
    ) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
        """Layers that show in rows `start` to `stop`, front to back.

        Yields:
            Layer index, the sample columns it may cover, its linear premultiplied RGBA there and the share of light
            that the layers before it let through.
        """
        xs = ((np.arange(width * SAMPLES) + 0.5) / SAMPLES - width / 2) / height
        ys = ((np.arange(start * SAMPLES, stop * SAMPLES) + 0.5) / SAMPLES - height / 2) / height
        through = torch.ones(len(ys), len(xs))
        for index, layer in enumerate(self.layers):
            to_screen = layer.to_screen(frame)
            columns = _columns(to_screen, layer.texture, xs, ys)
            if columns.start >= columns.stop:
                continue
            share = through[:, columns]
            if float(share.max()) == 0.0:
                continue
            spacing = 1 / (height * SAMPLES * np.hypot(to_screen[0, 0], to_screen[1, 0]))
            colour = layer.texture.sample(np.linalg.inv(to_screen), xs[columns], ys, spacing)
            yield index, columns, colour, share
            through[:, columns] = share * (1 - colour[3])


def _columns(to_screen: Matrix, texture: Texture, xs: NDArray, ys: NDArray) -> slice:
    """The sample columns that a layer's bounding box covers; empty where its rows are elsewhere."""
    half = np.array([texture.width, texture.height]) / 2
    corners = to_screen @ np.array([[a * half[0], b * half[1], 1.0] for a in (-1, 1) for b in (-1, 1)]).T
    low, high = corners[:2].min(axis=1), corners[:2].max(axis=1)
    margin = ys[1] - ys[0] if len(ys) > 1 else 0.0
    if low[1] - margin > ys[-1] or high[1] + margin < ys[0]:
        return slice(0, 0)
    return slice(int(np.searchsorted(xs, low[0] - margin)), int(np.searchsorted(xs, high[0] + margin)))


def _lost(there: NDArray[np.int8], owner: NDArray[np.int8], moved: NDArray[np.float64], start: int) -> NDArray:
    """Where what is here cannot be read in the next frame: any of the four pixels around its place is another's."""
    height, width = there.shape
    rows, columns = owner.shape
    x = np.arange(columns)[None] + moved[..., 0]
    y = np.arange(start, start + rows)[:, None] + moved[..., 1]
    lost = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
    left, top = (np.floor(np.clip(v, 0, n - 1)).astype(int) for v, n in ((x, width), (y, height)))
    for down in (0, 1):
        for right in (0, 1):
            lost |= there[np.minimum(top + down, height - 1), np.minimum(left + right, width - 1)] != owner
    return lost


def _strips(height: int) -> Iterator[tuple[int, int]]:
    for start in range(0, height, _STRIP):
        yield start, min(start + _STRIP, height)


def _check(height: int, width: int) -> None:
    if height < 1 or width < 1 or width / height > WIDEST * 1.002:
        raise UserError(f"the rendered scene has no {width}x{height} view; ask for a frame no wider than 16:9")


def _srgb(light: Tensor) -> Tensor:
    """IEC 61966-2-1 encoding of linear light 0..1."""
    light = light.clamp_(0, 1)
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(1e-8).pow(1 / 2.4) - 0.055)


@lru_cache(maxsize=1)
def default_scene(seed: int = 0) -> Scene:
    """The scene at full density; made once (seconds), then kept."""
    return Scene(seed)


def render(frame: int, height: int, width: int, seed: int = 0) -> Tensor:
    """A frame of the default scene; see `Scene.render`."""
    return default_scene(seed).render(frame, height, width)


def flow(frame: int, height: int, width: int, seed: int = 0) -> Flow:
    """Forward flow of the default scene; see `Scene.flow`."""
    return default_scene(seed).flow(frame, height, width)
