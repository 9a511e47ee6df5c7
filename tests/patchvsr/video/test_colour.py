"""Colour conversion both ways: against the definition in numpy, and against ffmpeg's own filters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from patchvsr.errors import UserError
from patchvsr.video.colour import Colour, colour_of, from_rgb, has_transparency, siting_of, to_rgb

KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
NAMES = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020"}
FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    deep = frame.format.components[0].bits > 8
    rows = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height] for p in frame.planes]
    return [(r.view("<u2") if deep else r)[:, : p.width] for r, p in zip(rows, frame.planes, strict=True)]


def filled(pix_fmt: str, *values: np.ndarray, matrix: int = 1, full: bool = False) -> av.VideoFrame:
    frame = av.VideoFrame(values[0].shape[1], values[0].shape[0], pix_fmt)
    for plane, value in zip(frame.planes, values, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : value.shape[1] * value.itemsize] = np.ascontiguousarray(value).view(np.uint8)
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def noise(height: int, width: int, depth: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**depth, (height, width, 3)).astype(np.uint8 if depth == 8 else np.uint16)


def smooth(height: int, width: int, white: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(2 * x + 3 * y), np.cos(3 * x - y), np.sin(4 * y + 1)]
    return np.rint((np.stack(waves, -1) * 0.4 + 0.5) * white).astype(np.uint8 if white == 255 else np.uint16)


def yuv_of(rgb: np.ndarray, matrix: int, full: bool, bits: int) -> np.ndarray:
    """Exact codes `[3, H, W]` of RGB 0..1."""
    kr, kb = KR_KB[matrix]
    y = rgb @ np.array([kr, 1 - kr - kb, kb])
    cb, cr = (rgb[..., 2] - y) / (2 * (1 - kb)), (rgb[..., 0] - y) / (2 * (1 - kr))
    unit, top = 2 ** (bits - 8), 2**bits - 1
    if full:
        return np.stack([y * top, cb * top + 128 * unit, cr * top + 128 * unit])
    return np.stack([y * 219 + 16, cb * 224 + 128, cr * 224 + 128]) * unit


def rgb_of(yuv: np.ndarray, matrix: int, full: bool, bits: int) -> np.ndarray:
    """Exact RGB `[H, W, 3]`, 0..1, of codes."""
    kr, kb = KR_KB[matrix]
    unit, top = 2 ** (bits - 8), 2**bits - 1
    y = yuv[0] / top if full else (yuv[0] - 16 * unit) / (219 * unit)
    cb, cr = ((c - 128 * unit) / (top if full else 224 * unit) for c in yuv[1:])
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], -1).clip(0, 1)


def scaled(frame: av.VideoFrame, target: str, **options: str) -> av.VideoFrame:
    """ffmpeg's scale filter."""
    graph = av.filter.Graph()
    entry = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    scale = graph.add("scale", ":".join(f"{k}={v}" for k, v in ({"flags": FLAGS} | options).items()))
    graph.link_nodes(entry, scale, graph.add("format", f"pix_fmts={target}"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_both_directions_follow_the_definition(matrix: int, full: bool, bits: int) -> None:
    pix_fmt = f"yuv444p{bits}le" if bits > 8 else "yuv444p"
    colour = Colour(matrix, 9, 16, full, bits)
    for depth in (8, 16):
        rgb = noise(13, 21, depth)
        frame = from_rgb(rgb, pix_fmt, colour)
        got = np.stack(planes(frame)).astype(float)
        wanted = yuv_of(rgb / (2**depth - 1), matrix, full, bits).clip(0, 2**bits - 1)
        assert np.abs(got - wanted).max() <= 0.51
        assert colour_of(frame) == colour
        deep = to_rgb(frame, 16)
        assert deep.shape == (13, 21, 3) and deep.dtype == np.uint16
        assert np.abs(deep - rgb_of(got, matrix, full, bits) * 65535).max() <= 0.6
        # swscale takes 10-bit full range for 1023/1024 of itself when it rounds to 8 bit.
        allowed = 0.6 if bits == 8 or not full else 1.5
        assert np.abs(to_rgb(frame, 8) - rgb_of(got, matrix, full, bits) * 255).max() <= allowed


@pytest.mark.parametrize(("height", "width"), [(24, 32), (23, 31), (7, 1), (1, 1), (1, 9)])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_writing_agrees_with_ffmpeg(matrix: int, height: int, width: int) -> None:
    rgb = smooth(height, width, 255)
    ours = planes(from_rgb(rgb, "yuv420p", Colour(matrix, 2, 2, False, 8)))
    source = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    theirs = scaled(source, "yuv420p", out_color_matrix=NAMES[matrix], in_range="pc", out_range="tv",
                    out_chroma_loc="left")  # fmt: skip
    for mine, other in zip(ours, planes(theirs), strict=True):
        assert mine.shape == other.shape
        assert np.abs(mine.astype(int) - other).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(24, 32), (23, 31), (1, 1), (3, 1)])
