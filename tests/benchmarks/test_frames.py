"""Clips as streams: read once, checked as they are read, never held; and the one reading before a run."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import frames as frames_module
from benchmarks import run
from benchmarks.frames import ClipFrames, FloatFrames, stored, whole
from benchmarks.metrics import Measurement, Sample, metrics
from benchmarks.metrics.scoring import score_all
from benchmarks.suites import SuiteClip, examine, load_folders, suites
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts
from patchvsr.video import frames_sha256, write_png_folder
from tests.benchmarks.replicas import lowered, noise, picture

pytestmark = pytest.mark.usefixtures("cache")


class Counted:
    """Makes its frames one by one, and counts how many were made, how often it was begun and how many live."""

    def __init__(self, count: int, height: int, width: int, seed: int = 0) -> None:
        self.shape = (count, 3, height, width)
        self.seed = seed
        self.read = self.begun = self.alive = self.most = 0

    def __len__(self) -> int:
        return self.shape[0]

    def frame(self, index: int) -> np.ndarray:
        return np.roll(noise(1, *self.shape[2:], seed=self.seed)[0].numpy(), index, axis=2)

    def __iter__(self) -> Iterator[Tensor]:
        self.begun += 1
        for index in range(len(self)):
            pixels = self.frame(index)
            self.read += 1
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(pixels, self._gone)  # every tensor on these pixels holds the array
            yield torch.from_numpy(pixels)
            del pixels

    def _gone(self) -> None:
        self.alive -= 1


def clip_frames(given: Tensor, count: int, height: int, width: int) -> ClipFrames:
    return ClipFrames((count, height, width), lambda: iter(given), "clip 'a'")


def test_a_stream_is_read_anew_each_time_and_equals_its_tensor() -> None:
    given = noise(3, 4, 6)
    frames = clip_frames(given, 3, 4, 6)
    assert len(frames) == 3 and tuple(frames.shape) == (3, 3, 4, 6)
    assert torch.equal(whole(frames), given) and torch.equal(frames.read(), given)
    assert frames_sha256(frames) == frames_sha256(given)
    assert whole(given) is given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (noise(2, 4, 6), "clip 'a' gave only 2 frames where 3 belong"),
        (noise(4, 4, 6), "clip 'a' gave more frames where 3 belong"),
        (noise(3, 4, 7), "frame 0 of clip 'a' is uint8 of 7x4, not 8-bit RGB of 6x4"),
        (noise(3, 4, 6).float(), "frame 0 of clip 'a' is float32 of 6x4, not 8-bit"),
    ],
)
def test_streams_of_another_count_size_or_kind_are_refused(given: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        whole(clip_frames(given, 3, 4, 6))


def test_a_size_that_changes_within_a_clip_is_refused_with_the_frame() -> None:
    mixed = [noise(1, 4, 6)[0], noise(1, 6, 4)[0]]
    with pytest.raises(UserError, match="frame 1 of clip 'a' is uint8 of 4x6"):
        list(ClipFrames((2, 4, 6), lambda: iter(mixed), "clip 'a'"))


def test_stored_frames_are_those_asked_for(tmp_path: Path) -> None:
    given = noise(5, 4, 6)
    write_png_folder(given, tmp_path / "a")
    assert torch.equal(whole(stored(tmp_path / "a")), given)
    assert torch.equal(whole(stored(tmp_path / "a", 1, 3)), given[1:4])
    assert torch.equal(whole(stored(tmp_path / "a", 3)), given[3:])
    with pytest.raises(UserError, match="holds 5 frames and 6 are needed"):
        stored(tmp_path / "a", 2, 4)
    with pytest.raises(UserError, match="holds 5 frames"):
        stored(tmp_path / "a", 5)


def test_a_frame_that_goes_after_the_clip_was_opened_is_noticed(tmp_path: Path) -> None:
    write_png_folder(noise(3, 4, 6), tmp_path / "a")
    frames = stored(tmp_path / "a")
    (tmp_path / "a" / "00000002.png").unlink()
    with pytest.raises(UserError, match="3 are needed"):
        whole(frames)


def test_going_forward_reads_every_frame_once() -> None:
    source = Counted(8, 4, 6)
    frames = FloatFrames(source)
    expected = whole(source).float() / 255
    source.read = source.begun = 0
    for start, stop in ((0, 3), (2, 5), (2, 6), (5, 6), (6, 8)):
        assert torch.equal(frames[start:stop], expected[start:stop])
    assert (source.read, source.begun) == (8, 1)
    assert frames[8:9].shape == (0, 3, 4, 6)
    assert frames[-2:].dtype == torch.float32 and torch.equal(frames[-2:], expected[-2:])


def test_going_backward_starts_again() -> None:
    source = Counted(5, 4, 6)
    frames = FloatFrames(source)
    last, first = frames[4:5], frames[0:1]
    assert source.begun == 2 and source.read == 6
    assert torch.equal(first[0], whole(source)[0] / 255) and torch.equal(last[0], whole(source)[4] / 255)
    with pytest.raises(ValueError, match="step"):
        frames[0:4:2]


def test_slices_hold_no_more_than_they_show_and_are_the_callers_own() -> None:
    source = Counted(30, 4, 6)
    frames = FloatFrames(source)
    for start in range(0, 28):
        frames[start : start + 3].zero_()
    assert source.most <= 5 and source.read == 30
    assert float(frames[27:30].max()) > 0


def test_iterating_floats_gives_the_frames_as_floats() -> None:
    source = Counted(3, 4, 6)
    assert torch.equal(torch.stack(list(FloatFrames(source))), whole(source).float() / 255)


LIGHT = ["psnr", "psnr_y", "ssim", "ssim_y", "consistency", "flicker", "warp", "tof", "seam", "seam_step", "seam_t"]


def sample(count: int) -> tuple[Sample, list[Counted]]:
    sides = [Counted(count, 48, 64, 1), Counted(count, 48, 64, 2), Counted(count, 24, 32, 3)]
    return Sample(sides[0], sides[1], sides[2], 2.0, Cuts((24,), (32,), (4,)), {"seconds": 1.0}), sides


@pytest.mark.parametrize("count", [6, 24])
def test_scoring_reads_each_frame_once_and_holds_a_few_however_long_the_clip(count: int) -> None:
    scored, sides = sample(count)
    found = score_all({name: metrics.get(name)() for name in LIGHT}, scored)
    assert {name: answer for name, answer in found.items() if not isinstance(answer, Measurement)} == {}
    for side in sides:
        assert (side.read, side.begun) == (count, 1)
        assert side.most <= 3 and side.alive == 0


def test_one_pass_for_all_metrics_gives_what_each_gives_alone() -> None:
    scored, _ = sample(5)
    together = score_all({name: metrics.get(name)() for name in LIGHT}, scored)
    for name in LIGHT:
        assert together[name] == metrics.get(name)().measure(sample(5)[0])


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("count", [8, 40])
def test_a_run_holds_a_few_frames_however_long_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    low, high = Counted(count, 16, 16), Counted(count, 32, 32)

    def long_suite(root: Path | None, frames: int | None, scale: float | None) -> list[SuiteClip]:
        made = SuiteClip(
            suite="long", name="a", scale=2.0, frames=count, degradation="theirs",
            identify=lambda: f"long {count}", open_lq=lambda: low, open_gt=lambda: high,
        )  # fmt: skip
        return [made]

    monkeypatch.setitem(suites._entries, "long", long_suite)
    out = ["--out", str(tmp_path / "run")]
    words = ["--suite", "long", "--variants", "bicubic,dummy", "--metrics", "psnr,flicker"]
    assert run.main([*words, "--no-mlflow", *out]) == 0
    assert high.read == 3 * count, "once when it is examined, once for each variant's scores"
    assert low.most <= 4 and high.most <= 4


def paired(tmp_path: Path, low: Tensor, high: Tensor) -> SuiteClip:
    write_png_folder(low, tmp_path / "lq" / "a")
    write_png_folder(high, tmp_path / "gt" / "a")
    return load_folders(tmp_path / "lq", tmp_path / "gt")[0]


def test_a_clip_is_read_once_and_remembered_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    high = picture(3, 32, 48)
    low = lowered(high)
    found = examine.examine(paired(tmp_path, low, high))
    assert (found.frames, found.height, found.width) == (3, 8, 12)
    assert (found.lq_sha256, found.gt_sha256) == (frames_sha256(low), frames_sha256(high))
    with monkeypatch.context() as patched:

        def refuse(*arguments: object) -> Iterator[Tensor]:
            raise AssertionError("frames are decoded again")

        patched.setattr(frames_module, "iter_frames", refuse)
        again = load_folders(tmp_path / "lq", tmp_path / "gt")[0]
        assert examine.examine(again) == found
        with pytest.raises(AssertionError, match="decoded again"):
            whole(again.lq())
    changed = high.clone()
    changed[1, 0, 0, 0] ^= 1
    assert examine.examine(paired(tmp_path, low, changed)).gt_sha256 == frames_sha256(changed)


def test_what_cannot_be_remembered_is_read_again(tmp_path: Path, cache: Path) -> None:
    clip = paired(tmp_path, lowered(picture(2, 32, 48)), picture(2, 32, 48))
    found = examine.examine(clip)
    (kept,) = (cache / "clips").iterdir()
    kept.write_text("{")
    assert examine.examine(clip) == found and kept.read_text() != "{"
    kept.unlink()
    (cache / "clips").rmdir()
    (cache / "clips").write_text("a file where the folder belongs")
    assert examine.examine(clip) == found


def test_the_ground_truth_of_another_clip_is_refused(tmp_path: Path) -> None:
    high, other = picture(3, 32, 48, seed=0), picture(3, 32, 48, seed=1)
    with pytest.raises(UserError, match="clip 'a': the ground truth does not show what the input shows.*another clip"):
        examine.examine(paired(tmp_path, lowered(high), other))


@pytest.mark.parametrize("degradation", ["bicubic", "bilinear", "bd", "realworld"])
def test_every_degradation_shows_what_its_ground_truth_shows(degradation: str) -> None:
    for seed in range(3):
        high = picture(3, 64, 96, seed)
        found = examine.correlation(lowered(high, 4, degradation, f"clip {seed}")[1], high[1])
        # On so small a picture the random blurs are as wide as what it shows.
        assert found is not None and found > (0.7 if degradation == "realworld" else 0.9)


def test_flat_pictures_are_not_compared(tmp_path: Path) -> None:
    flat = torch.full((2, 3, 32, 48), 90, dtype=torch.uint8)
    assert examine.correlation(flat[0, :, ::4, ::4], flat[0]) is None
    assert examine.examine(paired(tmp_path, flat[..., ::4, ::4].contiguous(), flat)).frames == 2
