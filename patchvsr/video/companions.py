"""What goes with the picture: sound, subtitles, chapters and tags, carried from the input file to the output file."""
from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from patchvsr.errors import UserError
from patchvsr.video.encoders import ContainerFormat

Timed = tuple[Fraction, int, Any]
"""A packet with its decoding time in seconds and a number that keeps the order of equal times."""

# What describes the input's own encoding or container, and is no longer true of the output's.
_STALE_TAGS = (
    "encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate", "bps", "number_of_",
    "_statistics", "handler_name", "vendor_id", "timecode",
)  # fmt: skip


_TEXT = ("srt", "subrip", "mov_text", "webvtt", "ass", "ssa", "text")


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the input's time that is wanted, in seconds: from `start` (shown at 0) to before `end`.

    None at an end means that nothing is cut off there; `shift` is subtracted from every time.
    """

    start: Fraction | None
    end: Fraction | None
    shift: Fraction

    def holds(self, time: Fraction) -> bool:
        """Whether what begins at `time` is wanted."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


class Companions:
    """The streams of an open input that go into an open output beside its video.

    Args:
        source: the input.
        target: the output, its video stream already added.
        container: what kind of file the output is.
        window: the wanted part.
        audio, subtitles: False leaves these behind.

    Attributes:
        notes: sentences on what is not carried over unchanged.

    Raises:
        UserError: subtitles that such a file cannot hold.
    """

    def __init__(
        self, source: Any, target: Any, container: ContainerFormat, window: Window, audio: bool, subtitles: bool
    ) -> None:
        self.source, self.target, self.container, self.window = source, target, container, window
        self.notes: list[str] = []
        self._tracks: dict[int, Callable[[Any], Iterator[Any]]] = {}
        self._coders: list[_AudioCoder] = []
        for stream in source.streams:
            if stream.type == "audio":
                if audio:
                    self._add_audio(stream)
            elif stream.type == "subtitle":
                if subtitles:
                    self._add_subtitle(stream)
            elif stream.type == "attachment" and container.muxer == "matroska":
                _copy_tags(stream, target.add_stream_from_template(stream))
            elif stream.type not in ("video", "data"):  # which the source has told of
                self.notes.append(f"stream {stream.index} ({stream.type}) is not carried over")
        target.metadata.update(fresh_tags(source.metadata))
        self._set_chapters()

    @property
    def carried(self) -> bool:
        """Whether there is any packet to carry."""
        return bool(self._tracks)

    def packets(self) -> Iterator[Timed]:
        """Every packet for the output, nearly in the order of time."""
        streams = [self.source.streams[index] for index in self._tracks]
        number = 0
        try:
            for made in self._made(streams):
                time = made.dts if made.dts is not None else made.pts
                yield (time or 0) * Fraction(made.time_base), number, made
                number += 1
        except (av.FFmpegError, OSError) as error:
            where = f"{self.source.name}"
            raise UserError(
                f"the sound or subtitles of {where} are damaged ({error}); give --no-audio or --no-subtitles"
            ) from error

    def _made(self, streams: list[Any]) -> Iterator[Any]:
        for packet in self.source.demux(streams):
            if packet.size and packet.pts is not None:  # empty ones only mark the end
                if self.window.holds(packet.pts * Fraction(packet.time_base)):
                    yield from self._tracks[packet.stream_index](packet)
        for coder in self._coders:
            yield from coder.flush()

    def _add_audio(self, stream: Any) -> None:
        try:
            made = self.target.add_stream_from_template(stream)
            self._tracks[stream.index] = lambda packet: self._copied(packet, made)
        except ValueError:
            coder = _AudioCoder(stream, self.target, self.container.audio, self.window.shift)
            made = coder.stream
            self._coders.append(coder)
            self._tracks[stream.index] = coder.packets
            name = stream.codec_context.name if stream.codec_context else "sound"
            self.notes.append(f"the sound is encoded anew ({name} to {made.codec_context.name})")
        _copy_tags(stream, made)

    def _add_subtitle(self, stream: Any) -> None:
        name = stream.codec_context.name if stream.codec_context else "unknown"
        try:
            made = self.target.add_stream_from_template(stream)
            self._tracks[stream.index] = lambda packet: self._copied(packet, made)
        except ValueError as error:
            if name not in _TEXT:
                raise UserError(
                    f"the output cannot hold the input's subtitles, which are pictures or of an unknown kind ({name}); "
                    "write an .mkv file or give --no-subtitles"
                ) from error
            coder = _TextCoder(stream, self.target, self.container.subtitles)
            made = coder.stream
            self._tracks[stream.index] = lambda packet: coder.packets(packet, self._copied)
            self.notes.append(f"the subtitles are converted ({name} to {self.container.subtitles})")
        _copy_tags(stream, made)

    def _copied(self, packet: Any, made: Any) -> Iterator[Any]:
        shift = round(self.window.shift / Fraction(packet.time_base))
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        packet.stream = made
        yield packet

    def _set_chapters(self) -> None:
        chapters = []
        for chapter in self.source.chapters():
            unit = Fraction(chapter["time_base"])
            start, end = chapter["start"] * unit, chapter["end"] * unit
            if self.window.end is not None and start >= self.window.end:
                continue
            if self.window.start is not None and end <= self.window.start:
                continue
            shift = round(self.window.shift / unit)
            moved = {"start": max(chapter["start"] - shift, 0), "end": chapter["end"] - shift}
            chapters.append({**chapter, **moved})
        if chapters:
            self.target.set_chapters(chapters)


