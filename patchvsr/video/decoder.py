"""Frames of a video by their index: forward one by one, else from the keyframe before."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from patchvsr.errors import UserError
from patchvsr.video.colour import Colour, colour_of, has_transparency
from patchvsr.video.container import displayed, index_of, main_video, opened, reason, siting, turned

_WORTH_SEEKING = 16
"""So many frames are decoded and dropped rather than sought past."""


class Decoder:
    """Decoded frames of one file.

    Attributes:
        index: its frames, but for those at the start that no decoder can give, since they refer to frames before it.
        missing: how many those are.
        colour: of the first frame.
        side_data: mastering display and content light level of the first frame, raw, by name.
        interlaced: whether the first frame is.
        size: height and width as displayed.
        aspect: width of a pixel by its height, as displayed.
        depth: 8, or 16 for deep video.

    Raises:
        UserError: the file cannot be read, is damaged, or has transparency.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = opened(path)
        try:
            self.index = index_of(path, self._container)
            self._reopen()
            self._look_at(self._peek())
        except BaseException:
            self.close()
            raise

    def read(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` of the file as displayed, `[H, W, 3]`, uint8 or uint16 as `depth` is.

        Raises:
            UserError: one cannot be decoded, or has another size than the first.
        """
        self._go_to(start)
        for position in range(start, stop):
            yield self._pixels(self._frame(position))

    def close(self) -> None:
        """Close the file."""
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._container.close()

    def _look_at(self, first: av.VideoFrame) -> None:
        """Learn from the first frame what holds for all."""
        if has_transparency(first):
            raise UserError(f"video {self.path} has transparency, which would be lost; flatten it first")
        self.missing = self._drop_leading(first)
        self.colour: Colour = colour_of(first)
        self.depth = 8 if self.colour.depth == 8 else 16
        self.side_data = _hdr_data(first)
        self.interlaced = first.interlaced_frame
        self._coded = (first.width, first.height)
        self._siting = siting(self.stream, first)
        height, width = self._pixels(first).shape[:2]
        self.size = (height, width)
        aspect = Fraction(self.stream.sample_aspect_ratio or 1)
        self.aspect = 1 / aspect if turned(np.empty((2, 1, 3)), first).shape[0] == 1 else aspect

    def _drop_leading(self, first: av.VideoFrame) -> int:
        """Leave out the frames before the first that decodes: at a cut their references are gone."""
        if not self.index.known or first.pts is None:
            return 0
        count = bisect_left(self.index.pts, first.pts)
        pts, keys = self.index.pts[count:], self.index.keys
        if not pts or pts[0] != first.pts:  # the decoder has times of its own
            self.index = replace(self.index, known=False)
            return 0
        self.index = replace(self.index, pts=pts, keys=tuple(key for key in keys if key.pts >= pts[0]))
        return count

    def _go_to(self, position: int) -> None:
        """Make `position` be decoded next, or soon."""
        pts, keys = self.index.pts, self.index.keys
        if self.index.known:
            last = bisect_left(keys, pts[position] + 1, key=lambda key: key.pts) - 1
            ahead = last >= 0 and bisect_left(pts, keys[last].pts) - self._next
            if position < self._next or ahead > _WORTH_SEEKING:
                self._seek(position, last)
        elif position < self._next:
            self._reopen()
        while self._next < position:
            self._frame(self._next)

    def _seek(self, position: int, last: int) -> None:
        """Start decoding at the last keyframe from which `position` comes out whole, else at the file's start."""
        pts = self.index.pts
        for key in reversed(self.index.keys[max(1, last - 2) : last + 1]):
            try:
                self._container.seek(key.seek, stream=self.stream)
                self._restart()
                # What precedes the keyframe in display order may lack its references, and come broken or not at all.
                for frame in self._frames:
                    if frame.pts is not None and frame.pts >= key.pts:
                        break
                else:
                    continue
            except (av.FFmpegError, OSError):
                continue
            self._next = bisect_left(pts, frame.pts)
            self._frames = chain([frame], self._frames)
            if self._next <= position and pts[self._next] == frame.pts and not frame.is_corrupt:
                return
        self._reopen()

    def _reopen(self) -> None:
        self._container.close()
        self._container = opened(self.path)
        self._restart()

    def _restart(self) -> None:
        """Decode from where the container stands, which counts as the first frame."""
        self.stream: Any = main_video(self._container)
        if not self.stream.codec_context.is_open:
            self.stream.thread_type = "AUTO"
        self._frames = self._container.decode(self.stream)
        self._next = 0

    def _peek(self) -> av.VideoFrame:
        try:
            frame = next(self._frames, None)
        except (av.FFmpegError, OSError) as error:
            raise UserError(f"video {self.path} cannot be decoded: {reason(error)}") from error
        if frame is None:
            raise UserError(f"video {self.path} holds no frame that can be decoded; get the whole file")
        self._frames = chain([frame], self._frames)
        return frame

    def _frame(self, position: int) -> av.VideoFrame:
        """The next frame, which must be the one of that position."""
        total = len(self.index.pts)
        seconds = float(self.index.pts[position] * self.stream.time_base)
        try:
            frame = next(self._frames, None)
        except (av.FFmpegError, OSError) as error:
            raise UserError(
                f"video {self.path} cannot be decoded at frame {position} ({seconds:.2f} s): {reason(error)}"
            ) from error
        if frame is None or (self.index.known and frame.pts != self.index.pts[position]):
            raise UserError(
                f"video {self.path} is damaged: of the {total} frames it holds, frame {position} ({seconds:.2f} s)"
                " cannot be decoded; get the whole file"
            )
        if frame.is_corrupt:
            raise UserError(f"video {self.path} is damaged at {seconds:.2f} s; get the whole file")
        self._next = position + 1
        return frame

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        if (frame.width, frame.height) != self._coded:
            sizes = f"{self._coded[0]}x{self._coded[1]}, {frame.width}x{frame.height}"
            raise UserError(f"the frames of {self.path} have different sizes ({sizes}); a clip needs one size")
        return displayed(frame, self.depth, self._siting)


def _hdr_data(frame: av.VideoFrame) -> dict[str, bytes]:
    """Static HDR metadata of a frame."""
    wanted = {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
    try:
        every: Any = frame.side_data
        return {data.type.name: bytes(data) for data in every if data.type.name in wanted}
    except ValueError:  # some other data of a kind that the bindings do not know
        return {}
