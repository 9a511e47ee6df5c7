"""One pass over a clip for all metrics: what belongs to one frame, read once, and what metrics share of it."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import ClassVar, Literal, TypeVar, cast

import torch
from torch import Tensor

from benchmarks.metrics.base import (
    Measurement,
    Metric,
    MetricUndefined,
    Sample,
    check_frames,
    mean_over_frames,
    need_target,
)
from patchvsr.errors import UserError

Made = TypeVar("Made")
Side = Literal["output", "target"]


class Instant:
    """One frame of the clip: output, ground truth and input, and whatever metrics have derived from them.

    Attributes:
        index: of the frame.
        output: uint8 `[3, H, W]`.
        target: the ground truth's frame, or None.
        lq: the input's frame, uint8 `[3, h, w]`.
        before: the frame before; None for the first. It has no `before` of its own.
    """

    def __init__(
        self, index: int, output: Tensor, target: Tensor | None, lq: Tensor, before: Instant | None = None
    ) -> None:
        self.index, self.output, self.target, self.lq, self.before = index, output, target, lq, before
        self._made: dict[str, object] = {}

    def side(self, side: Side) -> Tensor:
        """The output's frame or the ground truth's.

        Raises:
            MetricUndefined: there is no ground truth.
        """
        frame = self.output if side == "output" else self.target
        if frame is None:
            raise MetricUndefined("the clip has no ground truth")
        return frame

    def shared(self, key: str, make: Callable[[], Made]) -> Made:
        """What `make` gives, made once for all metrics that ask for `key` at this frame."""
        if key not in self._made:
            self._made[key] = make()
        return cast(Made, self._made[key])

    def retire(self, kept: frozenset[str]) -> None:
        """Become the frame before: only what is asked for again stays, since at 4K features take gigabytes."""
        self.before = None
        self._made = {key: made for key, made in self._made.items() if key.partition(" ")[0] in kept}


class Scoring(ABC):
    """A metric at work on one clip."""

    @abstractmethod
    def add(self, instant: Instant) -> None:
        """Take in the next frame.

        Raises:
            UserError, MetricUndefined: the clip cannot be scored; nothing more is asked of this scoring.
        """

    @abstractmethod
    def result(self) -> Measurement:
        """The measurement, after the last frame. Raises as `add`."""

    def close(self) -> None:  # noqa: B027  most scorings hold nothing but memory
        """Give back processes and files, whether the scoring came to its end or was given up."""


class StreamedMetric(Metric):
    """A metric that reads a clip once, a frame at a time.

    Attributes:
        keeps: first words of the keys whose shared results it asks for again at the next frame.
    """

    keeps: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def begin(self, sample: Sample) -> Scoring:
        """Check that the sample can be scored, by the shapes that it states, and start.

        Raises:
            UserError: counts or sizes that do not fit.
            MetricUndefined: the sample has no value of this metric.
        """

    def measure(self, sample: Sample) -> Measurement:
        """This metric alone, in a pass of its own."""
        scoring = self.begin(sample)
        with torch.inference_mode(), closing(scoring):
            for instant in instants(sample, self.keeps):
                scoring.add(instant)
            return scoring.result()


class FrameMetric(StreamedMetric):
    """A value for each frame; the clip's is their mean.

    Args:
        crop: pixels left out along each edge.
        frames: indices of the frames that count; None for all.
    """

    def __init__(self, crop: int = 0, frames: tuple[int, ...] | None = None) -> None:
        self.crop = crop
        self.selected = frames
        if frames is not None:
            self.frames = " ".join(map(str, frames))

    @property
    def shortest(self) -> int:
        """Up to the last selected frame."""
        return 1 if self.selected is None else max(self.selected) + 1

    def begin(self, sample: Sample) -> Scoring:
        """As every metric's; also refuses a clip that lacks a selected frame."""
        if self.needs_target:
            need_target(sample, self.id)
        if len(sample.output) < self.shortest:
            raise UserError(f"{self.id} scores frames {self.frames} and the clip has {len(sample.output)}")
        self.check(sample)
        return _Mean(self)

    def check(self, sample: Sample) -> None:  # noqa: B027  most metrics take any size
        """Refuse, by its shapes, a sample that has no value. Raises as `begin`."""

    @abstractmethod
    def value(self, instant: Instant) -> float:
        """The frame's value. Raises as `Scoring.add`."""


class PairMetric(FrameMetric):
    """A value for each frame but the first, of it and the frame before; the clip's is their mean."""

    frames = "all but the first, each with the one before"

    def __init__(self, crop: int = 0, frames: tuple[int, ...] | None = None) -> None:
        super().__init__(crop, frames)
        if frames is not None:
            self.frames += ", each with the one before"

    def begin(self, sample: Sample) -> Scoring:
        """As every metric's; also refuses clips of one frame, and to select the first frame."""
        if len(sample.output) < 2:
            raise MetricUndefined(f"{self.id} needs at least two frames, the clip has one")
        if self.selected is not None and min(self.selected) < 1:
            raise UserError(f"{self.id} compares frames with the one before, which frame 0 has not; select others")
        return super().begin(sample)


class _Mean(Scoring):
    def __init__(self, metric: FrameMetric) -> None:
        self._metric = metric
        self._first = 1 if isinstance(metric, PairMetric) else 0
        self._values: list[float] = []

    def add(self, instant: Instant) -> None:
        selected = self._metric.selected
        if instant.index >= self._first and (selected is None or instant.index in selected):
            self._values.append(self._metric.value(instant))

    def result(self) -> Measurement:
        return mean_over_frames(self._values)


def instants(sample: Sample, kept: frozenset[str] = frozenset()) -> Iterator[Instant]:
    """The sample's frames in order; output, ground truth and input are each read once.

    Args:
        sample: the clip.
        kept: first words of the keys whose shared results must outlive their frame by one.

    Raises:
        UserError: a frame cannot be read, or counts or sizes are not those that the sample states.
    """
    for frames, what in ((sample.output, "the output"), (sample.target, "the ground truth"), (sample.lq, "the input")):
        if frames is not None:
            check_frames(frames, what)
            if len(frames) != len(sample.output):
                raise UserError(
                    f"the output has {len(sample.output)} frames and {what} {len(frames)}; give clips that belong "
                    "together"
                )
    before: Instant | None = None
    targets = iter(sample.target) if sample.target is not None else None
    for index, (output, lq) in enumerate(zip(sample.output, sample.lq, strict=True)):
        instant = Instant(index, output, None if targets is None else next(targets), lq, before)
        yield instant
        instant.retire(kept)
        before = instant
    if targets is not None:
        next(targets, None)  # past the last frame: a stream that checks its count does so now
