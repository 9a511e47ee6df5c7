"""Seams in time: does added detail change more where one chunk of frames hands over to the next than elsewhere?"""
from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.metrics.base import Measurement, Metric, MetricUndefined, Sample, need_lq
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError

VISIBLE = 0.25
"""In 8-bit steps: changes below it nobody sees, so that a ratio of two of them is near 1."""


class SeamChunk(Metric):
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

    def measure(self, sample: Sample) -> Measurement:
        """Mean over borders and over other frames, and divide.

        Raises:
            UserError: the input does not fit the output, or a cut does not lie inside the clip.
            MetricUndefined: the clip is one chunk, or every frame is a border.
        """
        lq = need_lq(sample, self.id)
        cuts = sample.cuts.frames if sample.cuts is not None else ()
        count = len(sample.output)
        if not cuts:
            raise MetricUndefined(f"{self.id}: the output was made in one chunk of frames")
        if min(cuts) < 1 or max(cuts) >= count:
            raise UserError(f"chunk cuts {sorted(cuts)} do not all lie inside {count} frames; give this output's own")
        border = torch.isin(torch.arange(1, count), torch.tensor(cuts))
        if border.all():
            raise MetricUndefined(f"{self.id}: every frame of the clip is at a chunk border, none is left to compare")
        found = changes(sample.output, lq)
        return Measurement(float((found[border].mean() + VISIBLE) / (found[~border].mean() + VISIBLE)))


def changes(output: Tensor, lq: Tensor) -> Tensor:
    """Mean absolute change of the added detail from each frame to the next, `[T - 1]`, float64, in 8-bit steps."""
    found, before = [], None
    for frame, low in zip(output, lq, strict=True):
        detail = frame.float() - resize_bicubic(low[None].float(), *frame.shape[-2:])[0].clamp_(0, 255).round_()
        if before is not None:
            found.append((detail - before).abs_().mean(dtype=torch.float64))
        before = detail
    return torch.stack(found)
