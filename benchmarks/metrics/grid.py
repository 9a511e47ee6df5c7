"""Periodic artefacts of sub-pixel upsampling and patchify: power at periods 2, 4, 8 and 16 against that around it."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.base import Measurement, MetricUndefined, Sample, need_lq, need_target
from benchmarks.metrics.colour import luma_full, reference
from benchmarks.metrics.stream import Instant, Scoring, StreamedMetric

Pair = tuple[Tensor, Tensor]

PERIODS = (2, 4, 8, 16)
BOX = 9
NEAREST, FARTHEST = 4, 12
SMALLEST = 256
"""Pixels along an axis: with fewer, a period's neighbouring bins reach into the bins of the next period."""
FLAT = 1e-4
"""Median power (variance in 8-bit steps squared) below which a picture has no texture to compare with."""


def high_pass(picture: Tensor) -> Tensor:
    """`[H, W]` minus its 9x9 box mean, edges mirrored."""
    padded = F.pad(picture[None, None], [BOX // 2] * 4, mode="reflect")
    mean = F.avg_pool2d(F.avg_pool2d(padded, (BOX, 1), stride=1), (1, BOX), stride=1)
    return picture - mean[0, 0]


def spectra(frame: Tensor) -> Pair:
    """Power spectra of a uint8 frame `[3, H, W]`: along x averaged over rows, along y averaged over columns."""
    picture = high_pass(luma_full(frame))

    def along_last(plane: Tensor) -> Tensor:
        parts = [torch.fft.rfft(rows).abs().square().sum(dim=0, dtype=torch.float64) for rows in plane.split(256)]
        return torch.stack(parts).sum(dim=0) / plane.numel()

    return along_last(picture), along_last(picture.T)


def peaks(power: Tensor, length: int, what: str) -> dict[int, float]:
    """For each period, the largest of the 3 bins at it over the median of the bins 4 to 12 away on both sides.

    Raises:
        MetricUndefined: the surrounding bins are empty, so there is nothing to compare with.
    """
    bins = torch.arange(len(power))
    found = {}
    for period in PERIODS:
        away = (bins - round(length / period)).abs()
        around = float(power[(away >= NEAREST) & (away <= FARTHEST)].median())
        if around < FLAT:
            raise MetricUndefined(f"grid: {what} has no texture around period {period} to compare with")
        found[period] = float(power[away <= 1].max()) / around
    return found


class _GridScoring(Scoring):
    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._ours: list[Pair] = []
        self._theirs: list[Pair] = []

    def add(self, instant: Instant) -> None:
        self._ours.append(spectra(instant.output))
        self._theirs.append(spectra(reference(instant)))

    def result(self) -> Measurement:
        return Measurement(_ratio(_mean(self._ours), _mean(self._theirs), *self._size), self._each())

    def _each(self) -> list[float] | None:
        try:
            return [_ratio(*pair, *self._size) for pair in zip(self._ours, self._theirs, strict=True)]
        except MetricUndefined:  # a flat frame in a clip that is not flat: frames then have no values of their own
            return None


class Grid(StreamedMetric):
    """How much stronger periods 2, 4, 8 or 16 stand out than in the reference; clean outputs are near 1."""

    id = "grid"
    direction = "one"
    colour = "luma BT.601 0..255"
    aggregation = (
        "spectra averaged over lines and frames, peak over median of neighbours, over the same of the reference, "
        "maximum over periods 2 4 8 16 and both axes"
    )
    source = (
        "high-passed luma (minus 9x9 box), reference: ground truth, without one the bicubic-upsampled input in 8 bit; "
        "PatchVSR protocol"
    )

    def begin(self, sample: Sample) -> Scoring:
        """Start on the spectra of output and reference.

        Raises:
            UserError: counts or sizes that do not fit.
            MetricUndefined: the frames are too small; later, too flat to compare.
        """
        height, width = sample.output.shape[-2:]
        if min(height, width) < SMALLEST:
            raise MetricUndefined(f"grid needs frames of at least {SMALLEST} pixels a side, got {width}x{height}")
        if sample.target is not None:
            need_target(sample, self.id)
        else:
            need_lq(sample, self.id)
        return _GridScoring((height, width))


def _mean(pairs: list[Pair]) -> Pair:
    across, down = zip(*pairs, strict=True)
    return torch.stack(across).mean(dim=0), torch.stack(down).mean(dim=0)


def _ratio(ours: Pair, theirs: Pair, height: int, width: int) -> float:
    ratios = []
    for power, expected, length in zip(ours, theirs, (width, height), strict=True):
        mine, other = peaks(power, length, "the output"), peaks(expected, length, "the reference")
        ratios += [mine[period] / other[period] for period in PERIODS]
    return max(ratios)
