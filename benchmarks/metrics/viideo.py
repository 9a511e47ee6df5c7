"""VIIDEO by scikit-video: a blind score of how natural a clip's motion is."""
from __future__ import annotations

import numpy as np

from benchmarks.metrics.base import Measurement, MetricUndefined, Sample
from benchmarks.metrics.colour import Y_STUDIO, shared_y
from benchmarks.metrics.skvideo_compat import measures, old_names
from benchmarks.metrics.stream import Instant, Scoring, StreamedMetric

SHORTEST, SMALLEST = 4, 36


class _ViideoScoring(Scoring):
    """Holds the clip's luma in 8 bit, which scikit-video wants whole: 0.8 GB for 100 frames at 4K."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._luma = np.empty((*shape, 1), np.uint8)

    def add(self, instant: Instant) -> None:
        self._luma[instant.index, :, :, 0] = shared_y(instant, "output")[0].round().numpy()

    def result(self) -> Measurement:
        with old_names():
            return Measurement(float(measures().viideo_score(self._luma)))


class Viideo(StreamedMetric):
    """Video intrinsic integrity and distortion evaluation oracle, of the output alone."""

    id = "viideo"
    direction = "lower"
    colour = f"{Y_STUDIO}, then rounded"
    frames = "differences within pairs 0-1, 2-3, ..."
    aggregation = "one value per clip"
    source = "Mittal, Saad and Bovik 2016, VIIDEO; blocks 18x18, overlap 8, filter 7"
    packages = ("scikit-video",)

    def prepare(self) -> None:
        """Import scikit-video."""
        measures()

    def begin(self, sample: Sample) -> Scoring:
        """Start.

        Raises:
            MetricUndefined: there are fewer than four frames, or they are too small.
        """
        count, _, height, width = sample.output.shape
        if count < SHORTEST or min(height, width) < SMALLEST:
            raise MetricUndefined(
                f"viideo needs {SHORTEST} frames or more of at least {SMALLEST} pixels a side, got {count} of "
                f"{width}x{height}"
            )
        return _ViideoScoring((count, height, width))
