"""Clips read into memory as uint8 RGB, from videos or folders of images: what benchmarks stand on.

YUV becomes RGB with the matrix and range that the file states (see `patchvsr.video.colour`). Code values are kept as
they are: no tone mapping, and more than 8 bit are rounded to 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.video.container import check_end, displayed, existing, main_video, opened, reason, siting
from patchvsr.video.images import common_size, images, images_in, listed


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What a clip on disk holds: its number of frames and their size in pixels, as displayed."""

    frames: int
    height: int
    width: int


def probe(path: Path | str) -> FrameInfo:
    """Number and size of a clip's frames, decoding no more than one of them.

    Raises:
        UserError: the path is missing, unreadable or truncated, or holds no frame.
    """
    path = existing(path)
    if path.is_dir():
        files = images_in(path)
        width, height = common_size(path, files)
        return FrameInfo(len(files), height, width)
    first = next(iter_frames(path))
    with opened(path) as container:
        stream = main_video(container)
        shown = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
    times = [float(pts * stream.time_base) for pts in shown if pts is not None]
    check_end(path, stream, max(times, default=0.0))
    return FrameInfo(len(shown), first.shape[1], first.shape[2])


def read_frames(path: Path | str, start: int = 0, frames: int | None = None) -> Tensor:
    """Read a video or a folder of images.

    Args:
        path: a video file, or a folder of png, jpg or webp images of one size in natural order.
        start: index of the first frame wanted.
        frames: how many are wanted; None for all from `start` on.

    Returns:
        uint8 `[T, 3, H, W]`, RGB, turned as the file's rotation flag says.

    Raises:
        UserError: the path is missing, unreadable or truncated, its images differ in size, or it holds fewer frames
            than wanted.
    """
    pieces: list[Tensor | None] = list(iter_frames(path, start, frames))
    first = pieces[0]
    assert first is not None
    out = torch.empty(len(pieces), *first.shape, dtype=torch.uint8)
    for index, piece in enumerate(pieces):
        assert piece is not None
        out[index] = piece
        pieces[index] = None  # the pages of `out` fill as the pieces go, so the clip is never held twice
    return out


def iter_frames(path: Path | str, start: int = 0, frames: int | None = None) -> Iterator[Tensor]:
    """As `read_frames`, one uint8 `[3, H, W]` at a time."""
    if start < 0 or (frames is not None and frames < 1):
        raise UserError(f"frames {start} to {start}+{frames} of {path} cannot be read; ask for at least one frame")
    path = existing(path)
    source = images(path) if path.is_dir() else _decoded(path)
    shape: tuple[int, ...] | None = None
    count = 0
    for index, frame in enumerate(source):
        if index < start:
            count = index + 1
            continue
        array = frame()
        if shape is not None and array.shape != shape:
            sizes = listed({(shape[1], shape[0]), (array.shape[1], array.shape[0])})
            raise UserError(f"the frames of {path} have different sizes ({sizes}); a clip needs one size")
        shape = array.shape
        yield torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
        count = index + 1
        if frames is not None and count == start + frames:
            return
    if count == 0:
        raise UserError(f"{path} holds no frame")
    if frames is not None or count <= start:
        wanted = start + (frames or 1)
        raise UserError(f"{path} holds {count} frames and {wanted} are needed; ask for fewer frames")


def _decoded(path: Path) -> Iterator[Any]:
    """One function per frame of a video that gives its RGB `[H, W, 3]`, in display order."""
    with opened(path) as container:
        stream = main_video(container)
        stream.thread_type = "AUTO"
        last = 0.0
        try:
            for frame in container.decode(stream):
                last = max(last, frame.time or 0.0)
                if frame.is_corrupt:
                    raise UserError(f"video {path} is damaged at {last:.2f} s; get the whole file")
                yield partial(displayed, frame, 8, siting(stream, frame))
        except (av.FFmpegError, OSError) as error:
            raise UserError(f"video {path} cannot be decoded after {last:.2f} s: {reason(error)}") from error
        check_end(path, stream, last)
