"""Reading videos and folders of images, and writing lossless folders of images.

Frames are uint8 RGB here. Videos are read with PyAV; YUV becomes RGB with the matrix and range that the file states.
A file that states no matrix is taken as BT.709 from 720 lines or 1280 columns on and as BT.601 below, as players do.
Code values are kept as they are: no tone mapping, and more than 8 bit are rounded to 8.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image, ImageOps
from torch import Tensor

from patchvsr.errors import UserError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".y4m", ".ts", ".mpg", ".mpeg", ".ogv"})
_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601,
             7: Colorspace.SMPTE240M, 9: Colorspace.BT2020}  # fmt: skip
_UNSPECIFIED, _RGB = 2, 0
_SCALER = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What a clip on disk holds: its number of frames and their size in pixels, as displayed."""

    frames: int
    height: int
    width: int


def is_video(path: Path) -> bool:
    """Whether the name is a video file's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def image_files(folder: Path) -> list[Path]:
    """The png, jpg and webp files of a folder in natural order (`2.png` before `10.png`); hidden ones are left out."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    return sorted(files, key=lambda p: [int(t) if t.isdigit() else t.lower() for t in re.split(r"(\d+)", p.name)])


def probe(path: Path | str) -> FrameInfo:
    """Number and size of a clip's frames, decoding no more than one of them.

    Raises:
        UserError: the path is missing, unreadable or truncated, or holds no frame.
    """
    path = _existing(path)
    if path.is_dir():
        files = _images_in(path)
        sizes = {_image_size(file) for file in files}
        if len(sizes) > 1:
            raise UserError(f"the images in {path} have different sizes ({_listed(sizes)}); a clip needs one size")
        width, height = sizes.pop()
        return FrameInfo(len(files), height, width)
    first = next(iter_frames(path))
    with _opened(path) as container:
        stream = container.streams.video[0]
        shown = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
    times = [float(pts * stream.time_base) for pts in shown if pts is not None]
    _check_end(path, stream, max(times, default=0.0))
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
    path = _existing(path)
    source = _images(path) if path.is_dir() else _decoded(path)
    shape: tuple[int, ...] | None = None
    count = 0
    for index, frame in enumerate(source):
        if index < start:
            count = index + 1
            continue
        array = frame() if callable(frame) else frame
        if shape is not None and array.shape != shape:
            sizes = _listed({(shape[1], shape[0]), (array.shape[1], array.shape[0])})
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


def frames_sha256(frames: Tensor) -> str:
    """SHA-256 of a size header and the raw RGB bytes of uint8 frames `[T, 3, H, W]`."""
    digest = _FrameHash()
    for frame in frames:
        digest.update(_rgb(frame))
    return digest.hexdigest()


def write_png_folder(frames: Tensor, folder: Path | str) -> str:
    """Write uint8 frames `[T, 3, H, W]` as `00000000.png` and so on, all or none; returns their `frames_sha256`."""
    with FrameWriter(folder) as writer:
        writer.write(frames)
    return writer.sha256


