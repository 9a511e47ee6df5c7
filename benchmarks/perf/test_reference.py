"""The workloads that other benchmarks are told relative to: arithmetic, memory traffic and the interpreter."""
from __future__ import annotations

from typing import Any

import pytest
import torch


@pytest.mark.workload("matmul")
def test_matmul(benchmark: Any) -> None:
    """512x512 times 512x512, float32: 0.27 GFLOP on all threads."""
    first, second = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(0))
    out = torch.empty(512, 512)
    benchmark(torch.matmul, first, second, out=out)


@pytest.mark.workload("memory")
def test_memory(benchmark: Any) -> None:
    """A copy of 64 MiB to memory that is new, as results of that size mostly go to."""
    source = torch.ones(16 << 20)
    benchmark(source.clone)


@pytest.mark.workload("python")
def test_python(benchmark: Any) -> None:
    """A loop of 100,000 rounds on one thread."""

    def loop() -> int:
        total = 0
        for number in range(100_000):
            total += number & 7
        return total

    assert benchmark(loop) == 350_000
