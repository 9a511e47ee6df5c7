"""Weights of tiles: partition of unity for every accepted pair, continuity of joint and Gaussian, and fusion."""
from __future__ import annotations

import math
import time
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.modulation import Fusion, Gaussian, Joint, Modulation, WeightedTile, cut_lines, modulations, plan
from patchvsr.tiling import Axis, Box, TilingPolicy, tilings

TILINGS = ("disjoint", "auxiliary", "overlapped", "shifted", "shifted4", "full")
REFUSED = {("independent", "auxiliary"), ("independent", "overlapped")} | {
    ("joint", name) for name in TILINGS if name != "auxiliary"
}
ACCEPTED = [(t, m) for t in TILINGS for m in ("independent", "average", "gaussian", "joint") if (m, t) not in REFUSED]
pairs = st.sampled_from(ACCEPTED)


def make(tiling: str, modulation: str, **options: float) -> tuple[TilingPolicy, Modulation]:
    return tilings.get(tiling)(**options), modulations.get(modulation)()


def windows(tiling: str, modulation: str, length: int, size: int, step: int = 0) -> list[tuple[int, Tensor]]:
    policy, strategy = make(tiling, modulation)
    return strategy.windows(policy.axis(length, size, step, 8))


def largest_jump(found: list[tuple[int, Tensor]], length: int) -> float:
    """Between neighbouring positions, and from a window's end to the 0 outside it unless the frame ends there."""
    jumps = [0.0]
    for start, weight in found:
        before = weight.new_zeros(int(start > 0))
        behind = weight.new_zeros(int(start + len(weight) < length))
        jumps += torch.cat([before, weight, behind]).diff().abs().tolist()
    return max(jumps)


@given(pairs, st.integers(1, 600), st.integers(1, 128), st.integers(0, 7))
def test_weights_along_an_axis_lie_in_the_frame_in_0_to_1_and_sum_to_1(pair, length, size, step):
    total = torch.zeros(length, dtype=torch.float64)
    placed = windows(*pair, length, size, step)
    for start, weight in placed:
        assert weight.dtype == torch.float32
        assert 0 <= start and start + len(weight) <= length
        assert weight.min() >= 0 and 0 < weight.max() <= 1 + 1e-6
        total[start : start + len(weight)] += weight
    assert (total - 1).abs().max() < 1e-6
    assert len({start for start, _ in placed}) == len(placed)


@given(pairs, st.integers(1, 80), st.integers(1, 80), st.integers(1, 33), st.integers(1, 33), st.integers(0, 3))
def test_weights_of_a_plan_sum_to_1_at_every_pixel(pair, height, width, tall, wide, step):
    total = torch.zeros(height, width, dtype=torch.float64)
    for tile in plan(*make(*pair), height, width, (tall, wide), step, 4):
        assert tile.weight.shape == (tile.box.height, tile.box.width)
        total[tile.box.slices] += tile.weight
    assert (total - 1).abs().max() < 2e-6


@given(st.integers(2, 128), st.data())
def test_joint_weights_are_continuous_whatever_the_length(size, data):
    # A raised cosine that falls within a third of a tile changes by at most this much from pixel to pixel.
    reach = max(size / 3 - 1, 0.5)
    for length in (size + 1, size + 2, 2 * size - 1, 2 * size, 2 * size + 1, data.draw(st.integers(size, 6 * size))):
        assert largest_jump(windows("auxiliary", "joint", length, size), length) <= math.pi / (2 * reach)


@pytest.mark.parametrize("length", [65, 66, 96, 127, 128, 129, 193, 257, 270, 480, 481, 1080, 1920])
def test_joint_weights_of_tiles_of_64_change_by_less_than_a_twelfth_per_pixel(length):
    assert largest_jump(windows("auxiliary", "joint", length, 64), length) < 1 / 12


@pytest.mark.parametrize("tiling", ["auxiliary", "overlapped"])
@pytest.mark.parametrize("length", [65, 66, 96, 127, 128, 129, 193, 257, 270, 480, 481])
def test_gaussian_weights_are_continuous_where_tiles_overlap(tiling, length):
    assert largest_jump(windows(tiling, "gaussian", length, 64), length) < 0.15


@given(st.integers(8, 128), st.data())
def test_an_auxiliary_tile_weighs_1_on_its_cut_and_ever_less_to_both_sides(size, data):
    length = data.draw(st.integers(size + 2, 6 * size))
    axis = tilings.get("auxiliary")().axis(length, size, 0, 1)
    found = dict(Joint().windows(axis))
    for cut, start in zip(axis.cuts, axis.auxiliary, strict=True):
        if start in axis.main:
            continue
        weight, middle = found[start], cut - start
        assert weight[middle - 1 : middle + 1].min() > math.cos(math.pi / 4 / (size / 3 - 1)) ** 2 - 1e-6
        assert (weight[:middle].diff() >= 0).all() and (weight[middle:].diff() <= 0).all()
        assert max(weight[0], weight[-1]) < (math.pi / (2 * (size / 3 - 1))) ** 2


