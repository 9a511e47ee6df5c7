"""Geometry of the tiling policies along one axis: cover, bounds, counts, and cuts that shifted grids never share."""
from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchvsr.errors import UserError
from patchvsr.tiling import Axis, Box, TilingPolicy, tilings

lengths, sizes, steps_taken = st.integers(1, 600), st.integers(1, 128), st.integers(0, 7)
names = st.sampled_from(["disjoint", "auxiliary", "overlapped", "shifted", "shifted4", "full"])


def policy(name: str, **options: float) -> TilingPolicy:
    return tilings.get(name)(**options)


def axis(name: str, length: int, size: int, step: int = 0, **options: float) -> Axis:
    return policy(name, **options).axis(length, size, step, 8)


def grids(name: str, length: int, size: int, count: int) -> list[Axis]:
    return [axis(name, length, size, step) for step in range(count)]


@given(names, lengths, sizes, steps_taken)
def test_tiles_lie_inside_the_frame_and_are_no_larger_than_asked_or_than_the_frame(name, length, size, step):
    found = axis(name, length, size, step)
    assert found.size == (length if name == "full" else min(size, length))
    assert found.length == length
    assert all(0 <= start <= length - found.size for start in found.starts)


@given(names, lengths, sizes, steps_taken)
def test_main_tiles_cover_the_frame_and_each_covers_its_cell(name, length, size, step):
    found = axis(name, length, size, step)
    assert list(found.main) == sorted(set(found.main))
    cells = found.cells
    assert len(cells) == len(found.main)
    assert cells[0][0] == 0 and cells[-1][1] == length
    for start, (begin, end) in zip(found.main, cells, strict=True):
        assert begin < end
        assert start <= begin and end <= start + found.size


@given(lengths, sizes)
def test_disjoint_uses_as_few_tiles_as_there_can_be_and_spreads_their_cuts_evenly(length, size):
    found = axis("disjoint", length, size)
    assert len(found.main) == -(-length // size)
    widths = [end - begin for begin, end in found.cells]
    assert max(widths) - min(widths) <= 1


def test_disjoint_tiles_do_not_overlap_where_they_fit():
    assert axis("disjoint", 256, 64).main == (0, 64, 128, 192)


@given(lengths, sizes)
def test_each_cut_lies_in_the_middle_of_its_auxiliary_tile(length, size):
    found = axis("auxiliary", length, size)
    assert found.main == axis("disjoint", length, size).main
    assert len(found.auxiliary) == len(found.cuts)
    for start, cut in zip(found.auxiliary, found.cuts, strict=True):
        assert abs(cut - (start + found.size / 2)) <= 1


def test_auxiliary_tiles_are_the_adjacent_halves_where_tiles_fit():
    assert axis("auxiliary", 256, 64).auxiliary == (32, 96, 160)


@given(lengths, sizes, st.floats(0, 0.9))
def test_overlapped_tiles_share_at_least_the_asked_overlap_at_uniform_stride(length, size, overlap):
    found = axis("overlapped", length, size, overlap=overlap)
    assert found.main[0] == 0 and found.main[-1] == length - found.size
    strides = [after - before for before, after in zip(found.main, found.main[1:], strict=False)]
    if strides:
        assert max(strides) - min(strides) <= 1
        assert max(strides) <= max(found.size * (1 - overlap), 1)


def test_overlapped_needs_no_more_tiles_than_its_overlap_asks_for():
    assert len(axis("overlapped", 16 + 3 * 12, 16, overlap=0.25).main) == 4
    assert len(axis("overlapped", 16 + 3 * 12 + 1, 16, overlap=0.25).main) == 5


@pytest.mark.parametrize("size", [*range(2, 20), 31, 32, 48, 63, 64, 65, 96, 127, 128])
def test_shifted_grids_share_no_interior_cut_at_any_length(size):
    for length in range(2, 601):
        here, there = grids("shifted", length, size, 2)
        assert not set(here.cuts) & set(there.cuts)
        assert (length > size) == bool(here.cuts) == bool(there.cuts)


@given(lengths, st.integers(2, 128))
def test_shifted_grids_share_no_interior_cut(length, size):
    here, there = grids("shifted", length, size, 2)
    assert not set(here.cuts) & set(there.cuts)


@given(lengths, st.integers(4, 128))
def test_no_two_of_four_shifted_grids_share_an_interior_cut(length, size):
    found = grids("shifted4", length, size, 4)
    for here, there in combinations(found, 2):
        assert not set(here.cuts) & set(there.cuts)
    assert all(grid.cuts for grid in found) == (length > size)


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 9, 16, 64])
def test_no_two_of_four_shifted_grids_share_an_interior_cut_at_lengths_near_the_tile(size):
    for length in range(size + 1, 4 * size + 2):
        for here, there in combinations(grids("shifted4", length, size, 4), 2):
            assert here.cuts and there.cuts and not set(here.cuts) & set(there.cuts)


