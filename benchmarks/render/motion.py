"""Where things are at a given frame: similarity transforms from a layer's own coordinates to the screen.

Screen and world coordinates are in frame heights, x to the right and y down, with the origin in the frame's centre.
All motion is sinusoidal, so a scene has any number of frames and nothing ever leaves its margin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]
Path = Callable[[float], "Pose"]

PAN = (0.085, 0.030)  # camera amplitude; with PERIOD about 10 pixels a frame at 4K
PERIOD = 110.0  # frames
ZOOM, ROLL = 0.035, np.radians(0.9)


@dataclass(frozen=True, slots=True)
class Pose:
    """Position, rotation (radians) and size of a layer in the world."""

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    size: float = 1.0


def similarity(x: float, y: float, angle: float, size: float) -> Matrix:
    """3x3 matrix: scale, rotate, then translate."""
    c, s = size * np.cos(angle), size * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0.0, 0.0, 1.0]])


def camera(frame: float, nearness: float) -> Matrix:
    """World to screen at a frame, for a layer whose parallax is `nearness` times that of the board (1)."""
    phase = 2 * np.pi * frame / PERIOD
    x = -PAN[0] * nearness * np.sin(phase + 0.35)
    y = -PAN[1] * nearness * np.sin(1.7 * phase + 0.2)
    zoom = 1.0 + ZOOM * nearness * np.sin(0.8 * phase + 0.1)
    roll = ROLL * np.sin(0.9 * phase)
    return similarity(0.0, 0.0, roll, zoom) @ similarity(x, y, 0.0, 1.0)


def still(pose: Pose) -> Path:
    """A path that stays where it is."""
    return lambda frame: pose


def ball_path(frame: float) -> Pose:
    """A disc that rolls from side to side over the grass and in front of the board."""
    phase = 2 * np.pi * frame / 150.0 - 0.2
    return Pose(-0.28 + 0.29 * np.sin(phase), 0.19 + 0.02 * np.cos(2 * phase), 2.2 * np.sin(phase), 1.0)


def kite_path(frame: float) -> Pose:
    """A sign that swings, drifts and comes slightly closer; it crosses in front of the disc."""
    phase = 2 * np.pi * frame / 170.0
    angle = 0.18 * np.sin(3.1 * phase + 0.4)
    return Pose(-0.44 - 0.28 * np.sin(phase + 0.25), 0.10 + 0.06 * np.cos(phase), angle, 1.0 + 0.06 * np.sin(phase))
