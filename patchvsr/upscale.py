"""From a video file to a video file: what `patchvsr upscale` does."""
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from typing import Any

from torch import OutOfMemoryError, Tensor

from patchvsr import __version__
from patchvsr.devices import device_of, dtype_of
from patchvsr.errors import UserError
from patchvsr.parallel import SINGLE, Group, ProcessGroup, launched, local_device
from patchvsr.request import Request, check_paths
from patchvsr.sizes import resolve_scale, scaled
from patchvsr.upscaler import Clip, Upscaler, create
from patchvsr.video.background import BackgroundWriter, DirectWriter
from patchvsr.video.colour import Colour
from patchvsr.video.encoders import Encoding, check_size, choose
from patchvsr.video.hdr import x265_options
from patchvsr.video.job import WorkFolder
from patchvsr.video.sinks import ImageSink, Sink, VideoSink, image_timing
from patchvsr.video.source import Source, open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What is about to be done: known before the first frame is made."""

    width: int
    height: int
    scale: float
    frames: int
    first: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished job: frames made in this run, the seconds of its parts, and what is not in the output.

    The job took `reading` (decoding), `upscaling`, `waiting` (for the writer, with nothing else to do) and `joining`
    (what is left to do when the last frame is written), one after the other. `writing` is no further part of this sum:
    it is all encoding and joining, of which most has been done while the next frames were upscaled where that runs on
    an accelerator. On a CPU frames are written when they are made, as both need the same cores.
    """

    frames: int
    reading: float
    upscaling: float
    waiting: float
    joining: float
    writing: float
    notes: tuple[str, ...]


class Interrupted(Exception):
    """The job was interrupted; `kept` of `frames` frames need not be made again by the same command with --resume."""

    def __init__(self, kept: int, frames: int) -> None:
        super().__init__(kept, frames)
        self.kept, self.frames = kept, frames


def upscale(
    request: Request,
    started: Callable[[Started], None],
    tell: Callable[[float], None],
    upscaler: Upscaler | None = None,
) -> Done:
    """Upscale a video, a folder of images or an image.

    Where torchrun has started several processes, they share the tiles, and the first one writes the output.

    Args:
        request: what is wanted.
        started: called once, before the first frame is made.
        tell: called with the number of frames finished, counted from the clip's beginning; fractions are work begun.
        upscaler: in the place of the one that the request names.

    Raises:
        UserError: anything the user can mend; the output is then as it was before.
        Interrupted: on KeyboardInterrupt; likewise.
    """
    check_paths(request)
    with open_source(request.source, request.frames) as source, ExitStack() as after:
        count, _, height, width = source.shape
        scale = resolve_scale((width, height), request.scale, request.size)
        out_width, out_height = scaled((width, height), scale)
        # Every setting is checked before a model is loaded, which may take minutes.
        output = _output(request, source, (out_width, out_height))
        device = local_device(device_of(request.device))
        group = ProcessGroup.join(device) if launched() else SINGLE
        after.callback(group.close)
        upscaler = upscaler or create(request.variant, device, dtype_of(request.dtype, device))
        accepted = upscaler.accept(Clip(request.source.stem, source, request.caption), scale)
        job = _job(request, source, scale, upscaler) | {"accepted": accepted, "output": output.to_dict()}
        upscaler.share(group, job)
        if group.rank:
            return _follow(request, source, scale, upscaler, group)
        sink = _sink(request, source, (out_width, out_height), output, job)
        try:
            group.shared(sink.done)
            started(
                Started(
                    width=out_width,
                    height=out_height,
                    scale=scale,
                    frames=count,
                    first=sink.done,
                    notes=(*source.notes, *_notes(source, sink, upscaler), *filter(None, [accepted.get("note")])),
                )
            )
            # On a CPU the encoder's threads and the model's would get in each other's way: a third slower on two cores.
            overlapped = device.type != "cpu"
            return _run(request, source, scale, upscaler, sink, (out_height, out_width), tell, overlapped)
        except KeyboardInterrupt:
            raise Interrupted(sink.abort(), count) from None
        except (MemoryError, OutOfMemoryError) as error:
            sink.abort()
            raise UserError(
                f"memory ran out on {device} at {out_width}x{out_height}; try a smaller --size, or "
                f"--variant {upscaler.name}:tile_batch=1,cache_mib=0"
            ) from error
        except BaseException:
            sink.abort()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """An output of PNG images of so many bits per channel."""

    depth: int

    def to_dict(self) -> dict[str, Any]:
        return {"png": self.depth}


