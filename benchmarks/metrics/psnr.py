"""PSNR against the ground truth, and against the input (consistency)."""
from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

import torch
from torch import Tensor

from benchmarks.metrics.base import (
    Measurement,
    Metric,
    Sample,
    inside,
    installed,
    mean_over_frames,
    missing,
    need_lq,
    need_target,
)

CEILING = 100.0
"""dB. Identical frames have no finite PSNR; a stated ceiling lets them count in a mean."""


def psnr_of_frames(pairs: Iterable[tuple[Tensor, Tensor]], crop: int = 0) -> list[float]:
    """PSNR in dB of pairs of uint8 frames `[3, H, W]`, over all channels, at most `CEILING`."""
    from pyiqa.archs.psnr_arch import psnr

    values = []
    for output, target in pairs:
        ours, theirs = (inside(frame, crop).float()[None] for frame in (output, target))
        # pyiqa's own default eps of 1e-8 on a range of 1 would bend and cap the scale at 80 dB.
        values.append(min(float(psnr(ours, theirs, data_range=255.0, eps=0.0)), CEILING))
    return values


class _Psnr(Metric):
    unit = "dB"
    aggregation = f"MSE over channels and pixels of a frame, at most {CEILING:g} dB, mean over frames"

    def __init__(self, crop: int = 0) -> None:
        self.crop = crop

    @property
    def backend(self) -> str:
        """pyiqa, called with data_range 255 and no eps."""
        return installed("pyiqa")

    def available(self) -> str | None:
        """None, or how to install pyiqa."""
        return missing("pyiqa")

    def prepare(self) -> None:
        """Import pyiqa, which takes seconds."""
        import_module("pyiqa.archs.psnr_arch")


class Psnr(_Psnr):
    """Peak signal-to-noise ratio on 8-bit RGB, a frame at a time.

    Args:
        crop: pixels left out along each edge.
    """

    id = "psnr"
    source = "10 log10(255^2 / MSE)"
    needs_target = True

    def measure(self, sample: Sample) -> Measurement:
        """Compare output and ground truth frame by frame."""
        target = need_target(sample, self.id)
        return mean_over_frames(psnr_of_frames(zip(sample.output, target, strict=True), self.crop))


class Consistency(_Psnr):
    """PSNR between the output, shrunk again to the input's size, and the input: has the input been rewritten?

    Args:
        crop: pixels of the input's size left out along each edge.
    """

    id = "consistency"
    source = "output shrunk by MATLAB-compatible bicubic (a=-0.5, antialiased), rounded to 8 bit, against the input"

    def measure(self, sample: Sample) -> Measurement:
        """Shrink and compare frame by frame."""
        from patchvsr.degradation import quantise, resize_bicubic, to_float

        lq = need_lq(sample, self.id)
        height, width = lq.shape[-2:]

        def pairs() -> Iterable[tuple[Tensor, Tensor]]:
            for output, given in zip(sample.output, lq, strict=True):
                yield quantise(resize_bicubic(to_float(output[None]), height, width))[0], given

        with torch.inference_mode():
            return mean_over_frames(psnr_of_frames(pairs(), self.crop))
