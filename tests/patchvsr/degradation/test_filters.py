"""Filters, kernels, noise and draws of the random degradation, against OpenCV where it is installed."""

from __future__ import annotations

import math
from itertools import islice
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchvsr.degradation.draws import Draws, Varying
from patchvsr.degradation.filters import Method, correlate, edge_index, resample
from patchvsr.degradation.kernels import Kind, blur_kernel, sinc
from patchvsr.degradation.noise import add_gaussian, add_poisson
from patchvsr.errors import UserError

SIZES = st.tuples(*[st.integers(1, 24)] * 4)


@settings(max_examples=60)
@given(SIZES, st.sampled_from(get_args(Method)))
def test_resampling_is_opencvs(sizes: tuple[int, int, int, int], method: Method) -> None:
    cv2 = pytest.importorskip("cv2")
    h, w, height, width = sizes
    flag = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[method]
    if method == "area" and (height > h or width > w):
        return  # OpenCV does not average where one side shrinks, and takes a wrong pixel from 14 to 18: see below
    image = np.random.default_rng(0).random((h, w, 3), dtype=np.float32)
    expected = cv2.resize(image, (width, height), interpolation=flag)
    got = resample(torch.from_numpy(image).permute(2, 0, 1), height, width, method)
    assert np.abs(got.permute(1, 2, 0).numpy() - expected).max() < 1e-4


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30))
def test_area_is_the_mean_of_what_a_pixel_covers(size: int, out: int) -> None:
    line = np.random.default_rng(0).random(size)
    fine = np.repeat(line, out).reshape(out, size).mean(1)  # in common parts of both, each pixel a whole number of them
    got = resample(torch.from_numpy(line).expand(3, 4, size), 4, out, "area")
    assert got.shape == (3, 4, out) and np.abs(got[1, 2].numpy() - fine).max() < 1e-12
    turned = resample(torch.from_numpy(line).expand(3, 4, size).mT, out, 4, "area").mT
    assert (turned - got).abs().max() < 1e-12


@pytest.mark.parametrize("size", [3, 7, 21])
def test_filtering_is_opencvs_edges_included(size: int) -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(size)
    image, kernel = rng.random((30, 26, 3), dtype=np.float32), rng.random((size, size))
    kernel /= kernel.sum()
    got = correlate(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(kernel))
    assert np.abs(got.permute(1, 2, 0).numpy() - cv2.filter2D(image, -1, kernel)).max() < 1e-5


@pytest.mark.parametrize("step", ["area", "bilinear", "bicubic", "blur"])
def test_the_number_of_threads_changes_nothing_that_8_bit_could_show(step: str) -> None:
    frame = torch.rand(3, 360, 640, dtype=torch.float64)
    weights = sinc(21, 1.0)
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            made.append(correlate(frame, weights) if step == "blur" else resample(frame, 211, 407, step))
    finally:
        torch.set_num_threads(threads)
    assert made[0].dtype == torch.float64
    assert max((other - made[0]).abs().max() for other in made[1:]) < 1e-13


def test_edges_by_hand() -> None:
    index = torch.arange(-5, 9)
    assert edge_index(index, 4, "replicate").tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3]
    assert edge_index(index, 4, "reflect").tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert edge_index(index, 1, "reflect").tolist() == [0] * len(index)


def test_unknown_words_are_refused() -> None:
    frame = torch.zeros(3, 4, 4)
    for wrong in (
        lambda: resample(frame, 2, 2, "lanczos"),
        lambda: correlate(frame, torch.ones(3, 3), "wrap"),
        lambda: blur_kernel("box", 7, sigma_x=1, sigma_y=1, angle=0, beta=1, cutoff=1),
    ):
        with pytest.raises(UserError, match="unknown"):
            wrong()


def kernel(kind: Kind, size: int = 15, **numbers: float) -> np.ndarray:
    given_ = {"sigma_x": 2.0, "sigma_y": 1.0, "angle": 0.0, "beta": 1.0, "cutoff": 2.0} | numbers
    return blur_kernel(kind, size, **given_).numpy()


def spread(weights: np.ndarray) -> tuple[float, float, float]:
    """Variances along x and y, and the covariance."""
    axis = np.arange(len(weights)) - len(weights) // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return (weights * x * x).sum(), (weights * y * y).sum(), (weights * x * y).sum()


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("size", [7, 21])
def test_kernels_sum_to_one_and_are_centred(kind: Kind, size: int) -> None:
    weights = kernel(kind, size, angle=0.7, beta=1.5)
    assert weights.shape == (size, size) and weights.sum() == pytest.approx(1)
    assert np.allclose(weights, weights[::-1, ::-1])
    assert (weights < 0).any() == (kind == "sinc")


