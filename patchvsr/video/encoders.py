"""What a video can be encoded with, and the choice of it for one output file."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from patchvsr.errors import UserError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A video encoder of FFmpeg as we use it.

    Attributes:
        library: FFmpeg's name of it.
        formats: pixel format for each depth in bits that can be written.
        crf: default constant rate factor, or None where quality is not set by one.
        crf_range: lowest and highest factor that the encoder takes.
        preset: default speed preset, or None where it has none.
        presets: those there are, slow ones first or last.
        preset_option: what the encoder calls it.
        options: fixed options.
        even: width and height must be even.
        smallest: least width and height.
    """

    library: str
    formats: dict[int, str]
    crf: int | None = None
    crf_range: tuple[int, int] = (0, 0)
    preset: str | None = None
    presets: tuple[str, ...] = ()
    preset_option: str = "preset"
    options: dict[str, str] = field(default_factory=dict)
    even: tuple[bool, bool] = (False, False)
    smallest: int = 1


_X26 = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")

_X265_SAFE = 128
"""Below this many pixels a side, what `compression.CODECS` says of x265 and small pictures is avoided here as well."""

# Factors at which a 4K picture looks like its source; the encoders' own defaults (23, 28, 32, 35) throw detail away.
ENCODERS = {
    "h264": Encoder(
        library="libx264",
        formats={8: "yuv420p", 10: "yuv420p10le"},
        crf=17,
        crf_range=(0, 51),
        preset="medium",
        presets=_X26,
        even=(True, True),
        smallest=2,
    ),
    "hevc": Encoder(
        library="libx265",
        formats={8: "yuv420p", 10: "yuv420p10le", 12: "yuv420p12le"},
        crf=18,
        crf_range=(0, 51),
        preset="medium",
        presets=_X26,
        options={"x265-params": "log-level=error"},
        even=(True, True),
        smallest=16,
    ),
    "vp9": Encoder(
        library="libvpx-vp9",
        formats={8: "yuv420p"},
        crf=20,
        crf_range=(0, 63),
        preset="4",
        presets=tuple("012345678"),
        preset_option="cpu-used",
        options={"b": "0", "row-mt": "1"},
    ),
    "av1": Encoder(
        library="libsvtav1",
        formats={8: "yuv420p", 10: "yuv420p10le"},
        crf=22,
        crf_range=(0, 63),
        preset="8",
        presets=tuple(map(str, range(14))),
        smallest=16,
    ),
    "prores": Encoder(
        library="prores_ks", formats={10: "yuv422p10le"}, options={"profile": "hq"}, even=(True, False), smallest=2
    ),
    "ffv1": Encoder(
        library="ffv1",
        formats={8: "bgr0", 10: "gbrp10le", 12: "gbrp12le", 16: "gbrp16le"},
        options={"level": "3", "slicecrc": "1"},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFormat:
    """A kind of file: FFmpeg's name, codecs that we put there (default first), sound and text that it always takes."""

    muxer: str
    codecs: tuple[str, ...]
    audio: str
    subtitles: str
    options: dict[str, str]


_MP4: dict[str, Any] = {"audio": "aac", "subtitles": "mov_text", "options": {"movflags": "+faststart"}}
CONTAINERS = {
    ".mp4": ContainerFormat(muxer="mp4", codecs=("h264", "hevc", "av1", "vp9"), **_MP4),
    ".m4v": ContainerFormat(muxer="mp4", codecs=("h264", "hevc", "av1"), **_MP4),
    ".mov": ContainerFormat(muxer="mov", codecs=("h264", "hevc", "prores"), **_MP4),
    ".mkv": ContainerFormat(
        muxer="matroska",
        codecs=("h264", "hevc", "av1", "vp9", "ffv1", "prores"),
        audio="aac",
        subtitles="subrip",
        options={},
    ),
    ".webm": ContainerFormat(muxer="webm", codecs=("vp9", "av1"), audio="libopus", subtitles="webvtt", options={}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Everything that decides how frames become a video stream.

    Attributes:
        codec: name in `ENCODERS`.
        depth: bits per channel.
        crf: constant rate factor, or None.
        preset: the encoder's speed preset, or None.
        hdr: static HDR metadata in x265's notation; written by `hevc` only.
        rate: frames per second on average, what the encoder plans with; in the file each frame has its own time.
    """

    codec: str
    depth: int
    crf: int | None
    preset: str | None
    rate: Fraction
    hdr: str = ""

    @property
    def encoder(self) -> Encoder:
        """The row of `ENCODERS`."""
        return ENCODERS[self.codec]

    def options(self, width: int, height: int) -> dict[str, str]:
        """Options for FFmpeg's encoder, for frames of this size."""
        options = dict(self.encoder.options)
        if self.codec == "hevc" and min(width, height) < _X265_SAFE:
            options["x265-params"] += ":cutree=0:ctu=32"
        if self.crf is not None:
            options["crf"] = str(self.crf)
        if self.preset is not None:
            options[self.encoder.preset_option] = self.preset
        if self.hdr:
            options["x265-params"] += f":{self.hdr}"
        return options

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"rate": str(self.rate)}


def container_of(path: Path) -> ContainerFormat:
    """The kind of file that a name's suffix asks for.

    Raises:
        UserError: an unknown suffix.
    """
    found = CONTAINERS.get(path.suffix.lower())
    if found is None:
        raise UserError(
            f"{path.name} has no suffix of a video that can be written ({' '.join(CONTAINERS)}); choose one of these, "
            ".png for a single image, or a name without a suffix for a folder of PNG images"
        )
    return found


def choose(
    path: Path,
    depth: int,
    rate: Fraction,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    hdr: str = "",
) -> Encoding:
    """The encoding of a file, with defaults where the user left the choice.

    Args:
        path: the output file.
        depth: wanted bits per channel; the least that the codec has from there on is taken.
        rate: average frame rate.
        codec, crf, preset: what the user asked for.
        hdr: static HDR metadata in x265's notation, for codecs that write it.

    Raises:
        UserError: a codec that is unknown or does not go into such a file, or a setting that it does not have.
    """
    container = container_of(path)
    if codec is None:
        codec = next((name for name in container.codecs if _at_least(depth, name) and _default(name, depth)), None)
        codec = codec or container.codecs[0]
    if codec not in ENCODERS:
        raise UserError(f"unknown codec '{codec}'{nearest(codec, ENCODERS)}")
    if codec not in container.codecs:
        raise UserError(
            f"codec '{codec}' cannot go into {path.name}; a {path.suffix} file takes {', '.join(container.codecs)}"
        )
    encoder = ENCODERS[codec]
    bits = _at_least(depth, codec)
    if bits is None:
        takes = " and ".join(map(str, encoder.formats))
        raise UserError(f"codec '{codec}' writes {takes} bits per channel here, not {depth}; choose another --codec")
    if crf is not None and encoder.crf is None:
        raise UserError(f"codec '{codec}' has no --crf")
    low, high = encoder.crf_range
    if crf is not None and not low <= crf <= high:
        raise UserError(f"--crf {crf} is outside of what '{codec}' takes ({low} to {high}, low is better)")
    if preset is not None and encoder.preset is None:
        raise UserError(f"codec '{codec}' has no --preset")
    if preset is not None and preset not in encoder.presets:
        raise UserError(f"codec '{codec}' has no --preset '{preset}'; choose one of {', '.join(encoder.presets)}")
    return Encoding(
        codec=codec,
        depth=bits,
        crf=encoder.crf if crf is None else crf,
        preset=encoder.preset if preset is None else preset,
        rate=rate,
        hdr=hdr if codec == "hevc" else "",
    )


def check_size(encoding: Encoding, width: int, height: int, source: tuple[int, int]) -> None:
    """Refuse a size that the encoder cannot write, with one that it can.

    Args:
        encoding: what to encode with.
        width, height: of the output.
        source: width and height of the input.

    Raises:
        UserError: an odd size where the chroma of two pixels is shared, or one that is too small.
    """
    encoder = encoding.encoder
    if min(width, height) < encoder.smallest:
        raise UserError(
            f"codec '{encoding.codec}' cannot write {width}x{height}, it needs at least {encoder.smallest} pixels a "
            "side; write a folder of PNG images or use --codec ffv1 in an .mkv file"
        )
    odd = (encoder.even[0] and width % 2, encoder.even[1] and height % 2)
    if any(odd):
        other = _even_size(width, height, source, encoder)
        hint = f"use --size {other[0]}x{other[1]}, " if other else "use "
        raise UserError(
            f"codec '{encoding.codec}' cannot write the odd size {width}x{height}; {hint}--codec ffv1 in an .mkv "
            "file, a .webm file, or a folder of PNG images"
        )


def _at_least(depth: int, codec: str) -> int | None:
    return min((bits for bits in ENCODERS[codec].formats if bits >= depth), default=None)


def _default(codec: str, depth: int) -> bool:
    """Few players take H.264 with more than 8 bits."""
    return codec != "h264" or depth <= 8


def _even_size(width: int, height: int, source: tuple[int, int], encoder: Encoder) -> tuple[int, int] | None:
    """The nearest size of the same shape that the encoder takes."""
    from patchvsr.sizes import scale_for

    near = [
        (width + dx, height + dy)
        for dx in (0, 1, -1, 2, -2)
        for dy in (0, 1, -1, 2, -2)
        if not (encoder.even[0] and (width + dx) % 2) and not (encoder.even[1] and (height + dy) % 2)
    ]
    fitting = [size for size in near if min(size) > 0 and scale_for(source, size) is not None]
    return min(fitting, key=lambda size: abs(size[0] - width) + abs(size[1] - height), default=None)
