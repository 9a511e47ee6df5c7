"""What a metric is: a number for one output, and an identity that says exactly how it was made."""
from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar, Literal

from torch import Tensor

from benchmarks.frames import Frames
from patchvsr import weights
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts

Direction = Literal["higher", "lower", "one"]


class MetricUndefined(UserError):
    """The metric has no value for this sample (no cuts, no ground truth, a flat picture): nobody's mistake."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One upscaled clip and what it is compared with; its frames are read in order, and need not fit in memory.

    Attributes:
        output: uint8 `[T, 3, H, W]`, RGB.
        target: the ground truth, like `output`; None where there is none.
        lq: the input, uint8 `[T, 3, h, w]`, RGB.
        scale: `H / h` before rounding.
        cuts: tile cuts of the output in pixels; untiled outputs are given the standard plan's.
        measured: what the run measured: `seconds`, `peak_host_mib`, `peak_device_mib`; of an external program,
            `program_seconds` and `program_peak_mib`.
    """

    output: Frames
    target: Frames | None
    lq: Frames
    scale: float
    cuts: Cuts | None
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A metric's value for a clip and, where frames have values of their own, one for each scored frame in order."""

    value: float
    per_frame: list[float] | None = None


class Metric(ABC):
    """Scores one sample. An instance is one protocol: everything that decides the number is in `identity()`.

    Most metrics look at a frame at a time and derive from `benchmarks.metrics.stream.StreamedMetric` or its
    `FrameMetric` and `PairMetric`: then all metrics of a run share one pass over the clip. One that cannot implements
    `measure`, and reads the sample's frames on its own.

    Attributes:
        id: the name in records.
        version: raised whenever the same sample would score differently.
        direction: which values are better; `one` means that 1 is best and both sides are worse.
        unit: of the value, empty for a plain ratio.
        colour: colour space and range of what is compared.
        crop: pixels left out along each edge.
        frames: which frames count.
        aggregation: how frames (and channels, lines) become the clip's value; suites take the mean over clips.
        backend: what computes it, with its version.
        source: the paper or definition followed.
        needs_target: whether it cannot score a clip without ground truth.
        packages: of the extra `bench` that it needs.
        fetches: names of the third-party weights it loads (`patchvsr weights`).
    """

    id: ClassVar[str]
    version: ClassVar[int] = 1
    direction: ClassVar[Direction] = "higher"
    unit: ClassVar[str] = ""
    colour: str = "RGB 0..255"
    crop: int = 0
    frames: str = "all"
    aggregation: ClassVar[str] = "mean over frames"
    source: ClassVar[str] = ""
    needs_target: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()
    fetches: ClassVar[tuple[str, ...]] = ()
    _last: tuple[weakref.ref[Sample], Measurement] | None = None

    @property
    def backend(self) -> str:
        """What computes the value, with its version; for own code that is the metric's, not the release's."""
        return ", ".join(installed(package) for package in self.packages) or "patchvsr"

    @property
    def shortest(self) -> int:
        """Frames that a clip must have by this protocol; a run refuses shorter ones before it starts."""
        return 1

    @property
    def higher_is_better(self) -> bool | None:
        """None where 1 is best."""
        return None if self.direction == "one" else self.direction == "higher"

    def identity(self) -> str:
        """One line that two values must share to be put in one column."""
        parts = [
            f"{self.id} v{self.version}",
            self.colour,
            f"crop {self.crop}",
            f"frames {self.frames}",
            f"{self.aggregation}; suite: mean over clips",
            self.backend + "".join(f" with {name} {_short_hash(name)}" for name in self.fetches),
            self.source,
        ]
        return " | ".join(part for part in parts if part)

    def available(self) -> str | None:
        """None if this metric can run here, else the one command that makes it run."""
        for package in self.packages:
            if (command := missing(package)) is not None:
                return command
        absent = [name for name in self.fetches if not weights.present(name)]
        return f"patchvsr weights fetch {' '.join(absent)}" if absent else None

    def prepare(self) -> None:  # noqa: B027  most metrics have nothing to prepare
        """Import and load what the metric needs, so that no item's time or memory pays for the first one scored.

        Raises:
            UserError: weights in the cache are damaged.
        """

    @abstractmethod
    def measure(self, sample: Sample) -> Measurement:
        """Work out the value; callers use `score` and `per_frame`.

        Raises:
            UserError: frame counts or sizes that do not fit.
            MetricUndefined: the sample has no value of this metric.
        """

    def score(self, sample: Sample) -> float:
        """The clip's value, never nan.

        Raises:
            UserError: frame counts or sizes that do not fit.
            MetricUndefined: the sample has no value of this metric.
        """
        return self._measured(sample).value

    def per_frame(self, sample: Sample) -> list[float] | None:
        """One value per scored frame in order, or None where frames have no values of their own; raises as `score`."""
        return self._measured(sample).per_frame

    def checked(self, found: Measurement) -> Measurement:
        """The measurement itself.

        Raises:
            MetricUndefined: its value is nan or infinite.
        """
        if not math.isfinite(found.value):
            raise MetricUndefined(f"{self.id} gave {found.value}, which is no number to record")
        return found

    def _measured(self, sample: Sample) -> Measurement:
        # `score` and `per_frame` of one sample are one measurement, which at 4K takes seconds.
        if self._last is None or self._last[0]() is not sample:
            check_frames(sample.output, "the output")
            self._last = weakref.ref(sample), self.checked(self.measure(sample))
        return self._last[1]