def _output(request: Request, source: Source, size: tuple[int, int]) -> Encoding | _Images:
    """How the output is written, every setting checked."""
    deep = source.colour.depth > 8
    if request.out.suffix.lower() in ("", ".png"):
        images = _Images(depth=request.depth or (16 if deep else 8))
        _check_images(request, source, images.depth)
        return images
    depth = request.depth or (10 if deep else 8)
    if source.timing is None and request.fps is None:
        raise UserError(f"{source.path} has no frame rate; give --fps to make a video of images, such as --fps 24")
    if source.timing is not None and request.fps is not None:
        raise UserError(f"{source.path} has its own frame times, which are kept; --fps is for images")
    if source.colour.hdr and depth < 10:
        raise UserError(
            f"{source.path} is HDR ({source.colour.hdr}), which needs 10 bits per channel; leave out --depth {depth}"
        )
    rate = request.fps or source.rate or _average_rate(source)
    hdr = x265_options(source.side_data)
    encoding = choose(request.out, depth, rate, request.codec, request.crf, request.preset, hdr)
    if source.colour.hdr and encoding.depth < 10:
        raise UserError(f"codec '{encoding.codec}' has 8 bits per channel, too few for HDR; use --codec hevc or av1")
    check_size(encoding, *size, (source.shape[3], source.shape[2]))
    return encoding


def _average_rate(source: Source) -> Fraction:
    """Frames per second of a video that states none."""
    assert source.timing is not None
    seconds = (source.timing.end - source.timing.pts[0]) * source.timing.time_base
    return (len(source) / seconds).limit_denominator(1001)


def _sink(
    request: Request, source: Source, size: tuple[int, int], output: Encoding | _Images, job: dict[str, Any]
) -> Sink:
    """Where the frames go."""
    work = WorkFolder(request.out, job, request.resume, request.overwrite)
    if isinstance(output, _Images):
        return ImageSink(request.out, work, len(source), output.depth)
    timing = source.timing or image_timing(len(source), output.rate)
    colour = output_colour(source.colour)
    return VideoSink(request.out, work, source, timing, size, output, colour, request.audio, request.subtitles)


def _check_images(request: Request, source: Source, depth: int) -> None:
    given = [name for name in ("codec", "crf", "preset", "fps") if getattr(request, name) is not None]
    if given:
        raise UserError(f"--{given[0]} is for video files, and {request.out} will be PNG")
    if depth not in (8, 16):
        raise UserError(f"PNG images have 8 or 16 bits per channel, not --depth {depth}")
    if source.colour.hdr:
        raise UserError(
            f"{source.path} is HDR ({source.colour.hdr}), which PNG images cannot say; write an .mp4, .mov or .mkv file"
        )
    if request.out.suffix and len(source) > 1:
        raise UserError(
            f"{request.out} is one image and {source.path} has {len(source)} frames; choose one with --frames N"
        )


def output_colour(colour: Colour) -> Colour:
    """How the output is encoded and tagged: as the source was, so that no code value changes its meaning.

    Where a YUV source states no primaries or transfer, those that go with its matrix are written, for its size will
    no longer tell a player; RGB becomes BT.709 in limited range.
    """
    if colour.matrix == 0:
        known = [value if value != 2 else 1 for value in (colour.primaries, colour.transfer)]
        if known[1] == 13:  # sRGB, as images are: players know video by its BT.709 tag
            known[1] = 1
        return Colour(matrix=1, primaries=known[0], transfer=known[1], full_range=False, depth=colour.depth)
    usual = {1: (1, 1), 5: (5, 6), 6: (6, 6), 7: (7, 7), 9: (9, 14)}.get(colour.matrix, (2, 2))
    return Colour(
        matrix=colour.matrix,
        primaries=usual[0] if colour.primaries == 2 else colour.primaries,
        transfer=usual[1] if colour.transfer == 2 else colour.transfer,
        full_range=colour.full_range,
        depth=colour.depth,
    )


