"""SSIM and MS-SSIM as the authors' MATLAB references compute them.

Computed here and not by pyiqa, whose SSIM works in float64 with a two-dimensional window (80 s for one 4K frame on
two cores) and sets negative structure terms to 0, which the reference does not. Tests hold the two together.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.base import MetricUndefined, Sample, inside
from benchmarks.metrics.colour import Y_STUDIO, shared_y
from benchmarks.metrics.stream import FrameMetric, Instant

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
ROWS = 16
"""Rows of the map made at a time: their intermediate results stay in the processor's cache."""


def _window() -> list[float]:
    x = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weight = torch.exp(-x.square() / (2 * SIGMA**2))
    return (weight / weight.sum()).tolist()


TAPS = _window()
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales of MS-SSIM, finest first."""


def _blur(planes: Tensor) -> Tensor:
    """Gaussian window over `[N, h, w]`, where it fits whole: `[N, h - 10, w - 10]`."""
    height, width = (side - WINDOW + 1 for side in planes.shape[-2:])
    down = planes[:, :height] * TAPS[0]
    for shift, tap in enumerate(TAPS[1:], start=1):
        down.add_(planes[:, shift : shift + height], alpha=tap)
    across = down[:, :, :width] * TAPS[0]
    for shift, tap in enumerate(TAPS[1:], start=1):
        across.add_(down[:, :, shift : shift + width], alpha=tap)
    return across


def _map_sums(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Sums of the SSIM map, and of its contrast-structure factor alone, of two strips `[C, h, w]` on 0..255."""
    # Means and variances are taken of values around 0, which keeps float32 exact enough in bright flat areas.
    x, y = first.float() - 128, second.float() - 128
    mean_x, mean_y, mean_squares, mean_xy = _blur(torch.cat([x, y, x * x + y * y, x * y])).chunk(4)
    covariance = mean_xy - mean_x * mean_y
    variances = mean_squares - mean_x * mean_x - mean_y * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    structure = (2 * covariance + C2) / (variances + C2)
    return float((luminance * structure).sum(dtype=torch.float64)), float(structure.sum(dtype=torch.float64))


def similarity(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Means over channels, and over every place where the window fits whole, of SSIM and of contrast-structure.

    Args:
        first, second: frames `[C, H, W]` on a scale of 0..255, H and W at least 11.
    """
    channels, height, width = first.shape
    places = height - WINDOW + 1
    sums = [0.0, 0.0]
    with _one_thread():
        for top in range(0, places, ROWS):
            rows = slice(top, min(top + ROWS, places) + WINDOW - 1)
            for index, part in enumerate(_map_sums(first[:, rows], second[:, rows])):
                sums[index] += part
    count = channels * places * (width - WINDOW + 1)
    return sums[0] / count, sums[1] / count


def ms_ssim(first: Tensor, second: Tensor) -> float:
    """Multi-scale SSIM of two frames `[C, H, W]` on 0..255: contrast-structure of five scales, luminance of the last.

    Between scales frames are averaged 2x2; a last odd row or column has no partner and is left out. Negative means,
    which have no real power, count as 0.
    """
    x, y = first.float(), second.float()
    total = 1.0
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            x, y = (F.avg_pool2d(picture[None], 2)[0] for picture in (x, y))
        whole, structure = similarity(x, y)
        total *= max(whole if scale == len(WEIGHTS) - 1 else structure, 0.0) ** weight
    return total


@contextmanager
def _one_thread() -> Iterator[None]:
    """Strips are too small to share out: beside another busy process two threads were measured 10 times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_REFERENCE = (
    "Wang et al. 2004 as in MATLAB's ssim_index: Gaussian 11x11, sigma 1.5, K 0.01/0.03, window inside the frame, "
    "no downsampling"
)


class _Ssim(FrameMetric):
    aggregation = "mean of the map over channels and pixels of a frame, mean over frames"
    source = _REFERENCE
    needs_target = True
    smallest = WINDOW

    def check(self, sample: Sample) -> None:
        """Frames must hold the window."""
        height, width = (side - 2 * self.crop for side in sample.output.shape[-2:])
        if min(height, width) < self.smallest:
            raise MetricUndefined(
                f"{self.id} needs frames of at least {self.smallest}x{self.smallest} pixels, got {width}x{height}"
            )


class Ssim(_Ssim):
    """Structural similarity on 8-bit RGB, channels averaged, a frame at a time; arguments as in `FrameMetric`."""

    id = "ssim"

    def value(self, instant: Instant) -> float:
        """Compare output and ground truth."""
        return similarity(inside(instant.output, self.crop), inside(instant.side("target"), self.crop))[0]


class SsimY(_Ssim):
    """Structural similarity on BT.601 studio-range luma; arguments as in `FrameMetric`."""

    id = "ssim_y"
    colour = Y_STUDIO

    def value(self, instant: Instant) -> float:
        """Compare the luma of output and ground truth."""
        ours, theirs = inside(shared_y(instant, "output"), self.crop), inside(shared_y(instant, "target"), self.crop)
        return similarity(ours, theirs)[0]


class MsSsim(_Ssim):
    """Multi-scale SSIM on 8-bit RGB, channels averaged at each scale; arguments as in `FrameMetric`."""

    id = "ms_ssim"
    aggregation = "means over channels and pixels at each of 5 scales, their weighted product, mean over frames"
    source = f"Wang et al. 2003, 2x2 means between scales, exponents {' '.join(map(str, WEIGHTS))}; each scale: " + (
        "Gaussian 11x11, sigma 1.5, K 0.01/0.03, window inside the frame"
    )
    smallest = WINDOW * 2 ** (len(WEIGHTS) - 1)

    def value(self, instant: Instant) -> float:
        """Compare output and ground truth."""
        return ms_ssim(inside(instant.output, self.crop), inside(instant.side("target"), self.crop))
