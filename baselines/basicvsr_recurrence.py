"""BasicVSR's walk over a clip in both directions, in memory that grows with the square root of the clip's length.

The first frame needs the backward feature that started at the last one, so the backward walk ends before the first
output. Its features are not all kept: the clip is cut into segments, one feature is kept where a segment ends, and the
features inside a segment are computed again when its outputs are due. What is computed again is the same operation on
the same numbers, so on a CPU the result is that of keeping everything, bit for bit.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.basicvsr_network import SCALE, BasicVSRNetwork
from baselines.networks import computed
from patchvsr.upscaler import Frames

SMALLEST = 64
"""Sides that the network was made for, at least; smaller frames are padded and the result cut."""

SEGMENT = 16
"""Features of so many frames take no more memory than one feature of one frame at four times the size, of which the
upsampling needs several at once. Shorter segments would save little and compute more."""


class Recurrence:
    """One clip, or the part of a clip that is walked as if nothing surrounded it.

    Args:
        network: on the device that is to compute, float32.
        frames: `[T, 3, H, W]`, of which about a segment is read at a time.
        start, stop: the frames walked.
        first: the first frame that is put out; those before it are walked only.
        segment: frames of a segment; 0 for 16, or the square root of the number of frames where that is more.
    """

    def __init__(
        self, network: BasicVSRNetwork, frames: Frames, start: int, stop: int, first: int, segment: int = 0
    ) -> None:
        self.network, self.frames = network, frames
        self.start, self.stop, self.first = start, stop, first
        self.segment = segment or max(SEGMENT, 1 + isqrt(max(stop - start - 1, 0)))
        self.starts = range(start, stop, self.segment)
        self.height, self.width = frames.shape[-2:]

    @property
    def kept(self) -> int:
        """The most features that are kept at once, between two steps of the walk, by the backward direction."""
        return ceil((self.stop - self.start) / self.segment) - 1 + min(self.segment, self.stop - self.start)

    def run(self, progress: Callable[[float], None]) -> Iterator[Tensor]:
        """The outputs `[1, 3, 4 H, 4 W]` in order, 0..1, on the CPU; `progress` is told the finished share of work."""
        output_from = self.starts[(self.first - self.start) // self.segment]
        again = self.stop - output_from
        total = (self.stop - self._end(output_from)) + again + (self.stop - self.start)
        finished = 0

        def tick() -> None:
            nonlocal finished
            finished += 1
            progress(finished / total)

        ends = self._sweep(output_from, tick)
        previous: Tensor | None = None
        forward: Tensor | None = None
        for start in self.starts:
            frames = self._read(start, self._end(start))
            backward: list[Tensor] = []
            if start >= output_from:
                for feature in self._backward(start, ends.pop(start)):
                    backward.append(feature)
                    tick()
            for index, frame in enumerate(frames.split(1), start):
                forward = computed(self.network.forward_step, frame, previous, forward)
                previous = frame
                if backward:
                    feature = backward.pop()  # They were made from the end, so the last one is of this frame.
                    if index >= self.first:
                        yield self._output(computed(self.network.reconstruct, frame, feature, forward))
                tick()

    def _sweep(self, output_from: int, tick: Callable[[], None]) -> dict[int, Tensor | None]:
        """For each segment from `output_from` on, the backward feature of the frame that follows it."""
        ends: dict[int, Tensor | None] = {}
        feature: Tensor | None = None
        for start in reversed(self.starts):
            ends[start] = feature
            if start == output_from:  # Computed in full when it is due, which is at once.
                break
            for carried in self._backward(start, feature):
                feature = carried
                tick()
        return ends

    def _backward(self, start: int, feature: Tensor | None) -> Iterator[Tensor]:
        """The backward features of the segment at `start`, from its last frame to its first."""
        stop = self._end(start)
        frames = self._read(start, min(stop + 1, self.stop)).split(1)
        for index in reversed(range(stop - start)):
            following = frames[index + 1] if index + 1 < len(frames) else None
            feature = computed(self.network.backward_step, frames[index], following, feature)
            yield feature

    def _end(self, start: int) -> int:
        return min(start + self.segment, self.stop)

    def _read(self, start: int, stop: int) -> Tensor:
        """Frames on the network's device, padded to the smallest size it takes by repeating their border."""
        device = self.network.fusion.weight.device
        frames = self.frames[start:stop].to(device, torch.float32)
        right, below = max(SMALLEST - self.width, 0), max(SMALLEST - self.height, 0)
        return F.pad(frames, (0, right, 0, below), mode="replicate") if right or below else frames

    def _output(self, frame: Tensor) -> Tensor:
        return frame[..., : SCALE * self.height, : SCALE * self.width].clamp(0.0, 1.0).cpu()
