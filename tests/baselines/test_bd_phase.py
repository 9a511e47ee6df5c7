"""The phase of BD, by a network that was trained on it: the right one is the one that it restores best."""
from __future__ import annotations

import pytest
import torch

from benchmarks.frames import whole
from benchmarks.metrics.colour import y_studio
from benchmarks.metrics.psnr import psnr_of
from benchmarks.suites import load_suite
from patchvsr.degradation import quantise, to_float
from patchvsr.degradation.bd import BlurDownsample
from patchvsr.upscaler import Clip, create
from tests.fetching import fetched


@pytest.mark.slow
def test_basicvsr_trained_on_bd_restores_the_stored_phase_by_far_the_best() -> None:
    fetched("basicvsr-vimeo-bd")
    target = whole(load_suite("4k", frames=5)[0].lq())[:, :, 232:488, 448:832].contiguous()
    scores = {}
    for phase in range(4):
        low = BlurDownsample(phase=phase)(to_float(target), 4)
        found = torch.cat(list(create("basicvsr:weights=vimeo_bd", dtype=torch.float32).upscale(Clip("c", low), 4)))
        pairs = zip(quantise(found), target, strict=True)
        values = [psnr_of(y_studio(ours), y_studio(theirs)) for ours, theirs in pairs]
        scores[phase] = sum(values) / len(values)
        print(f"phase {phase}: {scores[phase]:.2f} dB")
    stored = BlurDownsample()
    assert torch.equal(stored(to_float(target), 4), BlurDownsample(phase=1)(to_float(target), 4))
    assert scores[1] > 3 + max(score for phase, score in scores.items() if phase != 1)