class FrameWriter:
    """Writes a clip chunk by chunk to a folder of PNG files that appears, complete, when the `with` block ends well.

    Until then the files are in a hidden folder beside it, which is removed if the block raises. A folder of the same
    name is replaced at the end.

    Attributes:
        frames: frames written so far.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.frames = 0
        self._part = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.part")
        self._hash = _FrameHash()

    @property
    def sha256(self) -> str:
        """`frames_sha256` of everything written so far."""
        return self._hash.hexdigest()

    def __enter__(self) -> FrameWriter:
        shutil.rmtree(self._part, ignore_errors=True)
        try:
            self._part.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written: {error.strerror}") from error
        return self

    def write(self, chunk: Tensor) -> None:
        """Append uint8 frames `[t, 3, H, W]`, of the size of the first."""
        if chunk.dtype != torch.uint8 or chunk.ndim != 4 or chunk.shape[1] != 3:
            raise ValueError(f"frames must be uint8 [t, 3, H, W], not {chunk.dtype} {tuple(chunk.shape)}")
        for frame in chunk:
            array = _rgb(frame)
            self._hash.update(array)
            Image.fromarray(array).save(self._part / f"{self.frames:08d}.png", compress_level=1)
            self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def _commit(self) -> None:
        if self.frames == 0:
            raise UserError(f"no frame was written to {self.folder}")
        old = self._part.with_suffix(".old")
        if self.folder.exists():
            self.folder.rename(old)
        self._part.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)


class _FrameHash:
    """SHA-256 over `rgb24 WIDTHxHEIGHT` and the bytes of frames of one size."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._shape: tuple[int, ...] | None = None

    def update(self, array: np.ndarray) -> None:
        if self._shape is None:
            self._shape = array.shape
            self._digest.update(f"rgb24 {array.shape[1]}x{array.shape[0]}\n".encode())
        if array.shape != self._shape:
            raise ValueError(f"a frame of {array.shape} follows frames of {self._shape}")
        self._digest.update(array.data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _rgb(frame: Tensor) -> np.ndarray:
    return np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    return path


def _listed(sizes: set[tuple[int, int]]) -> str:
    return ", ".join(f"{width}x{height}" for width, height in sorted(sizes))


def _images_in(folder: Path) -> list[Path]:
    files = image_files(folder)
    if not files:
        raise UserError(f"{folder} holds no png, jpg or webp image")
    return files


def _image_size(file: Path) -> tuple[int, int]:
    """Width and height as displayed, from the header."""
    try:
        with Image.open(file) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else (image.width, image.height)
    except (OSError, SyntaxError) as error:
        raise UserError(f"image {file} cannot be read: {error}") from error


def _images(folder: Path) -> Iterator[Any]:
    """One function per image, so that skipped ones are not decoded."""
    for file in _images_in(folder):
        yield lambda file=file: _read_image(file)


def _read_image(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"image {file} has more than 8 bit per channel; convert it to 8 bit")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise UserError(f"image {file} cannot be read: {error}") from error


def _opened(path: Path) -> Any:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"video {path} cannot be read: {_reason(error)}") from error
    if not container.streams.video:
        container.close()
        raise UserError(f"{path} holds no video")
    entries = container.streams.video[0].index_entries
    size = path.stat().st_size
    if any(entry.pos + entry.size > size for entry in entries):
        container.close()
        raise UserError(f"video {path} is truncated: its index points beyond its end; get the whole file")
    return container


def _decoded(path: Path) -> Iterator[np.ndarray]:
    """RGB arrays `[H, W, 3]` of a video, in display order."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        last = 0.0
        try:
            for frame in container.decode(stream):
                last = max(last, frame.time or 0.0)
                if frame.is_corrupt:
                    raise UserError(f"video {path} is damaged at {last:.2f} s; get the whole file")
                yield _to_rgb(frame)
        except (av.FFmpegError, OSError) as error:
            raise UserError(f"video {path} cannot be decoded after {last:.2f} s: {_reason(error)}") from error
        _check_end(path, stream, last)


def _check_end(path: Path, stream: Any, last: float) -> None:
    """Matroska files have no index of what is missing, but they state how long each stream is."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None:
        return
    hours, minutes, seconds = (float(part) for part in match.groups())
    stated = 3600 * hours + 60 * minutes + seconds
    if stated - last > 0.25 + 2 / float(stream.average_rate or 25):
        raise UserError(f"video {path} is truncated: it ends at {last:.2f} s of {stated:.2f} s; get the whole file")


def _to_rgb(frame: av.VideoFrame) -> np.ndarray:
    """RGB of a decoded frame through its own matrix and range, turned as its rotation flag says."""
    code = int(frame.colorspace)
    if code == _UNSPECIFIED:
        matrix = Colorspace.ITU709 if frame.height >= 720 or frame.width >= 1280 else Colorspace.ITU601
    elif code in _MATRICES or code == _RGB:
        matrix = _MATRICES.get(code, Colorspace.ITU709)
    else:
        raise UserError(f"the video's colour matrix (code {code}) is not supported; convert it to BT.709")
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=matrix,
        src_color_range=ColorRange.JPEG if full or frame.format.is_rgb else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_SCALER,
        threads=1,
    )
    # Positive angles are counterclockwise, as np.rot90's.
    return np.rot90(rgb.to_ndarray(), round(frame.rotation / 90) % 4)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
