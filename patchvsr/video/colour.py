"""Colour between decoded frames and RGB, both ways, by the definitions of ITU-R BT.601, BT.709 and BT.2020.

Code values are only re-coded: transfer and primaries are kept as stated, with no tone mapping and no change of gamut.
Chroma is resampled by swscale with the siting that the file states. Of swscale's matrices only those to 8-bit RGB are
used: with more bits it takes 255/256 of the scale for white, and where it writes full range its chroma is half a code
low, so the others are computed here in float32.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from torch import Tensor

from patchvsr.errors import UserError

UNSPECIFIED = 2
_LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
         9: (0.2627, 0.0593)}  # fmt: skip
"""Weights of red and blue in luma, by H.273 code of the matrix."""
_SWSCALE = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
_REFUSED = {10: "BT.2020 with constant luminance", 13: "chromaticity-derived with constant luminance", 14: "ICtCp"}
_HDR = {16: "PQ", 18: "HLG"}
_FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
_LOCATIONS = ("left", "center", "topleft", "top", "bottomleft", "bottom")


@dataclass(frozen=True, slots=True)
class Colour:
    """How the code values of a video mean colours, in the codes of ITU-T H.273.

    Attributes:
        matrix: what frames are read with: 1, 4, 5, 6, 7 or 9, or 0 for RGB; never 2 (unspecified).
        primaries: as stated; 2 is unspecified.
        transfer: as stated; 2 is unspecified.
        full_range: whether luma spans all codes, as in JPEG, or 16 to 235 of 255.
        depth: bits per channel of the source.
    """

    matrix: int
    primaries: int
    transfer: int
    full_range: bool
    depth: int

    @property
    def hdr(self) -> str | None:
        """`"PQ"` (SMPTE ST 2084), `"HLG"` (ARIB STD-B67), or None for a transfer of standard dynamic range."""
        return _HDR.get(self.transfer)

    def as_yuv(self) -> Colour:
        """The same for a YUV encoder: RGB becomes BT.709 of limited range, the rest stays as it is."""
        return self if self.matrix else replace(self, matrix=1, full_range=False)


def colour_of(frame: av.VideoFrame) -> Colour:
    """The colour of a decoded frame; a matrix that is not stated is BT.709 from 720 lines or 1280 columns, else BT.601.

    Raises:
        UserError: the matrix is one that frames cannot be read with.
    """
    form = frame.format
    depth = max(8, *(part.bits for part in form.components))
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if _is_rgb(form):
        return Colour(0, primaries, transfer, True, depth)
    code = int(frame.colorspace)
    if code in (0, UNSPECIFIED):  # 0 is RGB, which decoders give as such
        large = code == 0 or frame.height >= 720 or frame.width >= 1280
        code = 1 if large else 6
    if code not in _LUMA:
        name = _REFUSED.get(code, f"code {code}")
        raise UserError(f"the video's colour matrix ({name}) is not supported; convert it to BT.709")
    stated = int(frame.color_range)
    # Grey without a range is full, as ffmpeg has it.
    full = stated == ColorRange.JPEG or form.name.startswith("yuvj") or (stated == 0 and _kind(form) == "gray")
    return Colour(code, primaries, transfer, full, depth)


def to_rgb(frame: av.VideoFrame, depth: int, siting: str | None = None) -> np.ndarray:
    """RGB of a decoded frame through its own matrix and range, not turned.

    Args:
        frame: of any pixel format; alpha is dropped.
        depth: 8, or 16 for the full precision of deep video.
        siting: where chroma samples lie, if known better than `siting_of` tells.

    Returns:
        `[H, W, 3]`, uint8, or uint16 where 65535 is white; a view of planes `[3, H, W]`.

    Raises:
        UserError: the frame's matrix is not supported.
    """
    colour = colour_of(frame)
    if siting is None:
        siting = siting_of(frame) or "left"
    if depth == 8 and _kind(frame.format) != "gray":  # swscale takes any 8-bit grey for full range
        return _planes(_convert(frame, "gbrp", colour, siting, None))[[2, 0, 1]].transpose(1, 2, 0)
    if depth not in (8, 16):
        raise ValueError(f"depth must be 8 or 16, not {depth}")
    form, kind = frame.format, _kind(frame.format)
    # Resampled chroma falls between the codes of the source. Only where swscale resamples does it shift to 16 bits.
    bits = 16 if kind == "yuv444p" and _is_subsampled(form) else _carried(colour.depth)
    carrier = _convert(frame, _carrier(kind, bits), colour, siting, None)
    planes = [torch.from_numpy(_pixels(plane, bits)) for plane in carrier.planes]
    unit = 2 ** (bits - colour.depth) if kind == "yuv444p" else 1
    matrix, offset = _to_rgb_matrix(kind, colour if unit > 1 else replace(colour, depth=bits), unit)
    white = 2**depth - 1
    out = np.empty((3, frame.height, frame.width), np.uint8 if depth == 8 else np.uint16)
    for rows in _bands(frame.height, frame.width):
        band = torch.empty((3, rows.stop - rows.start, frame.width))
        _combine(band, [plane[rows].float() for plane in planes], matrix * white, offset * white)
        out[:, rows] = _rounded(band, depth).numpy()
    return out.transpose(1, 2, 0)


def from_rgb(rgb: np.ndarray, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """A frame for an encoder, tagged with its matrix, primaries, transfer and range; 4:2:0 chroma is sited left.

    Args:
        rgb: `[H, W, 3]`, uint8 or uint16 (65535 is white). A view of planes `[3, H, W]` is converted faster.
        pix_fmt: the encoder's pixel format, planar YUV or RGB of 8 to 16 bits.
        colour: the matrix and range to write; its depth is not used. See `Colour.as_yuv` for an RGB source.

    Raises:
        ValueError: the array is of another kind, or `colour` has no matrix and the format is YUV.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"rgb must be uint8 or uint16 [H, W, 3], not {rgb.dtype} {rgb.shape}")
    height, width = rgb.shape[:2]
    form = av.VideoFormat(pix_fmt, width, height)
    bits = _carried(max(part.bits for part in form.components))
    if _is_rgb(form):
        colour = replace(colour, matrix=0, full_range=True)
    elif colour.matrix not in _LUMA:
        raise ValueError(f"{pix_fmt} needs a colour matrix; use Colour.as_yuv")
    carrier = av.VideoFrame(width, height, _carrier("yuv444p" if colour.matrix else "gbrp", bits))
    white = 255 if rgb.dtype == np.uint8 else 65535
    planes = [_pixels(plane, bits) for plane in carrier.planes]
    for rows in _bands(height, width):
        codes = _codes([torch.from_numpy(rgb[rows, :, c]) for c in range(3)], white, colour, bits)
        for plane, values in zip(planes, codes, strict=True):
            plane[rows] = values.numpy()
    frame = carrier
    if pix_fmt != carrier.format.name:
        frame = _convert(carrier, pix_fmt, colour, None, "left")
    frame.colorspace, frame.color_range = colour.matrix, 2 if colour.full_range else 1
    frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
    return frame


