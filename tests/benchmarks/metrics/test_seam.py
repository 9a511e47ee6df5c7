"""seam, seam_step and seam_t see what they are named for, where it is, and nothing else."""
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics import Metric, MetricUndefined, Sample
from benchmarks.metrics.seam import Seam, SeamStep, SeamTemporal, lines_along, tone_step
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts

CUTS = Cuts(rows=(64, 128), columns=(64, 128, 192))


def textured(frames: int, height: int, width: int, seed: int = 0, sharp: float = 12.0) -> Tensor:
    """Frames with coarse shapes and fine texture, float `[T, 3, height, width]`, 40..215."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(frames, 3, height // 16 + 2, width // 16 + 2, generator=generator)
    shapes = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 120 + 60
    return (shapes + sharp * torch.randn(frames, 3, height, width, generator=generator)).clamp(40, 215)


def bytes_of(frames: Tensor) -> Tensor:
    return frames.round().clamp(0, 255).to(torch.uint8)


def score(metric: Metric, frames: Tensor, cuts: Cuts | None = CUTS, target: Tensor | None = None) -> float:
    lq = torch.zeros(len(frames), 3, *frames.shape[-2:], dtype=torch.uint8)
    given_target = None if target is None else bytes_of(target)
    return metric.score(Sample(bytes_of(frames), given_target, lq, 1.0, cuts))


def checkered(frames: Tensor, cuts: Cuts, amount: float) -> Tensor:
    """Every other tile brighter by `amount`."""
    tiles = torch.zeros(frames.shape[-2:])
    for position in cuts.rows:
        tiles[position:] += 1
    for position in cuts.columns:
        tiles[:, position:] += 1
    return frames + amount * (tiles % 2)


@pytest.mark.parametrize(
    ("metric", "margin"), [(Seam(), 0.05), (SeamStep(), 0.25), (SeamTemporal(), 0.05)], ids=["seam", "step", "temporal"]
)
def test_a_clip_without_seams_scores_near_one(metric: Metric, margin: float) -> None:
    assert score(metric, textured(4, 192, 256)) == pytest.approx(1, abs=margin)


def test_planted_lines_raise_seam_at_the_cuts_and_nowhere_else() -> None:
    frames = textured(2, 192, 256)
    frames[..., 63] += 30
    frames[..., 64] -= 30
    here, elsewhere = Cuts((), (64,)), Cuts((), (96,))
    assert score(Seam(), frames, here) > 3
    assert score(Seam(), frames, elsewhere) < 1.3


def test_seam_is_the_ratio_of_mean_differences() -> None:
    """A ramp of 1 per pixel with one step of 5: exactly 5 on the cut and 1 on every reference line."""
    ramp = torch.arange(96.0)
    ramp[48:] += 4
    frames = ramp.expand(1, 3, 64, 96).clone()
    assert score(Seam(), frames, Cuts((), (48,))) == pytest.approx(5)
    assert score(Seam(), frames.transpose(2, 3), Cuts((48,), ())) == pytest.approx(5)


def test_rows_and_columns_are_pooled_by_pixels() -> None:
    """Along x: 1 per line, 5 on the cut (64 pixels long); along y: 2 per line (96 pixels long)."""
    x, y = torch.arange(96.0), 2 * torch.arange(64.0)
    x[48:] += 4
    frames = (y[:, None] + x).div(1.2).mul(1.2).expand(1, 3, 64, 96).clone()
    expected = (64 * 5 + 96 * 2) / (64 * 1 + 96 * 2)
    assert score(Seam(), frames, Cuts((32,), (48,))) == pytest.approx(expected)


def test_tone_steps_raise_seam_step_most() -> None:
    clean = textured(2, 192, 256)
    stepped = checkered(clean, CUTS, 20)
    assert score(SeamStep(), stepped) > 2.5
    assert score(Seam(), stepped) < 2


def test_a_line_without_a_tone_step_does_not_raise_seam_step() -> None:
    frames = textured(2, 192, 256)
    noise = 25 * (-1.0) ** torch.arange(192)[:, None]
    for position in CUTS.columns:
        frames[..., position - 1 : position + 1] += noise * torch.tensor([1, -1])
    only_columns = Cuts((), CUTS.columns)
    assert score(Seam(), frames, only_columns) > 2
    assert score(SeamStep(), frames, only_columns) == pytest.approx(1, abs=0.25)


def test_blur_at_the_cut_gives_less_than_one() -> None:
    frames = textured(2, 192, 256)
    soft = F.avg_pool2d(frames, 5, 1, 2, count_include_pad=False)
    for position in CUTS.columns:
        frames[..., position - 3 : position + 3] = soft[..., position - 3 : position + 3]
    assert score(Seam(), frames, Cuts((), CUTS.columns)) < 0.6


def test_tiles_that_flicker_apart_raise_seam_t() -> None:
    clean = textured(1, 192, 256, sharp=4).repeat(4, 1, 1, 1) + 2 * torch.randn(
        4, 3, 192, 256, generator=torch.Generator().manual_seed(3)
    )
    still = checkered(clean, CUTS, 12)
    flicker = clean.clone()
    flicker[1::2] = checkered(clean[1::2], CUTS, 12)
    assert score(SeamTemporal(), still) == pytest.approx(1, abs=0.15)
    assert score(SeamTemporal(), flicker) > 3


def test_block_structure_of_the_cuts_phase_cancels() -> None:
    """Edges every 16 pixels, on the cuts too: the cuts are no worse than other lines of their phase."""
    frames = textured(2, 192, 256, sharp=2)
    frames += 20 * ((torch.arange(256) // 16) % 2)
    assert score(Seam(), frames, Cuts((), (64, 128, 192))) == pytest.approx(1, abs=0.1)
    assert score(Seam(), frames, Cuts((), (72, 136, 200))) == pytest.approx(1, abs=0.1)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(80, 400),
    cuts=st.lists(st.integers(1, 399), min_size=1, max_size=4),
    reach=st.sampled_from([1, 4]),
)
def test_reference_lines_keep_phase_and_distance(length: int, cuts: list[int], reach: int) -> None:
    chosen = sorted({cut for cut in cuts if reach <= cut <= length - reach})
    try:
        lines = lines_along(tuple(chosen), length, reach)
    except MetricUndefined:
        phases = {cut % 16 for cut in chosen}
        far = [p for p in range(reach, length - reach + 1) if all(abs(p - cut) >= 16 for cut in chosen)]
        assert any(all(p % 16 != phase for p in far) for phase in phases)
        return
    if lines is None:
        assert not chosen
        return
    positions = lines.positions.tolist()
    assert [p for p, on in zip(positions, lines.cuts.tolist(), strict=True) if on] == chosen
    references = {p: share for p, share in zip(positions, lines.references.tolist(), strict=True) if share}
    for position in references:
        assert position % 16 in {cut % 16 for cut in chosen}
        assert min(abs(position - cut) for cut in chosen) >= 16
    for phase in {cut % 16 for cut in chosen}:
        total = sum(share for position, share in references.items() if position % 16 == phase)
        assert total == pytest.approx(sum(cut % 16 == phase for cut in chosen))


def test_tone_step_by_hand_also_in_the_short_last_segment() -> None:
    frame = torch.randint(0, 256, (3, 75, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = 0.0
    for top in (0, 32, 64):
        rows = frame[:, top : top + 32].double()
        step = rows[..., 7:11].mean((1, 2)) - rows[..., 3:7].mean((1, 2))
        expected += float(step.abs().mean()) * rows.shape[1]
    assert float(tone_step(frame, torch.tensor([7]))[0]) == pytest.approx(expected, rel=1e-5)


def test_per_frame_values_and_flat_frames() -> None:
    frames = textured(2, 192, 256)
    metric = Seam()
    lq = torch.zeros(2, 3, 192, 256, dtype=torch.uint8)
    each = metric.per_frame(Sample(bytes_of(frames), None, lq, 1.0, CUTS))
    assert each is not None
    assert each[1] == pytest.approx(score(metric, frames[1:]))
    frames[0] = 7
    faded = Sample(bytes_of(frames), None, lq, 1.0, CUTS)
    assert metric.per_frame(faded) is None
    assert metric.score(faded) == pytest.approx(each[1])


@pytest.mark.parametrize("metric", [Seam(), SeamStep(), SeamTemporal()], ids=lambda metric: metric.id)
def test_undefined_and_refused_cuts(metric: Metric) -> None:
    frames = textured(2, 96, 128)
    with pytest.raises(UserError, match="needs the cuts") as caught:
        score(metric, frames, None)
    assert not isinstance(caught.value, MetricUndefined)
    with pytest.raises(MetricUndefined, match="no cuts"):
        score(metric, frames, Cuts((), ()))
    with pytest.raises(MetricUndefined, match="no line of phase 0"):
        score(metric, frames, Cuts((), (16, 32, 48, 64, 80, 96, 112)))
    with pytest.raises(UserError, match="inside an axis of 96"):
        score(metric, frames, Cuts((96,), ()))
    with pytest.raises(MetricUndefined, match="no difference"):
        score(metric, torch.full((2, 3, 96, 128), 9.0), Cuts((48,), (64,)))


def test_seam_t_needs_two_frames() -> None:
    with pytest.raises(MetricUndefined, match="two frames"):
        score(SeamTemporal(), textured(1, 192, 256))


def test_seam_step_names_a_cut_too_close_to_the_edge() -> None:
    with pytest.raises(MetricUndefined, match="less than 4 pixels"):
        score(SeamStep(), textured(1, 192, 256), Cuts((2,), ()))
