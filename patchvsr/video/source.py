"""What is to be upscaled: a video, a folder of images or one image, read by slices of frames at full depth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.video.colour import Colour
from patchvsr.video.container import existing, frame_rate
from patchvsr.video.decoder import Decoder
from patchvsr.video.images import MORE_SUFFIXES, common_size, image_colour, images_in, listed, read_image_deep

Range = tuple[int | None, int | None]
"""First frame and the one after the last; None for the clip's own."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When the selected frames are shown.

    Attributes:
        pts: rising times in units of `time_base` seconds, in display order.
        time_base: the unit.
        end: when the last one ends.
    """

    pts: tuple[int, ...]
    time_base: Fraction
    end: int


class _Reader(Protocol):
    """Frames of a clip by index, `[H, W, 3]`, uint8 or uint16."""

    def read(self, start: int, stop: int) -> Iterator[np.ndarray]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a source tells about itself."""

    kind: Literal["video", "images", "image"]
    size: tuple[int, int]
    colour: Colour
    rate: Fraction | None = None
    sample_aspect: Fraction = Fraction(1)
    notes: tuple[str, ...] = ()
    side_data: dict[str, bytes]


class Source:
    """Frames of a clip on disk. See `open_source`.

    `source[a:b]` is float32 `[t, 3, H, W]`, RGB, 0..1. Slices that go forward decode each frame once, also where they
    overlap the slice before; others seek. No more than two slices are held.

    Attributes:
        path: as given.
        kind: `"video"`, `"images"` (a folder) or `"image"`.
        start: index in the file of the first selected frame.
        total: frames in the whole file.
        shape: `(T, 3, H, W)` of the selected frames, as displayed.
        colour: how the source codes colour.
        timing: of the selected frames; None for images.
        rate: average frames per second; None for images and where a video does not tell.
        sample_aspect: width of a pixel by its height, as displayed.
        notes: sentences about what a user may want to know, such as what is left out.
        side_data: static HDR metadata of a video's first frame, raw, by ffmpeg's names; empty if there is none.
    """

    def __init__(
        self, path: Path, reader: _Reader, facts: _Facts, total: int, frames: range, timing: Timing | None
    ) -> None:
        self.path, self.total, self.timing = path, total, timing
        self.kind, self.colour, self.rate = facts.kind, facts.colour, facts.rate
        self.sample_aspect, self.notes, self.side_data = facts.sample_aspect, facts.notes, facts.side_data
        self.start = frames.start
        self.shape = (len(frames), 3, *facts.size)
        self._reader = reader
        self._held: dict[int, np.ndarray] = {}  # frames of the last slice by their index in the file

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice) -> Tensor:
        """Selected frames as float32 `[t, 3, H, W]`, 0..1.

        Raises:
            UserError: a frame cannot be read.
        """
        if not isinstance(index, slice):
            raise TypeError("a source is read by slices, such as source[0:8]")
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("frames are read one after the other; the step of a slice must be 1")
        first, last = self.start + start, self.start + max(start, stop)
        out = torch.empty(last - first, *self.shape[1:])
        self._held = {i: frame for i, frame in self._held.items() if first <= i < last}
        wanted = [i for i in range(first, last) if i not in self._held]
        for run in _runs(wanted):
            for i, frame in zip(run, self._reader.read(run.start, run.stop), strict=True):
                self._held[i] = frame
        for i, target in zip(range(first, last), out, strict=True):
            pixels = self._held[i]
            target.copy_(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))
            target.div_(255 if pixels.dtype == np.uint8 else 65535)
        return out

    def close(self) -> None:
        """Close the file and forget its frames."""
        self._held = {}
        self._reader.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(path: Path | str, frames: Range = (None, None)) -> Source:
    """Open a video, a folder of images or an image.

    A video is read through once without decoding, for its times and to see that it is whole, and one frame is decoded.

    Args:
        path: a video file that ffmpeg reads; or png, jpg, webp, tiff or bmp images, of one size if in a folder.
        frames: half-open range of frames to select, counted in display order.

    Raises:
        UserError: the path is missing, unreadable, truncated, damaged or transparent, holds no frame, or not the range.
    """
    path = existing(path)
    if path.is_dir():
        return _image_source(path, "images", images_in(path, MORE_SUFFIXES), frames)
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} cannot be read: Permission denied")
    if path.suffix.lower() in MORE_SUFFIXES:
        return _image_source(path, "image", [path], frames)
    decoder = Decoder(path)
    try:
        return _video_source(path, decoder, frames)
    except BaseException:
        decoder.close()
        raise


