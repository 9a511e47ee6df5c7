"""What the parts of a nano run cost beside each other: tilings, the feature cache, and the harness's hot pieces."""
from __future__ import annotations

from typing import Any

import pytest
import torch

from patchvsr.degradation import resize_bicubic
from patchvsr.method import PatchVSR
from patchvsr.modulation import Fusion, modulations, plan
from patchvsr.tiling import tilings
from patchvsr.upscaler import Clip
from patchvsr.variants import resolve

CPU = torch.device("cpu")


def _run(upscaler: PatchVSR, clip: Clip) -> list[torch.Tensor]:
    return list(upscaler.upscale(clip, 4))


VARIANTS = [
    "full", "full:steps=2", "full:steps=2,cache_mib=0", "no_global:steps=2", "no_modulation:steps=2", "shifted:steps=2",
    "no_diffusion",
]  # fmt: skip


@pytest.mark.benchmark(group="one chunk of 5 frames to 1024x768")
@pytest.mark.parametrize("text", VARIANTS)
def test_variants(benchmark: Any, text: str) -> None:
    upscaler = PatchVSR.load(resolve(text), CPU, torch.bfloat16)
    clip = Clip("perf", torch.rand(5, 3, 192, 256, generator=torch.Generator().manual_seed(0)))
    frames = benchmark.pedantic(_run, args=(upscaler, clip), rounds=3, warmup_rounds=1)
    assert frames[0].shape == (5, 3, 768, 1024)


@pytest.mark.benchmark(group="4K geometry")
@pytest.mark.parametrize("name", ["auxiliary/joint", "disjoint/independent", "shifted/independent"])
def test_plan(benchmark: Any, name: str) -> None:
    tiling, modulation = name.split("/")
    policy, strategy = tilings.get(tiling)(), modulations.get(modulation)()
    assert benchmark(plan, policy, strategy, 540, 960, (64, 64), 0, 2)


@pytest.mark.benchmark(group="4K frames")
def test_fusion(benchmark: Any) -> None:
    tiles = plan(tilings.get("auxiliary")(), modulations.get("joint")(), 540, 960, (64, 64), 0, 2)
    predictions = torch.randn(48, 1, 64, 64)

    def fuse() -> torch.Tensor:
        fusion = Fusion((48, 1, 540, 960))
        for tile in tiles:
            fusion.add(predictions, tile)
        return fusion.result()

    assert benchmark(fuse).shape == (48, 1, 540, 960)


@pytest.mark.benchmark(group="4K frames")
def test_bicubic(benchmark: Any) -> None:
    frame = torch.rand(1, 3, 540, 960)
    assert benchmark(resize_bicubic, frame, 2160, 3840).shape == (1, 3, 2160, 3840)
