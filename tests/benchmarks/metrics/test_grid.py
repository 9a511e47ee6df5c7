"""grid sees periodic patterns of 2, 4, 8 and 16 pixels on both axes, and nothing that the reference has too."""
from __future__ import annotations

import pytest
import torch

from benchmarks.metrics import MetricUndefined, Sample
from benchmarks.metrics.grid import Grid
from patchvsr.errors import UserError

from .test_seam import CUTS, bytes_of, score, textured


@pytest.mark.parametrize("period", [2, 4, 8, 16])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_grid_sees_a_faint_pattern_of_each_period(period: int, axis: str) -> None:
    target = textured(2, 272, 304)
    noisy = target + torch.randn(target.shape, generator=torch.Generator().manual_seed(5))
    along = torch.arange(304 if axis == "x" else 272)
    stripes = 4 * torch.cos(2 * torch.pi * along / period)
    pattern = stripes if axis == "x" else stripes[:, None]
    assert score(Grid(), noisy + pattern, target=target) > 3
    assert score(Grid(), noisy, target=target) == pytest.approx(1.1, abs=0.2)


def test_grid_of_a_period_4_checkerboard() -> None:
    target = textured(1, 256, 256)
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    board = ((y % 4 == 0) & (x % 4 == 0)).float() * 16
    assert score(Grid(), target + board, target=target) > 10
    assert score(Grid(), target, target=target) == 1


def test_grid_does_not_fault_what_the_ground_truth_has() -> None:
    stripes = 20 * (torch.arange(256) % 4 == 0)
    target = textured(1, 256, 256) + stripes
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(5))
    assert score(Grid(), target + noise, target=target) < 1.3


def test_grid_without_ground_truth_compares_with_the_enlarged_input() -> None:
    from patchvsr.degradation import quantise, resize_bicubic, to_float

    lq = bytes_of(textured(2, 96, 96))
    output = quantise(resize_bicubic(to_float(lq), 288, 288))
    clean = Sample(output, None, lq, 3.0, CUTS)
    assert Grid().score(clean) == pytest.approx(1, abs=1e-9)
    stripes = 6 * (torch.arange(288) % 2)
    patterned = Sample(bytes_of(output.float() + stripes), None, lq, 3.0, CUTS)
    assert Grid().score(patterned) > 10


def test_grid_of_frames_too_small_or_too_flat() -> None:
    with pytest.raises(MetricUndefined, match="256"):
        score(Grid(), textured(1, 255, 300), target=textured(1, 255, 300))
    flat = torch.full((1, 3, 256, 256), 90.0)
    with pytest.raises(MetricUndefined, match="no texture"):
        score(Grid(), flat, target=textured(1, 256, 256))
    with pytest.raises(MetricUndefined, match="no texture"):
        score(Grid(), textured(1, 256, 256), target=flat)


def test_grid_refuses_sizes_that_differ() -> None:
    with pytest.raises(UserError, match="300x256"):
        score(Grid(), textured(1, 256, 256), target=textured(1, 256, 300))