@given(st.integers(8, 128), st.data())
def test_main_tiles_of_joint_hand_over_where_they_weigh_nothing(size, data):
    length = data.draw(st.integers(size + 2, 6 * size))
    axis = tilings.get("auxiliary")().axis(length, size, 0, 1)
    found = dict(Joint().windows(axis))
    for start, (begin, end) in zip(axis.main, axis.cells, strict=True):
        if start in axis.auxiliary:
            continue
        weight = found[start]
        assert not weight[: begin - start].any() and not weight[end - start :].any()
        for edge, inside in ((begin, begin - start), (end, end - start - 1)):
            if 0 < edge < length:
                assert weight[inside] < math.sin(math.pi / 4 / (size / 3 - 1)) ** 2 + 1e-6


def test_joint_gives_the_half_and_half_of_a_raised_cosine_where_tiles_fit():
    found = dict(windows("auxiliary", "joint", 128, 64))
    expected = torch.cos((torch.arange(64) - 31.5) / 32 * math.pi / 2).square()
    torch.testing.assert_close(found[32], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0][32:], 1 - expected[:32], atol=1e-6, rtol=0)
    assert (found[0][:32] == 1).all() and (found[64][32:] == 1).all()


def test_a_tile_that_is_both_main_and_auxiliary_is_predicted_once_with_the_weight_of_both():
    axis = tilings.get("auxiliary")().axis(65, 64, 0, 1)
    assert set(axis.auxiliary) <= set(axis.main)
    assert [start for start, _ in Joint().windows(axis)] == [0, 1]


@given(st.integers(1, 600), st.integers(2, 128))
def test_no_more_than_two_tiles_of_joint_have_weight_at_a_position(length, size):
    count = torch.zeros(length)
    for start, weight in windows("auxiliary", "joint", length, size):
        count[start : start + len(weight)] += weight > 0
    assert count.max() <= 2


def test_a_tile_without_any_weight_is_left_out():
    class Lazy(Modulation):
        def weigh(self, axis: Axis) -> list[tuple[int, Tensor]]:
            return [(0, torch.ones(4, dtype=torch.float64)), (2, torch.zeros(4, dtype=torch.float64))]

    assert [start for start, _ in Lazy().windows(Axis(6, 4, (0, 2), (3,)))] == [0]


def test_average_counts_the_tiles_at_a_position():
    found = dict(windows("auxiliary", "average", 128, 64))
    assert found[0].tolist() == [1.0] * 32 + [0.5] * 32
    assert found[32].tolist() == [0.5] * 64


def test_independent_is_1_in_a_tiles_cell_and_0_elsewhere():
    (_, first), (start, second) = windows("disjoint", "independent", 12, 8)
    assert first.tolist() == [1] * 6 + [0] * 2
    assert start == 4 and second.tolist() == [0] * 2 + [1] * 6


def test_gaussian_windows_have_the_asked_ratio():
    (_, first), (start, second) = Gaussian(sigma=0.5).windows(Axis(12, 8, (0, 4), (6,)))
    # Position 5 lies 1.5 behind the first tile's middle and 2.5 before the second's; sigma is 4 positions.
    expected = math.exp(-(1.5**2) / 32) / math.exp(-(2.5**2) / 32)
    assert (first[5] / second[5 - start]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma", [0.0, -1.0, 0.001, math.nan])
def test_a_sigma_that_leaves_positions_without_weight_is_refused(sigma):
    with pytest.raises(UserError, match="sigma="):
        Gaussian(sigma)


@pytest.mark.parametrize(("tiling", "modulation"), ACCEPTED)
def test_pairs_that_make_sense_are_accepted(tiling, modulation):
    modulations.get(modulation)().check(tiling)


@pytest.mark.parametrize(("modulation", "tiling"), sorted(REFUSED))
def test_pairs_that_make_no_sense_are_refused_with_a_way_out(modulation, tiling):
    with pytest.raises(UserError, match=f"modulation={modulation} .*tiling={tiling}.*; use it with tiling="):
        modulations.get(modulation)().check(tiling)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="unknown modulation 'gausian'.*'gaussian'"):
        modulations.get("gausian")
    with pytest.raises(UserError, match="unknown tiling 'disjunct'.*'disjoint'"):
        modulations.get("average")().check("disjunct")


