"""psnr, psnr_y and consistency: closed forms, pyiqa's own numbers, and what is refused."""
from __future__ import annotations

import math

import pytest
import torch

from benchmarks.metrics import Sample
from benchmarks.metrics.psnr import Consistency, Psnr, PsnrY
from patchvsr.errors import UserError

from .conftest import noisy, real, sample, textured


@pytest.mark.parametrize("offset", [1, 5, 16])
def test_psnr_of_a_constant_offset(offset: int) -> None:
    target = textured(2, 24, 30)
    value = Psnr().score(sample(target + offset, target))
    assert value == pytest.approx(20 * math.log10(255 / offset), abs=1e-4)


def test_psnr_of_one_wrong_value_is_not_capped_below_the_stated_ceiling() -> None:
    target = textured(1, 64, 64)
    output = target.clone()
    output[0, 0, 0, 0] += 1
    assert Psnr().score(sample(output, target)) == pytest.approx(10 * math.log10(255**2 * 3 * 64 * 64), abs=1e-3)
    assert Psnr().score(sample(target, target)) == 100
    assert PsnrY().score(sample(target, target)) == 100
    assert "at most 100 dB" in Psnr().identity()


def test_psnr_is_the_mean_over_frames_not_of_the_pooled_error() -> None:
    target = textured(2, 24, 30)
    output = target.clone()
    output[0] += 1
    output[1] += 10
    metric, pair = Psnr(), sample(output, target)
    expected = [20 * math.log10(255), 20 * math.log10(25.5)]
    assert metric.per_frame(pair) == pytest.approx(expected, abs=1e-4)
    assert metric.score(pair) == pytest.approx(sum(expected) / 2, abs=1e-4)


@pytest.mark.parametrize("offset", [1, 5, 16])
def test_psnr_y_of_a_constant_offset_is_that_of_studio_range(offset: int) -> None:
    target = textured(2, 24, 30)
    value = PsnrY().score(sample(target + offset, target))
    assert value == pytest.approx(20 * math.log10(255 / (offset * 219 / 255)), abs=1e-3)
    # Full range would not shrink the offset, and give 1.32 dB less.
    assert value - 20 * math.log10(255 / offset) == pytest.approx(1.322, abs=2e-3)


@pytest.mark.parametrize(("channel", "weight"), [(0, 65.481), (1, 128.553), (2, 24.966)])
def test_psnr_y_weighs_channels_as_bt601_does(channel: int, weight: float) -> None:
    target = textured(1, 24, 30)
    output = target.clone()
    output[:, channel] += 10
    expected = 20 * math.log10(255 / (10 * weight / 255))
    assert PsnrY().score(sample(output, target)) == pytest.approx(expected, abs=2e-3)


def test_psnr_y_agrees_with_pyiqa_on_ycbcr_without_its_rounding() -> None:
    from pyiqa.archs.psnr_arch import psnr

    target = real("bikes", 0, 2)
    output = noisy(target, 7)
    theirs = psnr(output / 255.0, target / 255.0, test_y_channel=True, data_range=1.0, eps=0, color_space="ycbcr")
    assert PsnrY().per_frame(sample(output, target)) == pytest.approx(theirs.tolist(), abs=1e-3)


def test_consistency_is_high_for_a_bicubic_enlargement_and_low_for_another_picture() -> None:
    from patchvsr.degradation import degradations, quantise, resize_bicubic, to_float

    high = to_float(textured(2, 96, 128, grain=24))
    lq = quantise(degradations.get("bicubic")(high, 4))
    output = quantise(resize_bicubic(to_float(lq), 96, 128))
    assert Consistency().score(sample(output, lq=lq)) > 40
    brighter = sample((output.float() + 8).clamp(0, 255).to(torch.uint8), lq=lq)
    assert Consistency().score(brighter) == pytest.approx(20 * math.log10(255 / 8), abs=0.5)
    assert Consistency().score(sample(textured(2, 96, 128, seed=9), lq=lq)) < 25


def test_consistency_refuses_an_input_that_does_not_fit() -> None:
    output = textured(2, 40, 48)
    for lq in (textured(1, 10, 12), textured(2, 10, 13)):
        with pytest.raises(UserError, match="2 frames of 48x40"):
            Consistency().score(sample(output, lq=lq))


def test_consistency_needs_no_ground_truth_and_takes_scales_that_are_no_whole_number() -> None:
    output = torch.full((1, 3, 45, 60), 77, dtype=torch.uint8)
    lq = torch.full((1, 3, 18, 24), 77, dtype=torch.uint8)
    assert Consistency().score(Sample(output, None, lq, 2.5, None)) == 100
