"""seam_chunk sees jumps of detail between chunks of frames, and neither motion nor tiles."""
from __future__ import annotations

import pytest
import torch

from benchmarks.metrics import MetricUndefined, Sample, metrics
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts


def moving(frames: int = 13, speed: float = 1.0) -> torch.Tensor:
    """A soft pattern that moves to the right, faster and faster, 8-bit `[T, 3, 16, 24]`."""
    shift = speed * torch.arange(frames) ** 1.5
    rows = 0.5 + 0.3 * torch.sin((torch.arange(24.0) - shift[:, None]) / 2)
    return (255 * rows[:, None, None].expand(-1, 3, 16, -1)).round().to(torch.uint8)


def upscaled(lq: torch.Tensor, detail: torch.Tensor | float = 0.0) -> torch.Tensor:
    return (resize_bicubic(lq.float(), 32, 48) + detail).clamp(0, 255).round().to(torch.uint8)


def noise(seed: int) -> torch.Tensor:
    return 25 * torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(seed))


def score(output: torch.Tensor, lq: torch.Tensor, cuts: tuple[int, ...] = (4, 5, 8, 9)) -> float:
    return metrics.get("seam_chunk")().score(Sample(output, None, lq, 2.0, Cuts((16,), (16,), cuts)))


def test_motion_alone_is_no_seam() -> None:
    lq = moving()
    assert score(upscaled(lq), lq) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("speed", [0.0, 1.0])
def test_detail_that_changes_from_chunk_to_chunk_is_seen(speed: float) -> None:
    lq = moving(speed=speed)
    clip = upscaled(lq, torch.stack([noise(min(index // 4, 2)) for index in range(13)]))
    assert score(clip, lq) > 5
    assert score(clip, lq, (2, 6)) < 0.35


def test_detail_that_changes_everywhere_is_no_seam() -> None:
    lq = moving()
    assert score(upscaled(lq, torch.stack([noise(index) for index in range(13)])), lq) == pytest.approx(1, abs=0.05)


def test_detail_that_stands_still_at_the_border_is_seen() -> None:
    lq = moving()
    clip = upscaled(lq, torch.stack([noise(index if index not in (4, 8) else index - 1) for index in range(13)]))
    assert score(clip, lq, (4, 8)) < 0.1


def test_what_has_no_chunk_seam_has_no_value() -> None:
    lq = moving()
    with pytest.raises(MetricUndefined, match="one chunk"):
        score(upscaled(lq), lq, ())
    with pytest.raises(MetricUndefined, match="every frame"):
        score(upscaled(lq[:3]), lq[:3], (1, 2))


def test_cuts_of_another_output_are_an_error() -> None:
    lq = moving()
    with pytest.raises(UserError, match="inside 13 frames"):
        score(upscaled(lq), lq, (4, 13))
