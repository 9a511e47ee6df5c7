"""Warping error: is a frame what the frame before becomes when it is moved along the scene's own motion?"""
from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.metrics.base import MetricUndefined, Sample, need_lq, need_target
from benchmarks.metrics.colour import reference
from benchmarks.metrics.flow import DIS, dis, grey
from benchmarks.metrics.stream import Instant, PairMetric

RELATIVE, ABSOLUTE = 0.01, 0.5
"""Sundaram et al. 2010: |there + back|^2 may be this much of |there|^2 + |back|^2, and this much more (px^2)."""


def moved(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows, float32 `[H, W]`, that the pixels of a frame come to along `flow` `[H, W, 2]`."""
    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return columns + flow[..., 0], rows + flow[..., 1]


def fetched(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """`picture[x + flow(x)]`, bilinear; `[H, W]` or `[H, W, C]`, float32. Places outside are the nearest inside."""
    import cv2

    return cv2.remap(picture, *moved(flow), cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)


def visible(back: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Pixels `[H, W]`, bool, that were in sight before: their way back leads into the frame and there again.

    Args:
        back: flow from the frame to the one before, `[H, W, 2]`.
        there: flow from the one before to the frame.
    """
    height, width = back.shape[:2]
    columns, rows = moved(back)
    inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    again = fetched(there, back)
    error = np.square(back + again).sum(axis=2)
    allowed = RELATIVE * (np.square(back).sum(axis=2) + np.square(again).sum(axis=2)) + ABSOLUTE
    return inside & (error <= allowed)


class WarpingError(PairMetric):
    """Squared error between each frame and the frame before warped to it, where nothing is occluded.

    All methods are warped along the same flow, the reference's. Blur lowers it: read it beside a sharpness metric.
    """

    id = "warp"
    direction = "lower"
    unit = "x 1e-3"
    colour = "RGB 0..1 from 8 bit"
    aggregation = "squared error, mean over channels and visible pixels of a frame, x 1000, mean over frames"
    source = (
        f"E*warp, Lai et al. 2018; flow: {DIS} at full size, of the ground truth, without one of the "
        "bicubic-upsampled input in 8 bit; visible: inside the frame and forward-backward consistent "
        "(Sundaram et al. 2010, 0.01, 0.5)"
    )
    packages = ("opencv-python-headless",)
    keeps = frozenset({"grey", "upsampled"})

    def check(self, sample: Sample) -> None:
        """The reference must fit."""
        if sample.target is not None:
            need_target(sample, self.id)
        else:
            need_lq(sample, self.id)
        if min(sample.output.shape[-2:]) < 16:
            raise MetricUndefined("warp needs frames of at least 16 pixels a side")

    def value(self, instant: Instant) -> float:
        """Warp the frame before to this one and compare."""
        assert instant.before is not None
        back, seen = self._motion(instant, instant.before)
        if not seen.any():
            raise MetricUndefined(f"warp: every pixel of frame {instant.index} is occluded or new (a cut?)")
        expected = fetched(_pixels(instant.before.output), back)
        error = np.square(_pixels(instant.output) - expected)[seen]
        return 1000 * float(error.mean(dtype=np.float64))

    def _motion(self, instant: Instant, before: Instant) -> tuple[np.ndarray, np.ndarray]:
        """Flow back to the frame before, and which pixels it may be used for."""
        what = "upsampled" if instant.target is None else "target"
        here, earlier = (grey(at, what, reference(at)) for at in (instant, before))
        back, there = dis(here, earlier), dis(earlier, here)
        return back, visible(back, there)


def _pixels(frame: Tensor) -> Any:
    return np.ascontiguousarray(frame.permute(1, 2, 0).numpy(), dtype=np.float32) / np.float32(255)
