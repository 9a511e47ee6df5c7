"""Optical flow without learned weights, by OpenCV, shared between the metrics that need it."""
from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.metrics.colour import grey8
from benchmarks.metrics.stream import Instant

FARNEBACK = "Farneback (pyramid 0.5, 3 levels, window 15, 3 iterations, poly 5 1.2) on 8-bit grey"
"""TecoGAN's settings."""
DIS = "DIS (OpenCV, medium preset) on 8-bit grey"
"""Follows large motion, where Farneback's three levels lose it."""


def farneback(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Flow `[H, W, 2]` in pixels (x, y): where each pixel of `before` is in `after`; both uint8 `[H, W]`."""
    import cv2

    empty: Any = None
    return cv2.calcOpticalFlowFarneback(before, after, empty, 0.5, 3, 15, 3, 5, 1.2, 0)


def dis(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """As `farneback`, by dense inverse search (Kroeger et al. 2016)."""
    import cv2

    # One object per call: it keeps pyramids of the pictures that it saw last.
    opencv: Any = cv2
    method = opencv.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    empty: Any = None
    return method.calc(before, after, empty)


def grey(instant: Instant, what: str, frame: Tensor) -> np.ndarray:
    """8-bit grey of one of the instant's pictures, named `what`, made once."""
    return instant.shared(f"grey {what}", lambda: grey8(frame))
