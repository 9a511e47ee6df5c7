"""tOF: does the output move as the ground truth does?"""
from __future__ import annotations

import numpy as np

from benchmarks.metrics.base import MetricUndefined, Sample
from benchmarks.metrics.flow import FARNEBACK, farneback, grey
from benchmarks.metrics.stream import Instant, PairMetric, Side

BLOCK, MARGIN = 32, 16


def kept(length: int) -> slice:
    """The middle of an axis that TecoGAN's script scores: the largest multiple of 32 that leaves 16 pixels or more."""
    size = (length - MARGIN) // BLOCK * BLOCK
    start = (length - size) // 2
    return slice(start, start + size)


class OpticalFlowError(PairMetric):
    """Mean distance between the optical flow of the output and that of the ground truth."""

    id = "tof"
    direction = "lower"
    unit = "px"
    colour = "8-bit grey BT.601 full range (OpenCV)"
    aggregation = "Euclidean distance of flow vectors, mean over pixels, mean over frames"
    source = (
        f"Chu et al. 2020 (TecoGAN): {FARNEBACK}, from the frame before, at full size; scored on the middle of the "
        "frame, multiples of 32 that leave 16 px or more"
    )
    needs_target = True
    packages = ("opencv-python-headless",)
    keeps = frozenset({"grey"})

    def check(self, sample: Sample) -> None:
        """Frames must have a middle to score."""
        height, width = sample.output.shape[-2:]
        if min(height, width) < BLOCK + MARGIN:
            raise MetricUndefined(f"tof needs frames of at least {BLOCK + MARGIN} pixels a side, got {width}x{height}")

    def value(self, instant: Instant) -> float:
        """Compare the flows since the frame before."""
        difference = self._flow(instant, "output") - self._flow(instant, "target")
        scored = difference[kept(difference.shape[0]), kept(difference.shape[1])]
        return float(np.linalg.norm(scored.astype(np.float64), axis=2).mean())

    @staticmethod
    def _flow(instant: Instant, side: Side) -> np.ndarray:
        assert instant.before is not None
        before, after = (grey(at, side, at.side(side)) for at in (instant.before, instant))
        return instant.shared(f"farneback {side}", lambda: farneback(before, after))
