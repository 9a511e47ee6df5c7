"""One 1280x720 frame against its ground truth, a metric at a time."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from benchmarks.metrics import Sample, metrics
from patchvsr.degradation import quantise


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Smooth noise, and the same with grain."""
    generator = torch.Generator().manual_seed(0)
    truth = F.interpolate(torch.rand(1, 3, 90, 160, generator=generator), (720, 1280), mode="bicubic").clamp(0, 1)
    grain = torch.randn(truth.shape, generator=generator) * 0.02
    low = F.interpolate(truth, (180, 320), mode="area")
    return Sample(quantise((truth + grain).clamp(0, 1)), quantise(truth), quantise(low), 4.0, None)


@pytest.mark.benchmark(group="metrics, one 1280x720 frame")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("psnr", marks=pytest.mark.reference("memory")),
        pytest.param("ssim", marks=pytest.mark.reference("python")),  # it keeps to one thread
        pytest.param("lpips", marks=pytest.mark.reference("matmul")),
    ],
)
def test_metric(benchmark: Any, sample: Sample, name: str) -> None:
    metric = metrics.get(name)()
    if (command := metric.available()) is not None:
        pytest.skip(f"needs: {command}")
    metric.prepare()
    # `score` would answer every round after the first from memory.
    assert benchmark(metric.measure, sample).value > 0
