"""BD: Gaussian blur, then every n-th pixel, as the MATLAB scripts behind the published BD test sets do it.

They take a Gaussian of ceil(3 sigma) * 2 + 2 taps along each axis (12 for sigma 1.6), filter with edges replicated, and
keep every n-th pixel from number scale / 2 on, counted from one.

The kernel is even, and `imfilter` puts its origin left of the middle (tap 6 of 12), which moves the picture by half a
pixel. Pixel scale/2 - 1 (counted from zero) of the result is therefore centred at (scale - 1) / 2 of the original:
low-resolution pixels lie where those of bicubic downsampling do. Another phase shifts the clip, which costs several
dB against a ground truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from patchvsr.degradation.filters import Edges, sample_filtered
from patchvsr.degradation.interface import FrameDegradation
from patchvsr.errors import UserError, nearest


@dataclass(frozen=True, kw_only=True)
class BlurDownsample(FrameDegradation):
    """Gaussian blur and subsampling (BD), computed in float64.

    Attributes:
        name, version: see `Degradation`.
        sigma: standard deviation of the blur in high-resolution pixels.
        size: taps of the kernel along each axis; None for MATLAB code's `ceil(3 sigma) * 2 + 2`.
        phase: first pixel kept, counted from zero; None for scale / 2 - 1, which needs an even scale.
        edges: what lies outside the frame.

    Raises:
        UserError: a value that is not possible.
    """

    name: str = "bd"
    version: int = 1
    sigma: float = 1.6
    size: int | None = None
    phase: int | None = None
    edges: Edges = "replicate"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0) or self.taps < 1:
            raise UserError(f"degradation '{self.name}' needs a positive sigma and size, not {self.sigma}, {self.size}")
        if self.edges not in get_args(Edges):
            raise UserError(f"degradation '{self.name}': unknown edges '{self.edges}'"
                            f"{nearest(self.edges, get_args(Edges))}")  # fmt: skip

    @property
    def taps(self) -> int:
        """Taps of the kernel along each axis."""
        return math.ceil(3 * self.sigma) * 2 + 2 if self.size is None else self.size

    @property
    def kernel(self) -> Tensor:
        """One axis of the kernel, float64 `[taps]`, summing to 1; the kernel is its outer product with itself."""
        x = torch.arange(self.taps, dtype=torch.float64) - (self.taps - 1) / 2
        weights = torch.exp(-(x**2) / (2 * self.sigma**2))
        return weights / weights.sum()

    @property
    def identity(self) -> str:
        """Name, version and protocol in one line; equal identities mean equal low-resolution frames."""
        phase = "scale/2-1" if self.phase is None else str(self.phase)
        return (
            f"{self.name} v{self.version} (BD, Gaussian sigma {self.sigma:g}, {self.taps}x{self.taps} taps with the "
            f"origin at tap {(self.taps + 1) // 2}, edges {self.edges}, every scale-th pixel from pixel {phase} "
            "counted from 0, quantised to 8 bit)"
        )

    def low_size(self, height: int, width: int, scale: float) -> tuple[int, int]:
        """See `Degradation.low_size`.

        Raises:
            UserError: the scale is not even (not whole, where a phase is set), or does not divide the frame.
        """
        low = super().low_size(height, width, scale)
        if self.phase is None and scale % 2:
            raise UserError(
                f"degradation '{self.name}' has no pixel grid for scale {scale:g}; use an even scale such as 2 or 4, "
                "or another degradation"
            )
        if scale % 1 or not 0 <= self._phase(int(scale)) < scale:
            raise UserError(
                f"degradation '{self.name}' keeps every scale-th pixel from {self.phase}, which scale {scale:g} has "
                "not; use a larger whole scale"
            )
        step = int(scale)
        if height % step or width % step:
            fits = width - width % step, height - height % step
            advice = f"crop them to {fits[0]}x{fits[1]}" if min(fits) else "use larger frames"
            raise UserError(
                f"degradation '{self.name}' needs frames of whole multiples of scale {step}, not {width}x{height}; "
                + advice
            )
        return low

    def degraded(self, frame: Tensor, height: int, width: int) -> Tensor:
        """See `FrameDegradation.degraded`; the frame is `height` and `width` times one whole scale."""
        step = frame.shape[-2] // height
        first = self._phase(step) - (self.taps + 1) // 2 + 1
        out = frame.double()
        for dim in (-2, -1):
            out = sample_filtered(out, self.kernel, first, step, dim, self.edges)
        # Rounded here, in float64, since a value of float32 may fall on the other side of a half.
        return out.clamp(0, 1).mul(255).add(0.5).floor().div(255)

    def _phase(self, step: int) -> int:
        return step // 2 - 1 if self.phase is None else self.phase


bd = BlurDownsample()