def siting_of(frame: av.VideoFrame) -> str | None:
    """Where a frame's chroma samples lie as its decoder states it: `left`, `topleft` and so on, in ffmpeg's names.

    The bindings do not show this field, so a picture of a single chroma sample is converted by the frame's own
    location and compared with all of them. Centred and unstated come out alike: it is `center` for the JPEG-style
    formats, else None, as it is without subsampling.
    """
    form = frame.format
    if _is_rgb(form) or not _is_subsampled(form):
        return None
    size = 16 if frame.width != 16 else 24  # another size than the frame's, so that the picture is a copy
    small = frame.reformat(width=size, height=size, format="yuv420p", src_colorspace=1, dst_colorspace=1,
                           src_color_range=1, dst_color_range=1)  # fmt: skip
    _dotted(small)
    picture = small.reformat(
        format="gbrp",
        src_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT,
        threads=1,
    )  # fmt: skip
    found = _dots(size).get(_planes(picture).tobytes())
    return found if found != "center" or form.name.startswith("yuvj") else None


def has_transparency(frame: av.VideoFrame) -> bool:
    """Whether any pixel of a frame is less than opaque (at 8 bit)."""
    form = frame.format
    if form.name != "pal8" and not any(part.is_alpha for part in form.components):
        return False
    alpha = frame.reformat(format="rgba").to_ndarray()[..., 3]
    return bool((alpha < 255).any())


