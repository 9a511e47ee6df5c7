"""Seams: are the lines where one tile hands over to the next different from other lines?

A line at `p` lies between pixels `p - 1` and `p` of its axis, as cuts do. Every seam metric takes a quantity per line,
sums it over the cuts, and divides by the sum of what the same quantity is on reference lines: those of the cut's own
axis and phase mod 16 (block structure of codecs and patchify falls on phases), at least 16 pixels from any cut.
"""
from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.base import Measurement, MetricUndefined, Sample
from benchmarks.metrics.stream import Instant, Scoring, StreamedMetric
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts

PERIOD = 16
DISTANCE = 16
BAND = 4
SEGMENT = 32
ROUGHLY = 1e-9
"""Below this (in 8-bit steps) the reference lines show no difference at all."""


@dataclass(frozen=True)
class Lines:
    """The lines to look at along one axis of the frame: positions, and how often each counts.

    Attributes:
        positions: `[N]`, cuts and references, in increasing order.
        cuts: `[N]`, 1 on a cut and 0 on a reference.
        references: `[N]`, shares of the references; for each cut those of its phase sum to 1.
    """

    positions: Tensor
    cuts: Tensor
    references: Tensor


def lines_along(cuts: tuple[int, ...], length: int, reach: int) -> Lines | None:
    """Cuts and their reference lines on an axis of `length` pixels; None if there is no cut on it.

    Args:
        cuts: positions of the cuts.
        length: of the axis.
        reach: pixels that a line's quantity needs on both sides.

    Raises:
        UserError: a cut does not lie inside the frame.
        MetricUndefined: a cut has no valid reference line, or lies too close to the frame's edge.
    """
    if not cuts:
        return None
    chosen = sorted(set(cuts))
    if chosen[0] < 1 or chosen[-1] >= length:
        raise UserError(f"cuts {chosen} do not all lie inside an axis of {length} pixels; give the plan of this output")
    if chosen[0] < reach or chosen[-1] > length - reach:
        raise MetricUndefined(f"a cut of {chosen} lies less than {reach} pixels from the edge of {length} pixels")
    every = torch.arange(reach, length - reach + 1)
    at = torch.tensor(chosen)
    far = (every[:, None] - at).abs().amin(dim=1) >= DISTANCE
    on_cut = torch.isin(every, at)
    share = torch.zeros(len(every), dtype=torch.float64)
    for phase in range(PERIOD):
        count = int((at % PERIOD == phase).sum())
        valid = far & (every % PERIOD == phase)
        if count and not valid.any():
            raise MetricUndefined(
                f"no line of phase {phase} mod {PERIOD} lies at least {DISTANCE} pixels from the cuts {chosen} on an "
                f"axis of {length} pixels"
            )
        if count:
            share += valid * (count / valid.sum())
    kept = on_cut | (share > 0)
    return Lines(every[kept], on_cut[kept].double(), share[kept])


def difference(frame: Tensor, positions: Tensor) -> Tensor:
    """Absolute difference across vertical lines: `[3, H, W]` to `[N]`, summed over H, averaged over channels."""
    across = frame[..., positions].float() - frame[..., positions - 1].float()
    return across.abs_().sum(dim=1).mean(dim=0)


def tone_step(frame: Tensor, positions: Tensor) -> Tensor:
    """Tone step at vertical lines: `[3, H, W]` to `[N]`, summed over H, averaged over channels.

    The tone on a side is the mean over a 4-pixel band and a 32-pixel segment of the line; a shorter last segment
    counts for its length.
    """
    height = frame.shape[1]
    tones = F.avg_pool2d(frame.float(), (SEGMENT, 1), ceil_mode=True, count_include_pad=False)
    bands = F.avg_pool1d(tones, BAND, stride=1)  # bands[..., i] covers pixels i .. i + 3
    step = (bands[..., positions] - bands[..., positions - BAND]).abs()
    starts = torch.arange(0, height, SEGMENT)
    lengths = (height - starts).clamp_max(SEGMENT).to(step)
    return (step * lengths[:, None]).sum(dim=1).mean(dim=0)


