"""Seams in time: does added detail change more where one chunk of frames hands over to the next than elsewhere?"""
from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.metrics.base import Measurement, MetricUndefined, Sample, need_lq
from benchmarks.metrics.colour import upsampled_lq
from benchmarks.metrics.stream import Instant, Scoring, StreamedMetric
from patchvsr.errors import UserError

VISIBLE = 0.25
"""In 8-bit steps: changes below it nobody sees, so that a ratio of two of them is near 1."""


class _Changes(Scoring):
    """Mean absolute change of the added detail from each frame to the next, in 8-bit steps."""

    def __init__(self, border: Tensor) -> None:
        self._border = border
        self._found: list[Tensor] = []
        self._before: Tensor | None = None

    def add(self, instant: Instant) -> None:
        detail = instant.output.float() - upsampled_lq(instant)
        if self._before is not None:
            self._found.append((detail - self._before).abs_().mean(dtype=torch.float64))
        self._before = detail

    def result(self) -> Measurement:
        found = torch.stack(self._found)
        at_border, elsewhere = found[self._border].mean(), found[~self._border].mean()
        return Measurement(float((at_border + VISIBLE) / (elsewhere + VISIBLE)))


class SeamChunk(StreamedMetric):
    """Change of the added detail across chunk borders, relative to other frames.

    Added detail is the output minus the bicubic-upsampled input, so that the motion of the scene itself drops out.
    1 is a border that nobody can find; above 1 the picture jumps there, below 1 it stands still.
    """

    id = "seam_chunk"
    direction = "one"
    frames = "all but the first, each minus the one before"
    aggregation = (
        f"(mean over frames at chunk cuts + {VISIBLE}) / (mean over other frames + {VISIBLE}) of the mean absolute "
        "change of output minus bicubic-upsampled input"
    )
    source = "mean absolute temporal difference of the added detail; PatchVSR protocol"

    def begin(self, sample: Sample) -> Scoring:
        """Find the borders.

        Raises:
            UserError: the input does not fit the output, or a cut does not lie inside the clip.
            MetricUndefined: the clip is one chunk, or every frame is a border.
        """
        need_lq(sample, self.id)
        cuts = sample.cuts.frames if sample.cuts is not None else ()
        count = len(sample.output)
        if not cuts:
            raise MetricUndefined(f"{self.id}: the output was made in one chunk of frames")
        if min(cuts) < 1 or max(cuts) >= count:
            raise UserError(f"chunk cuts {sorted(cuts)} do not all lie inside {count} frames; give this output's own")
        border = torch.isin(torch.arange(1, count), torch.tensor(cuts))
        if border.all():
            raise MetricUndefined(f"{self.id}: every frame of the clip is at a chunk border, none is left to compare")
        return _Changes(border)
