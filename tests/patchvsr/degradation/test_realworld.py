"""The random degradation: repeatable by name, in step with its input, bounded in memory, and really degrading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchvsr.degradation import Degradation, degradations, quantise, resize_bicubic, to_float
from patchvsr.degradation.draws import Draws, Varying
from patchvsr.degradation.ranges import FIRST, RINGING, SECOND, Blur, Noise, Resize, Video
from patchvsr.degradation.realworld import RealWorld
from patchvsr.degradation.steps import blurred, compressed_jpeg, compressed_video, noisy, resized

realworld = degradations.get("realworld")
assert isinstance(realworld, RealWorld)


@cache
def clip(frames: int, height: int, width: int) -> Tensor:
    """A textured picture that moves to the right by a pixel per frame, uint8."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width + frames)), indexing="ij")
    rough = torch.rand(3, height, width + frames, generator=torch.Generator().manual_seed(0))
    still = 0.5 + 0.2 * torch.sin(x / 5 + y / 9) + 0.15 * torch.sin(y / 4) + 0.2 * (rough - 0.5)
    return quantise(torch.stack([still[..., t : t + width] for t in range(frames)]))


def degraded(degradation: Degradation, frames: Tensor, scale: float = 4, name: str = "clip") -> Tensor:
    return torch.stack(list(degradation.stream(iter(frames), scale, name)))


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a.float() - b.float()).div(255).square().mean()))


def test_the_same_clip_gives_the_same_bytes_whatever_came_before_and_with_any_threads() -> None:
    frames = clip(3, 64, 80)
    threads = torch.get_num_threads()
    names = [f"clip{index}" for index in range(6)]
    once = {name: degraded(realworld, frames, name=name) for name in names}
    try:
        torch.set_num_threads(threads + 1)
        again = {name: degraded(RealWorld(), frames, name=name) for name in reversed(names)}
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(once[name], again[name]) for name in names)
    pairs = [(a, b) for a in names for b in names if a < b]
    assert not any(torch.equal(once[a], once[b]) for a, b in pairs)


def test_another_seed_or_range_gives_other_bytes_and_another_identity() -> None:
    frames = clip(2, 64, 80)
    louder = replace(FIRST, noise=replace(FIRST.noise, sigma=Varying(40, 60), strength=Varying(5, 6)))
    versions = [realworld, RealWorld(seed=1), RealWorld(first=louder)]
    outputs = [degraded(version, frames) for version in versions]
    assert not torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    assert len({version.identity for version in versions}) == 3
    assert RealWorld().identity == realworld.identity


def test_the_identity_states_the_packages_that_decide_the_bytes() -> None:
    identity = realworld.identity
    assert identity.startswith("realworld v1 (") and "\n" not in identity and realworld.fingerprint in identity
    assert all(f"{package} {digits}" in identity for package, digits in (("torch", torch.__version__.split("+")[0]),))
    assert "av " in identity and "pillow " in identity and "numpy " in identity


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2, 7]),
    st.integers(1, 45),
    st.integers(1, 45),
    st.sampled_from([1, 2, 2.5, 4]),
    st.integers(0, 10**6),
)
def test_frames_and_sizes_come_out_at_any_size(frames: int, height: int, width: int, scale: float, seed: int) -> None:
    expected = max(1, round(height / scale)), max(1, round(width / scale))
    if min(round(height / scale), round(width / scale)) < 1:
        return
    low = degraded(replace(realworld, seed=seed), clip(frames, height, width), scale)
    assert low.shape == (frames, 3, *expected) and low.dtype == torch.uint8


def test_the_whole_clip_gives_what_the_stream_gives() -> None:
    frames = clip(3, 40, 52)
    whole = realworld(to_float(frames), 4, "a")
    assert whole.dtype == torch.float32 and torch.equal(quantise(whole), degraded(realworld, frames, 4, "a"))
    assert not torch.equal(whole, realworld(to_float(frames), 4, "b"))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_memory_is_bounded_by_a_few_frames(codec: str) -> None:
    video = Video(codecs=((codec, 1.0),))
    pulled = ahead = given = 0

    def source() -> Iterator[Tensor]:
        nonlocal pulled
        for frame in clip(90, 16, 16):
            pulled += 1
            yield frame

    both = RealWorld(first=replace(FIRST, video=video), second=replace(SECOND, video=video))
    for _ in both.stream(source(), 4, "a"):
        given += 1
        ahead = max(ahead, pulled - given)
    assert given == 90 and ahead <= 30


@pytest.mark.slow
def test_it_degrades_but_leaves_the_picture() -> None:
    frames = clip(5, 128, 160)
    plain = quantise(degradations.get("bicubic")(to_float(frames), 4))
    scores = sorted(psnr(degraded(realworld, frames, name=str(index)), plain) for index in range(40))
    assert 12 < scores[0] and scores[-1] < 42
    assert 18 < scores[20] < 34 and scores[-4] - scores[4] > 4  # the strength varies from clip to clip


@pytest.mark.slow
def test_frames_stay_in_order_and_in_place() -> None:
    """The degraded frame t is nearest to the plain frame t: no shift in time, none of a whole pixel in space."""
    frames = clip(12, 128, 160)
    moved = torch.stack([frame.roll(6 * index, -1) for index, frame in enumerate(frames)])
    plain = quantise(degradations.get("bicubic")(to_float(moved), 4))
    for name in map(str, range(6)):
        low = degraded(realworld, moved, name=name)
        for index in (0, 5, 11):
            scores = [psnr(low[index], other) for other in plain]
            assert max(range(12), key=scores.__getitem__) == index
            shifts = {shift: psnr(low[index].roll(shift, -1), plain[index]) for shift in (-1, 0, 1)}
            assert max(shifts, key=shifts.__getitem__) == 0


