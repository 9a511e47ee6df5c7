"""Input made from ground truth: once, lossless, hashed, and never another recipe's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.frames import whole
from benchmarks.suites import derived
from benchmarks.suites.definition import load_definition
from benchmarks.suites.derived import degraded
from benchmarks.suites.examine import examine
from benchmarks.suites.folders import load_ground_truth
from patchvsr.degradation import Degradation, degradations
from patchvsr.errors import UserError
from patchvsr.video import frames_sha256, write_png_folder
from tests.benchmarks.replicas import as_yaml, known, lowered, noise, picture, replica, same_input, shrunk, truth


class Counting(Degradation):
    """Every fourth pixel; counts its streams and can fail or lose a frame."""

    name, version = "counting", 1
    identity = "counting v1"

    def __init__(self) -> None:
        self.streams = 0
        self.fault = ""

    def stream(self, frames: Iterator[Tensor], scale: float, clip: str = "") -> Iterator[Tensor]:  # type: ignore[override]
        self.streams += 1
        for index, frame in enumerate(frames):
            if self.fault == "lost" and index == 1:
                continue
            if self.fault == "broken" and index == 1:
                raise RuntimeError("broken")
            yield frame[:, :: int(scale), :: int(scale)].contiguous()


@pytest.fixture(autouse=True)
def made(cache: Path) -> Path:
    """Where the cache keeps what is made."""
    return cache / "lq"


def another_process() -> None:
    """What was checked is forgotten, as in a new process."""
    derived._is_whole.cache_clear()


def test_input_is_made_once_and_kept_without_loss(made: Path) -> None:
    high, counting = picture(3, 32, 48), Counting()
    low = whole(degraded(high, "source", "a", counting, 4.0))
    assert torch.equal(low, high[..., ::4, ::4])
    for _ in range(2):
        assert torch.equal(whole(degraded(high, "source", "a", counting, 4.0)), low)
        another_process()
    assert counting.streams == 1
    (folder,) = made.iterdir()
    kept = json.loads((folder / "recipe.json").read_text())
    assert kept["sha256"] == frames_sha256(low) and kept["frames"] == 3
    assert all(word in kept["recipe"] for word in ("source", "clip a", "3 frames", "counting v1", "x4.0 to 12x8"))


@pytest.mark.parametrize("damage", ["cut", "another picture", "frame gone", "no hash", "hash cut"])
def test_damaged_frames_are_made_again_the_same(made: Path, damage: str) -> None:
    high, counting = picture(3, 32, 48), Counting()
    low = whole(degraded(high, "source", "a", counting, 4.0))
    (folder,) = made.iterdir()
    image, recipe = folder / "frames" / "00000001.png", folder / "recipe.json"
    before = image.read_bytes()
    if damage == "cut":
        image.write_bytes(before[:-30])
    elif damage == "another picture":
        image.write_bytes((folder / "frames" / "00000000.png").read_bytes())
    elif damage == "frame gone":
        (folder / "frames" / "00000002.png").unlink()
    elif damage == "no hash":
        recipe.unlink()
    else:
        recipe.write_text(recipe.read_text()[:20])
    another_process()
    assert torch.equal(whole(degraded(high, "source", "a", counting, 4.0)), low)
    assert counting.streams == 2 and image.read_bytes() == before
    assert [path.name for path in made.iterdir()] == [folder.name]


def test_whatever_decides_the_frames_has_a_place_of_its_own(made: Path) -> None:
    high = picture(2, 32, 48)
    for source, clip, name, scale, count in (
        ("source", "a", "bicubic", 4.0, 2), ("other", "a", "bicubic", 4.0, 2), ("source", "b", "bicubic", 4.0, 2),
        ("source", "a", "bd", 4.0, 2), ("source", "a", "bicubic", 2.0, 2), ("source", "a", "bicubic", 4.0, 1),
    ):  # fmt: skip
        low = whole(degraded(high[:count], source, clip, degradations.get(name), scale))
        assert torch.equal(low, lowered(high[:count], scale, name, clip))
    assert len(list(made.iterdir())) == 6


@pytest.mark.parametrize(
    ("fault", "error"), [("lost", "'counting' made 2 frames of 3 of clip 'a'"), ("broken", "broken")]
)
def test_what_is_not_finished_is_not_kept(made: Path, fault: str, error: str) -> None:
    high, counting = picture(3, 32, 48), Counting()
    counting.fault = fault
    with pytest.raises((UserError, RuntimeError), match=error):
        degraded(high, "source", "a", counting, 4.0)
    assert list(made.iterdir()) == []
    counting.fault = ""
    assert torch.equal(whole(degraded(high, "source", "a", counting, 4.0)), high[..., ::4, ::4])


def test_a_cache_that_cannot_be_written_is_named(made: Path) -> None:
    made.parent.mkdir()
    made.write_text("a file where the folder belongs")
    with pytest.raises(UserError, match="cache .*lq cannot be written.*PATCHVSR_CACHE"):
        degraded(picture(1, 32, 48), "source", "a", Counting(), 4.0)


@pytest.mark.parametrize(("suite", "degradation"), [("reds4", "bicubic"), ("vid4_bd", "bd"), ("spmcs", "realworld")])
def test_a_suites_input_is_its_degradation_of_the_ground_truth(tmp_path: Path, suite: str, degradation: str) -> None:
    replicated = replica(suite, tmp_path, lq=False)
    clips = load_definition(replicated, tmp_path, None, None)
    for index in (0, 1):
        expected = lowered(truth(replicated, index), 4, degradation, clips[index].name)
        assert same_input(whole(clips[index].lq()), expected, degradation)
    assert clips[0].degradation == degradations.get(degradation).identity


def test_random_input_differs_by_clip_name_and_not_by_call(tmp_path: Path) -> None:
    high = picture(2, 64, 64)
    for name in "ab":
        write_png_folder(high, tmp_path / name)
    realworld = degradations.get("realworld")
    first, second = (whole(clip.lq()) for clip in load_ground_truth(tmp_path, realworld, 4.0, None))
    assert not same_input(first, second, "realworld")
    assert same_input(first, lowered(high, 4, "realworld", "a"), "realworld")


def test_input_that_comes_out_otherwise_is_never_recorded_under_its_old_hash(tmp_path: Path) -> None:
    write_png_folder(picture(2, 32, 48), tmp_path / "GT" / "a")
    (clip,) = load_ground_truth(tmp_path / "GT", degradations.get("bicubic"), 4.0, None)
    before = examine(clip)
    other = whole(clip.lq()).flip(-1)

    def elsewhere() -> Tensor:
        return other

    assert examine(replace(clip, open_lq=elsewhere)).lq_sha256 == frames_sha256(other) != before.lq_sha256


def test_changed_ground_truth_gets_input_of_its_own(tmp_path: Path) -> None:
    bicubic = degradations.get("bicubic")
    for seed in (0, 1):
        write_png_folder(picture(2, 32, 48, seed), tmp_path / "a")
        (clip,) = load_ground_truth(tmp_path, bicubic, 4.0, None)
        assert torch.equal(whole(clip.lq()), lowered(picture(2, 32, 48, seed)))


def test_fewer_frames_of_a_clip_are_not_taken_for_all_of_it(tmp_path: Path) -> None:
    write_png_folder(noise(3, 32, 48), tmp_path / "a")
    bicubic = degradations.get("bicubic")
    for count in (2, 3, 1):
        (clip,) = load_ground_truth(tmp_path, bicubic, None, count)
        assert clip.frames == count and len(whole(clip.lq())) == count


def test_sizes_that_the_scale_does_not_divide_are_refused_by_name(tmp_path: Path) -> None:
    write_png_folder(noise(1, 33, 49), tmp_path / "a")
    with pytest.raises(UserError, match="49x33"):
        load_ground_truth(tmp_path, degradations.get("bd"), 4.0, None)
    with pytest.raises(UserError, match="clip 'a'.*49x33 do not fit scale 4"):
        load_ground_truth(tmp_path, degradations.get("bicubic"), 4.0, None)


def test_another_process_reads_what_the_first_one_made(tmp_path: Path, made: Path) -> None:
    suite = shrunk(known("vid4"))
    root = tmp_path / "data"
    replica("vid4", root, lq=False)
    expected = frames_sha256(load_definition(suite, root, None, None)[0].lq())
    (folder,) = made.iterdir()
    stamps = {path.name: path.stat().st_mtime_ns for path in (folder / "frames").iterdir()}
    path = as_yaml(suite, tmp_path)
    program = (
        "import sys; from pathlib import Path\n"
        "from benchmarks.suites.definition import load_definition, read_definition\n"
        "from patchvsr.video import frames_sha256\n"
        "suite = read_definition(Path(sys.argv[1]))\n"
        "print(frames_sha256(load_definition(suite, Path(sys.argv[2]), None, None)[0].lq()))"
    )
    command = [sys.executable, "-c", program, str(path), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == expected
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "frames").iterdir()} == stamps
