"""What all degradations share: quantisation, sizes, identities, and streams that agree with whole tensors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchvsr.degradation import FrameDegradation, degradations, low_size, quantise, to_float
from patchvsr.errors import UserError

NAMES = ["bd", "bicubic", "bilinear", "realworld"]
BY_FRAME = ["bd", "bicubic", "bilinear"]


def clip(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 3, height, width), dtype=torch.uint8, generator=generator)


def test_the_registry_lists_them() -> None:
    assert set(NAMES) <= set(degradations.names())
    assert all(degradations.get(name).name == name for name in NAMES)


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


@pytest.mark.parametrize("name", BY_FRAME)
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8)), scale=st.sampled_from([2, 4, 6]))
@settings(max_examples=15)
def test_a_stream_gives_what_the_whole_clip_gives(name: str, shape: tuple[int, int, int], scale: int) -> None:
    degradation = degradations.get(name)
    frames = clip(shape[0], shape[1] * scale, shape[2] * scale)
    low = list(degradation.stream(iter(frames), scale, "a"))
    assert all(frame.dtype == torch.uint8 for frame in low)
    whole = degradation(to_float(frames), scale, "b")
    assert whole.dtype == torch.float32 and whole.shape == (shape[0], 3, *shape[1:])
    assert torch.equal(to_float(torch.stack(low)), whole)


@pytest.mark.parametrize("name", BY_FRAME)
def test_frame_by_frame_ones_hold_one_frame(name: str) -> None:
    pulled = 0

    def source() -> Iterator[Tensor]:
        nonlocal pulled
        for frame in clip(5, 16, 16):
            pulled += 1
            yield frame

    for index, _ in enumerate(degradations.get(name).stream(source(), 4)):
        assert pulled == index + 1


def test_float_frames_are_not_rounded_before_they_are_degraded() -> None:
    frames = torch.full((1, 3, 8, 8), 100.52 / 255)
    frames[..., ::4] = 100.3 / 255  # the mean is 100.465, and 100.75 of the rounded frame
    low = [degradations.get("bilinear")(given, 8)[0, 0, 0, 0] * 255 for given in (frames, to_float(quantise(frames)))]
    assert [round(float(value)) for value in low] == [100, 101]


@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_degradation_gives_rounded_sizes_and_8_bit_values(name: str) -> None:
    degradation = degradations.get(name)
    low = degradation(torch.rand(2, 3, 33, 50), 4)
    assert low.shape == (2, 3, *degradation.low_size(33, 50, 4)) == (2, 3, round(33 / 4), round(50 / 4))
    assert torch.equal(low, to_float(quantise(low)))


def test_identities_are_one_line_and_differ() -> None:
    identities = {degradations.get(name).identity for name in NAMES}
    assert len(identities) == len(NAMES) and not any("\n" in identity for identity in identities)
    assert all("v1" in identity and "8 bit" in identity for identity in identities)


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_two_sizes_or_of_floats_are_refused(name: str) -> None:
    degradation = degradations.get(name)
    with pytest.raises(ValueError, match="frame 1"):
        list(degradation.stream([clip(1, 16, 16)[0], clip(1, 16, 24)[0]], 4))
    with pytest.raises(ValueError, match="uint8"):
        list(degradation.stream(iter(torch.rand(1, 3, 16, 16)), 4))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_stream_stays_empty(name: str) -> None:
    assert list(degradations.get(name).stream([], 4)) == []


@pytest.mark.parametrize("scale", [0.5, 0.0, -2.0, float("nan"), float("inf"), 100.0])
def test_impossible_scales_are_refused(scale: float) -> None:
    with pytest.raises(UserError, match="scale"):
        low_size(20, 30, scale)
    for name in NAMES:
        with pytest.raises(UserError, match="scale"):
            next(degradations.get(name).stream(clip(1, 20, 30), scale))


def test_unknown_degradation_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'bicubic'"):
        degradations.get("bicubik")


def test_a_frame_degradation_needs_one_method_and_an_identity() -> None:
    class Nearest(FrameDegradation):
        name, version, identity = "nearest", 1, "nearest v1"

        def degraded(self, frame: Tensor, height: int, width: int) -> Tensor:
            return frame[:, :: frame.shape[1] // height, :: frame.shape[2] // width]

    frames = clip(2, 8, 8)
    assert torch.equal(torch.stack(list(Nearest().stream(frames, 4))), frames[..., ::4, ::4])