class _AudioCoder:
    """Sound that the output's container does not take, decoded and encoded again."""

    def __init__(self, stream: Any, target: Any, codec: str, shift: Fraction) -> None:
        source = stream.codec_context
        rate = 48000 if codec == "libopus" else source.sample_rate
        self.stream = target.add_stream(codec, rate=rate)
        context = self.stream.codec_context
        context.layout = source.layout
        context.open(strict=False)
        self._shift = shift
        self._resampler = av.AudioResampler(context.format, context.layout, rate, context.frame_size or None)

    def packets(self, packet: Any) -> Iterator[Any]:
        """Encoded packets, as far as a packet of the input completes any."""
        for frame in packet.decode():
            if frame.pts is not None:
                frame.pts -= round(self._shift / Fraction(frame.time_base))
            yield from self._encoded(frame)

    def flush(self) -> Iterator[Any]:
        """What the encoder still holds."""
        yield from self._encoded(None)
        yield from self.stream.encode(None)

    def _encoded(self, frame: Any) -> Iterator[Any]:
        for part in self._resampler.resample(frame):
            yield from self.stream.encode(part)


class _TextCoder:
    """Subtitles in a text format that the output's container does not take, converted to one that it does."""

    def __init__(self, stream: Any, target: Any, codec: str) -> None:
        self._source = stream.codec_context
        self._source.open(strict=False)  # only an open decoder knows the header, which the encoder needs
        self.stream = target.add_stream(codec)
        self.stream.codec_context.subtitle_header = self._source.subtitle_header
        self.stream.codec_context.time_base = stream.time_base

    def packets(self, packet: Any, timed: Callable[[Any, Any], Iterator[Any]]) -> Iterator[Any]:
        """The converted packet; none for one that only clears the screen, as every text has an end of its own here."""
        text = self._source.decode2(packet)
        if text is not None:
            made = self.stream.codec_context.encode_subtitle(text)
            made.time_base, made.pts, made.dts = packet.time_base, packet.pts, packet.pts
            made.duration = packet.duration
            yield from timed(made, self.stream)


def merged(*tracks: Iterable[Timed]) -> Iterator[Any]:
    """The packets of several tracks in the order of time, holding one of each."""
    for _, _, packet in heapq.merge(*tracks, key=lambda item: item[0]):
        yield packet


def fresh_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags that are as true of the output as of the input."""
    return {key: value for key, value in tags.items() if not key.lower().startswith(_STALE_TAGS)}


def _copy_tags(stream: Any, made: Any) -> None:
    made.metadata.update(fresh_tags(stream.metadata))
    made.disposition = stream.disposition