def _job(request: Request, source: Source, scale: float, upscaler: Upscaler) -> dict[str, Any]:
    """Everything that decides the output's frames; a resumed run must have the same."""
    found = source.path.stat()
    described = json.dumps(upscaler.describe(), sort_keys=True)
    return {
        "input": str(source.path.resolve()),
        "input's size": found.st_size,
        "input's change": found.st_mtime_ns,
        "frames": [source.start, source.start + len(source)],
        "scale": scale,
        "variant": request.variant,
        "variant's parts": hashlib.sha256(described.encode()).hexdigest(),
        "caption": request.caption,
        "seed": request.seed,
        "patchvsr": __version__,
        "av": version("av"),
    }


def _notes(source: Source, sink: Sink, upscaler: Upscaler) -> Iterator[str]:
    if upscaler.weights.status == "untrained":
        yield f"'{upscaler.name}' has untrained weights here; the result is not what the method can do"
    if source.colour.hdr:
        yield f"the video is HDR ({source.colour.hdr}): its code values are upscaled as they are and its tags kept"
    if source.side_data and isinstance(sink, VideoSink) and not sink.encoding.hdr:
        yield "the static HDR metadata (mastering display, light levels) is not carried over; --codec hevc keeps it"
    if isinstance(sink, ImageSink) and source.kind == "video":
        yield "images carry no sound, subtitles or frame times"


def _run(
    request: Request,
    source: Source,
    scale: float,
    upscaler: Upscaler,
    sink: Sink,
    size: tuple[int, int],
    tell: Callable[[float], None],
    overlapped: bool,
) -> Done:
    count, first = len(source), sink.done
    begun = time.perf_counter()
    frames = _Timed(source)
    clip = Clip(request.source.stem, frames, request.caption)
    # Left before `finish` or `abort`, so that these are alone with the sink.
    with (BackgroundWriter if overlapped else DirectWriter)(sink.write) as writer:

        def progress(share: float) -> None:
            writer.check()
            tell(share * count)

        if first < count:
            for chunk in upscaler.upscale_from(first, clip, scale, request.seed, progress):
                if tuple(chunk.shape[2:]) != size:
                    made, wanted = (f"{shape[1]}x{shape[0]}" for shape in (chunk.shape[2:], size))
                    raise UserError(f"'{upscaler.name}' made frames of {made}, not {wanted}")
                writer.put(chunk)
    written = time.perf_counter()
    notes = [*sink.finish(), *filter(None, [upscaler.note])]
    ended = time.perf_counter()
    tell(count)
    return Done(
        frames=count - first,
        reading=frames.seconds,
        upscaling=written - begun - frames.seconds - writer.waiting,
        waiting=writer.waiting,
        joining=ended - written,
        writing=writer.writing + ended - written,
        notes=tuple(notes),
    )


def _follow(request: Request, source: Source, scale: float, upscaler: Upscaler, group: Group) -> Done:
    """The part of a process that makes its share of the tiles and writes nothing."""
    first, frames, begun = group.shared(None), _Timed(source), time.perf_counter()
    clip = Clip(request.source.stem, frames, request.caption)
    for _ in upscaler.upscale_from(first, clip, scale, request.seed):
        pass
    upscaling = time.perf_counter() - begun - frames.seconds
    return Done(
        frames=len(source) - first,
        reading=frames.seconds,
        upscaling=upscaling,
        waiting=0.0,
        joining=0.0,
        writing=0.0,
        notes=(),
    )


class _Timed:
    """A source that counts the seconds spent on reading it."""

    def __init__(self, source: Source) -> None:
        self.source, self.seconds = source, 0.0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice, /) -> Tensor:
        start = time.perf_counter()
        frames = self.source[index]
        self.seconds += time.perf_counter() - start
        return frames


