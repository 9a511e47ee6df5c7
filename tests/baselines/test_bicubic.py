"""The interpolation baselines: sizes, values, and what they refuse."""
from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, create, upscalers

NAMES = ["bicubic", "lanczos"]


def noise(frames: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(0))


def upscale(name: str, frames: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.cat(list(create(name).upscale(Clip("clip", frames), scale)))


@pytest.mark.parametrize("name", NAMES)
@given(
    frames=st.integers(1, 3),
    height=st.integers(4, 23),
    width=st.integers(4, 23),
    scale=st.floats(1, 4.5, allow_nan=False),
)
def test_output_is_exactly_the_rounded_size(name: str, frames: int, height: int, width: int, scale: float) -> None:
    output = upscale(name, noise(frames, height, width), scale)
    assert output.shape == (frames, 3, round(height * scale), round(width * scale))
    assert output.dtype == torch.float32
    assert 0 <= output.min() and output.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_treated_alone_and_in_order(name: str) -> None:
    frames = noise(3, 9, 11)
    alone = torch.cat([upscale(name, frames[index : index + 1], 2.5) for index in range(3)])
    assert torch.equal(upscale(name, frames, 2.5), alone)


@pytest.mark.parametrize("name", NAMES)
def test_flat_frames_stay_flat(name: str) -> None:
    colours = torch.tensor([0.2, 0.5, 0.9])[None, :, None, None]
    output = upscale(name, colours.expand(1, 3, 8, 8).contiguous(), 3)
    assert torch.allclose(output, colours.expand_as(output), atol=1e-5)


def test_bicubic_is_the_degradations_own_kernel() -> None:
    frames = noise(2, 12, 17)
    assert torch.equal(upscale("bicubic", frames, 3), resize_bicubic(frames, 36, 51).clamp(0, 1))


def test_lanczos_has_three_lobes_at_the_pixel_centres() -> None:
    """An impulse enlarged by an odd factor samples the kernel: sinc(x) sinc(x / 3), 0 from 3 on."""
    frames = torch.zeros(1, 3, 15, 15)
    frames[..., 7, 7] = 1.0
    x = torch.arange(-22, 23) / 3
    kernel = torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), torch.zeros_like(x))
    expected = torch.outer(kernel, kernel).clamp(0, 1)
    # Weights are normalised for each output pixel, which moves them by less than a percent.
    assert torch.allclose(upscale("lanczos", frames, 3)[0, 0], expected, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_changes_nothing_and_progress_reaches_one(name: str) -> None:
    frames, seen = noise(2, 8, 8), []
    first, second = (torch.cat(list(create(name).upscale(Clip("c", frames), 2, seed, seen.append))) for seed in (0, 1))
    assert torch.equal(first, second)
    assert seen == [0.5, 1.0] * 2


@pytest.mark.parametrize("name", NAMES)
def test_options_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"'{name}' has no options, so 'taps=4' cannot be set"):
        create(f"{name}:taps=4")


def test_baselines_need_no_weights_and_have_no_cuts() -> None:
    for name in NAMES:
        upscaler = create(name)
        assert upscaler.weights.status == "none"
        assert upscaler.cuts(2160, 3840, 5) is None
        assert upscaler.describe()["name"] == name


def test_installed_baselines_are_listed_without_importing_them() -> None:
    assert set(NAMES) <= set(upscalers.names())
