"""ST-RRED by scikit-video, two frames at a time, so that a long clip fits."""
from __future__ import annotations

import numpy as np

from benchmarks.metrics.base import Measurement, MetricUndefined, Sample, need_target
from benchmarks.metrics.colour import Y_STUDIO, shared_y
from benchmarks.metrics.skvideo_compat import measures, old_names
from benchmarks.metrics.stream import Instant, Scoring, Side, StreamedMetric

SMALLEST = 96
"""Pixels a side: the band looked at is an eighth of the size, cut into blocks of 3."""


class _StRredScoring(Scoring):
    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []

    def add(self, instant: Instant) -> None:
        if instant.index % 2 == 0:
            return
        assert instant.before is not None
        pair = [self._frames(instant, instant.before, side) for side in ("target", "output")]
        with old_names():
            rows, _, _ = measures().strred(*pair)
        self._rows.append(rows[0])

    @staticmethod
    def _frames(instant: Instant, before: Instant, side: Side) -> np.ndarray:
        luma = [shared_y(at, side)[0].round().numpy() for at in (before, instant)]
        return np.stack(luma)[..., None]

    def result(self) -> Measurement:
        spatial, temporal = np.mean(self._rows, axis=0)[:2]
        return Measurement(float(spatial * temporal))


class StRred(StreamedMetric):
    """Spatio-temporal entropic differences between output and ground truth."""

    id = "strred"
    direction = "lower"
    colour = f"{Y_STUDIO}, then rounded"
    frames = "pairs 0-1, 2-3, ...; a last single frame has no pair"
    aggregation = "spatial and temporal differences, each mean over blocks and over pairs, multiplied"
    source = "Soundararajan and Bovik 2013, ST-RRED, averaged after comparing blocks (scikit-video's second value)"
    needs_target = True
    packages = ("scikit-video",)
    keeps = frozenset({"y_studio"})

    def prepare(self) -> None:
        """Import scikit-video."""
        measures()

    def begin(self, sample: Sample) -> Scoring:
        """Start.

        Raises:
            UserError: counts or sizes that do not fit.
            MetricUndefined: there is no ground truth, fewer than two frames, or they are too small.
        """
        need_target(sample, self.id)
        count, _, height, width = sample.output.shape
        if count < 2 or min(height, width) < SMALLEST:
            raise MetricUndefined(
                f"strred needs two frames or more of at least {SMALLEST} pixels a side, got {count} of {width}x{height}"
            )
        return _StRredScoring()