class _SeamScoring(Scoring):
    """Sums over cuts and over references of every picture, in float64."""

    def __init__(self, metric: _SeamMetric, axes: list[tuple[bool, Lines]]) -> None:
        self._metric, self._axes = metric, axes
        self._sums: list[tuple[Tensor, Tensor]] = []

    def add(self, instant: Instant) -> None:
        picture = self._metric.picture(instant)
        if picture is None:
            return
        at_cuts = at_references = torch.zeros((), dtype=torch.float64)
        for turn, lines in self._axes:
            turned = picture.transpose(1, 2) if turn else picture
            values = self._metric.quantity(turned, lines.positions).double()
            at_cuts = at_cuts + values @ lines.cuts
            at_references = at_references + values @ lines.references
        self._sums.append((at_cuts, at_references))

    def result(self) -> Measurement:
        at_cuts, at_references = (torch.stack(column).sum() for column in zip(*self._sums, strict=True))
        if at_references <= ROUGHLY:
            raise MetricUndefined(f"{self._metric.id}: the clip shows no difference across any reference line")
        ratios = [float(top / bottom) for top, bottom in self._sums if bottom > ROUGHLY]
        # A single flat frame has no ratio of its own, and a list with holes would not line up with the frames.
        return Measurement(float(at_cuts / at_references), ratios if len(ratios) == len(self._sums) else None)


class _SeamMetric(StreamedMetric):
    direction = "one"
    aggregation = (
        "sum over cuts / sum over references of the same axis and phase mod 16 at least 16 px from any cut, channels "
        "averaged, rows and columns and frames pooled by pixels"
    )
    reach = 1

    def begin(self, sample: Sample) -> Scoring:
        """Find the lines to look at.

        Raises:
            UserError: no cuts were given, or they do not lie inside the frame.
            MetricUndefined: there is no cut or no valid reference line; later, nothing to see on the references.
        """
        if sample.cuts is None:
            raise UserError(f"{self.id} needs the cuts of a tile plan; untiled outputs are given the standard plan's")
        return _SeamScoring(self, self._axes(sample.cuts, *sample.output.shape[-2:]))

    def _axes(self, cuts: Cuts, height: int, width: int) -> list[tuple[bool, Lines]]:
        """Lines per axis, with whether the frame must be turned for them to be vertical."""
        found = [
            (True, lines_along(cuts.rows, height, self.reach)),
            (False, lines_along(cuts.columns, width, self.reach)),
        ]
        axes = [(turn, lines) for turn, lines in found if lines is not None]
        if not axes:
            raise MetricUndefined(f"{self.id}: the output is one tile, it has no cuts")
        return axes

    def picture(self, instant: Instant) -> Tensor | None:
        """What is looked at, `[3, H, W]`: the frame. None for a frame that does not count."""
        return instant.output

    @abstractmethod
    def quantity(self, frame: Tensor, positions: Tensor) -> Tensor:
        """The quantity on each vertical line of `[3, H, W]`, summed along the line."""


class Seam(_SeamMetric):
    """Mean absolute difference across cuts, relative to other lines; below 1 the cuts are blurred."""

    id = "seam"
    source = "mean absolute difference across the line; PatchVSR protocol"

    def quantity(self, frame: Tensor, positions: Tensor) -> Tensor:
        """The difference across each line."""
        return difference(frame, positions)


class SeamStep(_SeamMetric):
    """Tone step between the two sides of cuts, relative to other lines."""

    id = "seam_step"
    source = "step between means of 4 px bands, per 32 px segment of the line; PatchVSR protocol"
    reach = BAND

    def quantity(self, frame: Tensor, positions: Tensor) -> Tensor:
        """The tone step at each line."""
        return tone_step(frame, positions)


class SeamTemporal(_SeamMetric):
    """`seam` of the difference between each frame and the one before: tiles that flicker apart from each other."""

    id = "seam_t"
    frames = "all but the first, each minus the one before"
    source = "mean absolute difference across the line, of the temporal difference; PatchVSR protocol"

    def quantity(self, frame: Tensor, positions: Tensor) -> Tensor:
        """The difference across each line."""
        return difference(frame, positions)

    def begin(self, sample: Sample) -> Scoring:
        """As the others; also refuses clips of one frame."""
        if len(sample.output) < 2:
            raise MetricUndefined("seam_t needs at least two frames, the clip has one")
        return super().begin(sample)

    def picture(self, instant: Instant) -> Tensor | None:
        """The frame minus the one before."""
        return None if instant.before is None else instant.output.float() - instant.before.output.float()
