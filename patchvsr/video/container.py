"""Opening video files, and what they tell before a frame is decoded: count, times, keyframes, whether all is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition

from patchvsr.errors import UserError
from patchvsr.video.colour import siting_of, to_rgb

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".y4m", ".ts", ".mpg", ".mpeg", ".ogv"})
# Decoders that always say where chroma lies, so that what looks centred is meant to be.
_CENTRED = {"h264", "hevc", "mpeg1video", "mjpeg", "theora"}


@dataclass(frozen=True, slots=True)
class Key:
    """A place where decoding can start: the time of its first displayed frame, and the time to seek to."""

    pts: int
    seek: int


@dataclass(frozen=True, slots=True)
class Index:
    """The frames of a video that are displayed, in display order.

    Attributes:
        pts: their times, rising.
        made: whether these were made from the frame rate, since the file does not tell them all.
        known: whether decoded frames can be recognised by their times; else they can only be counted.
        keys: by rising time.
        last: duration of the last frame; None where the file does not say.
    """

    pts: tuple[int, ...]
    made: bool
    known: bool
    keys: tuple[Key, ...]
    last: int | None


def is_video(path: Path) -> bool:
    """Whether the name is a video file's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def existing(path: Path | str) -> Path:
    """The path.

    Raises:
        UserError: nothing is there.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    return path


def opened(path: Path) -> Any:
    """A container with a video stream that can be decoded and is not cut short.

    Raises:
        UserError: it is not.
    """
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path} is empty; get the whole file")
    try:
        container = av.open(f"file:{path}")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"video {path} cannot be read: {reason(error)}") from error
    try:
        _check(path, container)
    except BaseException:
        container.close()
        raise
    return container


def _check(path: Path, container: Any) -> None:
    if not _pictures(container):
        raise UserError(f"{path} holds no video")
    stream = main_video(container)
    if stream.codec_context is None:
        kind = _codec_name(container, stream.index)
        raise UserError(f"{path} holds video of a kind ({kind}) that has no decoder here; convert it to H.264")
    size = path.stat().st_size
    if any(entry.pos + entry.size > size for entry in stream.index_entries):
        raise UserError(f"video {path} is truncated: its index points beyond its end; get the whole file")


def _codec_name(container: Any, stream: int) -> str:
    """What a codec without decoder is called, or the four characters that the file has for it."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # else there is no summary; only it has the name
    try:
        summary = container.dumps_format()
    finally:
        av.logging.set_level(level)
    found = re.search(rf"Stream #0:{stream}\b.*: Video: (?:none \()?([^\s,()]+)", summary)
    return found[1] if found else "unknown"


def _pictures(container: Any) -> list[Any]:
    """The video streams that are not cover pictures."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def main_video(container: Any) -> Any:
    """The first video stream that is no cover picture."""
    return _pictures(container)[0]


def index_of(path: Path, container: Any) -> Index:
    """Read the whole container once, without decoding.

    Raises:
        UserError: it holds no frame, ends early or breaks off.
    """
    stream = main_video(container)
    shown: list[tuple[int | None, int, int, bool]] = []
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard and not _hidden(stream, packet):
                pts, dts = packet.pts, packet.dts
                shown.append((pts, (pts or 0) if dts is None else dts, packet.duration or 0, packet.is_keyframe))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"video {path} cannot be read after {len(shown)} frames: {reason(error)}") from error
    if not shown:
        raise UserError(f"{path} holds no frame")
    times = [pts for pts, *_ in shown if pts is not None]
    check_end(path, stream, max((float(pts * stream.time_base) for pts in times), default=0.0))
    if len(set(times)) < len(shown):
        return _counted(stream, len(shown))
    order = sorted((pts, dts, duration, key) for pts, dts, duration, key in shown if pts is not None)
    keys = tuple(Key(pts, min(pts, dts)) for pts, dts, _, key in order if key)
    # Some files (AVI) tell when frames are decoded, not when they are shown: no frame is told before its turn.
    known = not (stream.codec_context.has_b_frames and times == sorted(times))
    return Index(tuple(sorted(times)), False, known, keys, order[-1][2] or None)


def _hidden(stream: Any, packet: Any) -> bool:
    """Whether a packet is a VP8 frame that is only referred to: bit 4 of its first byte says if it is shown."""
    return stream.codec_context.name == "vp8" and not memoryview(packet)[0] >> 4 & 1


def _counted(stream: Any, frames: int) -> Index:
    """Times at the frame rate, for a file that lacks some or repeats them."""
    rate = frame_rate(stream) or Fraction(25)
    start = stream.start_time or 0
    pts = tuple(start + round(i / rate / stream.time_base) for i in range(frames + 1))
    return Index(pts[:-1], True, False, (), pts[-1] - pts[-2])


def frame_rate(stream: Any) -> Fraction | None:
    """Average frames per second, as far as the file tells."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return Fraction(rate) if rate else None


def check_end(path: Path, stream: Any, last: float) -> None:
    """Matroska files have no index of what is missing, but they state how long each stream is.

    Args:
        last: time of the last frame in seconds.

    Raises:
        UserError: it is well before the stated end.
    """
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None:
        return
    hours, minutes, seconds = (float(part) for part in match.groups())
    stated = 3600 * hours + 60 * minutes + seconds
    if stated - last > 0.25 + 2 / float(stream.average_rate or 25):
        raise UserError(f"video {path} is truncated: it ends at {last:.2f} s of {stated:.2f} s; get the whole file")


def displayed(frame: av.VideoFrame, depth: int, where: str) -> np.ndarray:
    """RGB `[H, W, 3]` of a decoded frame as it is to be shown: see `to_rgb`, and `turned`."""
    return turned(to_rgb(frame, depth, where), frame)


def turned(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Pixels `[H, W, 3]` turned and mirrored as the frame's display matrix says, to the nearest 90 degrees."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return pixels
    # x' = a x + c y and y' = b x + d y, both pointing right and down.
    (a, b), (c, d) = matrix[0, :2].tolist(), matrix[1, :2].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, (a, d) = pixels.transpose(1, 0, 2), (c, b)
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    try:
        every: Any = frame.side_data
        found = [data for data in every if data.type is SideDataType.DISPLAYMATRIX]
    except ValueError:  # some other data of a kind that the bindings do not know
        angle = np.deg2rad(frame.rotation)  # counterclockwise
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.frombuffer(found[0], np.int32).reshape(3, 3) if found else None


def siting(stream: Any, frame: av.VideoFrame) -> str:
    """Where chroma lies, in ffmpeg's names: left if nothing is stated, as in MPEG-2 and later."""
    found = siting_of(frame)
    if found is None:
        return "left"
    if found == "center" and stream.codec_context.name not in _CENTRED and not frame.format.name.startswith("yuvj"):
        return "left"
    return found


def reason(error: BaseException) -> str:
    """What an error says, in few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
