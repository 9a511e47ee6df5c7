"""SSIM as the authors' MATLAB reference computes it, for each of R, G and B.

Computed here and not by pyiqa, whose SSIM works in float64 with a two-dimensional window (80 s for one 4K frame on
two cores) and sets negative structure terms to 0, which the reference does not. A test holds the two together.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.metrics.base import (
    Measurement,
    Metric,
    MetricUndefined,
    Sample,
    inside,
    mean_over_frames,
    need_target,
)

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
ROWS = 16
"""Rows of the map made at a time: their intermediate results stay in the processor's cache."""


def _window() -> list[float]:
    x = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weight = torch.exp(-x.square() / (2 * SIGMA**2))
    return (weight / weight.sum()).tolist()


TAPS = _window()


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


def _map_sum(first: Tensor, second: Tensor) -> float:
    """Sum of the SSIM map of two strips `[3, h, w]`, uint8."""
    # Means and variances are taken of values around 0, which keeps float32 exact enough in bright flat areas.
    x, y = first.float() - 128, second.float() - 128
    mean_x, mean_y, mean_squares, mean_xy = _blur(torch.cat([x, y, x * x + y * y, x * y])).chunk(4)
    covariance = mean_xy - mean_x * mean_y
    variances = mean_squares - mean_x * mean_x - mean_y * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    structure = (2 * covariance + C2) / (variances + C2)
    return float((luminance * structure).sum(dtype=torch.float64))


def ssim(first: Tensor, second: Tensor) -> float:
    """Mean SSIM of two uint8 frames `[3, H, W]`, over channels and every place where the window fits whole.

    Raises:
        MetricUndefined: the frames are smaller than the window.
    """
    channels, height, width = first.shape
    if min(height, width) < WINDOW:
        raise MetricUndefined(f"ssim needs frames of at least {WINDOW}x{WINDOW} pixels, got {width}x{height}")
    places = height - WINDOW + 1
    total = 0.0
    for top in range(0, places, ROWS):
        rows = slice(top, min(top + ROWS, places) + WINDOW - 1)
        total += _map_sum(first[:, rows], second[:, rows])
    return total / (channels * places * (width - WINDOW + 1))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Strips are too small to share out: beside another busy process two threads were measured 10 times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Ssim(Metric):
    """Structural similarity on 8-bit RGB, channels averaged, a frame at a time.

    Args:
        crop: pixels left out along each edge.
    """

    id = "ssim"
    aggregation = "mean of the map over channels and pixels of a frame, mean over frames"
    source = (
        "Wang et al. 2004 as in MATLAB's ssim_index: Gaussian 11x11, sigma 1.5, K 0.01/0.03, window inside the frame, "
        "no downsampling"
    )
    needs_target = True

    def __init__(self, crop: int = 0) -> None:
        self.crop = crop

    def measure(self, sample: Sample) -> Measurement:
        """Compare output and ground truth frame by frame."""
        target = need_target(sample, self.id)
        with torch.inference_mode(), _one_thread():
            values = [
                ssim(inside(output, self.crop), inside(truth, self.crop))
                for output, truth in zip(sample.output, target, strict=True)
            ]
        return mean_over_frames(values)
