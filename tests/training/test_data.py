"""Batches of tiles: the same for the same step, cut, moved and degraded as the config says."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.training import sources
from patchvsr.training.config import TrainingConfig
from patchvsr.training.data import ClipSampler, camera_path, frame_side

CONFIG = TrainingConfig(stage=2, scales={2: 0.5, 4: 0.5})


@pytest.fixture(scope="module")
def footage(pack):
    files = [f for f in sources.listed(pack) if f.split == "train"]
    return sources.load(files, sources.Needs(side=100, frames=5))[0]


def test_batches_are_a_function_of_seed_and_step(footage):
    sampler = ClipSampler(footage, CONFIG, 64)
    one, same, other = (sampler.draw(0, step, 2, 5) for step in (3, 3, 4))
    assert torch.equal(one.high, same.high) and torch.equal(one.surround, same.surround)
    assert not torch.equal(one.high, other.high)
    assert one.high.shape == one.up.shape == one.surround.shape == (2, 5, 3, 64, 64)
    for top, left, height, width, frame_height, frame_width in one.boxes:
        assert 0 <= top <= frame_height - height and 0 <= left <= frame_width - width


def test_tiles_of_stage_one_are_whole_frames(footage):
    batch = ClipSampler(footage, replace(CONFIG, stage=1), 64).draw(0, 0, 2, 1)
    assert batch.boxes == [(0, 0, 64, 64, 64, 64)] * 2


def test_the_upsampled_tile_shows_the_sharp_one(footage):
    batch = ClipSampler(footage, CONFIG, 64).draw(0, 1, 4, 1)
    small = [resize_bicubic(x.flatten(0, 1), 16, 16) for x in (batch.high, batch.up)]
    assert (small[0] - small[1]).abs().mean() < 0.1 < (small[0] - small[1].roll(1, 0)).abs().mean()


def test_frame_sides():
    assert frame_side(512, 1, [2, 3, 4]) == 504 and frame_side(512, 5, [2, 3, 4]) == 444
    assert frame_side(2000, 1, [4]) == 512


def test_a_camera_path_moves_and_one_frame_is_cut_at_whole_pixels():
    still = torch.rand(1, 3, 128, 128)
    clip = camera_path(still, 5, 96, np.random.default_rng(0))
    assert clip.shape == (5, 3, 96, 96) and not torch.equal(clip[0], clip[4])
    single = camera_path(still, 1, 96, np.random.default_rng(0))
    windows = still.unfold(2, 96, 1).unfold(3, 96, 1)
    assert (windows == single[:, :, None, None]).all(-1).all(-1).all(1).any()


@pytest.mark.parametrize("name", ["bd", "realworld"])
def test_other_degradations_by_name(footage, name):
    config = replace(CONFIG, degradations=(name,), scales={4: 1.0}, frame=96)
    batch = ClipSampler(footage, config, 64).draw(0, 0, 1, 5)
    assert batch.up.shape == (1, 5, 3, 64, 64) and not torch.equal(batch.up, batch.high)


def test_what_does_not_fit_is_refused_before_the_first_step(footage):
    with pytest.raises(UserError, match="are smaller than a tile of 256"):
        ClipSampler(footage, CONFIG, 256)
    with pytest.raises(UserError, match="frame=98 is no multiple of every scale"):
        ClipSampler(footage, replace(CONFIG, frame=98), 64)
    with pytest.raises(UserError, match="bd"):
        ClipSampler(footage, replace(CONFIG, degradations=("bd",), scales={3: 1.0}), 64)
