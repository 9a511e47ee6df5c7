"""What lossy video compression does to frames: an encoder and a decoder back to back, without a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np

from patchvsr.errors import UserError, nearest
from patchvsr.video.colour import Colour, from_rgb, to_rgb

_B_FRAMES = 3
_LOOKAHEAD = 5  # frames that an encoder may hold to plan ahead; by default 20 and 40, and more than the B-frames
_SMALLEST = 64  # smaller pictures are padded: encoders are little tried on them
_BT601 = Colour(6, 6, 6, False, 8)


@dataclass(frozen=True, slots=True)
class _Codec:
    decoder: str
    options: dict[str, str]


# The same frames must give the same bits, so each has one thread, and goes without what reads memory that it has not
# written (seen in x264 core 165 and x265 4.2, by valgrind and by repeating): the macroblock tree of both, which in x265
# also writes past its arrays, and in x265 coding tree units as wide as the picture.
CODECS = {
    "libx264": _Codec(
        "h264",
        {
            "x264-params": f"threads=1:lookahead-threads=1:sync-lookahead=0:mbtree=0:bframes={_B_FRAMES}"
            f":rc-lookahead={_LOOKAHEAD}"
        },
    ),
    "libx265": _Codec(
        "hevc",
        {
            "x265-params": f"log-level=none:pools=none:frame-threads=1:wpp=0:cutree=0:ctu=32:bframes={_B_FRAMES}"
            f":rc-lookahead={_LOOKAHEAD}"
        },
    ),
    "mpeg4": _Codec("mpeg4", {}),
}


def compressed(
    frames: Iterable[np.ndarray], codec: str, bit_rate: int, rate: Fraction | int = 25
) -> Iterator[np.ndarray]:
    """Encode and decode a stream of frames; bytes repeat from run to run.

    No more than about fifteen frames are under way at a time. Colours go through 4:2:0 of BT.601, limited range.
    Sizes that the encoder cannot take are padded with their outermost pixels, which are cut off again.

    Args:
        frames: uint8 RGB `[H, W, 3]`, all of one size, in order.
        codec: `libx264` (H.264), `libx265` (HEVC) or `mpeg4` (MPEG-4 Part 2).
        bit_rate: average that the encoder aims at, in bits per second; x264 and x265 need 1000 or more.
        rate: frames per second.

    Yields:
        As many frames, of the same size, in order.

    Raises:
        UserError: the codec is unknown, or not in the installed PyAV.
        ValueError: frames differ in size.
        RuntimeError: the decoder gave another number of frames than the encoder took.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        return
    height, width = first.shape[:2]
    encoder, decoder = _pair(codec, _padded(first), bit_rate, Fraction(rate))
    taken, given = 0, 0

    def pictures() -> Iterator[av.VideoFrame | None]:
        nonlocal taken
        for array in chain((first,), source):
            if array.shape != first.shape:
                raise ValueError(f"frame {taken} has the shape {array.shape}, the first {first.shape}")
            picture = from_rgb(_padded(array), "yuv420p", _BT601)
            picture.pts, picture.time_base = taken, encoder.time_base
            taken += 1
            yield picture
        yield None

    for decoded in _decoded(encoder, decoder, pictures()):
        decoded.colorspace, decoded.color_range = _BT601.matrix, 1
        given += 1
        yield to_rgb(decoded, 8, "left")[:height, :width]
    if given != taken:
        raise RuntimeError(f"the decoder of {codec} gave {given} frames for {taken}")


def _decoded(encoder: Any, decoder: Any, pictures: Iterator[av.VideoFrame | None]) -> Iterator[av.VideoFrame]:
    """What comes out for the pictures; the last one is None, which flushes both."""
    for picture in pictures:
        for packet in encoder.encode(picture):
            yield from decoder.decode(packet)
    yield from decoder.decode(None)


def _pair(codec: str, like: np.ndarray, bit_rate: int, rate: Fraction) -> tuple[Any, Any]:
    """An encoder for frames of the size of `like`, and its decoder."""
    if codec not in CODECS:
        raise UserError(f"unknown codec '{codec}' for video compression{nearest(codec, CODECS)}")
    try:
        encoder: Any = av.CodecContext.create(codec, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise UserError(
            f"the installed PyAV has no encoder '{codec}', which the video compression needs; install its wheel with: "
            "pip install --only-binary av av"
        ) from error
    encoder.height, encoder.width = like.shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base, encoder.framerate = 1 / rate, rate
    encoder.bit_rate = bit_rate
    encoder.options = CODECS[codec].options
    decoder: Any = av.CodecContext.create(CODECS[codec].decoder, "r")
    encoder.thread_count = decoder.thread_count = 1
    return encoder, decoder


def _padded(array: np.ndarray) -> np.ndarray:
    """Even sides of at least `_SMALLEST` pixels."""
    add = [(0, max(_SMALLEST, size + size % 2) - size) for size in array.shape[:2]]
    return np.pad(array, [*add, (0, 0)], mode="edge")
