"""tof, warp and flicker on motions whose answers are known."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.metrics import MetricUndefined, Sample
from benchmarks.metrics.flicker import Flicker
from benchmarks.metrics.tof import OpticalFlowError, kept
from benchmarks.metrics.warp import WarpingError, fetched, visible
from patchvsr.degradation import quantise, resize_bicubic, to_float

from .conftest import noisy, sample, textured


def panned(frames: int, height: int, width: int, step: int, seed: int = 0) -> Tensor:
    """A window that moves `step` pixels a frame to the left over one picture: what it shows moves to the right."""
    room = abs(step) * frames
    picture = textured(1, height, width + 2 * room, seed=seed, grain=8)[0]
    starts = [room - step * index for index in range(frames)]
    return torch.stack([picture[..., start : start + width] for start in starts])


# ---- tof


@pytest.mark.parametrize("length", [48, 63, 64, 144, 176, 480, 576, 640, 720, 1080, 2160])
def test_tof_scores_the_largest_multiple_of_32_that_leaves_16(length: int) -> None:
    size = 0
    while size + 32 + 16 <= length:
        size += 32
    middle = kept(length)
    assert middle.stop - middle.start == size > 0
    assert middle.start == (length - size) // 2
    assert 8 <= middle.start <= length - middle.stop <= middle.start + 1


def test_tof_of_equal_clips_is_zero() -> None:
    target = panned(3, 96, 128, 2)
    assert OpticalFlowError().score(sample(target, target)) == 0


@pytest.mark.parametrize(("ours", "theirs"), [(2, 0), (3, 1), (1, -1), (0, 2)])
def test_tof_is_the_distance_of_the_motions_in_pixels(ours: int, theirs: int) -> None:
    output, target = panned(3, 160, 192, ours), panned(3, 160, 192, theirs)
    assert OpticalFlowError().score(sample(output, target)) == pytest.approx(abs(ours - theirs), rel=0.08)


def test_tof_is_the_euclidean_distance_over_both_axes() -> None:
    output = torch.stack([torch.roll(textured(1, 192, 192, grain=8)[0], (3 * t, 4 * t), (1, 2)) for t in range(2)])
    still = output[:1].repeat(2, 1, 1, 1)
    assert OpticalFlowError().score(sample(output, still)) == pytest.approx(5, rel=0.1)


def test_tof_equals_the_plain_loop_over_opencvs_flow() -> None:
    import cv2

    target = panned(3, 100, 150, 2)
    output = noisy(target, 10)

    def flow(frames: Tensor, index: int) -> np.ndarray:
        grey = [cv2.cvtColor(frame.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY) for frame in frames]
        nothing: np.ndarray = None  # type: ignore[assignment]
        return cv2.calcOpticalFlowFarneback(grey[index - 1], grey[index], nothing, 0.5, 3, 15, 3, 5, 1.2, 0)

    expected = []
    for index in (1, 2):
        off = (flow(output, index) - flow(target, index))[18 : 18 + 64, 11 : 11 + 128]
        expected.append(float(np.sqrt((off.astype(np.float64) ** 2).sum(axis=2)).mean()))
    assert OpticalFlowError().per_frame(sample(output, target)) == pytest.approx(expected, rel=1e-6)


def test_tof_of_one_frame_or_of_small_ones_is_undefined() -> None:
    for target, why in ((textured(1, 64, 64), "two frames"), (textured(2, 47, 64), "48 pixels")):
        with pytest.raises(MetricUndefined, match=why):
            OpticalFlowError().score(sample(target, target))


# ---- warp


def test_warp_of_a_pure_translation_is_near_zero_and_standing_still_is_not() -> None:
    target = panned(4, 128, 160, 3)
    assert WarpingError().score(sample(target, target)) < 0.1
    still = target[:1].repeat(4, 1, 1, 1)
    assert WarpingError().score(sample(still, target)) > 2


def test_warp_of_a_still_clip_with_noise_is_twice_its_variance() -> None:
    """The flow is the still ground truth's, so no interpolation takes noise away: 2 sigma^2, averaged over channels."""
    target = textured(1, 128, 160, grain=8).repeat(4, 1, 1, 1)
    sigma = 6.0
    expected = 1000 * 2 * (sigma / 255) ** 2
    assert WarpingError().score(sample(noisy(target, sigma), target)) == pytest.approx(expected, rel=0.05)
    assert WarpingError().score(sample(noisy(target, 2 * sigma), target)) == pytest.approx(4 * expected, rel=0.05)


def test_warp_is_averaged_over_channels_not_summed() -> None:
    target = torch.full((2, 3, 64, 64), 100, dtype=torch.uint8)
    output = target.clone()
    output[1, 0] += 30  # one channel of three
    assert WarpingError().score(sample(output, target)) == pytest.approx(1000 * (30 / 255) ** 2 / 3, rel=1e-4)


