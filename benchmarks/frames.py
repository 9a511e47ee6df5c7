"""Clips as streams of 8-bit frames: what suites give, upscalers read by slices, and metrics read one at a time."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.video import iter_frames, probe


class Frames(Protocol):
    """uint8 RGB frames `[T, 3, H, W]` that are read in order: a tensor, or a clip that need not fit in memory."""

    @property
    def shape(self) -> Sequence[int]:
        """T, 3, H, W."""

    def __len__(self) -> int:
        """T."""

    def __iter__(self) -> Iterator[Tensor]:
        """Each frame in order, uint8 `[3, H, W]`, read when its turn comes."""


class ClipFrames:
    """A clip read anew each time it is iterated; nothing of it is held.

    Args:
        shape: T, H, W of the clip.
        read: gives its frames in order, uint8 `[3, H, W]`.
        what: the clip in words, for messages.
    """

    def __init__(self, shape: tuple[int, int, int], read: Callable[[], Iterator[Tensor]], what: str) -> None:
        count, height, width = shape
        self.shape = (count, 3, height, width)
        self.what = what
        self._read = read

    def __len__(self) -> int:
        """T."""
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Each frame in order.

        Raises:
            UserError: a frame cannot be read, or frames of another count or size come than the clip is said to have.
        """
        count = 0
        for frame in self._read():
            if tuple(frame.shape) != self.shape[1:] or frame.dtype != torch.uint8:
                raise UserError(
                    f"frame {count} of {self.what} is {_kind(frame)}, not 8-bit RGB of "
                    f"{self.shape[3]}x{self.shape[2]}; a clip needs one size"
                )
            count += 1
            if count > len(self):
                break
            yield frame
        if count != len(self):
            more = "more" if count > len(self) else f"only {count}"
            raise UserError(f"{self.what} gave {more} frames where {len(self)} belong; get the clip again")

    def read(self) -> Tensor:
        """All frames in memory, uint8 `[T, 3, H, W]`; errors as in iteration."""
        return whole(self)


def whole(frames: Frames) -> Tensor:
    """All frames in memory, uint8 `[T, 3, H, W]`, holding none of them twice."""
    if isinstance(frames, Tensor):
        return frames
    out = torch.empty(tuple(frames.shape), dtype=torch.uint8)
    for target, frame in zip(out, frames, strict=True):
        target.copy_(frame)
    return out


def stored(path: Path, start: int = 0, count: int | None = None) -> ClipFrames:
    """The frames of a video or of a folder of images, from `start` on; all of them, or the first `count`.

    Raises:
        UserError: the clip is missing, unreadable or has fewer frames than wanted.
    """
    info = probe(path)
    frames = info.frames - start if count is None else count
    if frames < 1 or start + frames > info.frames:
        raise UserError(f"{path} holds {info.frames} frames and {start + frames} are needed; ask for fewer frames")
    return ClipFrames((frames, info.height, info.width), lambda: iter_frames(path, start, frames), str(path))


class FloatFrames:
    """The same frames as float32 0..1, read by slices, as upscalers want them.

    Slices that go forward read each frame once, also where they overlap the slice before; others start again.
    """

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.shape = tuple(frames.shape)
        self._held: dict[int, Tensor] = {}
        self._next = 0
        self._stream: Iterator[Tensor] | None = None

    def __len__(self) -> int:
        """T."""
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Each frame in order, float32 `[3, H, W]`."""
        for frame in self.frames:
            yield frame.float().div_(255)

    def __getitem__(self, index: slice) -> Tensor:
        """The frames of a slice, float32 `[t, 3, H, W]`, 0..1."""
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("frames are read one after the other; the step of a slice must be 1")
        wanted = range(start, max(start, stop))
        self._held = {i: frame for i, frame in self._held.items() if i in wanted}
        for i in wanted:
            if i not in self._held:
                self._held[i] = self._advance_to(i)
        out = torch.empty(len(wanted), *self.shape[1:])
        for target, i in zip(out, wanted, strict=True):
            target.copy_(self._held[i])
        return out.div_(255)

    def _advance_to(self, index: int) -> Tensor:
        if self._stream is None or index < self._next:
            self._stream, self._next = iter(self.frames), 0
        while True:
            frame = next(self._stream)
            self._next += 1
            if self._next == index + 1:
                return frame


def _kind(frame: Tensor) -> str:
    size = f" of {frame.shape[-1]}x{frame.shape[-2]}" if frame.ndim == 3 else f" of shape {tuple(frame.shape)}"
    return str(frame.dtype).removeprefix("torch.") + size
