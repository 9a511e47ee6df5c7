"""From file to file: size, orientation, times, sound, and what happens when something is in the way."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.subtitles.subtitle import SubtitleSet
from PIL import Image

from patchvsr.cli import main
from patchvsr.video import open_source

Phone = Callable[..., Path]


def run(*arguments: str | Path) -> int:
    return main(["upscale", "--variant", "bicubic", "--quiet", *map(str, arguments)])


def described(path: Path) -> dict[str, list]:
    """Frame times in seconds, sound in packets, and size."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        packets = {s.index: [p for p in container.demux(s) if p.size] for s in container.streams if s.type != "data"
                   if container.seek(0) is None}  # fmt: skip
        times = sorted(p.pts * p.time_base for p in packets[video.index])
        audio = [[bytes(p) for p in packets[s.index]] for s in container.streams.audio]
        starts = [min(p.pts * p.time_base for p in packets[s.index]) for s in container.streams.audio]
        length = video.duration * video.time_base if video.duration else None
        return {"times": times, "audio": audio, "starts": starts, "size": [video.width, video.height], "length": length}


def first_frame(path: Path, index: int = 0) -> np.ndarray:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                return frame.to_ndarray(format="rgb24")
    raise AssertionError


def test_a_phone_clip_comes_out_upright_with_its_times_and_its_sound(phone: Phone, tmp_path: Path) -> None:
    source, out = phone(seconds=2), tmp_path / "out.mp4"
    assert run(source, out, "--scale", "3") == 0
    before, after = described(source), described(out)
    assert after["size"] == [36 * 3, 64 * 3]
    assert after["times"] == before["times"] and len(set(np.diff(after["times"]))) > 5
    assert float(after["length"]) == pytest.approx(float(before["length"]), abs=1e-3)
    assert after["audio"] == before["audio"] and after["starts"] == before["starts"]
    # The red bar on top of the sensor's picture lies at the right of the upright one.
    picture = first_frame(out).astype(int)
    assert (picture[20:-20, -6:, 0] - picture[20:-20, -6:, 2]).min() > 150
    assert (picture[20:-20, :60, 0] - picture[20:-20, :60, 2]).max() < 150
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "phone.mp4"]


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "h264"), (".mp4", "hevc"), (".mp4", "av1"), (".mov", "prores"), (".mkv", "ffv1"), (".webm", "vp9"),
     (".mkv", "vp9"), (".mov", "hevc"), (".m4v", "h264")],
)  # fmt: skip
def test_every_codec_gives_a_file_that_plays(phone: Phone, tmp_path: Path, suffix: str, codec: str) -> None:
    source, out = phone(turned=False), tmp_path / f"out{suffix}"
    assert run(source, out, "--scale", "2", "--codec", codec) == 0
    before, after = described(source), described(out)
    # Matroska counts in milliseconds from 0, and so moves everything by what the sound begins before 0.
    unit = Fraction(1, 1000) if suffix in (".mkv", ".webm") else 0
    late = after["times"][0]
    assert late == 0 or (suffix == ".mkv" and late == pytest.approx(1024 / 44100, abs=1e-3))
    assert max(abs(a - late - b) for a, b in zip(after["times"], before["times"], strict=True)) <= unit
    assert after["size"] == [128, 72] and len(after["audio"]) == 1
    mean = np.abs(first_frame(out).astype(int) - first_frame(source).repeat(2, 0).repeat(2, 1)).mean()
    assert mean < 12
    with av.open(str(out)) as container:
        assert {"h264": "h264", "av1": "libdav1d"}.get(codec, codec) == container.streams.video[0].codec.name
        tag = container.streams.video[0].codec_context.codec_tag
        assert codec != "hevc" or tag == "hvc1"


