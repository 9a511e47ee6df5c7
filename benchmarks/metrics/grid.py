"""Periodic artefacts of sub-pixel upsampling and patchify: power at periods 2, 4, 8 and 16 against that around it."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.base import (
    Measurement,
    Metric,
    MetricUndefined,
    Sample,
    need_lq,
    need_target,
)

Pair = tuple[Tensor, Tensor]

PERIODS = (2, 4, 8, 16)
BOX = 9
NEAREST, FARTHEST = 4, 12
SMALLEST = 256
"""Pixels along an axis: with fewer, a period's neighbouring bins reach into the bins of the next period."""
FLAT = 1e-4
"""Median power (variance in 8-bit steps squared) below which a picture has no texture to compare with."""


def luma(frame: Tensor) -> Tensor:
    """BT.601 luma, full range 0..255, float32 `[H, W]`, of uint8 `[3, H, W]`."""
    red, green, blue = (channel.float() for channel in frame)
    return red.mul_(0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def high_pass(picture: Tensor) -> Tensor:
    """`[H, W]` minus its 9x9 box mean, edges mirrored."""
    padded = F.pad(picture[None, None], [BOX // 2] * 4, mode="reflect")
    mean = F.avg_pool2d(F.avg_pool2d(padded, (BOX, 1), stride=1), (1, BOX), stride=1)
    return picture - mean[0, 0]


def spectra(frame: Tensor) -> Pair:
    """Power spectra of a uint8 frame `[3, H, W]`: along x averaged over rows, along y averaged over columns."""
    picture = high_pass(luma(frame))

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


class Grid(Metric):
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

    def measure(self, sample: Sample) -> Measurement:
        """Compare the peaks of the output's spectra with the reference's.

        Raises:
            MetricUndefined: the frames are too small, or too flat to compare.
        """
        height, width = sample.output.shape[-2:]
        if min(height, width) < SMALLEST:
            raise MetricUndefined(f"grid needs frames of at least {SMALLEST} pixels a side, got {width}x{height}")
        with torch.inference_mode():
            ours = [spectra(frame) for frame in sample.output]
            theirs = [spectra(self._reference(sample, index)) for index in range(len(ours))]
        value = _ratio(_mean(ours), _mean(theirs), height, width)
        return Measurement(value, self._each(ours, theirs, height, width))

    def _reference(self, sample: Sample, index: int) -> Tensor:
        if sample.target is not None:
            return need_target(sample, self.id)[index]
        from patchvsr.degradation import quantise, resize_bicubic, to_float

        lq = need_lq(sample, self.id)[index]
        return quantise(resize_bicubic(to_float(lq[None]), *sample.output.shape[-2:]))[0]

    def _each(self, ours: list[Pair], theirs: list[Pair], height: int, width: int) -> list[float] | None:
        try:
            return [_ratio(mine, other, height, width) for mine, other in zip(ours, theirs, strict=True)]
        except MetricUndefined:  # a flat frame in a clip that is not flat: frames then have no values of their own
            return None


def _mean(pairs: list[Pair]) -> Pair:
    across, down = zip(*pairs, strict=True)
    return torch.stack(across).mean(dim=0), torch.stack(down).mean(dim=0)


def _ratio(ours: Pair, theirs: Pair, height: int, width: int) -> float:
    ratios = []
    for power, reference, length in zip(ours, theirs, (width, height), strict=True):
        mine, other = peaks(power, length, "the output"), peaks(reference, length, "the reference")
        ratios += [mine[period] / other[period] for period in PERIODS]
    return max(ratios)
