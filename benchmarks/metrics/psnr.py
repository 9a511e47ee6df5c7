"""PSNR against the ground truth, on RGB and on luma, and against the input (consistency)."""
from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor

from benchmarks.metrics.base import Sample, inside, need_lq
from benchmarks.metrics.colour import Y_STUDIO, shared_y
from benchmarks.metrics.stream import FrameMetric, Instant

CEILING = 100.0
"""dB. Identical frames have no finite PSNR; a stated ceiling lets them count in a mean."""


def psnr_of(output: Tensor, target: Tensor, crop: int = 0) -> float:
    """PSNR in dB of two frames `[C, H, W]` on a scale of 0..255, over all channels, at most `CEILING`."""
    from pyiqa.archs.psnr_arch import psnr

    ours, theirs = (inside(frame, crop).float()[None] for frame in (output, target))
    # pyiqa's own default eps of 1e-8 on a range of 1 would bend and cap the scale at 80 dB.
    return min(float(psnr(ours, theirs, data_range=255.0, eps=0.0)), CEILING)


class _Psnr(FrameMetric):
    unit = "dB"
    packages = ("pyiqa",)
    source = "10 log10(255^2 / MSE)"

    def prepare(self) -> None:
        """Import pyiqa, which takes seconds."""
        import_module("pyiqa.archs.psnr_arch")


class Psnr(_Psnr):
    """Peak signal-to-noise ratio on 8-bit RGB, a frame at a time; arguments as in `FrameMetric`."""

    id = "psnr"
    aggregation = f"MSE over channels and pixels of a frame, at most {CEILING:g} dB, mean over frames"
    needs_target = True

    def value(self, instant: Instant) -> float:
        """Compare output and ground truth."""
        return psnr_of(instant.output, instant.side("target"), self.crop)


class PsnrY(_Psnr):
    """PSNR on BT.601 studio-range luma, as in the tables of Vid4, UDM10 and Vimeo; arguments as in `FrameMetric`."""

    id = "psnr_y"
    colour = Y_STUDIO
    aggregation = f"MSE over pixels of a frame, at most {CEILING:g} dB, mean over frames"
    needs_target = True

    def value(self, instant: Instant) -> float:
        """Compare the luma of output and ground truth."""
        return psnr_of(shared_y(instant, "output"), shared_y(instant, "target"), self.crop)


class Consistency(_Psnr):
    """PSNR between the output, shrunk again to the input's size, and the input: has the input been rewritten?

    Args:
        crop: pixels of the input's size left out along each edge.
        frames: as in `FrameMetric`.
    """

    id = "consistency"
    aggregation = Psnr.aggregation
    source = "output shrunk by MATLAB-compatible bicubic (a=-0.5, antialiased), rounded to 8 bit, against the input"

    def check(self, sample: Sample) -> None:
        """The input must be of the size that the scale gives the output's from."""
        need_lq(sample, self.id)

    def value(self, instant: Instant) -> float:
        """Shrink and compare."""
        from patchvsr.degradation import quantise, resize_bicubic, to_float

        size: torch.Size = instant.lq.shape[-2:]
        return psnr_of(quantise(resize_bicubic(to_float(instant.output[None]), *size))[0], instant.lq, self.crop)