def _is_rgb(form: av.VideoFormat) -> bool:
    return bool(form.is_rgb or form.has_palette)


def _carried(bits: int) -> int:
    """The depth of the planar format that holds so many bits: not every depth has one."""
    return min(depth for depth in (8, 9, 10, 12, 14, 16) if depth >= bits)


def _kind(form: av.VideoFormat) -> str:
    """The planar format without subsampling of the same family, at 8 bit."""
    if _is_rgb(form):
        return "gbrp"
    return "gray" if len([part for part in form.components if not part.is_alpha]) == 1 else "yuv444p"


def _carrier(kind: str, bits: int) -> str:
    """The format of a kind with a depth."""
    return kind if bits <= 8 else f"{kind}{bits}le"


def _is_subsampled(form: av.VideoFormat) -> bool:
    return (form.chroma_width(16), form.chroma_height(16)) != (16, 16)


def _pixels(plane: Any, bits: int) -> np.ndarray:
    """The pixels of a plane as a view `[h, w]` that can be written to."""
    dtype = np.dtype(np.uint8 if bits <= 8 else "<u2")
    rows = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height].reshape(plane.height, plane.line_size)
    return rows.view(dtype)[:, : plane.width] if plane.line_size % 2 == 0 else rows[:, : plane.width]


def _planes(frame: av.VideoFrame) -> np.ndarray:
    """A copy of the planes of a planar 4:4:4 frame, `[3, H, W]`."""
    bits = frame.format.components[0].bits
    return np.stack([_pixels(plane, bits) for plane in frame.planes])