def test_warp_without_ground_truth_moves_along_the_enlarged_input() -> None:
    lq = panned(3, 64, 80, 1)
    output = quantise(resize_bicubic(to_float(lq), 128, 160))
    value = WarpingError().score(Sample(output, None, lq, 2.0, None))
    assert value == pytest.approx(WarpingError().score(sample(output, output)), rel=1e-6)
    assert value < 0.3


def test_what_moves_outside_the_frame_is_not_visible() -> None:
    back = np.zeros((20, 30, 2), np.float32)
    back[..., 0] = -5.0
    seen = visible(back, -back)
    assert not seen[:, :5].any()
    assert seen[:, 5:].all()
    back[..., 0], back[..., 1] = 0, 4
    assert visible(back, -back).sum() == (20 - 4) * 30


def test_what_does_not_come_back_is_not_visible() -> None:
    back = np.zeros((20, 30, 2), np.float32)
    back[..., 0] = 1.0
    there = -back
    there[:, 10:20, 0] += 3.0  # an object that covers columns 9 to 18 of the frame after
    seen = visible(back, there)
    assert not seen[:, 9:19].any()
    assert seen[:, :8].all() and seen[:, 20:29].all()


@pytest.mark.parametrize(("gap", "still_seen"), [(0.5, True), (0.69, True), (0.73, False), (2.0, False)])
def test_the_tolerance_of_a_small_motion_is_half_a_square_pixel(gap: float, still_seen: bool) -> None:
    back = np.zeros((9, 9, 2), np.float32)
    there = np.zeros((9, 9, 2), np.float32)
    there[..., 0] = gap  # gap^2 <= 0.01 gap^2 + 0.5: up to 0.7107
    assert visible(back, there).all() == still_seen
    assert visible(back, there).any() == still_seen


def test_the_tolerance_grows_with_the_motion() -> None:
    back = np.zeros((9, 200, 2), np.float32)
    back[..., 0] = 60
    there = np.full_like(back, 0)
    there[..., 0] = -52  # off by 8: 64 <= 0.01 (3600 + 2704) + 0.5 = 63.5 is not so
    assert not visible(back, there).any()
    there[..., 0] = -52.1  # 62.4 <= 63.6
    assert visible(back, there)[:, :139].all()


def test_fetching_between_pixels_is_bilinear_and_repeats_the_border() -> None:
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0] = 0.5
    assert np.allclose(fetched(picture, flow), np.minimum(picture + 0.5, picture[:, -1:]))
    flow[...] = 50
    assert (fetched(picture, flow) == 11).all()


def test_warp_across_a_cut_where_nothing_is_visible_is_undefined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut seldom leaves nothing visible, since some pixels match by chance: then what matches is scored."""
    target = torch.cat([textured(1, 64, 64, seed=1), textured(1, 64, 64, seed=2)])
    assert WarpingError().score(sample(target, target)) > 5
    monkeypatch.setattr("benchmarks.metrics.warp.visible", lambda back, there: np.zeros(back.shape[:2], bool))
    with pytest.raises(MetricUndefined, match="frame 1 is occluded"):
        WarpingError().score(sample(target, target))


# ---- flicker


def test_flicker_of_an_alternating_offset_is_twice_the_offset() -> None:
    target = panned(4, 48, 64, 2)
    output = target.clone().short()
    output[0::2] += 5
    output[1::2] -= 5
    assert Flicker().score(sample(output.to(torch.uint8), target)) == pytest.approx(10)


def test_flicker_does_not_count_motion_or_a_constant_offset() -> None:
    target = panned(3, 48, 64, 4)
    assert Flicker().score(sample(target, target)) == 0
    assert Flicker().score(sample(target + 9, target)) == 0
    assert Flicker().score(sample(target[:1].repeat(3, 1, 1, 1), target)) > 1


def test_flicker_without_ground_truth_compares_with_the_enlarged_input() -> None:
    lq = panned(3, 32, 40, 1)
    output = quantise(resize_bicubic(to_float(lq), 64, 80))
    assert Flicker().score(Sample(output, None, lq, 2.0, None)) == 0
    output[1] += 3
    each = Flicker().per_frame(Sample(output, None, lq, 2.0, None))
    assert each == pytest.approx([3.0, 3.0])


@pytest.mark.parametrize("metric", [Flicker, WarpingError])
def test_one_frame_has_no_change(metric: type[Flicker]) -> None:
    with pytest.raises(MetricUndefined, match="two frames"):
        metric().score(sample(textured(1, 64, 64), textured(1, 64, 64)))
