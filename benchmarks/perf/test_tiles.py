"""What a sampling step at 4K does beside the model: planning tiles, cutting them out, and fusing predictions."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from patchvsr.modulation import Fusion, WeightedTile, modulations, plan
from patchvsr.tiling import tilings

SHAPE = (48, 1, 540, 960)
"""Latents of one 3840x2160 frame in the pixel codec, 95 MiB."""


def tiles(tiling: str, modulation: str) -> tuple[WeightedTile, ...]:
    return plan(tilings.get(tiling)(), modulations.get(modulation)(), *SHAPE[2:], (64, 64), 0, 2)


@pytest.mark.benchmark(group="4K geometry")
@pytest.mark.reference("python")
@pytest.mark.parametrize("name", ["auxiliary/joint", "disjoint/independent", "shifted/independent"])
def test_plan(benchmark: Any, name: str) -> None:
    assert benchmark(tiles, *name.split("/"))


@pytest.mark.benchmark(group="4K frames")
@pytest.mark.reference("memory")
@pytest.mark.parametrize("name", ["auxiliary/joint", "disjoint/independent"])
def test_gather(benchmark: Any, name: str) -> None:
    """Cut every tile out of the frame, as a step does before the model sees it."""
    latents, boxes = torch.randn(SHAPE), [tile.box for tile in tiles(*name.split("/"))]

    def gather() -> Tensor:
        for box in boxes:
            crop = torch.stack([latents[..., *box.slices]])
        return crop

    assert benchmark(gather).shape == (1, 48, 1, 64, 64)


@pytest.mark.benchmark(group="4K frames")
@pytest.mark.reference("memory")
@pytest.mark.parametrize("name", ["auxiliary/joint", "disjoint/independent"])
def test_blend(benchmark: Any, name: str) -> None:
    """Fuse every tile's prediction, zeroing and the final check of weights included."""
    planned, prediction = tiles(*name.split("/")), torch.randn(*SHAPE[:2], 64, 64)

    def blend() -> Tensor:
        fusion = Fusion(SHAPE)
        for tile in planned:
            fusion.add(prediction, tile)
        return fusion.result()

    assert benchmark(blend).shape == SHAPE
