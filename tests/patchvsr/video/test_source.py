"""Sources: every container frame by frame, seeking, times, ranges, and what cannot be read."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from patchvsr.errors import UserError
from patchvsr.video import decoder as decoder_module
from patchvsr.video import open_source

X264 = {"x264-params": "keyint=8:min-keyint=8:bframes=3:b-adapt=0:scenecut=0", "qp": "4"}
X265 = "log-level=none:pools=none:frame-threads=1:wpp=0:cutree=0:ctu=32"  # safe for small pictures, see CODECS
OPEN_GOP = {"x264-params": "keyint=8:min-keyint=8:bframes=3:b-adapt=0:scenecut=0:open-gop=1", "qp": "4"}
KINDS = {
    "a.mp4": ("libx264", "yuv420p", X264),
    "a.mkv": ("libx264", "yuv420p10le", X264),
    "a.mov": ("prores_ks", "yuv422p10le", {}),
    "a.webm": ("libvpx-vp9", "yuv420p", {"g": "8", "deadline": "realtime", "crf": "10", "b": "0"}),
    "vp8.webm": ("libvpx", "yuv420p", {"g": "8", "auto-alt-ref": "1", "lag-in-frames": "5", "b": "2000000"}),
    "a.avi": ("mpeg4", "yuv420p", {"g": "8", "qscale": "2", "flags": "qscale", "global_quality": "118"}),
    "b.avi": ("libx264", "yuv420p", X264),
    "a.ts": ("libx264", "yuv420p", X264),
    "open.mp4": ("libx264", "yuv420p", OPEN_GOP),
    "open.mkv": ("libx264", "yuv420p", OPEN_GOP),
    "open.ts": ("libx264", "yuv420p", OPEN_GOP),
    "refresh.mp4": ("libx264", "yuv420p", {"x264-params": "keyint=8:intra-refresh=1", "qp": "4"}),
    "hevc.mp4": ("libx265", "yuv420p10le", {"x265-params": f"{X265}:keyint=8:min-keyint=8:bframes=3:qp=4"}),
    "ffv1.mkv": ("ffv1", "yuv420p12le", {}),
    "raw.h264": ("libx264", "yuv420p", X264),
    "a.mpg": ("mpeg2video", "yuv420p", {"g": "8", "bf": "2", "b": "4000000"}),
}
N = 40


def levels(frames: int) -> np.ndarray:
    """The brightness that each frame of a test clip has, none like another, in no order."""
    return np.random.default_rng(0).permutation(np.linspace(20, 235, frames).astype(np.uint8))


def pictures(frames: int, width: int, height: int) -> Iterator[np.ndarray]:
    for level in levels(frames):
        yield np.full((height, width, 3), level, np.uint8)


def write(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    frames: int = N,
    size: tuple[int, int] = (32, 48),
    times: list[int] | None = None,
    setup: Callable[[av.VideoStream], object] = lambda stream: None,
    movflags: str = "",
) -> Path:
    """A clip of grey frames of `levels`; `times` are in milliseconds."""
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=25, options=X264 if options is None else options)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        setup(stream)
        for index, picture in enumerate(pictures(frames, *size)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (times[index], Fraction(1, 1000)) if times else (index, Fraction(1, 25))
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())
    return path


def brightness(frames: torch.Tensor) -> np.ndarray:
    return frames.mean((1, 2, 3)).numpy() * 255


def check_frames(frames: torch.Tensor, wanted: np.ndarray) -> None:
    assert len(frames) == len(wanted)
    assert np.abs(brightness(frames) - wanted).max() < 2.4  # levels are 5.5 apart


@pytest.mark.parametrize("name", KINDS)
def test_any_slice_of_any_container_is_exact(tmp_path: Path, name: str) -> None:
    codec, pix_fmt, options = KINDS[name]
    path = write(tmp_path / name, codec, pix_fmt, options)
    with open_source(path) as source:
        assert (source.kind, source.start, source.total, source.shape) == ("video", 0, N, (N, 3, 48, 32))
        assert source.colour.depth == av.VideoFormat(pix_fmt).components[0].bits
        assert source.timing is not None and len(source.timing.pts) == N
        seconds = np.array([float(t * source.timing.time_base) for t in (*source.timing.pts, source.timing.end)])
        assert np.abs(np.diff(seconds) - 0.04).max() < 0.0015
        every = source[:]
        assert every.dtype == torch.float32 and every.shape == source.shape
        check_frames(every, levels(N))
        for start, stop in ((0, 3), (35, 40), (33, 36), (8, 9), (7, 8), (30, 31), (17, 29), (24, 25), (0, 1), (39, 40)):
            assert torch.equal(source[start:stop], every[start:stop]), (start, stop)
    with open_source(path, (23, 31)) as part:
        assert (part.start, part.total, len(part)) == (23, N, 8)
        assert part.timing is not None and part.timing.pts == source.timing.pts[23:31]
        assert part.timing.end == source.timing.pts[31]
        assert torch.equal(part[2:5], every[25:28])


def test_forward_slices_decode_each_frame_once_and_hold_one_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.mp4")
    seen: list[int] = []
    convert = decoder_module.displayed

    def counted(frame: av.VideoFrame, depth: int, where: str) -> np.ndarray:
        seen.append(frame.pts)
        return convert(frame, depth, where)

    with open_source(path) as source:
        monkeypatch.setattr(decoder_module, "displayed", counted)
        for start in range(0, 35, 5):
            check_frames(source[start : start + 8], levels(N)[start : start + 8])
            assert len(source._held) == 8 or start + 8 > N
        assert len(seen) == len(set(seen)) == min(30 + 8, N)
        assert torch.equal(source[3:3], torch.empty(0, 3, 48, 32))
        with pytest.raises(ValueError, match="step"):
            source[0:8:2]


def test_a_slice_is_not_changed_by_writing_to_another(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "a.mp4", frames=8)) as source:
        first = source[0:6]
        kept = first.clone()
        first.zero_()
        assert torch.equal(source[2:6], kept[2:6])


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [0, 33, 67, 200, 233, 500, 510, 700]
    for name in ("a.mp4", "a.mkv"):
        with open_source(write(tmp_path / name, frames=8, times=times)) as source:
            timing = source.timing
            assert timing is not None
            assert [round((t - timing.pts[0]) * timing.time_base * 1000) for t in timing.pts] == times
            assert timing.end > timing.pts[-1]
            check_frames(source[:], levels(8))
        with open_source(tmp_path / name, (2, 4)) as part:
            assert part.timing is not None
            assert round((part.timing.end - part.timing.pts[-1]) * part.timing.time_base * 1000) == 33


@pytest.mark.parametrize("bounds", [(-1, 3), (0, 9), (3, 3), (5, 2), (8, None), (None, 0), (8, 12)])
def test_a_range_outside_the_clip_says_how_many_frames_there_are(
    tmp_path: Path, bounds: tuple[int | None, int | None]
) -> None:
    video = write(tmp_path / "a.mp4", frames=8)
    with pytest.raises(UserError, match=r"8 frames"):
        open_source(video, bounds)


def test_open_ends_of_a_range_are_those_of_the_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", frames=8)
    for bounds, wanted in (((None, None), range(8)), ((6, None), range(6, 8)), ((None, 2), range(2))):
        with open_source(path, bounds) as source:
            assert range(source.start, source.start + len(source)) == wanted
            check_frames(source[:], levels(8)[wanted.start : wanted.stop])


def test_an_edit_list_that_cuts_the_start_is_obeyed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", frames=20, options=X264 | {"x264-params": X264["x264-params"] + ":bframes=0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12  # version and flags, one entry: duration, media time
    duration, media_time = struct.unpack_from(">Ii", data, at)
    step = 12800 // 25
    struct.pack_into(">Ii", data, at, duration - 5 * 40, media_time + 5 * step)
    path.write_bytes(data)
    with open_source(path) as source:
        assert source.total == 15
        check_frames(source[:], levels(20)[5:])
        check_frames(source[9:12], levels(20)[14:17])
        check_frames(source[0:2], levels(20)[5:7])


MATRICES = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0),
            (0, -1, -1, 0)]  # fmt: skip


@pytest.mark.parametrize("matrix", MATRICES)
def test_display_matrices_turn_and_mirror(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    a, b, c, d = matrix
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 48, "yuv444p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        one = 1 << 16
        stream.set_display_matrix([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30])
        quarters = np.kron(np.array([[250, 100], [50, 170]], np.uint8), np.ones((24, 16), np.uint8))
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.stack([quarters] * 3, -1), format="rgb24")))
        container.mux(stream.encode())
    with open_source(path) as source:
        frame = source[0:1][0, 0].numpy() * 255
        assert source.shape == (1, 3, *frame.shape)
        assert source.sample_aspect == (Fraction(4, 3) if a else Fraction(3, 4))
    got = frame.reshape(2, frame.shape[0] // 2, 2, frame.shape[1] // 2).mean((1, 3))
    # A point (p, q), right and down from the middle, is shown at (a p + c q, b p + d q).
    for (q, p), level in {(-1, -1): 250, (-1, 1): 100, (1, -1): 50, (1, 1): 170}.items():
        x, y = a * p + c * q, b * p + d * q
        assert abs(got[(y + 1) // 2, (x + 1) // 2] - level) < 4


def test_hdr_is_reported_with_its_metadata(tmp_path: Path) -> None:
    master = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    options = {"x265-params": f"{X265}:hdr10=1:repeat-headers=1:{master}"}

    def tag(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, 16, 1

    path = write(tmp_path / "a.mp4", "libx265", "yuv420p10le", options, frames=2, setup=tag)
    with open_source(path) as source:
        assert source.colour.hdr == "PQ"
        assert (source.colour.matrix, source.colour.primaries, source.colour.depth) == (9, 9, 10)
        assert set(source.side_data) == {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
        assert struct.unpack("2I", source.side_data["CONTENT_LIGHT_LEVEL"][:8]) == (1000, 400)
    with open_source(write(tmp_path / "b.mp4", frames=2)) as source:
        assert source.colour.hdr is None and source.side_data == {}


def test_deep_video_keeps_its_depth(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    ramp = np.arange(400, 432, dtype=np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 2, "yuv444p10le"
        frame = av.VideoFrame(32, 2, "yuv444p10le")
        for plane, values in zip(frame.planes, (ramp, np.full(32, 512), np.full(32, 512)), strict=True):
            rows = np.zeros((2, plane.line_size // 2), np.uint16)
            rows[:, :32] = values
            plane.update(rows.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with open_source(path) as source:
        got = source[:][0, :, 1].numpy()
    assert np.abs(got - (ramp - 64) / 876).max() < 2e-5


def test_transparent_video_is_refused_and_opaque_alpha_is_not(tmp_path: Path) -> None:
    for alpha in (255, 254):
        path = tmp_path / f"{alpha}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "yuva420p"
            frame = av.VideoFrame(16, 16, "yuva420p")
            for plane, value in zip(frame.planes, (93, 128, 128, alpha), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    with open_source(tmp_path / "255.mkv") as source:
        assert np.abs(brightness(source[:]) - 90).max() < 2
    with pytest.raises(UserError, match=r"254\.mkv has transparency"):
        open_source(tmp_path / "254.mkv")


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (1, 5)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    with open_source(write(tmp_path / "a.mkv", "rawvideo", "yuv420p", {}, frames=5, size=size)) as source:
        assert source.shape == (5, 3, size[1], size[0])
        check_frames(source[:], levels(5))


def remuxed(source: Path, target: Path, keep: Callable[[int, av.Packet], bool]) -> Path:
    """The packets of a video that are to be kept, by number and packet."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        out.start_encoding()
        for number, packet in enumerate(container.demux(video=0)):
            if packet.size and keep(number, packet):
                packet.stream = stream
                out.mux(packet)
    return target