@pytest.mark.parametrize("full", [False, True])
def test_reading_agrees_with_ffmpeg(full: bool, height: int, width: int) -> None:
    for bits in (8, 10):
        pix_fmt = "yuv420p10le" if bits == 10 else "yuv420p"
        frame = from_rgb(smooth(height, width, 65535), pix_fmt, Colour(1, 2, 2, full, bits))
        span = "pc" if full else "tv"
        options = {"in_color_matrix": "bt709", "in_range": span, "out_range": "pc", "in_chroma_loc": "left"}
        assert np.array_equal(to_rgb(frame, 8, "left"), scaled(frame, "rgb24", **options).to_ndarray())
        if bits == 10:
            theirs = scaled(frame, "rgb48le", **options).to_ndarray().astype(float)
            white = 1023 * 64 if full else 255 * 256  # what swscale takes for white in 16 bits
            assert np.abs(to_rgb(frame, 16, "left") / 65535 - (theirs / white).clip(0, 1)).max() < 1 / 4096


@pytest.mark.parametrize(("where", "x0", "y0"), [("left", 0, 0.5), ("center", 0.5, 0.5), ("topleft", 0, 0)])
@pytest.mark.parametrize("depth", [8, 16])
def test_chroma_is_read_where_it_lies(where: str, x0: float, y0: float, depth: int) -> None:
    luma = np.full((32, 48), 120, np.uint8)
    row, column = np.mgrid[0:16, 0:24]
    frame = filled("yuv420p", luma, np.full((16, 24), 128, np.uint8), (100 + 2 * column + row).astype(np.uint8))
    got = to_rgb(frame, depth, where)[..., 0] / (2**depth - 1)
    y, x = np.mgrid[0:32, 0:48]
    cr = 100 + (x - x0) + (y - y0) / 2  # chroma sample (j, i) lies at (2 j + y0, 2 i + x0)
    wanted = (120 - 16) / 219 + 2 * (1 - 0.2126) * (cr - 128) / 224
    inner = np.s_[6:-6, 6:-6]
    # Half a chroma pixel would be 0.007. Codes of 8 bit are 0.004 wide.
    assert abs(np.mean(got[inner] - wanted[inner])) < 0.001
    assert np.abs(got - wanted)[inner].max() < 0.006


def test_chroma_is_left_where_nothing_is_stated() -> None:
    ramp = np.tile(np.arange(24, dtype=np.uint8) * 4 + 80, (16, 1))
    frame = filled("yuv420p", np.full((32, 48), 120, np.uint8), np.full((16, 24), 128, np.uint8), ramp)
    assert siting_of(frame) is None
    for depth in (8, 16):
        assert np.array_equal(to_rgb(frame, depth), to_rgb(frame, depth, "left"))
        assert not np.array_equal(to_rgb(frame, depth), to_rgb(frame, depth, "center"))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le", "nv12"])
def test_chroma_is_written_to_the_left(pix_fmt: str) -> None:
    bits = 10 if "10" in pix_fmt else 8
    y, x = np.mgrid[0:32, 0:48]
    cr = (x - 24) / 128 + (y - 16) / 256
    rgb = np.full((32, 48, 3), 0.5)
    rgb[..., 0] += 2 * (1 - 0.2126) * cr
    rgb[..., 1] -= 2 * (1 - 0.2126) * 0.2126 / 0.7152 * cr
    frame = from_rgb(np.rint(rgb * 65535).astype(np.uint16), pix_fmt, Colour(1, 1, 1, False, bits))
    if pix_fmt == "nv12":
        chroma = np.frombuffer(frame.planes[1], np.uint8).reshape(16, -1)[:, 1:48:2]
    else:
        chroma = planes(frame)[2]
    tall = chroma.shape[0] == 32
    j, i = np.mgrid[0 : chroma.shape[0], 0:24]
    wanted = ((2 * i - 24) / 128 + ((j if tall else 2 * j + 0.5) - 16) / 256) * 224 + 128
    error = (chroma / 2 ** (bits - 8) - wanted)[3:-3, 3:-3]
    assert abs(error.mean()) < 0.15 and np.abs(error).max() < 1.1  # half a luma pixel would be 0.9


def encoded(path: Path, codec: str, pix_fmt: str, options: dict[str, str]) -> av.VideoFrame:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 48, pix_fmt
        frame = av.VideoFrame.from_ndarray(smooth(48, 32, 255), format="rgb24")
        container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "options", "wanted"),
    [
        ("libx264", "yuv420p", {}, "left"),
        ("libx264", "yuv420p", {"x264-params": "chromaloc=2"}, "topleft"),
        ("libx264", "yuv444p", {}, None),
        ("libx264", "yuv422p", {}, "left"),
        ("mpeg4", "yuv420p", {}, "left"),
        ("mjpeg", "yuvj420p", {}, "center"),
        ("ffv1", "yuv420p", {}, None),
    ],
)
def test_the_stated_siting_is_found(
    tmp_path: Path, codec: str, pix_fmt: str, options: dict[str, str], wanted: str | None
) -> None:
    frame = encoded(tmp_path / "a.mkv", codec, pix_fmt, options)
    before = [plane.copy() for plane in planes(frame)]
    assert siting_of(frame) == wanted
    assert all(np.array_equal(a, b) for a, b in zip(before, planes(frame), strict=True))


