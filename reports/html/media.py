"""Pictures of a report: frames, previews and slices through time, made of PNG folders and of clips."""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from patchvsr.errors import UserError

PREVIEW = 240
"""Pixels along the longer side of a preview."""
POSITIONS = 5
"""Rows, and columns, that are prepared for looking at them over time."""
Pixels = np.ndarray
"""A frame, uint8 `[H, W, 3]`."""


def evenly(count: int, limit: int) -> list[int]:
    """At most `limit` indices out of `count`, the first and the last among them where there is more than one."""
    if count <= limit:
        return list(range(count))
    if limit == 1:
        return [0]
    return [round(i * (count - 1) / (limit - 1)) for i in range(limit)]


def link_or_copy(source: Path, target: Path) -> None:
    """The same file at another place, without its bytes twice where the file system can do that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_png(path: Path) -> Pixels:
    """A frame of a run.

    Raises:
        UserError: it cannot be read as an image, or is too large for one.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} cannot be read ({error})") from error


def write_png(pixels: Pixels, path: Path) -> None:
    """A frame, lossless."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def write_preview(pixels: Pixels, path: Path) -> tuple[int, int]:
    """A small lossy picture for lists; gives its width and height."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    ratio = min(1.0, PREVIEW / max(image.size))
    size = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize(size, Image.Resampling.BOX if ratio < 0.5 else Image.Resampling.BICUBIC).save(path, quality=80)
    return size


def positions(length: int) -> list[int]:
    """Where a side is cut for slices: evenly, without its ends, each place once."""
    return sorted({length * (i + 1) // (POSITIONS + 1) for i in range(POSITIONS)})


class Slices:
    """Collects the same rows and columns of each frame: pictures of position and time.

    Args:
        height, width: of the output; smaller frames (the input) are enlarged by repeating their pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._rows: list[Pixels] = []
        self._columns: list[Pixels] = []

    def add(self, frame: Pixels) -> None:
        """Take what is needed of the next frame."""
        down = np.arange(self.height) * frame.shape[0] // self.height
        across = np.arange(self.width) * frame.shape[1] // self.width
        self._rows.append(frame[down[positions(self.height)]][:, across])
        self._columns.append(frame[:, across[positions(self.width)]][down].swapaxes(0, 1))

    def write(self, rows: Path, columns: Path) -> None:
        """Two PNG, each with a block for each position, one below the other; in a block, time goes down."""
        for taken, path in ((self._rows, rows), (self._columns, columns)):
            blocks = np.stack(taken, axis=1)  # position, time, along, channel
            write_png(blocks.reshape(-1, *blocks.shape[2:]), path)


def take(frames: Iterable[Pixels], wanted: Sequence[int], slices: Slices | None, span: int) -> Iterator[Pixels]:
    """The wanted frames in order, while `slices` gets the first `span`; reads no further than needed."""
    chosen, last = set(wanted), max([*wanted, span - 1 if slices is not None else 0])
    for index, frame in enumerate(frames):
        if slices is not None and index < span:
            slices.add(frame)
        if index in chosen:
            yield frame
        if index >= last:
            return