@given(st.integers(257, 1920))
def test_cuts_of_two_shifted_grids_are_at_least_a_quarter_tile_apart(length):
    here, there = grids("shifted", length, 64, 2)
    assert min(abs(one - other) for one in here.cuts for other in there.cuts) >= 16


@given(lengths, sizes, st.sampled_from(["shifted", "shifted4"]), steps_taken)
def test_a_shifted_grid_costs_at_most_one_tile_more_than_disjoint(length, size, name, step):
    least = len(axis("disjoint", length, size).main)
    assert least <= len(axis(name, length, size, step).main) <= least + 1


@pytest.mark.parametrize("length", [270, 480, 540, 90, 150])
def test_shifted_grids_cost_no_more_than_disjoint_where_half_a_tile_is_to_spare(length):
    counts = [len(axis("shifted", length, 64, step).main) for step in range(2)]
    assert counts == [len(axis("disjoint", length, 64).main)] * 2


def test_shifted_returns_to_its_first_grid_after_all_others():
    two, four = grids("shifted", 300, 64, 4), grids("shifted4", 300, 64, 8)
    assert two[0] == two[2] != two[1] == two[3]
    assert len(set(four)) == 4 and four[:4] == four[4:]


def test_tiles_too_small_for_four_grids_alternate_between_as_many_as_can_be():
    two = grids("shifted4", 11, 2, 4)
    assert two[0].cuts != two[1].cuts and not set(two[0].cuts) & set(two[1].cuts)
    assert len({axis("shifted", 5, 1, step) for step in range(4)}) == 1


def test_a_frame_of_one_tile_has_no_cut_in_any_policy():
    for name in tilings:
        assert axis(name, 64, 64, 1) == Axis(64, 64, (0,), ())
        assert axis(name, 40, 64, 1) == Axis(40, 40, (0,), ())


@pytest.mark.parametrize("name", ["shifted", "shifted4"])
def test_shifted_is_refused_below_two_steps(name):
    policy(name).check(2)
    with pytest.raises(UserError, match=f"steps=1 is too few for tiling={name}.*at least 2.*tiling=disjoint"):
        policy(name).check(1)


@pytest.mark.parametrize("name", ["disjoint", "auxiliary", "overlapped", "full"])
def test_other_policies_take_one_step(name):
    policy(name).check(1)


def test_full_is_one_tile_whatever_the_tile_size():
    assert axis("full", 480, 64) == Axis(480, 480, (0,), ())


def test_an_unknown_policy_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="unknown tiling 'shift'.*'shifted'"):
        tilings.get("shift")


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_that_is_no_share_is_refused(overlap):
    with pytest.raises(UserError, match="overlap="):
        policy("overlapped", overlap=overlap)


def test_sizes_below_one_and_steps_out_of_range_are_refused():
    with pytest.raises(UserError, match="tiles of 0 along a frame of 10"):
        policy("disjoint").axis(10, 0, 0, 1)
    with pytest.raises(UserError, match="tiles of 4 along a frame of 0"):
        policy("disjoint").axis(0, 4, 0, 1)
    with pytest.raises(ValueError, match="step 2 is not in 0..1"):
        policy("disjoint").axis(10, 4, 2, 2)


def test_a_box_cuts_its_tile_out_of_a_frame():
    frame = torch.arange(48).view(1, 6, 8)
    assert torch.equal(frame[..., *Box(2, 3, 3, 4).slices], frame[:, 2:5, 3:7])
