"""A clip as phones record them: turned by a flag, with sound, and frames that come at uneven times."""
from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

CLOCK = 90000
RATE = 44100


def uneven_times(seconds: float, rate: float = 30.0) -> list[int]:
    """Presentation times in ticks of 1/90000 s: frames drop out, and the others come a little early or late."""
    rng = np.random.default_rng(1)
    every = np.arange(0, seconds, 1 / rate)
    kept = every[(rng.random(len(every)) > 0.2) | (every == 0)]
    jitter = rng.uniform(-0.2, 0.2, len(kept)) / rate
    jitter[0] = 0
    return [int(time) for time in (kept + jitter) * CLOCK]


def moving_frames(count: int, width: int, height: int) -> Iterator[np.ndarray]:
    """A bright bar on top, a gradient below it, and a block that moves; uint8 `[H, W, 3]`."""
    y, x = np.mgrid[:height, :width]
    for index in range(count):
        frame = np.stack([255 * x / width, 255 * y / height, 128 + 60 * np.sin(x / 7 + index / 3)], axis=-1)
        left = index * max(width // 40, 1) % (width - width // 8)
        frame[height // 2 : height // 2 + height // 8, left : left + width // 8] = 255
        frame[: height // 10] = (250, 20, 20)
        yield frame.astype(np.uint8)


def record(
    path: Path,
    width: int,
    height: int,
    times: list[int],
    frames: Iterator[np.ndarray] | None = None,
    turned: bool = True,
    codec: str = "libx264",
    sound: str | None = "aac",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Write the clip as the sensor sees it, `width` x `height`; `turned` makes players show it 90 degrees clockwise."""
    seconds = times[-1] / CLOCK + 0.04
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=30, options={"crf": "18", "bf": "2"} | (options or {}))
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = Fraction(1, CLOCK)
        tracks = [_encoded_video(video, frames or moving_frames(len(times), width, height), times)]
        if sound:
            audio = container.add_stream(sound, rate=48000 if sound == "libopus" else RATE)
            audio.codec_context.layout = "mono"
            tracks.append(_encoded_sound(audio, seconds))
        for _, packet in heapq.merge(*tracks, key=lambda item: item[0]):
            container.mux(packet)
    if turned:
        _turn(path, height)
    return path


def _encoded_video(stream, frames, times):
    for array, time in zip(frames, times, strict=True):
        frame = av.VideoFrame.from_ndarray(array, format="rgb24")
        frame.pts, frame.time_base = time, Fraction(1, CLOCK)
        yield from ((float(p.dts * p.time_base), p) for p in stream.encode(frame))
    yield from ((float(p.dts * p.time_base), p) for p in stream.encode(None))


def _encoded_sound(stream, seconds):
    stream.codec_context.open(strict=False)
    rate, size = stream.codec_context.sample_rate, stream.codec_context.frame_size or 1024
    kind = "s16" if stream.codec_context.format.name == "s16" else "fltp"
    for start in range(0, int(seconds * rate), size):
        wave = 0.4 * np.sin(2 * np.pi * 440 * (start + np.arange(size)) / rate)
        samples = (wave * 32767).astype(np.int16) if kind == "s16" else wave.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None], format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield from ((float(p.dts * p.time_base), p) for p in stream.encode(frame))
    yield from ((float(p.dts * p.time_base), p) for p in stream.encode(None))


def _turn(path: Path, height: int) -> None:
    """Set the display matrix of the first track (ISO/IEC 14496-12, tkhd) to a quarter turn clockwise."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    struct.pack_into(">9i", data, at, 0, one, 0, -one, 0, 0, height * one, 0, 1 << 30)
    path.write_bytes(data)


@pytest.fixture
def phone(tmp_path: Path) -> Callable[..., Path]:
    """Records such a clip: `phone("a.mp4", width=128, height=72, seconds=2)`, further arguments as `record`."""

    def make(name: str = "phone.mp4", width: int = 64, height: int = 36, seconds: float = 1, **options) -> Path:
        return record(tmp_path / name, width, height, uneven_times(seconds), **options)

    return make