def _short_hash(name: str) -> str:
    return (weights.sha256_of(name) or "absent")[:12]


def mean_over_frames(values: list[float]) -> Measurement:
    """The plain mean, with the values kept."""
    return Measurement(math.fsum(values) / len(values), values)


def check_frames(frames: Frames, what: str) -> None:
    """Raise UserError unless `frames` is `[T, 3, H, W]` with at least one frame, and uint8 if it is a tensor."""
    shape = tuple(frames.shape)
    kind = str(frames.dtype).removeprefix("torch.") if isinstance(frames, Tensor) else "uint8"
    if len(shape) != 4 or shape[1] != 3 or 0 in shape or kind != "uint8":
        raise UserError(f"{what} must be 8-bit RGB frames [T, 3, H, W] with T >= 1, got {kind} {list(shape)}")


def need_target(sample: Sample, metric: str) -> Frames:
    """The ground truth, of exactly the output's frame count and size.

    Raises:
        MetricUndefined: there is none.
        UserError: counts or sizes differ; nothing is ever cropped, resized or left out to make them fit.
    """
    if sample.target is None:
        raise MetricUndefined(f"{metric} compares with a ground truth, and this clip has none")
    check_frames(sample.target, "the ground truth")
    if tuple(sample.output.shape) != tuple(sample.target.shape):
        raise UserError(
            f"{metric}: the output is {describe(sample.output)} and the ground truth {describe(sample.target)}; "
            "give outputs of the ground truth's frame count and size"
        )
    return sample.target


def need_lq(sample: Sample, metric: str) -> Frames:
    """The input, of the output's frame count and of the size that `scale` turns into the output's.

    Raises:
        UserError: counts or sizes do not fit.
    """
    check_frames(sample.lq, "the input")
    height, width = (round(side * sample.scale) for side in sample.lq.shape[-2:])
    if (sample.lq.shape[0], height, width) != (sample.output.shape[0], *sample.output.shape[-2:]):
        raise UserError(
            f"{metric}: the input is {describe(sample.lq)}, which at scale {sample.scale:g} does not give the output's "
            f"{describe(sample.output)}; give the input that the output was made from"
        )
    return sample.lq


def describe(frames: Frames) -> str:
    """`5 frames of 3840x2160`."""
    return f"{frames.shape[0]} frames of {frames.shape[-1]}x{frames.shape[-2]}"


def inside(frame: Tensor, crop: int) -> Tensor:
    """`[..., H, W]` without `crop` pixels along each edge.

    Raises:
        UserError: nothing would be left.
    """
    if crop == 0:
        return frame
    if min(frame.shape[-2:]) <= 2 * crop:
        raise UserError(f"a crop of {crop} leaves nothing of frames of {frame.shape[-1]}x{frame.shape[-2]}")
    return frame[..., crop:-crop, crop:-crop]


def installed(package: str) -> str:
    """`"pyiqa 0.1.16"`; `"pyiqa (not installed)"` where it is absent."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"


def missing(package: str) -> str | None:
    """None if `package` is installed, else the command that installs it."""
    absent = installed(package).endswith("(not installed)")
    return "python -m pip install 'patchvsr[bench]'" if absent else None