def floats(frames: int = 4, height: int = 48, width: int = 64) -> Iterator[Tensor]:
    return iter(clip(frames, height, width).double() / 255)


def test_each_step_does_what_it_says() -> None:
    draws = Draws(0, "steps")
    plain = torch.stack(list(floats()))

    def error(made: Iterator[Tensor]) -> float:
        return float((torch.stack(list(made)) - plain).square().mean().sqrt())

    weak, strong = (Blur(kernels=(("iso", 1.0),), sigma=Varying(s, s)) for s in (0.2, 3.0))
    assert error(blurred(floats(), weak, draws)) < 0.01 < 0.04 < error(blurred(floats(), strong, draws))
    assert error(blurred(floats(), replace(strong, probability=0.0), draws)) == 0
    quiet, loud = (Noise(gaussian=1.0, sigma=Varying(s, s), strength=Varying(1, 1)) for s in (2.0, 20.0))
    assert error(noisy(floats(), quiet, draws)) * 255 == pytest.approx(2, rel=0.1)
    assert error(noisy(floats(), loud, draws)) * 255 == pytest.approx(20, rel=0.1)
    good, bad = (compressed_jpeg(floats(), Varying(q, q), draws) for q in (95.0, 30.0))
    assert 0 < error(good) < error(bad)
    rich, poor = (Video(codecs=(("libx264", 1.0),), bits=(bits, bits)) for bits in (800_000, 20_000))
    assert 0 < error(compressed_video(floats(), rich, draws, 48 * 64)) < error(
        compressed_video(floats(), poor, draws, 48 * 64)
    )


def test_noise_is_new_in_every_frame() -> None:
    noise = Noise(sigma=Varying(9, 9), strength=Varying(1, 1))
    first, second = noisy(iter([torch.full((3, 32, 32), 0.5)] * 2), noise, Draws(0))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("direction", "low", "high"), [("up", 1, 1.5), ("down", 0.15, 1), ("keep", 1, 1)])
def test_resizing_starts_where_it_is_told_and_walks_slowly(direction: str, low: float, high: float) -> None:
    chances = {"up": 0.0, "down": 0.0, "keep": 0.0} | {direction: 1.0}
    resize = Resize(**chances, factor=Varying(0.15, 1.5, 0.015))
    for seed in range(10):
        sizes = [frame.shape[1:] for frame in resized(iter([torch.zeros(3, 200, 300)] * 8), resize, Draws(seed))]
        assert low * 200 - 2 <= sizes[0][0] <= high * 200
        assert all(height % 2 == width % 2 == 0 for height, width in sizes)
        assert all(abs(a[0] - b[0]) <= 200 * 0.015 + 2 for a, b in zip(sizes, sizes[1:], strict=False))


def test_video_compression_gives_all_frames_the_size_of_the_first() -> None:
    frames = iter([torch.rand(3, 20, 30), torch.rand(3, 22, 32), torch.rand(3, 18, 28)])
    assert {frame.shape for frame in compressed_video(frames, Video(), Draws(0), 600)} == {(3, 20, 30)}


def test_bits_grow_with_the_frame() -> None:
    """A frame four times the area has the same quality, not a quarter of the bits per pixel."""
    video = Video(codecs=(("libx264", 1.0),), bits=(40_000, 40_000))

    def quality(side: int, area: int) -> float:
        rough = torch.rand(6, 1, side, side, generator=torch.Generator().manual_seed(0))
        given = (0.3 + 0.4 * rough).expand(-1, 3, -1, -1)  # new in every frame
        made = torch.stack(list(compressed_video(iter(given), video, Draws(0), area)))
        return psnr(made * 255, given * 255)

    small, large, starved = quality(128, 256**2), quality(256, 512**2), quality(256, 256**2)
    assert large == pytest.approx(small, abs=1) and starved < large - 3


def test_published_ranges() -> None:
    """RealBasicVSR's configuration, checked as data, since nothing else would notice a slip."""
    for order, sigma, factor, noise in ((FIRST, 3, (0.15, 1.5), 30), (SECOND, 1.5, (0.3, 1.2), 25)):
        assert (order.blur.sigma.low, order.blur.sigma.high) == (0.2, sigma)
        assert (order.resize.factor.low, order.resize.factor.high) == factor
        assert (order.noise.sigma.low, order.noise.sigma.high) == (1, noise)
        assert (order.quality.low, order.quality.high) == (30, 95)
        assert order.video.bits == (10_000, 100_000)
        for chances in (order.blur.kernels, order.resize.methods, order.video.codecs):
            assert sum(probability for _, probability in chances) == pytest.approx(1)
        assert order.resize.up + order.resize.down + order.resize.keep == pytest.approx(1)
    assert (FIRST.blur.probability, SECOND.blur.probability, RINGING.probability) == (1.0, 0.8, 0.8)
    assert RINGING.cutoff == (math.pi / 3, math.pi)


def test_upsampled_again_it_is_still_the_clip() -> None:
    frames = clip(3, 64, 80)
    up = quantise(resize_bicubic(realworld(to_float(frames), 4, "x"), 64, 80))
    assert psnr(up, frames) > 14