def test_frames_before_the_first_that_decodes_are_left_out_with_a_note(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.ts", options=OPEN_GOP)
    with av.open(str(whole)) as container:
        keys = [i for i, p in enumerate(container.demux(video=0)) if p.size and p.is_keyframe]
    cut = remuxed(whole, tmp_path / "cut.ts", lambda number, packet: number >= keys[2])
    with open_source(cut) as source:
        assert source.total < N - keys[2]
        assert any("left out" in note and "refer" in note for note in source.notes)
        check_frames(source[:], levels(N)[N - source.total :])


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_a_missing_packet_is_an_error_not_a_short_clip(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, options=X264)
    broken = remuxed(path, tmp_path / f"broken-{name}", lambda number, packet: number != 16)  # a keyframe
    with pytest.raises(UserError, match="damaged|decoded"), open_source(broken) as source:
        source[:]


def test_damaged_data_is_an_error_not_a_short_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", options=X264)
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    start, size = spans[24]
    data[start + 4 : start + size] = bytes(size - 4)
    path.write_bytes(data)
    with pytest.raises(UserError, match="a.mp4 (is damaged|cannot be decoded)"), open_source(path) as source:
        source[:]


@pytest.mark.parametrize(("name", "share"), [("a.mp4", 0.6), ("a.mov", 0.9), ("a.mkv", 0.5)])
def test_truncated_files_are_errors_when_opened(tmp_path: Path, name: str, share: float) -> None:
    path = write(tmp_path / name, options={"qp": "4"}, movflags="" if name == "a.mkv" else "faststart", frames=60)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="truncated|cannot be read"):
        open_source(path)