@pytest.mark.parametrize(
    ("tiling", "modulation", "tiles"),
    [
        ("disjoint", "independent", 40),
        ("auxiliary", "joint", 135),
        ("auxiliary", "average", 135),
        ("overlapped", "average", 60),
        ("full", "independent", 1),
    ],
)
def test_tile_counts_at_4k_with_tiles_of_512_pixels(tiling, modulation, tiles):
    assert len(plan(*make(tiling, modulation), 270, 480, (64, 64), 0, 4)) == tiles


@pytest.mark.parametrize("step", [0, 1])
def test_shifted_plans_at_4k_have_at_most_one_row_and_one_column_more_than_disjoint(step):
    assert 40 <= len(plan(*make("shifted", "independent"), 270, 480, (64, 64), step, 4)) <= 6 * 9


def test_a_plan_at_8k_takes_less_than_a_fifth_of_a_second():
    def seconds(tiling: str, modulation: str) -> float:
        began = time.perf_counter()
        plan(*make(tiling, modulation), 1080, 1920, (64, 64), 1, 4)
        return time.perf_counter() - began

    for pair in ACCEPTED:
        assert min(seconds(*pair) for _ in range(3)) < 0.2


lines = partial(cut_lines, length=270, size=64, steps=4)


def test_cut_lines_of_one_owner_tilings_are_the_cuts_of_all_steps():
    assert lines(*make("disjoint", "independent")) == (54, 108, 162, 216)
    assert lines(*make("shifted", "independent")) == (29, 59, 88, 118, 147, 177, 206, 236)
    assert lines(*make("full", "independent")) == ()


def test_cut_lines_of_overlapping_tilings_are_the_edges_of_tiles():
    policy, strategy = make("overlapped", "average")
    starts = policy.axis(270, 64, 0, 4).main
    edges = {*starts, *(start + 64 for start in starts)} - {0, 270}
    assert lines(policy, strategy) == tuple(sorted(edges))


def test_cut_lines_of_joint_are_the_cuts_and_the_ends_of_auxiliary_weights():
    assert cut_lines(*make("auxiliary", "joint"), length=192, size=64, steps=4) == (32, 64, 96, 128, 160)
    assert lines(*make("auxiliary", "joint")) == (22, 54, 81, 108, 135, 162, 189, 216, 248)


@given(pairs, st.integers(4, 60), st.integers(4, 60), st.integers(2, 32), st.integers(0, 3))
def test_fusing_crops_of_a_frame_gives_the_frame(pair, height, width, size, step):
    frame = torch.randn(3, 2, height, width, generator=torch.Generator().manual_seed(height * width))
    fusion = Fusion(frame.shape)
    for tile in plan(*make(*pair), height, width, (size, size), step, 4):
        fusion.add(frame[..., *tile.box.slices], tile)
    torch.testing.assert_close(fusion.result(), frame, atol=1e-5, rtol=1e-5)


def test_predictions_in_bfloat16_are_summed_in_float32():
    fusion = Fusion((1, 1, 1, 1))
    box, third = Box(0, 0, 1, 1), torch.tensor([1 / 3])
    for _ in range(3):
        fusion.add(torch.ones(1, 1, 1, 1, dtype=torch.bfloat16), WeightedTile(box, third, torch.ones(1)))
    assert fusion.result().dtype == torch.float32
    assert fusion.result().item() == pytest.approx(1, abs=1e-6)  # bfloat16 would be off by 1e-3


def test_a_prediction_of_the_wrong_shape_is_named():
    tile = plan(*make("auxiliary", "joint"), 16, 16, (8, 8), 0, 1)[-1]
    message = rf"prediction is \(3, 1, 8, 7\), its tile at \({tile.box.top}, {tile.box.left}\) is \(3, 1, 8, 8\)"
    with pytest.raises(ValueError, match=message):
        Fusion((3, 1, 16, 16)).add(torch.zeros(3, 1, 8, 7), tile)


def test_a_tile_of_another_frame_is_named():
    tile = plan(*make("disjoint", "independent"), 32, 32, (8, 8), 0, 1)[-1]
    for height, width in ((16, 32), (32, 16)):
        with pytest.raises(ValueError, match=f"top=24.*not inside the frame, which is {height} x {width}"):
            Fusion((3, 1, height, width)).add(torch.zeros(3, 1, 8, 8), tile)


@pytest.mark.parametrize("pair", [("disjoint", "independent"), ("auxiliary", "joint")])
def test_a_missing_or_repeated_tile_is_an_error_not_a_hole(pair):
    tiles = plan(*make(*pair), 20, 20, (8, 8), 0, 1)
    for wrong in (tiles[1:], [*tiles, tiles[0]]):
        fusion = Fusion((1, 1, 20, 20))
        for tile in wrong:
            fusion.add(torch.ones(1, 1, 8, 8), tile)
        with pytest.raises(ValueError, match=r"weights at \(0, 0\) sum to"):
            fusion.result()
