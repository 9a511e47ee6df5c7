"""The choice of an encoder for a file."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from patchvsr.errors import UserError
from patchvsr.request import VIDEO_OUT
from patchvsr.sizes import scale_for
from patchvsr.video.encoders import CONTAINERS, ENCODERS, check_size, choose

RATE = Fraction(25)


@pytest.mark.parametrize(
    ("name", "depth", "codec", "bits"),
    [
        ("a.mp4", 8, "h264", 8), ("a.mp4", 10, "hevc", 10), ("a.MOV", 10, "hevc", 10), ("a.mkv", 12, "hevc", 12),
        ("a.webm", 8, "vp9", 8), ("a.webm", 10, "av1", 10), ("a.mp4", 9, "hevc", 10), ("a.mkv", 16, "ffv1", 16),
    ],
)  # fmt: skip
def test_the_default_codec_goes_by_suffix_and_depth(name, depth, codec, bits):
    chosen = choose(Path(name), depth, RATE)
    assert (chosen.codec, chosen.depth) == (codec, bits)


def test_what_the_user_asks_for_is_taken():
    chosen = choose(Path("a.mkv"), 8, RATE, "hevc", 12, "veryfast")
    assert chosen.options(1280, 720) == {"x265-params": "log-level=error", "crf": "12", "preset": "veryfast"}
    assert chosen.options(1280, 72)["x265-params"] == "log-level=error:cutree=0:ctu=32"  # else x265 corrupts memory
    assert choose(Path("a.mov"), 8, RATE, "prores").depth == 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a.avi", 8, RATE), "no suffix of a video"),
        (("a.mp4", 8, RATE, "h265"), "unknown codec 'h265'; did you mean 'hevc' or 'h264'|unknown codec 'h265'"),
        (("a.mp4", 8, RATE, "ffv1"), "cannot go into a.mp4; a .mp4 file takes h264, hevc, av1, vp9"),
        (("a.webm", 12, RATE), "bits per channel"),
        (("a.mp4", 8, RATE, "h264", 52), "0 to 51"),
        (("a.mov", 8, RATE, "prores", 5), "has no --crf"),
        (("a.mkv", 8, RATE, "ffv1", None, "slow"), "has no --preset"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        choose(Path(arguments[0]), *arguments[1:])


def test_an_odd_size_is_refused_with_one_that_goes():
    with pytest.raises(UserError, match="odd size 2559x1440; use --size 2560x1440") as refused:
        check_size(choose(Path("a.mp4"), 8, RATE), 2559, 1440, (853, 480))
    assert "webm" in str(refused.value)
    assert scale_for((853, 480), (2560, 1440)) is not None
    for name, codec in (("a.webm", "vp9"), ("a.mkv", "ffv1"), ("a.mkv", "av1")):
        check_size(choose(Path(name), 8, RATE, codec), 2559, 1441, (853, 480))


def test_a_size_that_is_too_small_is_refused():
    with pytest.raises(UserError, match="at least 16 pixels"):
        check_size(choose(Path("a.mp4"), 10, RATE), 4, 4, (1, 1))


def test_every_container_s_codecs_are_known():
    assert set(CONTAINERS) == VIDEO_OUT
    assert all(codec in ENCODERS for container in CONTAINERS.values() for codec in container.codecs)
