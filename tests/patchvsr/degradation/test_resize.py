"""Resizing: agreement with a plain imresize, and what any interpolation keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchvsr.degradation import degradations, resize_bicubic, resize_bilinear


def cubic(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def imresize_matrix(size: int, out: int, kernel, width: float) -> np.ndarray:
    """One axis of MATLAB's imresize, written out as its documentation describes it (1-based, mirrored edges)."""
    scale = out / size
    shrink = min(scale, 1.0)
    matrix = np.zeros((out, size))
    mirror = [*range(size), *range(size - 1, -1, -1)]
    for row in range(out):
        u = (row + 1) / scale + 0.5 * (1 - 1 / scale)
        left = int(np.floor(u - width / shrink / 2))
        indices = range(left, left + int(np.ceil(width / shrink)) + 2)
        weights = np.array([shrink * kernel(shrink * (u - index)) for index in indices])
        for index, weight in zip(indices, weights / weights.sum(), strict=True):
            matrix[row, mirror[(index - 1) % (2 * size)]] += weight
    return matrix


def imresize(frames: np.ndarray, height: int, width: int, kernel, support: float) -> np.ndarray:
    rows = imresize_matrix(frames.shape[-2], height, kernel, support)
    return rows @ frames @ imresize_matrix(frames.shape[-1], width, kernel, support).T


SIZES = st.tuples(*[st.integers(2, 40)] * 2, *[st.integers(1, 60)] * 2)


@settings(max_examples=40)
@given(SIZES, st.integers(0, 9))
def test_bicubic_is_imresize_at_any_size_edges_included(sizes: tuple[int, int, int, int], seed: int) -> None:
    h, w, height, width = sizes
    frames = np.random.default_rng(seed).random((1, 3, h, w))
    expected = imresize(frames, height, width, cubic, 4.0)
    got = resize_bicubic(torch.from_numpy(frames), height, width)
    assert got.shape == (1, 3, height, width) and got.dtype == torch.float32
    assert np.abs(got.numpy() - expected).max() < 2e-5


@settings(max_examples=20)
@given(SIZES)
def test_bilinear_is_imresize_with_the_triangle_kernel(sizes: tuple[int, int, int, int]) -> None:
    h, w, height, width = sizes
    frames = np.random.default_rng(1).random((1, 3, h, w))
    got = resize_bilinear(torch.from_numpy(frames), height, width).numpy()
    assert np.abs(got - imresize(frames, height, width, triangle, 2.0)).max() < 2e-5


@pytest.mark.parametrize(("size", "out"), [(720, 2160), (960, 2400), (2160, 540)])
def test_bicubic_is_imresize_at_the_sizes_of_4k(size: int, out: int) -> None:
    frames = np.random.default_rng(0).random((1, 3, size, 4))
    got = resize_bicubic(torch.from_numpy(frames), out, 4).numpy()
    assert np.abs(got - imresize(frames, out, 4, cubic, 4.0)).max() < 0.1 / 255


def test_resizing_to_the_same_size_changes_nothing_and_takes_half_precision() -> None:
    frames = torch.rand(2, 3, 7, 9)
    assert torch.equal(resize_bicubic(frames, 7, 9), frames)
    half = resize_bicubic(frames.bfloat16(), 14, 18)
    assert half.dtype == torch.float32 and torch.equal(half, resize_bicubic(frames.bfloat16().float(), 14, 18))


def test_every_frame_is_resized_alone() -> None:
    frames = torch.rand(3, 3, 10, 12)
    whole = resize_bicubic(frames, 25, 31)
    assert torch.equal(whole, torch.cat([resize_bicubic(frame[None], 25, 31) for frame in frames]))


@pytest.mark.parametrize("resize", [resize_bicubic, resize_bilinear])
@given(sizes=SIZES, value=st.floats(0, 1))
@settings(max_examples=20)
def test_a_constant_stays_one_up_to_the_edges(resize, sizes: tuple[int, int, int, int], value: float) -> None:
    h, w, height, width = sizes
    assert (resize(torch.full((1, 3, h, w), value), height, width) - value).abs().max() < 1e-5


@pytest.mark.parametrize("resize", [resize_bicubic, resize_bilinear])
@pytest.mark.parametrize("factor", [0.25, 1 / 3, 0.4, 2.5, 4])
def test_a_ramp_stays_the_ramp_through_the_pixel_centres(resize, factor: float) -> None:
    size = 60
    out = round(size * factor)
    ramp = torch.arange(size) / size
    got = resize(ramp.expand(1, 3, 8, size), 8, out)[0, 0, 0]
    expected = ((torch.arange(out) + 0.5) / factor - 0.5) / size
    inside = slice(out // 4, -(out // 4))  # at the edges the mirror bends it
    assert (got - expected)[inside].abs().max() * size < 0.02  # pixels; 0.01 where the ratio is not whole


@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_identities_are_those_that_cached_frames_are_filed_under(name: str) -> None:
    identities = {
        "bicubic": "bicubic v1 (BI, MATLAB-compatible imresize, a=-0.5, antialiased, quantised to 8 bit)",
        "bilinear": "bilinear v1 (MATLAB-compatible imresize, triangle kernel, antialiased, quantised to 8 bit)",
    }
    assert degradations.get(name).identity == identities[name]
