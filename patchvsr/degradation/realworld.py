"""A random second-order degradation with real video compression, after RealBasicVSR.

Chan et al., "Investigating Tradeoffs in Real-World Video Super-Resolution" (RealBasicVSR, 2022) extend the second-order
degradation of Wang et al., "Real-ESRGAN" (2021) to video: blur, resize, noise, JPEG and video compression, and all of
it again; then, in random order, a last video compression and the resize to the final size with a sinc filter. What is
drawn holds for a clip, and its numbers walk a little from frame to frame. Ranges, probabilities and steps are those of
the published configuration (see `ranges`). Where we differ:

- Bits per frame (10,000 to 100,000) were set for training crops of 256x256. They grow with the area of the
  high-resolution frame here, so that a whole frame is compressed as hard as a crop was, and not 14 times harder.
- The published list of codecs names H.264 twice ("libx264" and "h264", the same encoder) and MPEG-4; the second one is
  HEVC here. `RealWorld` with `Video(codecs=(("libx264", 2 / 3), ("mpeg4", 1 / 3)))` is the published mixture.
- The published target is a sharpened frame, and so is what is degraded. Nothing is sharpened here: a ground truth is
  what it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from itertools import chain

from torch import Tensor

from patchvsr.degradation import steps
from patchvsr.degradation.draws import Chances, Draws
from patchvsr.degradation.filters import Method
from patchvsr.degradation.interface import Degradation, checked
from patchvsr.degradation.pixels import quantise
from patchvsr.degradation.ranges import FIRST, METHODS, RINGING, SECOND, Blur, Order

_DECISIVE = ("av", "pillow", "numpy", "torch")
"""Packages whose release may change the frames: encoders, JPEG, random numbers, convolution."""


@dataclass(frozen=True, kw_only=True)
class RealWorld(Degradation):
    """A random degradation, drawn anew for every clip name.

    The same clip, name and packages give the same bytes on one machine. Another kind of processor may round
    differently, so a test set is degraded once and its frames are kept.

    Attributes:
        name, version: see `Degradation`.
        seed: of everything random, beside the clip's name.
        first, second: the two orders.
        methods: ways of the resize to the final size, and their probabilities.
        ringing: the last sinc filter.
        resize_last: probability that the final resize and sinc filter follow the last compression; else they come
            before it.
    """

    name: str = "realworld"
    version: int = 1
    seed: int = 0
    first: Order = FIRST
    second: Order = SECOND
    methods: Chances[Method] = METHODS
    ringing: Blur = RINGING
    resize_last: float = 0.5

    @property
    def identity(self) -> str:
        """Name, version, hash of all ranges, and the packages that decide the result, in one line."""
        packages = ", ".join(f"{name} {installed(name)}" for name in _DECISIVE)
        return (
            f"{self.name} v{self.version} (second-order blur, resize, noise, JPEG and video compression after "
            f"RealBasicVSR, drawn by clip name from seed {self.seed}, ranges {self.fingerprint}, {packages}, "
            "quantised to 8 bit)"
        )

    @property
    def fingerprint(self) -> str:
        """Twelve digits of the SHA-256 over all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def stream(self, frames: Iterable[Tensor], scale: float, clip: str = "") -> Iterator[Tensor]:
        """See `Degradation.stream`. The codecs look ahead, so some thirty frames are on their way at a time."""
        source = checked(frames)
        first = next(source, None)
        if first is None:
            return
        low = self.low_size(first.shape[1], first.shape[2], scale)
        area = first.shape[1] * first.shape[2]
        draws = Draws(self.seed, clip, f"v{self.version}")
        floats = (frame.cpu().double() / 255 for frame in chain((first,), source))
        for frame in self._degraded(floats, low, area, draws):
            yield quantise(frame[None])[0].to(first.device)

    def _degraded(
        self, frames: Iterator[Tensor], low: tuple[int, int], area: int, draws: Draws
    ) -> Iterator[Tensor]:
        first, second, last = draws.within("first"), draws.within("second"), draws.within("last")
        frames = _uncompressed(frames, self.first, first)
        frames = steps.compressed_video(frames, self.first.video, first.within("video"), area)
        frames = _uncompressed(frames, self.second, second)
        resize_last = last.happens("resize_last", self.resize_last)
        if resize_last:
            frames = steps.compressed_video(frames, self.second.video, second.within("video"), area)
        frames = steps.resized_to(frames, *low, self.methods, last.within("resize"))
        frames = steps.blurred(frames, self.ringing, last.within("ringing"))
        if not resize_last:
            frames = steps.compressed_video(frames, self.second.video, second.within("video"), area)
        return frames


def _uncompressed(frames: Iterator[Tensor], order: Order, draws: Draws) -> Iterator[Tensor]:
    """One order but for its video compression."""
    frames = steps.blurred(frames, order.blur, draws.within("blur"))
    frames = steps.resized(frames, order.resize, draws.within("resize"))
    frames = steps.noisy(frames, order.noise, draws.within("noise"))
    return steps.compressed_jpeg(frames, order.quality, draws.within("jpeg"))


realworld = RealWorld()
