"""Flicker: how much of the change from frame to frame is the upscaler's own."""
from __future__ import annotations

import torch

from benchmarks.metrics.base import Sample, need_lq, need_target
from benchmarks.metrics.colour import reference
from benchmarks.metrics.stream import Instant, PairMetric


class Flicker(PairMetric):
    """Mean absolute difference between the output's change since the frame before and the reference's change."""

    id = "flicker"
    direction = "lower"
    unit = "8-bit steps"
    aggregation = "mean over channels and pixels, mean over frames"
    source = (
        "|(out_t - out_t-1) - (ref_t - ref_t-1)|; reference: ground truth, without one the bicubic-upsampled input in "
        "8 bit; PatchVSR protocol"
    )
    keeps = frozenset({"upsampled"})

    def check(self, sample: Sample) -> None:
        """The reference must fit."""
        if sample.target is not None:
            need_target(sample, self.id)
        else:
            need_lq(sample, self.id)

    def value(self, instant: Instant) -> float:
        """Compare the two changes."""
        assert instant.before is not None
        now = instant.output.short() - reference(instant).short()
        earlier = instant.before.output.short() - reference(instant.before).short()
        return float((now - earlier).abs_().mean(dtype=torch.float64))
