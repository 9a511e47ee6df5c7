"""BD: agreement with the MATLAB code written out, where its pixels lie, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchvsr.degradation import degradations, quantise, resize_bicubic, to_float
from patchvsr.degradation.bd import BlurDownsample
from patchvsr.errors import UserError

bd = degradations.get("bd")


def fspecial(size: int, sigma: float) -> np.ndarray:
    """MATLAB's fspecial('gaussian', size, sigma)."""
    half = (size - 1) / 2
    kernel = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            kernel[row, column] = math.exp(-((row - half) ** 2 + (column - half) ** 2) / (2 * sigma * sigma))
    kernel[kernel < np.finfo(float).eps * kernel.max()] = 0
    return kernel / kernel.sum()


def imfilter(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """MATLAB's imfilter(image, kernel, 'replicate'): correlation, origin at floor((size + 1) / 2), counted from 1."""
    height, width = image.shape
    size = len(kernel)
    origin = (size + 1) // 2
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            for i in range(1, size + 1):
                y = min(max(row + i - origin, 0), height - 1)
                for j in range(1, size + 1):
                    x = min(max(column + j - origin, 0), width - 1)
                    out[row, column] += kernel[i - 1, j - 1] * image[y, x]
    return out


def matlab(image: np.ndarray, scale: int, sigma: float = 1.6) -> np.ndarray:
    """LR = blurred(scale/2:scale:end-scale/2, ...), counted from 1 with both ends, of one channel of doubles."""
    blurred = imfilter(image, fspecial(math.ceil(sigma * 3) * 2 + 2, sigma))
    rows, columns = (np.arange(scale // 2, size - scale // 2 + 1, scale) - 1 for size in image.shape)
    return blurred[np.ix_(rows, columns)]


@settings(max_examples=12)
@given(st.integers(1, 3), st.integers(1, 4), st.sampled_from([2, 4, 6]), st.integers(0, 99))
def test_it_is_the_matlab_code(height: int, width: int, scale: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 256, (height * scale, width * scale), dtype=np.uint8)
    expected = matlab(codes / 255, scale) * 255
    got = bd(to_float(torch.from_numpy(codes).expand(1, 3, -1, -1)), scale)[0]
    assert torch.equal(got[0], got[1]) and torch.equal(got[0], got[2])
    rounded = np.floor(expected + 0.5)
    tie = np.abs(expected - np.floor(expected) - 0.5) < 1e-3  # the input is float32
    assert np.array_equal(np.rint(got[0].double().numpy() * 255)[~tie], rounded[~tie])


@pytest.mark.parametrize("sigma", [0.8, 2.4])
def test_another_sigma_has_the_kernel_of_that_sigma(sigma: float) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (16, 12), dtype=np.uint8)
    got = BlurDownsample(sigma=sigma)(to_float(torch.from_numpy(codes).expand(1, 3, -1, -1)), 4)[0, 0].numpy()
    assert np.abs(got - matlab(codes / 255, 4, sigma)).max() < 0.51 / 255


def test_the_kernel_of_the_literature() -> None:
    kernel = bd.kernel
    assert len(kernel) == 12 and kernel.sum() == pytest.approx(1) and torch.equal(kernel, kernel.flip(0))
    assert np.abs(torch.outer(kernel, kernel).numpy() - fspecial(12, 1.6)).max() < 1e-15


@pytest.mark.parametrize("scale", [2, 4, 6])
def test_pixels_lie_in_the_middle_of_those_that_they_stand_for(scale: int) -> None:
    size = 16 * scale
    ramp = torch.arange(size) / size
    for frames, axis in ((ramp.expand(1, 3, size, size), 1), (ramp[:, None].expand(1, 3, size, size), 0)):
        low = bd.degraded(frames[0], 16, 16)[0]
        line = low[8] if axis else low[:, 8]
        centres = torch.arange(16) * scale + (scale - 1) / 2
        assert (line - centres / size)[4:12].abs().max() < 0.51 / 255


def test_an_impulse_falls_on_the_pixel_that_covers_it() -> None:
    """The centre of mass over all places of an impulse: the mean place that one low-resolution pixel answers to."""
    places = torch.arange(48)
    frames = torch.zeros(48, 3, 4, 48)
    frames[places, :, :, places] = 1
    answer = torch.stack([bd.degraded(frame, 1, 12)[0, 0, 6] for frame in frames]).double()
    assert float((answer * places).sum() / answer.sum()) == pytest.approx(6 * 4 + 1.5, abs=0.05)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


def test_a_wrong_phase_costs_decibels() -> None:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    picture = 0.5 + 0.2 * torch.sin(x / 4 + y / 7) + 0.2 * torch.sin(y / 3 - x / 11)
    frames = picture.expand(1, 3, -1, -1)
    inner = (..., slice(8, -8), slice(8, -8))

    def restored(phase: int | None) -> float:
        up = resize_bicubic(BlurDownsample(phase=phase)(frames, 4), 96, 128)
        return psnr(up[inner], frames[inner])

    scores = {phase: restored(phase) for phase in (None, 0, 1, 2, 3)}
    assert scores[None] == scores[1]
    assert all(scores[1] > scores[phase] + 2 for phase in (0, 2, 3))


def test_phase_edges_and_size_are_data_that_the_identity_states() -> None:
    other = BlurDownsample(name="bd0", phase=0, size=13, edges="reflect")
    assert bd.identity == (
        "bd v1 (BD, Gaussian sigma 1.6, 12x12 taps with the origin at tap 6, edges replicate, every scale-th pixel "
        "from pixel scale/2-1 counted from 0, quantised to 8 bit)"
    )
    for text in ("bd0 v1", "13x13", "tap 7", "edges reflect", "from pixel 0"):
        assert text in other.identity
    with pytest.raises(FrozenInstanceError):
        bd.sigma = 2.0


def test_edges_are_a_choice() -> None:
    frames = torch.rand(1, 3, 16, 16)
    replicate, reflect = (quantise(BlurDownsample(edges=edges)(frames, 4)) for edges in ("replicate", "reflect"))
    assert not torch.equal(replicate, reflect)
    assert torch.equal(replicate[..., 2:3, 2:3], reflect[..., 2:3, 2:3])


@pytest.mark.parametrize(
    ("size", "scale", "sentence"),
    [
        ((24, 24), 3, "use an even scale"),
        ((24, 24), 2.5, "use an even scale"),
        ((26, 24), 4, "not 24x26; crop them to 24x24"),
        ((24, 31), 4, "crop them to 28x24"),
        ((3, 24), 4, "use larger frames"),
    ],
)
def test_what_has_no_pixel_grid_is_refused(size: tuple[int, int], scale: float, sentence: str) -> None:
    frames = torch.zeros(1, 3, *size)
    with pytest.raises(UserError, match=sentence):
        bd.low_size(*size, scale)
    with pytest.raises(UserError, match=sentence):
        bd(frames, scale)
    with pytest.raises(UserError, match=sentence):
        next(bd.stream(quantise(frames), scale))


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"sigma": math.nan}, {"size": 0}, {"edges": "mirror"}])
def test_impossible_kernels_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="degradation 'bd'"):
        BlurDownsample(**wrong)


def test_a_phase_must_lie_in_the_scale() -> None:
    assert BlurDownsample(phase=2).low_size(9, 12, 3) == (3, 4)
    with pytest.raises(UserError, match="larger whole scale"):
        BlurDownsample(phase=2).low_size(8, 8, 2)


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="not finite"):
        bd(torch.full((1, 3, 8, 8), math.nan), 4)