def test_gaussians_have_the_spread_they_are_given() -> None:
    assert spread(kernel("iso", 21)) == pytest.approx((4, 4, 0), abs=0.02)
    assert spread(kernel("aniso", 21)) == pytest.approx((4, 1, 0), abs=0.02)
    assert spread(kernel("aniso", 21, angle=math.pi / 2)) == pytest.approx((1, 4, 0), abs=0.02)
    assert spread(kernel("aniso", 21, angle=math.pi / 4)) == pytest.approx((2.5, 2.5, 1.5), abs=0.02)


def test_shapes_of_the_other_families() -> None:
    assert np.allclose(kernel("generalized_aniso"), kernel("aniso"))  # beta 1
    flat, sharp = kernel("generalized_iso", beta=4), kernel("generalized_iso", beta=0.5)
    middle = 15 // 2
    assert flat[middle, middle + 1] / flat[middle, middle] > 0.99 > sharp[middle, middle + 1] / sharp[middle, middle]
    plateau = kernel("plateau_iso", beta=2)
    assert plateau[middle, middle + 2] / plateau[middle, middle] == pytest.approx(0.5)  # one sigma out
    assert plateau[middle, middle + 4] / plateau[middle, middle] == pytest.approx(1 / 17)


def test_sinc_is_a_low_pass() -> None:
    response = np.abs(np.fft.fft2(sinc(61, math.pi / 2).numpy(), (256, 256)))
    assert response[0, :40].min() > 0.9 and response[0, 90:166].max() < 0.1  # the cut-off is at 64


def test_gaussian_noise_has_the_strength_it_is_given() -> None:
    frame = torch.full((3, 120, 120), 0.5)
    for grey in (True, False):
        noise = add_gaussian(frame, 12.0, grey, np.random.default_rng(0)) - frame
        assert float(noise.std()) * 255 == pytest.approx(12, rel=0.03)
        assert abs(float(noise.mean())) * 255 < 0.3
        assert torch.equal(noise[0], noise[2]) == grey


def test_poisson_noise_grows_with_the_root_of_the_light() -> None:
    ramp = torch.arange(256).div(255).repeat(3, 400, 1)
    noise = (add_poisson(ramp, 2.0, False, np.random.default_rng(0)) - ramp)[0]
    for code in (32, 128, 250):  # 256 distinct values: 256 photons at white
        assert float(noise[:, code - 3 : code + 4].std()) == pytest.approx(2 * math.sqrt(code / 255 / 256), rel=0.05)
    grey = add_poisson(ramp, 2.0, True, np.random.default_rng(0)) - ramp
    assert torch.allclose(grey[0], grey[1], atol=1e-6) and grey.std() > 0.01


@given(st.floats(0, 5), st.floats(0, 5), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=30)
def test_walks_keep_to_range_and_step(low: float, width: float, step: float, seed: int) -> None:
    values = list(islice(Draws(seed).walk("x", Varying(low, low + width, step)), 50))
    assert all(low <= value <= low + width for value in values)
    assert all(abs(b - a) <= step + 1e-12 for a, b in zip(values, values[1:], strict=False))
    assert values == list(islice(Draws(seed).walk("x", Varying(low, low + width, step)), 50))


def test_a_walk_without_a_step_stands_still_and_may_start_anywhere() -> None:
    assert len(set(islice(Draws(0).walk("x", Varying(0, 1)), 9))) == 1
    assert next(Draws(0).walk("x", Varying(0, 1, 0.1), 0.25)) == 0.25


def test_draws_depend_on_key_and_purpose_alone() -> None:
    def number(draws: Draws, purpose: object) -> float:
        return draws.generator(purpose).random()

    draws = Draws(0, "clip")
    assert number(draws, "a") == number(Draws(0, "clip"), "a") == number(Draws(0).within("clip"), "a")
    others = [number(draws, "b"), number(draws, 1), number(Draws(1, "clip"), "a"), number(Draws(0, "clip2"), "a")]
    assert len({number(draws, "a"), *others}) == 5


def test_choices_follow_their_probabilities() -> None:
    drawn = [Draws(seed).choice("x", (("a", 0.7), ("b", 0.3), ("c", 0.0))) for seed in range(600)]
    assert drawn.count("a") / 600 == pytest.approx(0.7, abs=0.07) and "c" not in drawn
    assert sum(Draws(seed).happens("x", 0.2) for seed in range(600)) / 600 == pytest.approx(0.2, abs=0.06)
