"""Leaves, grass and pebbles: many polygons with their own shading, rasterised with antialiasing in bands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
FINER = 2  # raster points per texel along each axis; the texel is their mean


@dataclass(frozen=True, slots=True)
class Shape:
    """Polygons drawn one over the other; points `[N, 2]` in layer coordinates, colours gamma-2 0..255."""

    parts: tuple[tuple[NDArray[np.float64], Colour], ...]
    top: float
    bottom: float


def shape(parts: Sequence[tuple[NDArray[np.float64], Colour]]) -> Shape:
    """A shape with its vertical extent."""
    ys = np.concatenate([points[:, 1] for points, _ in parts])
    return Shape(tuple(parts), float(ys.min()), float(ys.max()))


def _place(points: NDArray[np.float64], x: float, y: float, angle: float, size: float) -> NDArray[np.float64]:
    c, s = size * np.cos(angle), size * np.sin(angle)
    return points @ np.array([[c, s], [-s, c]]) + (x, y)


def _colour(rgb: NDArray[np.float64]) -> Colour:
    r, g, b = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(int)
    return int(r), int(g), int(b)


def leaf(x: float, y: float, angle: float, size: float, rgb: NDArray[np.float64], width: float) -> Shape:
    """A pointed leaf: two halves of different brightness, a midrib and side veins."""
    t = np.linspace(0, 1, 10)
    outline = width * np.sin(np.pi * t**0.8) * (1 - 0.25 * t)
    one = np.stack([np.concatenate([t, [0.0]]), np.concatenate([outline, [0.0]])], axis=1)
    two = one * (1, -1)
    rib = np.array([[-0.18, 0.012], [0.97, 0.0], [-0.18, -0.012]])
    parts = [(one, _colour(rgb)), (two, _colour(rgb * 0.72)), (rib, _colour(rgb * 1.35))]
    for place in (0.25, 0.45, 0.65):
        tip = place + 0.22
        reach = 0.8 * width * np.sin(np.pi * tip**0.8)
        for side in (1, -1):
            vein = np.array([[place, 0.008 * side], [tip, reach * side], [place + 0.03, 0.0]])
            parts.append((vein, _colour(rgb * (1.2 if side > 0 else 0.92))))
    return shape([(_place(points, x, y, angle, size), colour) for points, colour in parts])


def blade(x: float, y: float, lean: float, length: float, rgb: NDArray[np.float64]) -> Shape:
    """A blade of grass that stands at (x, y), bent to one side, its two halves of different brightness."""
    t = np.linspace(0, 1, 7)
    bend = lean * t**2
    half = 0.035 * (1 - t**1.5) + 0.003
    one = np.stack([np.concatenate([bend - half, bend[::-1]]), np.concatenate([-t, -t[::-1]])], axis=1)
    two = np.stack([np.concatenate([bend, (bend + half)[::-1]]), np.concatenate([-t, -t[::-1]])], axis=1)
    place = [(_place(points, x, y, 0.0, length), points) for points in (one, two)]
    return shape([(place[0][0], _colour(rgb)), (place[1][0], _colour(rgb * 0.75))])


def pebble(x: float, y: float, angle: float, size: float, rgb: NDArray[np.float64], wobble: NDArray) -> Shape:
    """An uneven stone: its shadow, body, lit side and highlight."""
    a = np.linspace(0, 2 * np.pi, len(wobble), endpoint=False)
    body = np.stack([np.cos(a) * (1 + wobble), 0.72 * np.sin(a) * (1 + wobble)], axis=1)
    turned = _place(body, 0.0, 0.0, angle, 1.0)
    layers = ((1.12, 0.10, 0.12, 0.30), (1.0, 0.0, 0.0, 0.85), (0.80, -0.09, -0.10, 1.0), (0.52, -0.18, -0.20, 1.18))
    return shape([((turned * k + (dx, dy)) * size + (x, y), _colour(rgb * light)) for k, dx, dy, light in layers])


def rasterise(
    shapes: Iterable[Shape],
    extent: tuple[float, float],
    texels: tuple[int, int],
    ground: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Draw shapes in order.

    Args:
        shapes: from back to front.
        extent: width and height in layer coordinates, centred on the origin.
        texels: rows and columns.
        ground: texels to draw on; None for transparent ones.

    Returns:
        Texels as `Texture` stores them, `[H, W, 4]`.
    """
    ordered = list(shapes)
    rows, columns = texels
    scale = np.array([columns * FINER / extent[0], rows * FINER / extent[1]])
    tops = np.array([s.top for s in ordered]) * scale[1] + rows * FINER / 2
    bottoms = np.array([s.bottom for s in ordered]) * scale[1] + rows * FINER / 2
    out = np.zeros((rows, columns, 4), np.uint8) if ground is None else ground
    for start in range(0, rows, 128):
        count = min(128, rows - start)
        offset = np.array([columns * FINER / 2, rows * FINER / 2 - start * FINER]) - 0.5
        image = Image.new("RGBA", (columns * FINER, count * FINER))
        draw = ImageDraw.Draw(image)
        for index in np.nonzero((bottoms >= start * FINER - 2) & (tops <= (start + count) * FINER + 2))[0]:
            for points, rgb in ordered[index].parts:
                draw.polygon((points * scale + offset).ravel().tolist(), fill=(*rgb, 255))
        _compose(out[start : start + count], np.asarray(image))
    return out


def _compose(target: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    """Lay the means of a finer raster's points, in linear light, over texels (in place)."""
    squares = (np.arange(256, dtype=np.float32) / 255) ** 2
    colour = np.zeros((*target.shape[:2], 3), np.float32)
    alpha = np.zeros(target.shape[:2], np.float32)
    for y in range(FINER):
        for x in range(FINER):
            part = image[y::FINER, x::FINER]
            colour += squares[part[..., :3]]
            alpha += part[..., 3]
    alpha /= 255 * FINER**2
    colour = colour / FINER**2 + squares[target[..., :3]] * (1 - alpha)[..., None]
    target[..., :3] = np.sqrt(np.clip(colour, 0, 1)) * 255 + 0.5
    target[..., 3] = np.clip(alpha * 255 + target[..., 3] * (1 - alpha), 0, 255) + 0.5