class _Images:
    """Reads images of one size."""

    def __init__(self, folder: Path, files: list[Path], size: tuple[int, int]) -> None:
        self.folder, self.files, self.size = folder, files, size

    def read(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for file in self.files[start:stop]:
            pixels = read_image_deep(file)
            if pixels.shape[:2] != self.size:  # its header said something else
                sizes = listed({self.size[::-1], (pixels.shape[1], pixels.shape[0])})
                raise UserError(f"the images in {self.folder} have different sizes ({sizes}); a clip needs one size")
            yield pixels

    def close(self) -> None:
        pass


def _image_source(path: Path, kind: Literal["images", "image"], files: list[Path], frames: Range) -> Source:
    selected = _selected(path, len(files), frames)
    width, height = common_size(path, [files[i] for i in selected])
    first = read_image_deep(files[selected.start])
    facts = _Facts(kind=kind, size=(height, width), colour=image_colour(first), side_data={})
    return Source(path, _Images(path, files, (height, width)), facts, len(files), selected, None)


def _video_source(path: Path, decoder: Decoder, frames: Range) -> Source:
    total = len(decoder.index.pts)
    selected = _selected(path, total, frames)
    rate = frame_rate(decoder.stream)
    facts = _Facts(
        kind="video",
        size=decoder.size,
        colour=decoder.colour,
        rate=rate,
        sample_aspect=decoder.aspect,
        notes=tuple(_notes(path, decoder)),
        side_data=decoder.side_data,
    )
    time_base = Fraction(decoder.stream.time_base)
    pts = decoder.index.pts
    # A frame ends when the next is shown; only for the very last one its own duration is needed.
    end = pts[selected.stop] if selected.stop < total else pts[-1] + _last_duration(decoder, time_base, rate)
    timing = Timing(pts[selected.start : selected.stop], time_base, end)
    return Source(path, decoder, facts, total, selected, timing)


def _last_duration(decoder: Decoder, time_base: Fraction, rate: Fraction | None) -> int:
    """In units of the time base: to the stream's end, else the packet's, else the interval before, else the usual one.

    The stream's end comes first, because containers that store decoding times tell durations in decoding order.
    """
    index, stream = decoder.index, decoder.stream
    gaps = [after - before for before, after in pairwise(index.pts)]
    if stream.duration and stream.start_time is not None:
        left = int(stream.start_time + stream.duration - index.pts[-1])
        if 0 < left <= 2 * max(gaps, default=left):  # an edit list may end the stream elsewhere
            return left
    if index.last:
        return index.last
    return gaps[-1] if gaps else max(1, round(1 / (rate or 25) / time_base))


def _notes(path: Path, decoder: Decoder) -> Iterator[str]:
    streams: Any = decoder.stream.container.streams
    if decoder.interlaced:
        yield f"{path} is interlaced; its fields are upscaled as they lie in the frames, so deinterlace it first"
    if decoder.missing:
        yield (
            f"{path} starts amid a group of pictures: its first {decoder.missing} frames refer to frames that are not"
            " there, and are left out"
        )
    if decoder.index.made:
        yield f"{path} does not give each frame a time of its own; all are spaced evenly at its frame rate"
    others = len(streams.video) - 1
    if others:
        yield f"{path} has {others} more video streams or cover pictures, which are left out"
    if streams.data:
        yield f"{path} has data streams, which are left out"


def _selected(path: Path, total: int, frames: Range) -> range:
    start = 0 if frames[0] is None else frames[0]
    stop = total if frames[1] is None else frames[1]
    if not 0 <= start < stop <= total:
        asked = ":".join("" if end is None else str(end) for end in frames)
        raise UserError(f"frames {asked} of {path} cannot be selected; it has {total} frames, 0:{total}")
    return range(start, stop)


def _runs(indices: list[int]) -> Iterator[range]:
    """Rising integers as ranges without gaps."""
    start = 0
    for i in range(1, len(indices) + 1):
        if i == len(indices) or indices[i] != indices[i - 1] + 1:
            yield range(indices[start], indices[i - 1] + 1)
            start = i
