"""Joins encoded segments into the output file: the source's times put back, sound and the rest carried over."""
from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from patchvsr.errors import UserError
from patchvsr.video.companions import Companions, Timed, Window, fresh_tags, merged
from patchvsr.video.encoders import ContainerFormat, Encoding
from patchvsr.video.segments import packets, write_error
from patchvsr.video.source import Timing

Segment = tuple[Path, int]
"""A segment's file and how many frames it holds."""


def assemble(
    segments: Sequence[Segment],
    out: Path,
    container: ContainerFormat,
    encoding: Encoding,
    timing: Timing,
    source: Path | None,
    whole: tuple[bool, bool],
    audio: bool = True,
    subtitles: bool = True,
) -> list[str]:
    """Write the output file, flushed to disk, under the name `out`.

    Args:
        segments: in order.
        out: where to; the caller gives it its final name.
        container, encoding: what kind of file, and what the segments are encoded with.
        timing: of all frames, in the source's units.
        source: the input video that sound, subtitles, chapters and tags are taken from; None for images.
        whole: whether nothing was cut off at the start, and at the end.
        audio, subtitles: False leaves them behind.

    Returns:
        Sentences on what could not be carried over unchanged.

    Raises:
        UserError: segments that do not fit together, subtitles that the file cannot hold, or a full disk.
    """
    notes: list[str] = []
    with ExitStack() as stack:
        origin = stack.enter_context(av.open(str(source))) if source is not None else None
        window = _window(origin, timing, whole)
        try:
            target = av.open(str(out), "w", format=container.muxer, options=dict(container.options))
            with target:
                stream = _add_video(target, segments, encoding, timing, origin)
                tracks: list[Iterator[Timed]] = [_video(segments, stream, timing, window)]
                if origin is not None:
                    companions = Companions(origin, target, container, window, audio, subtitles)
                    notes += companions.notes
                    if companions.carried:
                        tracks.append(companions.packets())
                for packet in merged(*tracks):
                    target.mux(packet)
            with open(out, "rb") as file:
                os.fsync(file.fileno())
        except (av.FFmpegError, OSError) as error:
            raise write_error(out, error) from error
    return notes


def _window(origin: Any, timing: Timing, whole: tuple[bool, bool]) -> Window:
    """The wanted part of the input's time; what is wanted from the beginning on keeps negative times of sound."""
    first = timing.pts[0] * timing.time_base
    if not whole[0] or origin is None:
        shift = first
    else:
        starts = [s.start_time * Fraction(s.time_base) for s in origin.streams.audio if s.start_time is not None]
        shift = max(min([first, *starts]), Fraction(0)) if starts else first
    end = None if whole[1] else timing.end * timing.time_base
    return Window(None if whole[0] else first, end, shift)


def _add_video(target: Any, segments: Sequence[Segment], encoding: Encoding, timing: Timing, origin: Any) -> Any:
    with av.open(str(segments[0][0])) as first:
        template = first.streams.video[0]
        stream = target.add_stream_from_template(template, opaque=True)
        if encoding.codec == "hevc" and target.format.name in ("mp4", "mov"):
            stream.codec_context.codec_tag = "hvc1"  # the only one that Apple's players take
        extra = bytes(template.codec_context.extradata or b"")
    for path, _ in segments[1:]:
        with av.open(str(path)) as other:
            if bytes(other.streams.video[0].codec_context.extradata or b"") != extra:
                raise UserError(f"the segment {path} is encoded unlike the first one; start again without --resume")
    stream.time_base = timing.time_base
    if origin is not None:
        stream.metadata.update(fresh_tags(origin.streams.video[0].metadata))
    return stream


def _video(segments: Sequence[Segment], stream: Any, timing: Timing, window: Window) -> Iterator[Timed]:
    """The video's packets with their times.

    The n-th packet in coding order is decoded at the time of the n-th frame in display order, moved back by as many
    frames as any packet comes late. Only the last one is decoded when it is shown, so that the sum of what MP4 stores,
    intervals of decoding times, reaches the end of the last frame.
    """
    times = [pts - round(window.shift / timing.time_base) for pts in timing.pts]
    lengths = [after - before for before, after in pairwise(timing.pts)] + [timing.end - timing.pts[-1]]
    order = [index for index, _ in _indexed(segments)]
    delay = max(position - index for position, index in enumerate(order))
    usual = max(lengths[0], 1)
    early = [times[0] - usual * ahead for ahead in range(delay, 0, -1)]
    decode = [*early, *times][: len(times)]
    decode[-1], lengths[order[-1]] = times[order[-1]], timing.end - timing.pts[order[-1]]
    for number, (index, packet) in enumerate(_indexed(segments)):
        packet.stream = stream
        packet.time_base = timing.time_base
        packet.pts, packet.dts, packet.duration = times[index], decode[number], lengths[index]
        yield packet.dts * timing.time_base, number, packet


def _indexed(segments: Sequence[Segment]) -> Iterator[tuple[int, Any]]:
    """Every packet in coding order with its frame's index in the whole output."""
    before = 0
    for path, frames in segments:
        for packet in packets(path, frames):
            yield before + packet.pts, packet
        before += frames
