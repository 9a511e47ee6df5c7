"""Fractal noise that is the same function at any resolution: octaves of random lattices, added coarse to fine."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

FloatArray = NDArray[np.floating[Any]]


def fractal(
    shape: tuple[int, int], seed: int, cells: float, roughness: float = 0.5, stretch: float = 1.0
) -> FloatArray:
    """Noise `[H, W]`, about zero mean and unit variance.

    Args:
        shape: samples wanted over the extent.
        seed: of the lattices.
        cells: lattice cells of the coarsest octave along the height.
        roughness: amplitude ratio of one octave to the one before.
        stretch: how much longer than high the features are.

    Octaves are added until their lattice is as fine as the samples.
    """
    rows, columns = shape
    lattice = np.array([max(2, round(cells)), max(2, round(cells * columns / rows / stretch))])
    total: torch.Tensor | None = None
    power, amplitude = 0.0, 1.0
    for octave in range(16):
        size = tuple(int(n) for n in lattice * 2**octave)
        if octave and (size[0] > rows or size[1] > columns):
            break
        values = np.random.default_rng([seed, octave]).standard_normal(size, dtype=np.float32)
        layer = torch.from_numpy(values)[None, None].mul_(amplitude)
        total = layer if total is None else layer.add_(_enlarge(total, size))
        power += amplitude**2
        amplitude *= roughness
    assert total is not None
    # Interpolation takes about half of each octave's variance.
    return _enlarge(total, shape)[0, 0].mul_(float((2.2 / power) ** 0.5)).numpy()


def _enlarge(values: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    return F.interpolate(values, size, mode="bicubic", align_corners=False)


def smoothstep(x: FloatArray, low: float, high: float) -> FloatArray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: FloatArray | tuple[float, ...], b: FloatArray | tuple[float, ...], share: FloatArray) -> FloatArray:
    """Colours `[..., 3]`: `a` where share `[...]` is 0, `b` where it is 1."""
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return first + (second - first) * share[..., None].astype(np.float32)