def test_sound_that_the_file_cannot_hold_is_encoded_anew(phone: Phone, tmp_path: Path, capsys) -> None:
    source, out = phone(), tmp_path / "out.webm"
    assert main(["upscale", str(source), str(out), "--scale", "1", "--variant", "bicubic"]) == 0
    assert "the sound is encoded anew (aac to libopus)" in capsys.readouterr().err
    with av.open(str(out)) as container:
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert len(samples) / 48000 == pytest.approx(1.02, abs=0.06)
    spectrum = np.abs(np.fft.rfft(samples[:48000]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)


def with_subtitles(source: Path, target: Path, codec: str) -> Path:
    """The same file with two lines of text, chapters and a title."""
    header = b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name\nStyle: Default\n\n[Events]\n"
    header += b"Format: Text\n"
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        streams = {s.index: made.add_stream_from_template(s, opaque=True) for s in given.streams}
        texts = made.add_stream(codec)
        texts.codec_context.subtitle_header = header
        texts.codec_context.time_base = Fraction(1, 1000)
        made.metadata["title"] = "Holiday"
        unit = Fraction(1, 1000)
        made.set_chapters([{"id": 1, "start": 0, "end": 500, "time_base": unit, "metadata": {"title": "Beach"}}])
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                made.mux(packet)
        for start, line in ((100, "Hello"), (500, "world")):
            event = SubtitleSet.create(
                text=f"0,0,Default,,0,0,0,,{line}".encode(), start=0, end=300, pts=start * 1000, subtitle_format=1
            )
            packet = texts.codec_context.encode_subtitle(event)
            packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = texts, start, start, 300, unit
            made.mux(packet)
    return target


def texts_of(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        found = []
        for packet in container.demux(stream):
            if packet.size > 2:
                word = re.search("Hello|world", bytes(packet).decode("utf-8", "ignore"))[0]
                unit = Fraction(packet.time_base)
                found.append((float(packet.pts * unit), float(packet.duration * unit), word))
        return found


@pytest.mark.parametrize(
    ("given", "codec", "wanted", "kept"),
    [(".mkv", "subrip", ".mp4", "mov_text"), (".mkv", "subrip", ".mkv", "srt"), (".mp4", "mov_text", ".mkv", "srt"),
     (".mp4", "mov_text", ".mp4", "mov_text"), (".mkv", "subrip", ".webm", "webvtt")],
)  # fmt: skip
def test_subtitles_chapters_and_tags_come_along(
    phone: Phone, tmp_path: Path, given: str, codec: str, wanted: str, kept: str
) -> None:
    source = with_subtitles(phone(turned=False), tmp_path / f"given{given}", codec)
    out = tmp_path / f"out{wanted}"
    assert run(source, out, "--scale", "2") == 0
    with av.open(str(out)) as container:
        assert container.streams.subtitles[0].codec_context.name == kept
        assert container.metadata["title"] == "Holiday"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["Beach"]
    late = 0.0 if given == ".mkv" or wanted == ".mp4" else described(out)["times"][0]
    for found, expected in zip(texts_of(out), texts_of(source), strict=True):
        assert found[2] == expected[2] and found[1] == pytest.approx(expected[1], abs=2e-3)
        assert found[0] - float(late) == pytest.approx(expected[0], abs=2e-3)
    assert run(source, tmp_path / f"silent{wanted}", "--scale", "2", "--no-subtitles", "--no-audio") == 0
    with av.open(str(tmp_path / f"silent{wanted}")) as container:
        assert [stream.type for stream in container.streams if stream.type != "data"] == ["video"]


def test_a_part_keeps_its_times_and_its_sound(phone: Phone, tmp_path: Path) -> None:
    source, out = phone(seconds=2), tmp_path / "out.mp4"
    assert run(source, out, "--scale", "2", "--frames", "10:30") == 0
    before, after = described(source), described(out)
    start, end = before["times"][10], before["times"][30]
    assert after["times"] == [t - start for t in before["times"][10:30]]
    assert float(after["length"]) == pytest.approx(float(end - start), abs=1e-3)  # MP4 states it in milliseconds
    kept = len(after["audio"][0])
    assert kept == pytest.approx(float((end - start) * 44100 / 1024), abs=1.5)
    at = before["audio"][0].index(after["audio"][0][0])
    assert before["audio"][0][at : at + kept] == after["audio"][0]
    assert 0 <= after["starts"][0] < Fraction(1024, 44100)


def test_the_exact_frames_come_out_losslessly(phone: Phone, tmp_path: Path) -> None:
    source = phone(turned=False)
    assert run(source, tmp_path / "out.mkv", "--scale", "1", "--codec", "ffv1") == 0
    assert run(source, tmp_path / "out", "--scale", "1") == 0
    images = sorted((tmp_path / "out").iterdir())
    assert len(images) == len(described(source)["times"])
    for index in (0, 7, len(images) - 1):
        picture = np.asarray(Image.open(images[index]))
        assert np.array_equal(first_frame(tmp_path / "out.mkv", index), picture)


def test_more_bits_and_hdr_tags_are_kept(phone: Phone, tmp_path: Path) -> None:
    params = "log-level=error:cutree=0:ctu=32:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:max-cll=1000,400"
    params += ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    source = phone(
        codec="libx265", pix_fmt="yuv420p10le", turned=False, options={"x265-params": params, "bf": "0"}
    )
    assert run(source, tmp_path / "out.mp4", "--scale", "2") == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert context.name == "hevc" and context.pix_fmt == "yuv420p10le"
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert [int(tag) for tag in tags] == [9, 16, 9, 1]
    with open_source(source) as before, open_source(tmp_path / "out.mp4") as after:
        assert len(after.side_data) == 2 and after.side_data == before.side_data
    for refused in ("out.png", "folder", "out.webm"):
        arguments = ["--frames", "0"] if refused == "out.png" else ["--codec", "vp9"] if refused == "out.webm" else []
        assert run(source, tmp_path / refused, "--scale", "2", *arguments) == 2


def test_a_folder_of_images_becomes_a_video_and_back(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    assert run(folder, tmp_path / "out.mp4", "--scale", "2") == 2  # how fast is not known
    assert run(folder, tmp_path / "out.mp4", "--scale", "2", "--fps", "30000/1001") == 0
    times = described(tmp_path / "out.mp4")["times"]
    assert times == [index * Fraction(1001, 30000) for index in range(5)]
    assert run(folder, tmp_path / "out", "--scale", "2.5") == 0
    assert {Image.open(p).size for p in (tmp_path / "out").iterdir()} == {(60, 40)}


def test_deep_images_stay_deep(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 16).reshape(16, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert run(tmp_path / "deep.png", tmp_path / "out.png", "--scale", "1") == 0
    with av.open(str(tmp_path / "out.png")) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "rgb48be"
        levels = frame.to_ndarray(format="rgb48le")[..., 0]
    assert np.abs(levels.astype(int) - ramp).max() <= 1


def test_odd_and_tiny_inputs(tmp_path: Path, capsys) -> None:
    for width, height in ((1, 1), (13, 7)):
        source = tmp_path / f"{width}.png"
        Image.new("RGB", (width, height), (10, 200, 30)).save(source)
        assert run(source, tmp_path / f"out{width}.png", "--scale", "3") == 0
        assert Image.open(tmp_path / f"out{width}.png").size == (3 * width, 3 * height)
        assert run(source, tmp_path / f"out{width}.mp4", "--scale", "3", "--fps", "24") == 2
        assert "3x3" in capsys.readouterr().err or width == 13
        assert run(source, tmp_path / f"out{width}.mkv", "--scale", "3", "--fps", "24", "--codec", "ffv1") == 0


@pytest.fixture
def refused(tmp_path: Path, capsys) -> Callable[..., str]:
    """Runs, and gives the one sentence of the refusal after making sure that nothing was left behind."""

    def check(*arguments: str | Path) -> str:
        before = sorted(tmp_path.iterdir())
        capsys.readouterr()
        assert run(*arguments) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("patchvsr: ") and "\n" not in error and "Traceback" not in error
        assert sorted(tmp_path.iterdir()) == before
        return error

    return check


def test_bad_input_is_one_sentence_and_leaves_nothing(phone: Phone, tmp_path: Path, refused) -> None:
    good, out = phone(), tmp_path / "out.mp4"
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:4000])
    with (
        av.open(str(good)) as container,
        av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"}) as front,
    ):
        made = front.add_stream_from_template(container.streams.video[0], opaque=True)
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = made
                front.mux(packet)
    whole = (tmp_path / "front.mp4").read_bytes()
    (tmp_path / "front.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    (tmp_path / "nothing").mkdir()
    assert "does not exist" in refused(tmp_path / "missing.mp4", out)
    assert "empty" in refused(tmp_path / "empty.mp4", out)
    assert "cannot be read" in refused(tmp_path / "cut.mp4", out)
    assert "truncated" in refused(tmp_path / "front.mp4", out)
    assert "no png" in refused(tmp_path / "nothing", out)
    assert "at least 1" in refused(good, out, "--scale", "0.5")
    assert "another shape than the input's 36x64; 2160x3840" in refused(good, out, "--size", "3840x2160")
    assert "WIDTHxHEIGHT" in refused(good, out, "--size", "4K")
    assert "frames" in refused(good, out, "--frames", "20:90")
    assert "is empty" in refused(good, out, "--frames", "5:5")
    assert "not A:B" in refused(good, out, "--frames", "a:b")
    assert "no suffix of a video" in refused(good, tmp_path / "out.avi")
    assert "does not exist" in refused(good, tmp_path / "no" / "out.mp4")
    assert "the input itself" in refused(good, good)
    assert "unknown codec" in refused(good, out, "--codec", "h266")
    assert "--crf" in refused(good, out, "--crf", "99")
    assert "preset" in refused(good, out, "--preset", "warp")
    assert "--fps" in refused(good, out, "--fps", "24")
    assert "did you mean 'full'" in refused(good, out, "--variant", "ful")
    assert "unknown device" in refused(good, out, "--device", "abacus")


def test_an_output_that_is_there_is_not_replaced_unasked(phone: Phone, tmp_path: Path, refused) -> None:
    source, out = phone(), tmp_path / "out.mp4"
    out.write_text("precious")
    assert "--overwrite" in refused(source, out)
    assert run(source, out, "--scale", "9", "--codec", "prores", "--overwrite") == 2
    assert out.read_text() == "precious"
    assert run(source, out, "--scale", "2", "--overwrite") == 0
    assert described(out)["size"] == [72, 128]
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "diary.txt").write_text("precious")
    assert "is not replaced" in refused(source, folder, "--overwrite")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(phone: Phone, tmp_path: Path) -> None:
    source = phone()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "from patchvsr.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for out in ("out.mkv", "out"):
        arguments = ["upscale", source, tmp_path / out, "--scale", "8", "--variant", "bicubic", "--quiet"]
        arguments += ["--codec", "ffv1"] if out.endswith("mkv") else []
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "no room left" in done.stderr
        assert [p.name for p in tmp_path.iterdir()] == ["phone.mp4"]


def test_what_is_shown(phone: Phone, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.mp4"
    assert main(["upscale", str(phone()), str(out), "--scale", "2", "--variant", "bicubic"]) == 0
    error = capsys.readouterr().err
    assert f"{out}: 72x128 (x2)" in error and "left" in error
    assert "reading" in error and "upscaling" in error and "writing" in error
    assert os.stat(out).st_size > 0


@pytest.mark.slow
def test_a_720p_phone_clip_becomes_4k(phone: Phone, tmp_path: Path) -> None:
    source, out = phone(width=1280, height=720, seconds=2), tmp_path / "out.mp4"
    assert run(source, out, "--size", "2160x3840") == 0
    before, after = described(source), described(out)
    assert after["size"] == [2160, 3840]
    assert after["times"] == before["times"]
    assert float(after["length"]) == pytest.approx(float(before["length"]), abs=1e-3)
    assert after["audio"] == before["audio"]
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed; the same was checked with PyAV")
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-count_frames", str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    video, audio = json.loads(probed.stdout)["streams"]
    assert (video["width"], video["height"], video["pix_fmt"]) == (2160, 3840, "yuv420p")
    assert int(video["nb_read_frames"]) == len(before["times"])
    assert float(video["duration"]) == pytest.approx(float(before["length"]), abs=1e-3)
    assert "side_data_list" not in video and audio["codec_name"] == "aac"


def test_out_of_memory_is_one_sentence_and_leaves_nothing(
    phone: Phone, tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = phone()

    def give_up(self, frame, height, width):
        raise MemoryError

    monkeypatch.setattr("baselines.resize.Bicubic.resize", give_up)
    assert "memory ran out on cpu at 72x128" in refused(source, tmp_path / "out.mp4", "--scale", "2")


def test_an_interrupt_before_the_first_frame_is_no_traceback(
    phone: Phone, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("patchvsr.upscale.create", interrupted)
    assert run(phone(), tmp_path / "out.mp4") == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err


def test_frames_that_are_no_numbers_are_refused(
    phone: Phone, tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = phone()

    def broken(self, frame, height, width):
        return torch.full((3, height, width), float("nan"))

    monkeypatch.setattr("baselines.resize.Bicubic.resize", broken)
    assert "not finite numbers" in refused(source, tmp_path / "out.mp4", "--scale", "2")
    assert "not finite numbers" in refused(source, tmp_path / "out", "--scale", "2")


def test_settings_are_refused_before_a_model_is_loaded(
    phone: Phone, tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = phone()
    monkeypatch.setattr("patchvsr.upscale.create", lambda *arguments: pytest.fail("a model was loaded"))
    assert "unknown codec" in refused(source, tmp_path / "out.mp4", "--codec", "h266")