def _to_rgb_matrix(kind: str, colour: Colour, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """`rgb = matrix @ codes + offset`, with 1 for white; the codes are multiplied by `unit`."""
    if kind == "gbrp":
        return np.eye(3)[[2, 0, 1]] / (2**colour.depth - 1), np.zeros(3)
    scale, zero = _coding(colour.full_range, colour.depth)
    if kind == "gray":
        return np.full((3, 1), 1 / scale[0]), np.full(3, -zero[0] / scale[0])
    red, blue = _LUMA[colour.matrix]
    green = 1 - red - blue
    matrix = np.array([
        [1, 0, 2 * (1 - red)],
        [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
        [1, 2 * (1 - blue), 0],
    ]) / scale  # fmt: skip
    return matrix / unit, -matrix @ zero


def _from_rgb_matrix(colour: Colour, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """`codes = matrix @ rgb + offset`, with 1 for white."""
    red, blue = _LUMA[colour.matrix]
    luma = np.array([red, 1 - red - blue, blue])
    scale, zero = _coding(colour.full_range, bits)
    rows = [luma, (np.eye(3)[2] - luma) / (2 * (1 - blue)), (np.eye(3)[0] - luma) / (2 * (1 - red))]
    return np.stack(rows) * scale[:, None], zero


def _coding(full_range: bool, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes per unit and the code of zero, of luma and the two chroma channels (ITU-T H.273, equations 20 to 31)."""
    middle = float(2 ** (bits - 1))
    if full_range:
        return np.full(3, 2.0**bits - 1), np.array([0, middle, middle])
    step = 2.0 ** (bits - 8)
    return np.array([219, 224, 224]) * step, np.array([16 * step, middle, middle])


def _combine(out: Tensor, parts: list[Tensor], matrix: np.ndarray, offset: np.ndarray) -> None:
    """`out[i] = offset[i] + sum of matrix[i, j] * parts[j]`, float32 planes."""
    for target, row, constant in zip(out, matrix, offset, strict=True):
        torch.add(torch.mul(parts[0], float(row[0]), out=target), float(constant), out=target)
        for part, weight in zip(parts[1:], row[1:], strict=True):
            if weight:
                target.add_(part, alpha=float(weight))


def _bands(height: int, width: int) -> Iterator[slice]:
    """All rows, some at a time: so what is computed on the way takes little fresh memory, which is what costs time."""
    step = max(1, 2**19 // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _rounded(values: Tensor, bits: int) -> Tensor:
    """The nearest codes, in place as far as it goes."""
    return values.round_().clamp_(0, 2**bits - 1).to(torch.uint8 if bits <= 8 else torch.uint16)


def _codes(channels: list[Tensor], white: int, colour: Colour, bits: int) -> Tensor:
    """The planes of the carrier format, `[3, H, W]`."""
    if colour.matrix == 0:
        order = [channels[1], channels[2], channels[0]]
        if white == 2**bits - 1:
            return torch.stack(order)
        return _rounded(torch.stack([part.float() for part in order]).mul_((2**bits - 1) / white), bits)
    matrix, offset = _from_rgb_matrix(colour, bits)
    out = torch.empty((3, *channels[0].shape))
    _combine(out, [part.float() for part in channels], matrix / white, offset)
    return _rounded(out, bits)


def _convert(
    frame: av.VideoFrame, target: str, colour: Colour, siting: str | None, written: str | None
) -> av.VideoFrame:
    """The frame in another format: chroma resampled, and RGB made of YUV where the target is RGB."""
    if frame.format.name == target:
        return frame
    matrix = _SWSCALE.get(colour.matrix, "bt709")
    span = "pc" if colour.full_range else "tv"
    to_rgb = av.VideoFormat(target).is_rgb
    options = {
        "flags": _FLAGS,
        "in_color_matrix": matrix,
        "out_color_matrix": matrix,
        "in_range": span,
        "out_range": "pc" if to_rgb else span,
    }
    options |= {"in_chroma_loc": siting} if siting else {}
    options |= {"out_chroma_loc": written} if written else {}
    graph = _graphs()(frame.width, frame.height, frame.format.name, target, tuple(options.items()))
    graph.vpush(frame)
    return graph.vpull()


_LOCAL = threading.local()


def _graphs() -> Callable[..., av.filter.Graph]:
    """This thread's converters, the last few: a filter graph must not be used by two threads at a time."""
    if not hasattr(_LOCAL, "graphs"):
        _LOCAL.graphs = lru_cache(maxsize=8)(_graph)
    return _LOCAL.graphs


def _graph(width: int, height: int, source: str, target: str, options: tuple[tuple[str, str], ...]) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 0  # one per core
    entry = graph.add_buffer(width=width, height=height, format=av.VideoFormat(source), time_base=Fraction(1, 1000))
    # Transfer and primaries are not swscale's business here, and it refuses codes it does not know.
    plain = graph.add("setparams", "color_primaries=unknown:color_trc=unknown")
    scale = graph.add("scale", ":".join(f"{name}={value}" for name, value in options))
    form = graph.add("format", f"pix_fmts={target}")
    graph.link_nodes(entry, plain, scale, form, graph.add("buffersink")).configure()
    return graph


@cache
def _dots(size: int) -> dict[bytes, str]:
    """What becomes of the test picture with each location."""
    colour = Colour(1, UNSPECIFIED, UNSPECIFIED, False, 8)
    picture = av.VideoFrame(size, size, "yuv420p")
    _dotted(picture)
    return {_planes(_convert(picture, "gbrp", colour, where, None)).tobytes(): where for where in _LOCATIONS}


def _dotted(picture: av.VideoFrame) -> None:
    """Make it grey with one red chroma sample."""
    for index, plane in enumerate(picture.planes):
        pixels = _pixels(plane, 8)
        pixels[:] = 128
        if index == 2:
            pixels[3, 3] = 240
