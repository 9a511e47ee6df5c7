"""A sampler's step on the latents of one 3840x2160 frame in the pixel codec."""
from __future__ import annotations

from typing import Any

import pytest
import torch

from patchvsr.sampling import EulerSampler


@pytest.mark.benchmark(group="4K frames")
@pytest.mark.reference("memory")
def test_euler_step(benchmark: Any) -> None:
    latents, velocity = torch.randn(2, 48, 1, 540, 960)
    # Rounds work in place on the same latents, which a tiny step keeps finite.
    assert benchmark(EulerSampler().step, latents, velocity, 1.0, 1.0 - 1e-6).isfinite().all()
