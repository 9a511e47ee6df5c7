"""Encoded pieces of a video: each a Matroska file of its own, so that a long job can be stopped and gone on with.

A segment keeps no times, only the index of every frame in display order, as milliseconds; the times are the source's
and are put back when the segments are joined. The encoder sees frames at a constant rate too, so that a frame's quality
does not depend on how long it is shown. Its bytes may differ from run to run: those of x264 do so for upright pictures
(its macroblock tree), on the same frames.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from torch import Tensor

from patchvsr.degradation import quantise
from patchvsr.errors import UserError
from patchvsr.video.colour import Colour, from_rgb
from patchvsr.video.container import reason
from patchvsr.video.encoders import Encoding

TICK = Fraction(1, 1000)
"""Matroska's own unit of time; one of these per frame."""

_LEAD = 64
"""Added to every index: decoding times must rise, come before presentation times, and not be negative."""

# SVT-AV1 reads it when its library starts: errors only.
os.environ.setdefault("SVT_LOG", "1")


class SegmentWriter:
    """Encodes frames to a file that appears, complete and flushed to disk, when it is finished.

    Args:
        path: of the segment.
        encoding: codec, depth and quality.
        colour: matrix, primaries, transfer and range of the encoded signal.
        size: width and height.
        aspect: sample aspect ratio.
        length: how many frames will come.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        colour: Colour,
        size: tuple[int, int],
        aspect: Fraction,
        length: int,
    ) -> None:
        self.path, self.encoding, self.colour = path, encoding, colour
        self._part = path.with_suffix(".part")
        self._unit, self._length = 1 / encoding.rate, length
        self.frames = self._muxed = 0
        try:
            self._container = av.open(str(self._part), "w", format="matroska")
            self._stream = self._open_stream(size, aspect)
        except (av.FFmpegError, OSError, ValueError) as error:
            self.discard()
            raise write_error(path, error, f"the {encoding.codec} encoder refuses {size[0]}x{size[1]}") from error

    def _open_stream(self, size: tuple[int, int], aspect: Fraction) -> Any:
        encoder = self.encoding.encoder
        options = self.encoding.options(*size)
        stream = self._container.add_stream(encoder.library, rate=self.encoding.rate, options=options)
        context: Any = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = encoder.formats[self.encoding.depth]
        context.time_base = self._unit
        context.sample_aspect_ratio = aspect
        context.color_range = 2 if self.colour.full_range or self.colour.matrix == 0 else 1
        context.colorspace = self.colour.matrix
        context.color_primaries, context.color_trc = self.colour.primaries, self.colour.transfer
        context.open(strict=False)
        unused = set(options) & set(context.options)
        if unused:
            raise ValueError(f"it knows no option {', '.join(sorted(unused))}")
        return stream

    @property
    def full(self) -> bool:
        """Whether every frame has come."""
        return self.frames == self._length

    def write(self, frame: Tensor) -> None:
        """Encode one frame `[3, H, W]`, float32, 0..1.

        Raises:
            UserError: the disk is full or the encoder fails.
        """
        picture = from_rgb(quantised(frame, self.encoding.depth), self._stream.codec_context.pix_fmt, self.colour)
        picture.pts, picture.time_base = self.frames, self._unit
        self.frames += 1
        self._mux(picture)

    def finish(self) -> None:
        """Write what the encoder still holds, and give the file its name."""
        self._mux(None)
        try:
            self._container.close()
            with open(self._part, "rb") as file:
                os.fsync(file.fileno())
            self._part.replace(self.path)
        except (av.FFmpegError, OSError) as error:
            raise write_error(self.path, error) from error

    def discard(self) -> None:
        """Remove the unfinished file."""
        try:
            if hasattr(self, "_container"):
                self._container.close()
        except (av.FFmpegError, OSError, ValueError):
            pass  # it is thrown away
        self._part.unlink(missing_ok=True)

    def _mux(self, picture: av.VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(picture):
                index = round(packet.pts * Fraction(packet.time_base) / self._unit)
                # Matroska keeps only presentation times; any rising decoding times will do here.
                packet.time_base, packet.pts, packet.dts, packet.duration = TICK, index + _LEAD, self._muxed, 1
                self._muxed += 1
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise write_error(self.path, error) from error


def quantised(frame: Tensor, depth: int) -> np.ndarray:
    """`[3, H, W]`, 0..1, as `[H, W, 3]`, a view of planes: uint8 for a depth of 8, else uint16 over its whole range.

    Raises:
        UserError: a value is not a finite number.
    """
    return quantise(frame[None], 8 if depth == 8 else 16)[0].numpy().transpose(1, 2, 0)


def packets(path: Path, frames: int) -> Iterator[Any]:
    """The packets of a segment in coding order; `pts` is the index of the frame in the segment.

    Raises:
        UserError: the segment does not hold `frames` frames.
    """
    count = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.size:
                    assert packet.pts is not None and stream.time_base is not None
                    packet.pts = round(packet.pts * Fraction(stream.time_base) / TICK) - _LEAD
                    count += 1
                    yield packet
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"the segment {path} cannot be read: {reason(error)}; start again without --resume") from error
    if count != frames:
        raise UserError(f"the segment {path} holds {count} frames, not {frames}; start again without --resume")


def write_error(path: Path, error: BaseException, fallback: str | None = None) -> UserError:
    """A sentence for a failure to write; `fallback` is said where the system gives no reason of its own."""
    number = getattr(error, "errno", None)
    if number in _NO_ROOM:
        return UserError(f"{path.parent} has no room left for the output; free some, or write to another disk")
    if fallback is not None and (number is None or number == 22 or number > 4096):
        return UserError(f"{fallback} ({reason(error)}); try another --codec or a folder of PNG images")
    return UserError(f"{path} cannot be written: {reason(error)}")


_NO_ROOM = (27, 28, 122)  # file too large, no space left, disk quota exceeded
