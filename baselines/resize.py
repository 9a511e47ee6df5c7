"""Interpolation baselines: what an upscaler has to beat to be worth its cost."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from baselines.options import Options
from patchvsr.degradation import resize_bicubic
from patchvsr.upscaler import Clip, Progress, Upscaler


class Resize(Upscaler):
    """Interpolates every frame on its own; has no options, no weights and no tiles."""

    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        """One frame `[1, 3, round(H * scale), round(W * scale)]` at a time; `seed` has no effect."""
        return self.upscale_from(0, clip, scale, seed, progress)

    def upscale_from(
        self, first: int, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """As `upscale`; earlier frames are not made."""
        count, _, height, width = clip.frames.shape
        size = round(height * scale), round(width * scale)
        for index in range(first, count):
            # Interpolation kernels overshoot at edges; what cannot be shown is clipped.
            yield self.resize(clip.frames[index : index + 1][0], *size).clamp(0.0, 1.0)[None]
            if progress is not None:
                progress((index + 1) / count)

    @abstractmethod
    def resize(self, frame: Tensor, height: int, width: int) -> Tensor:
        """`[3, H, W]` to `[3, height, width]`, float32."""

    def describe(self) -> dict[str, Any]:
        """Name and kernel."""
        return {"name": self.name, "kernel": self.kernel}

    kernel: str


class Bicubic(Resize):
    """MATLAB-compatible bicubic (a = -0.5): the very upsampling that PatchVSR starts from."""

    name = "bicubic"
    kernel = "cubic, a = -0.5, as MATLAB's imresize"

    def resize(self, frame: Tensor, height: int, width: int) -> Tensor:
        """See `patchvsr.degradation.resize_bicubic`."""
        return resize_bicubic(frame[None], height, width)[0]


class Lanczos(Resize):
    """Lanczos with three lobes, by Pillow on 32-bit floats, so that nothing is rounded on the way."""

    name = "lanczos"
    kernel = "Lanczos, a = 3, Pillow in 32-bit float"

    def resize(self, frame: Tensor, height: int, width: int) -> Tensor:
        """Each channel on its own, the whole channel at once."""
        channels = [
            np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS))
            for channel in frame.float().cpu().contiguous().numpy()
        ]
        return torch.from_numpy(np.stack(channels))


def bicubic(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `bicubic`; it runs on the CPU in float32 whatever the device and dtype.

    Raises:
        UserError: overrides were given.
    """
    Options("bicubic", overrides)
    return Bicubic()


def lanczos(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `lanczos`; it runs on the CPU in float32 whatever the device and dtype.

    Raises:
        UserError: overrides were given.
    """
    Options("lanczos", overrides)
    return Lanczos()
