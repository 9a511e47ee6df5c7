"""The scene's landscape as textures: sky and hills, ground with grass and pebbles, tree canopy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.render.canvas import painted, texels_of
from benchmarks.render.noise import FloatArray, fractal, mix, smoothstep
from benchmarks.render.shapes import Shape, blade, leaf, pebble, rasterise, shape
from benchmarks.render.texture import Texture

RANGES = ((-0.02, 0.05, 0.0), (0.03, 0.04, 0.45), (0.08, 0.03, 1.0))  # of hills: level, rise, and how near


def sky(seed: int, density: float) -> Texture:
    """Clouded sky over three ranges of wooded hills, hazier with distance."""
    extent = (2.02, 1.12)
    texels = texels_of(extent, density * 0.6)  # distant: as soft as depth of field makes it
    cloud, trees = fractal(texels, seed, 3.0, 0.55), fractal(texels, seed + 1, 60.0, 0.62)
    grain = np.random.default_rng([seed, 99])
    ridges = [_ridge(seed + 2 + index, texels[1]) for index in range(3)]
    ridges[2] += 0.08 * trees[texels[0] // 2]
    near, far = np.array((0.20, 0.34, 0.16), np.float32), np.array((0.55, 0.66, 0.74), np.float32)

    def paint(y: FloatArray, x: FloatArray, rows: slice) -> tuple[FloatArray, FloatArray]:
        colour = mix((0.30, 0.50, 0.78), (0.78, 0.84, 0.90), smoothstep(y, -0.56, 0.12))
        colour = mix(colour, (0.97, 0.96, 0.95), smoothstep(cloud[rows], 0.1, 1.6) * 0.85)
        for ridge, (level, rise, shade) in zip(ridges, RANGES, strict=True):
            wood = (far + (near - far) * shade) * (1 + (0.05 + 0.17 * shade) * trees[rows][..., None])
            colour = mix(colour, wood, smoothstep(y - level - rise * ridge, 0.0, 0.0015))
        dither = (grain.random(y.shape, dtype=np.float32) - 0.5) / 255
        return colour + dither[..., None], np.ones_like(y)

    return Texture([painted(extent, texels, paint)], *extent)


def _ridge(seed: int, columns: int) -> FloatArray:
    """A fractal skyline `[columns]`, the same at any number of columns."""
    line = fractal((256, 512), seed, 2.0, 0.5)[0]
    return np.interp((np.arange(columns) + 0.5) / columns * 512 - 0.5, np.arange(512), line).astype(np.float32)


def ground(seed: int, density: float) -> Texture:
    """Trodden earth with pebbles, and grass that thickens towards its upper edge."""
    extent = (2.16, 0.66)
    texels = texels_of(extent, density)
    picture = _earth(seed, extent, texels)
    return Texture([rasterise(_pebbles_and_grass(seed + 2), extent, texels, picture)], *extent)


def _earth(seed: int, extent: tuple[float, float], texels: tuple[int, int]) -> NDArray[np.uint8]:
    """Bare earth that turns to turf, with a soft upper edge."""
    coarse, fine = fractal(texels, seed, 4.0, 0.62), fractal(texels, seed + 1, 90.0, 0.75)

    def paint(y: FloatArray, x: FloatArray, rows: slice) -> tuple[FloatArray, FloatArray]:
        broad, grit = coarse[rows], fine[rows]
        earth = mix((0.42, 0.34, 0.26), (0.66, 0.58, 0.46), smoothstep(broad, -1.5, 1.5))
        turf = np.stack([0.24 + 0.05 * grit, 0.36 + 0.07 * grit, 0.13 + 0.03 * grit], axis=-1)
        share = smoothstep(0.5 * broad - 9.0 * (y + 0.06), -0.4, 0.6)
        return mix(earth * (0.93 + 0.13 * grit)[..., None], turf, share), smoothstep(y, -0.275, -0.268)

    return painted(extent, texels, paint)


def _pebbles_and_grass(seed: int) -> list[Shape]:
    """Stones first, then blades from the far edge to the near one."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(2600):
        px, py = rng.uniform(-1.08, 1.08), rng.uniform(-0.12, 0.33)
        grey = np.array([0.58, 0.54, 0.50]) + rng.uniform(-0.16, 0.18) + rng.uniform(-0.03, 0.03, 3)
        size = 0.0018 + 0.011 * rng.random() ** 5
        shapes.append(pebble(px, py, rng.uniform(0, np.pi), size, grey, rng.uniform(-0.12, 0.12, 14)))
    roots = np.sort(np.concatenate([rng.uniform(-0.275, -0.02, 9000), rng.uniform(-0.05, 0.33, 2200)]))
    for root in roots:
        hue = np.array([0.34, 0.52, 0.16]) * rng.uniform(0.55, 1.35) + rng.uniform(-0.04, 0.06, 3)
        length = rng.uniform(0.022, 0.05) * (0.7 + 0.9 * (root + 0.3))
        shapes.append(blade(rng.uniform(-1.08, 1.08), root, rng.normal(0, 0.35), length, hue))
    return shapes


def canopy(seed: int, density: float) -> Texture:
    """Boughs with several thousand leaves, the front ones brighter, ragged below."""
    extent = (1.16, 0.72)
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(26):
        x, y, angle = rng.uniform(-0.5, 0.4), rng.uniform(-0.36, 0.0), rng.uniform(-0.5, 1.1)
        length, half = rng.uniform(0.25, 0.5), rng.uniform(0.002, 0.006)
        end = np.array([x + length * np.cos(angle), y + 0.6 * length * np.sin(angle)])
        normal = np.array([-np.sin(angle), np.cos(angle)]) * half
        bough = np.array([(x, y) - normal, end, (x, y) + normal])
        shapes.append(shape([(bough, (74, 58, 44)), (bough + normal * (0.6, 0.9), (104, 84, 62))]))
    count = 6500
    for index in range(count):
        depth = index / count
        x = rng.uniform(-0.56, 0.56)
        reach = 0.30 - 0.42 * (x / 0.58) ** 2 + 0.05 * np.sin(23 * x) + 0.03 * np.sin(61 * x)
        y = -0.40 + rng.beta(1.3, 1.15) * (reach + 0.36)
        light = (0.42 + 0.62 * depth) * rng.uniform(0.75, 1.2)
        hue = np.array([0.36 + 0.14 * rng.random(), 0.56, 0.17 + 0.06 * rng.random()]) * light
        size = rng.uniform(0.016, 0.034)
        shapes.append(leaf(x, y, rng.normal(1.1, 0.8), size, hue, rng.uniform(0.2, 0.32)))
    return Texture([rasterise(shapes, extent, texels_of(extent, density))], *extent)
