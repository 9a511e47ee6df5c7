"""Lossy video compression in memory: as many frames, in order, the same bytes each time, and really lossy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from patchvsr.errors import UserError
from patchvsr.video.compression import CODECS, compressed

EACH = pytest.mark.parametrize("codec", CODECS)


def clip(frames: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Grey texture that moves, and gets lighter by 1 a frame."""
    y, x = np.mgrid[:height, : width + frames]
    rough = np.random.default_rng(0).normal(0, 10, x.shape) + 90 + 30 * np.sin(x / 7 + y / 5)
    moved = [(rough[:, t : t + width] + t).clip(0, 255).astype(np.uint8) for t in range(frames)]
    return [np.repeat(frame[..., None], 3, 2) for frame in moved]


def error(made: list[np.ndarray], frames: list[np.ndarray]) -> float:
    return float(np.mean([(a.astype(float) - b) ** 2 for a, b in zip(made, frames, strict=True)]))


@EACH
@pytest.mark.parametrize("frames", [1, 2, 7, 40])
def test_every_frame_comes_out_once_and_in_order(codec: str, frames: int) -> None:
    given = clip(frames)
    made = list(compressed(iter(given), codec, 60_000, 1))
    assert [frame.shape for frame in made] == [frame.shape for frame in given]
    assert all(frame.dtype == np.uint8 for frame in made)
    assert np.abs([a.mean() - b.mean() for a, b in zip(made, given, strict=True)]).max() < 1


@EACH
@pytest.mark.parametrize("size", [(1, 1), (15, 17), (16, 16), (33, 50)])
def test_odd_and_small_sizes_are_padded_and_cut_again(codec: str, size: tuple[int, int]) -> None:
    y, x = np.meshgrid(*map(np.arange, size), indexing="ij")
    given = [np.repeat((3 * y + 2 * x + 20)[..., None], 3, axis=2).astype(np.uint8)] * 3
    made = list(compressed(given, codec, 400_000, 1))
    assert {frame.shape for frame in made} == {(*size, 3)}
    assert error(made, given) < 8


@EACH
@pytest.mark.parametrize("size", [(64, 64), (50, 66)])
def test_the_bytes_repeat_whatever_the_memory_held_before(codec: str, size: tuple[int, int]) -> None:
    """Encoders that read what they never wrote (see `CODECS`) differ in one run of many: so there are many."""
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 255, (*size, 3)).astype(np.uint8) for _ in range(5)]
    seen = set()
    for run in range(80):
        seen.add(np.stack(list(compressed(given, codec, 60_000, 1))).tobytes())
        used = [np.full(length, run, np.uint8) for length in rng.integers(10, 50_000, 20)]
        del used
    assert len(seen) == 1


def test_encoders_go_without_what_reads_stale_memory() -> None:
    """Repeating finds x264's macroblock tree in some runs only, so it is asked for as well."""
    assert "mbtree=0" in CODECS["libx264"].options["x264-params"]
    assert "cutree=0:ctu=32" in CODECS["libx265"].options["x265-params"]


def unlike(frames: int) -> list[np.ndarray]:
    """Grey texture that is new in every frame, so that there is nothing to predict it from."""
    rng = np.random.default_rng(0)
    return [np.repeat(rng.normal(128, 30, (96, 128, 1)).clip(0, 255).astype(np.uint8), 3, 2) for _ in range(frames)]


@EACH
def test_fewer_bits_lose_more(codec: str) -> None:
    given = unlike(10)
    rich, poor = (error(list(compressed(given, codec, rate, 1)), given) for rate in (200_000, 2_000))
    assert 0 < rich < poor / 3


@EACH
def test_frames_depend_on_each_other_as_in_a_real_video(codec: str) -> None:
    """Equal frames cost little after the first, so the first has nearly all the bits."""
    given = unlike(12)
    still = [given[0]] * 12
    errors = [error(list(compressed(frames, codec, 10_000, 1)), frames) for frames in (still, given)]
    assert errors[0] < errors[1] / 3


@EACH
def test_few_frames_are_under_way(codec: str) -> None:
    pulled = ahead = 0

    def source() -> Iterator[np.ndarray]:
        nonlocal pulled
        for frame in clip(80, 16, 16):
            pulled += 1
            yield frame

    for index, _ in enumerate(compressed(source(), codec, 10_000, 1), 1):
        ahead = max(ahead, pulled - index)
    assert pulled == 80 and ahead <= 15


def test_small_pictures_do_no_harm_to_memory() -> None:
    """x265's CU tree writes past its arrays in them, which ends the process sooner or later: hence its own."""
    code = (
        "import numpy as np; from patchvsr.video.compression import compressed\n"
        "rng = np.random.default_rng(0)\n"
        "for index in range(60):\n"
        "    size = (*rng.integers(16, 60, 2), 3)\n"
        "    frames = [rng.integers(0, 255, size).astype(np.uint8) for _ in range(index % 8 + 1)]\n"
        "    assert len(list(compressed(frames, 'libx265', 20_000, 1))) == len(frames)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, (done.returncode, done.stderr[-300:])


def test_nothing_gives_nothing() -> None:
    assert list(compressed([], "libx264", 10_000)) == []


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="unknown codec 'libx266'.*libx265"):
        next(compressed(clip(1), "libx266", 10_000))
    with pytest.raises(ValueError, match="frame 1 has the shape"):
        list(compressed([*clip(1), *clip(1, 20, 20)], "mpeg4", 10_000))
