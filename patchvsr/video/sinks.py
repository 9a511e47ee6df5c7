"""Where upscaled frames go: a video file, a folder of PNG images, or one image; complete or not there at all."""
from __future__ import annotations

import os
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path

import av
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.video.assemble import assemble
from patchvsr.video.colour import Colour
from patchvsr.video.encoders import Encoding, container_of
from patchvsr.video.images import save_png
from patchvsr.video.job import WorkFolder
from patchvsr.video.segments import SegmentWriter, quantised, write_error
from patchvsr.video.source import Source, Timing

SEGMENT = 48
"""Frames of a segment: what an interrupted job loses at most, and the longest distance between keyframes."""


class Sink(ABC):
    """Takes frames in order, and makes the output appear under its name when it is finished.

    Args:
        out: the output.
        work: its locked folder.
        frames: how many frames will have come in the end.

    Attributes:
        done: frames that need not come again, from an interrupted run; the first frame to write.
    """

    def __init__(self, out: Path, work: WorkFolder, frames: int) -> None:
        self.out, self.work, self.frames = out, work, frames
        self.done = 0

    @abstractmethod
    def write(self, frame: Tensor) -> None:
        """Take the next frame, `[3, H, W]`, float32, 0..1.

        Raises:
            UserError: it cannot be written.
        """

    @abstractmethod
    def finish(self) -> list[str]:
        """Give the output its name; sentences on what is not in it.

        Raises:
            UserError: it cannot be written, or frames are missing.
        """

    def abort(self) -> int:
        """Remove what is unfinished; how many frames a resumed run need not make again."""
        self.work.close(done=False)
        return self.done if self.work.resume else 0

    def _check_complete(self, written: int) -> None:
        if written != self.frames:
            raise UserError(f"{written} of {self.frames} frames came for {self.out}; nothing was written")

    def _publish(self, made: Path) -> None:
        """Rename what was made to the output's name; what was there under it is replaced."""
        try:
            if self.out.is_dir() and not self.out.is_symlink():
                old = self.work.path / "replaced"
                self.out.rename(old)
            os.replace(made, self.out)
        except OSError as error:
            raise write_error(self.out, error) from error
        self.work.close(done=True)


class VideoSink(Sink):
    """A video file with the source's times, sound and tags.

    Args:
        out, work: see `Sink`.
        source: the input.
        timing: of the output's frames.
        size: width and height.
        encoding: how to encode.
        colour: of the encoded signal.
        audio, subtitles: whether these are carried over.
    """

    def __init__(
        self,
        out: Path,
        work: WorkFolder,
        source: Source,
        timing: Timing,
        size: tuple[int, int],
        encoding: Encoding,
        colour: Colour,
        audio: bool,
        subtitles: bool,
    ) -> None:
        super().__init__(out, work, len(timing.pts))
        self.source, self.timing, self.size, self.encoding = source, timing, size, encoding
        self.colour, self.audio, self.subtitles = colour, audio, subtitles
        self._writer: SegmentWriter | None = None
        while self.done < self.frames and self._segment(self.done).is_file():
            self.done += self._length(self.done)

    def write(self, frame: Tensor) -> None:
        """See `Sink.write`."""
        if self._writer is None:
            self._writer = SegmentWriter(
                self._segment(self.done),
                self.encoding,
                self.colour,
                self.size,
                self.source.sample_aspect,
                self._length(self.done),
            )
        self._writer.write(frame)
        if self._writer.full:
            self._writer.finish()
            self.done += self._writer.frames
            self._writer = None

    def finish(self) -> list[str]:
        """See `Sink.finish`."""
        self._check_complete(self.done + (self._writer.frames if self._writer else 0))
        made = self.work.path / f"joined{self.out.suffix}"
        segments = [(self._segment(first), self._length(first)) for first in range(0, self.frames, SEGMENT)]
        source = self.source
        notes = assemble(
            segments,
            made,
            container_of(self.out),
            self.encoding,
            self.timing,
            source.path if source.kind == "video" else None,
            (source.start == 0, source.start + len(source) == source.total),
            self.audio,
            self.subtitles,
        )
        self._publish(made)
        return notes

    def abort(self) -> int:
        """See `Sink.abort`."""
        if self._writer is not None:
            self._writer.discard()
        return super().abort()

    def _segment(self, first: int) -> Path:
        return self.work.path / f"{first:08d}.mkv"

    def _length(self, first: int) -> int:
        return min(SEGMENT, self.frames - first)


class ImageSink(Sink):
    """PNG images: a folder of them, or one file where `out` ends with `.png`; 8 or 16 bits per channel."""

    def __init__(self, out: Path, work: WorkFolder, frames: int, depth: int) -> None:
        super().__init__(out, work, frames)
        self.depth = depth
        self._folder = work.path / "images"
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(out, error) from error
        while self._file(self.done).is_file():
            self.done += 1
        self.done = max(self.done - 1, 0)  # the last one may not have reached the disk

    def write(self, frame: Tensor) -> None:
        """See `Sink.write`."""
        part = self._folder / "next.part"
        try:
            part.write_bytes(b"")
            save_png(quantised(frame, self.depth), part)
            part.replace(self._file(self.done))
        except (av.FFmpegError, OSError) as error:
            raise write_error(self.out, error) from error
        self.done += 1

    def finish(self) -> list[str]:
        """See `Sink.finish`."""
        self._check_complete(self.done)
        self._publish(self._file(0) if self.out.suffix.lower() == ".png" else self._folder)
        return []

    def _file(self, index: int) -> Path:
        return self._folder / f"{index:08d}.png"


def image_timing(frames: int, rate: Fraction) -> Timing:
    """Times of frames that come at a constant rate."""
    return Timing(tuple(range(frames)), 1 / rate, frames)
