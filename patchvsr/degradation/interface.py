"""What every degradation offers: sizes, whole tensors, and streams that never hold a clip."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from patchvsr.degradation.pixels import quantise, to_float
from patchvsr.errors import UserError


class Degradation(ABC):
    """Makes low-resolution frames from high-resolution ones.

    A degradation may look at a clip as a whole and in order (a video codec does), so frames that belong together go
    through one call of `stream`, or of `__call__`.

    Attributes:
        name, version: the version is raised when the output of the same name changes.
    """

    name: str
    version: int

    @property
    @abstractmethod
    def identity(self) -> str:
        """Name, version and protocol in one line; equal identities, clips and clip names give equal frames."""

    @abstractmethod
    def stream(self, frames: Iterable[Tensor], scale: float, clip: str = "") -> Iterator[Tensor]:
        """Degrade a clip of any length, with no more than a few frames in memory.

        Args:
            frames: uint8 `[3, H, W]`, all of one size, in order.
            scale: how many times smaller the result is.
            clip: the clip's name, which seeds whatever is random.

        Yields:
            As many frames, uint8 `[3, h, w]`, in order, their size that of `low_size`.

        Raises:
            UserError: the scale and the size of the frames do not fit this degradation.
            ValueError: the frames are of another kind, or differ in size.
        """

    def low_size(self, height: int, width: int, scale: float) -> tuple[int, int]:
        """Height and width that frames of `height` and `width` pixels come out with.

        Raises:
            UserError: this degradation cannot make low-resolution frames of them.
        """
        return low_size(height, width, scale)

    def __call__(self, frames: Tensor, scale: float, clip: str = "") -> Tensor:
        """Degrade a clip in memory.

        Args:
            frames: `[T, 3, H, W]`, float, 0..1; what needs 8-bit input rounds them first.
            scale, clip: as for `stream`.

        Returns:
            `[T, 3, h, w]`, float32, values n / 255, on the device of `frames`.

        Raises:
            UserError: the scale and the size of the frames do not fit this degradation.
        """
        low = torch.stack(list(self.stream(quantise(frames), scale, clip)))
        return to_float(low)


class FrameDegradation(Degradation):
    """A degradation that treats every frame alone, and alike in every clip."""

    @abstractmethod
    def degraded(self, frame: Tensor, height: int, width: int) -> Tensor:
        """One frame `[3, H, W]` (float, 0..1) at `height` x `width`, not yet quantised."""

    def stream(self, frames: Iterable[Tensor], scale: float, clip: str = "") -> Iterator[Tensor]:
        """See `Degradation.stream`; one frame is in memory at a time."""
        for frame in checked(frames):
            yield self._one(to_float(frame), scale)

    def __call__(self, frames: Tensor, scale: float, clip: str = "") -> Tensor:
        """See `Degradation.__call__`; the input is not rounded."""
        return to_float(torch.stack([self._one(frame, scale) for frame in frames]))

    def _one(self, frame: Tensor, scale: float) -> Tensor:
        height, width = self.low_size(frame.shape[-2], frame.shape[-1], scale)
        return quantise(self.degraded(frame, height, width)[None])[0]


def checked(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Pass frames on.

    Raises:
        ValueError: one is not uint8 `[3, H, W]`, or differs from the first in size.
    """
    shape: torch.Size | None = None
    for index, frame in enumerate(frames):
        if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[0] != 3:
            raise ValueError(f"frame {index} must be uint8 [3, H, W], not {frame.dtype} {tuple(frame.shape)}")
        if frame.shape != (shape := shape or frame.shape):
            raise ValueError(f"frame {index} has the shape {tuple(frame.shape)}, the first {tuple(shape)}")
        yield frame


def low_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width of the low-resolution frame, rounded.

    Raises:
        UserError: the scale is under 1, or so large that nothing is left.
    """
    if not (math.isfinite(scale) and scale >= 1):
        raise UserError(f"scale {scale:g} is not possible; give a number of at least 1")
    low = round(height / scale), round(width / scale)
    if min(low) < 1:
        raise UserError(f"frames of {width}x{height} are too small to be degraded by scale {scale:g}")
    return low
