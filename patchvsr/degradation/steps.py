"""The steps of the random degradation: each takes a stream of frames and gives one, frame by frame and in order.

Frames are float64 `[3, H, W]`, nominally 0..1, on the CPU: float32 rounds differently with other numbers of threads,
and a codec makes much of little. They may differ in size between a random resize and the video compression after it,
since the factor walks; see `compressed_video`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from patchvsr.degradation.draws import Chances, Draws, Varying
from patchvsr.degradation.filters import Method, correlate, resample
from patchvsr.degradation.kernels import Kind, blur_kernel
from patchvsr.degradation.noise import add_gaussian, add_poisson
from patchvsr.degradation.pixels import quantise
from patchvsr.degradation.ranges import Blur, Noise, Resize, Video

_LEAST_RATE = 1000
"""Bits per second: x264 and x265 count whole kilobits."""


def blurred(frames: Iterator[Tensor], blur: Blur, draws: Draws) -> Iterator[Tensor]:
    """Blur by one kind of kernel, whose numbers walk."""
    if not draws.happens("whether", blur.probability):
        yield from frames
        return
    kind = draws.choice("kernel", blur.kernels)
    size = int(draws.generator("size").choice(blur.sizes))
    for kernel in _kernels(kind, size, blur, draws):
        frame = next(frames, None)
        if frame is None:
            return
        yield correlate(frame, kernel)


def _kernels(kind: Kind, size: int, blur: Blur, draws: Draws) -> Iterator[Tensor]:
    plateau = kind.startswith("plateau")
    cutoff = blur.cutoff or (math.pi / (3 if size < 13 else 5), math.pi)
    walks = zip(
        draws.walk("sigma_x", blur.sigma),
        draws.walk("sigma_y", blur.sigma),
        draws.walk("angle", blur.angle),
        draws.walk("beta", blur.beta_plateau if plateau else blur.beta_generalized),
        draws.walk("cutoff", Varying(*cutoff, blur.cutoff_step)),
        strict=True,
    )
    for sigma_x, sigma_y, angle, beta, omega in walks:
        yield blur_kernel(kind, size, sigma_x=sigma_x, sigma_y=sigma_y, angle=angle, beta=beta, cutoff=omega)


def resized(frames: Iterator[Tensor], resize: Resize, draws: Draws) -> Iterator[Tensor]:
    """Resize by a factor that walks, to even sizes as published (a frame of one pixel stays one)."""
    method = draws.choice("method", resize.methods)
    direction = draws.choice("direction", (("up", resize.up), ("down", resize.down), ("keep", resize.keep)))
    low = {"up": 1.0, "down": resize.factor.low, "keep": 1.0}[direction]
    high = {"up": resize.factor.high, "down": 1.0, "keep": 1.0}[direction]
    start = float(draws.generator("start").uniform(low, high))
    for frame, factor in zip(frames, draws.walk("factor", resize.factor, start), strict=False):
        height, width = (max(2 * int(size * factor / 2), min(2, size)) for size in frame.shape[1:])
        yield resample(frame, height, width, method)


def resized_to(
    frames: Iterator[Tensor], height: int, width: int, methods: Chances[Method], draws: Draws
) -> Iterator[Tensor]:
    """Resize to one size, the way drawn once."""
    method = draws.choice("method", methods)
    for frame in frames:
        yield resample(frame, height, width, method)


def noisy(frames: Iterator[Tensor], noise: Noise, draws: Draws) -> Iterator[Tensor]:
    """Add noise of one kind, whose strength walks; a frame's noise depends on its index alone."""
    gaussian = draws.happens("gaussian", noise.gaussian)
    grey = draws.happens("grey", noise.grey)
    add, strengths = (add_gaussian, noise.sigma) if gaussian else (add_poisson, noise.strength)
    for index, (frame, strength) in enumerate(zip(frames, draws.walk("strength", strengths), strict=False)):
        yield add(frame, strength, grey, draws.generator("frame", index))


def compressed_jpeg(frames: Iterator[Tensor], quality: Varying, draws: Draws) -> Iterator[Tensor]:
    """Compress each frame as JPEG (4:2:0), at a quality that walks."""
    for frame, value in zip(frames, draws.walk("quality", quality), strict=False):
        buffer = io.BytesIO()
        Image.fromarray(_pixels(frame)).save(buffer, format="JPEG", quality=round(value), subsampling="4:2:0")
        with Image.open(buffer) as image:
            yield _frame(np.array(image.convert("RGB")))


def compressed_video(frames: Iterator[Tensor], video: Video, draws: Draws, area: int) -> Iterator[Tensor]:
    """Compress the stream with a codec at a bit rate, both drawn once; frames take the size of the first.

    Args:
        frames: see the module.
        video: what to draw from.
        draws: the clip's.
        area: pixels of a high-resolution frame, which the bit rate is in proportion to.
    """
    from patchvsr.video.compression import compressed

    codec = draws.choice("codec", video.codecs)
    low, high = video.bits
    bits = int(draws.generator("bits").integers(low, high, endpoint=True)) * area / video.pixels
    pixels = map(_pixels, _of_one_size(frames))
    # One frame per second, as published: so the bit rate is in bits per frame.
    yield from map(_frame, compressed(pixels, codec, max(_LEAST_RATE, round(bits)), rate=1))


def _of_one_size(frames: Iterator[Tensor]) -> Iterator[Tensor]:
    size: tuple[int, int] | None = None
    for frame in frames:
        size = size or (frame.shape[1], frame.shape[2])
        yield resample(frame, *size, "bicubic")


def _pixels(frame: Tensor) -> np.ndarray:
    """uint8 `[H, W, 3]`, contiguous."""
    return np.ascontiguousarray(quantise(frame[None])[0].permute(1, 2, 0).numpy())


def _frame(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).double() / 255
