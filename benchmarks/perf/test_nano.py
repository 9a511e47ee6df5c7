"""What the parts of a nano run cost beside each other: tilings, the feature cache, and upsampling."""
from __future__ import annotations

from typing import Any

import pytest
import torch

from patchvsr.degradation import resize_bicubic
from patchvsr.method import PatchVSR
from patchvsr.upscaler import Clip
from patchvsr.variants import resolve

CPU = torch.device("cpu")


def _run(upscaler: PatchVSR, clip: Clip) -> list[torch.Tensor]:
    return list(upscaler.upscale(clip, 4))


VARIANTS = [
    "full", "full:steps=2", "full:steps=2,cache=off", "no_global:steps=2", "no_modulation:steps=2", "shifted:steps=2",
    "no_diffusion",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.benchmark(group="one chunk of 5 frames to 1024x768")
@pytest.mark.reference("matmul")
@pytest.mark.parametrize("text", VARIANTS)
def test_variants(benchmark: Any, text: str) -> None:
    upscaler = PatchVSR.load(resolve(text), CPU, torch.bfloat16)
    clip = Clip("perf", torch.rand(5, 3, 192, 256, generator=torch.Generator().manual_seed(0)))
    frames = benchmark.pedantic(_run, args=(upscaler, clip), rounds=3, warmup_rounds=1)
    assert frames[0].shape == (5, 3, 768, 1024)


@pytest.mark.benchmark(group="4K frames")
@pytest.mark.reference("memory")
def test_bicubic(benchmark: Any) -> None:
    frame = torch.rand(1, 3, 540, 960)
    assert benchmark(resize_bicubic, frame, 2160, 3840).shape == (1, 3, 2160, 3840)
