"""Degradations: agreement with a plain imresize, quantisation, sizes and identities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchvsr.degradation import (
    degradations,
    low_size,
    quantise,
    resize_bicubic,
    resize_bilinear,
    to_float,
)
from patchvsr.errors import UserError


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


def test_quantise_clamps_and_rounds_halves_up() -> None:
    values = torch.tensor([-0.2, 0.0, 0.49 / 255, 0.5 / 255, 2.5 / 255, 1.0, 1.7])
    frames = values.view(1, 1, 1, -1).expand(1, 3, 1, -1)
    assert quantise(frames)[0, 0, 0].tolist() == [0, 0, 0, 1, 3, 255, 255]


def test_all_bytes_survive_float_and_back() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    assert torch.equal(quantise(to_float(frames)), frames)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_quantise_refuses_what_is_not_a_number(value: float) -> None:
    frames = torch.zeros(2, 3, 4, 4)
    frames[1, 2, 3, 3] = value
    with pytest.raises(UserError, match="frame 1"):
        quantise(frames)


@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_degradation_gives_rounded_sizes_and_8_bit_values(name: str) -> None:
    degradation = degradations.get(name)
    low = degradation(torch.rand(2, 3, 33, 50), 4)
    assert low.shape == (2, 3, round(33 / 4), round(50 / 4))
    assert torch.equal(low, to_float(quantise(low)))


def test_identities_name_the_protocol_and_differ() -> None:
    bicubic, bilinear = degradations.get("bicubic").identity, degradations.get("bilinear").identity
    assert bicubic != bilinear
    assert bicubic.startswith("bicubic v1") and "a=-0.5" in bicubic and "8 bit" in bicubic


@pytest.mark.parametrize("scale", [0.5, 0.0, -2.0, float("nan"), float("inf"), 100.0])
def test_impossible_scales_are_refused(scale: float) -> None:
    with pytest.raises(UserError, match="scale"):
        low_size(20, 30, scale)


def test_unknown_degradation_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'bicubic'"):
        degradations.get("bicubik")