@pytest.mark.parametrize("pix_fmt", ["gbrp", "rgb24", "gbrp10le", "gbrp12le", "gbrp16le", "rgb48le"])
def test_rgb_formats_keep_every_code(pix_fmt: str) -> None:
    deep = pix_fmt not in ("gbrp", "rgb24")
    rgb = noise(9, 14, 16 if deep else 8)
    bits = int(pix_fmt[4:6]) if pix_fmt[4:6].isdigit() else 16
    frame = from_rgb(rgb, pix_fmt, Colour(1, 1, 13, False, 8))
    assert colour_of(frame).matrix == 0 and colour_of(frame).full_range
    if not deep:
        assert np.array_equal(to_rgb(frame, 8), rgb)
        assert np.array_equal(to_rgb(frame, 16), rgb.astype(np.uint16) * 257)
    else:
        assert np.abs(to_rgb(frame, 16).astype(int) - rgb).max() <= 65535 / (2**bits - 1) / 2 + 1


@pytest.mark.parametrize(("pix_fmt", "bits"), [("gray", 8), ("gray10le", 10), ("gray16be", 16)])
def test_grey_is_grey_and_full_range_unless_it_says_otherwise(pix_fmt: str, bits: int) -> None:
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
    ramp = np.linspace(0, 2**bits - 1, 40).astype(kind).reshape(5, 8)
    frame = filled(pix_fmt, ramp.byteswap() if pix_fmt.endswith("be") else ramp)
    for stated, wanted in (
        (0, ramp / (2**bits - 1)),
        (2, ramp / (2**bits - 1)),
        (1, (ramp / 2 ** (bits - 8) - 16) / 219),
    ):
        frame.color_range = stated
        for depth in (8, 16):
            white = 2**depth - 1
            assert np.abs(to_rgb(frame, depth) - (wanted.clip(0, 1) * white)[..., None]).max() < 0.6


def test_a_matrix_that_is_not_stated_follows_the_size() -> None:
    for size, matrix in (((64, 48), 6), ((1280, 2), 1), ((2, 720), 1), ((1278, 718), 6)):
        assert colour_of(av.VideoFrame(*size, "yuv420p")).matrix == matrix


def test_hdr_is_told_and_standard_range_is_not() -> None:
    assert [Colour(9, 9, transfer, False, 10).hdr for transfer in (16, 18, 14, 1, 2)] == ["PQ", "HLG", None, None, None]


@pytest.mark.parametrize(("code", "name"), [(10, "constant luminance"), (14, "ICtCp"), (8, "code 8")])
def test_other_matrices_are_refused(code: int, name: str) -> None:
    frame = av.VideoFrame(16, 16, "yuv420p10le")
    frame.colorspace = code
    for convert in (colour_of, lambda f: to_rgb(f, 8)):
        with pytest.raises(UserError, match=name):
            convert(frame)


def test_rgb_needs_a_matrix_to_become_yuv() -> None:
    plain = Colour(0, 1, 13, True, 8)
    with pytest.raises(ValueError, match="as_yuv"):
        from_rgb(noise(8, 8), "yuv420p", plain)
    assert plain.as_yuv() == Colour(1, 1, 13, False, 8)
    assert Colour(9, 9, 16, True, 10).as_yuv() == Colour(9, 9, 16, True, 10)
    with pytest.raises(ValueError, match="uint8 or uint16"):
        from_rgb(np.zeros((8, 8, 3), np.float32), "yuv420p", plain.as_yuv())


def test_memory_layout_does_not_matter() -> None:
    rgb = noise(11, 14)
    planar = np.ascontiguousarray(rgb.transpose(2, 0, 1)).transpose(1, 2, 0)
    colour = Colour(1, 1, 1, False, 8)
    for a, b in zip(planes(from_rgb(rgb, "yuv420p", colour)), planes(from_rgb(planar, "yuv420p", colour)), strict=True):
        assert np.array_equal(a, b)


def test_threads_do_not_disturb_each_other() -> None:
    colour = Colour(1, 1, 1, False, 8)
    pictures = [noise(64, 96, seed=seed) for seed in range(8)]

    def there_and_back(rgb: np.ndarray) -> np.ndarray:
        return to_rgb(from_rgb(rgb, "yuv420p", colour), 8)

    alone = [there_and_back(rgb) for rgb in pictures]
    with ThreadPoolExecutor(4) as pool:
        for wanted, got in zip(alone, pool.map(there_and_back, pictures), strict=True):
            assert np.array_equal(wanted, got)


def test_transparency_is_seen() -> None:
    pixels = np.full((4, 6, 4), 255, np.uint8)
    assert not has_transparency(av.VideoFrame.from_ndarray(pixels, format="rgba"))
    pixels[2, 3, 3] = 254
    assert has_transparency(av.VideoFrame.from_ndarray(pixels, format="rgba"))
    assert not has_transparency(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[..., :3]), format="rgb24"))