def test_frames_of_another_size_are_an_error(tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{w}.h264", frames=8, size=(w, 48)) for w in (32, 64))
    both = tmp_path / "both.h264"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with open_source(both) as source, pytest.raises(UserError, match="32x48, 64x48"):
        source[:]


def sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_what_holds_no_frames_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(bytes(range(256)) * 40)
    folder = tmp_path / "folder"
    folder.mkdir()
    without = write(tmp_path / "one.mp4", frames=1)
    remuxed(without, tmp_path / "zero.mp4", lambda number, packet: False)
    cases = {
        tmp_path / "missing.mp4": "does not exist",
        empty: "is empty",
        noise: "cannot be read",
        folder: "holds no png, jpg, webp, tiff or bmp image",
        sound(tmp_path / "sound.m4a"): "holds no video",
        tmp_path / "zero.mp4": "holds no (video|frame)",
    }
    for path, message in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            open_source(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_codec_without_decoder_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", frames=2)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zz9q"))
    with pytest.raises(UserError, match="zz9q"):
        open_source(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", frames=2)
    path.chmod(0)
    with pytest.raises(UserError, match="[Pp]ermission"):
        open_source(path)


def test_names_that_look_like_addresses_are_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", frames=2).rename(tmp_path / "12:30 100%03d.mp4")
    with open_source(path) as source:
        assert len(source) == 2


def test_other_streams_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream, size in zip(streams, (16, 32), strict=True):
            stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame(stream.width, stream.height, "yuv420p")))
            container.mux(stream.encode())
    with open_source(path) as source:
        assert source.shape == (1, 3, 16, 16)
        assert any("more video stream" in note for note in source.notes)


def test_a_matrix_that_cannot_be_read_is_refused_when_opened(tmp_path: Path) -> None:
    def tag(stream: av.VideoStream) -> None:
        stream.codec_context.colorspace = 10

    path = write(tmp_path / "a.mkv", "libx264", "yuv420p10le", frames=2, setup=tag)
    with pytest.raises(UserError, match="constant luminance"):
        open_source(path)


def test_repeated_times_are_spread_evenly_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    plain = write(tmp_path / "plain.mkv", "ffv1", options={}, frames=10)
    with av.open(str(plain)) as container, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for number, packet in enumerate(container.demux(video=0)):
            if packet.size:
                packet.pts = packet.dts = 40 * (number - number % 2)
                packet.stream = stream
                out.mux(packet)
    with open_source(path) as source:
        assert source.timing is not None and len(set(source.timing.pts)) == source.total == 10
        assert any("spaced evenly" in note for note in source.notes)
        check_frames(source[:], levels(10))
        check_frames(source[2:4], levels(10)[2:4])
        check_frames(source[7:9], levels(10)[7:9])
