"""vmaf against ffmpeg run on two lossless files, and that it leaves nothing behind."""
from __future__ import annotations

import gc
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import Tensor

from benchmarks.frames import ClipFrames
from benchmarks.metrics import MetricUndefined, Sample
from benchmarks.metrics import vmaf as module
from benchmarks.metrics.scoring import score_all
from benchmarks.metrics.vmaf import Vmaf, _VmafScoring
from patchvsr.errors import UserError

from .conftest import blurred, noisy, real, sample, textured

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


def by_files(output: Tensor, target: Tensor, folder: Path) -> float:
    """What ffmpeg says of two FFV1 files in RGB, which it converts itself; as one would by hand."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    count, _, height, width = output.shape
    for name, frames in (("output", output), ("target", target)):
        command = [ffmpeg, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        command += ["-r", "25", "-i", "pipe:0", "-c:v", "ffv1", "-pix_fmt", "bgr0", str(folder / f"{name}.mkv")]
        subprocess.run(command, input=frames.permute(0, 2, 3, 1).contiguous().numpy().tobytes(), check=True)
    graph = "[0:v]format=yuv420p[a];[1:v]format=yuv420p[b];[a][b]libvmaf=log_fmt=json:log_path=vmaf.json"
    command = [ffmpeg, "-loglevel", "error", "-i", "output.mkv", "-i", "target.mkv", "-lavfi", graph, "-f", "null", "-"]
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
    log = json.loads((folder / "vmaf.json").read_text())
    assert len(log["frames"]) == count
    return float(log["pooled_metrics"]["vmaf"]["mean"])


@pytest.mark.parametrize("kind", ["noise", "blur", "odd size", "compressed"])
def test_vmaf_equals_ffmpeg_on_lossless_files(kind: str, tmp_path: Path) -> None:
    if kind == "compressed":
        target, output = real("carphone_pristine", 0, 6), real("carphone_distorted", 0, 6)
    else:
        target = real("bikes", 10, 4)
        output = noisy(target, 12) if kind == "noise" else blurred(target, 5)
    if kind == "odd size":
        target, output = target[..., :201, :333], output[..., :201, :333]
    value = Vmaf().score(sample(output, target))
    assert value == pytest.approx(by_files(output, target, tmp_path), abs=0.1)
    assert 10 < value < 97


def test_vmaf_of_equal_clips_is_near_100_and_falls_with_blur() -> None:
    target = real("bikes", 10, 3)
    metric, same = Vmaf(), sample(target, target)
    assert 95 <= metric.score(same) <= 100
    values = [Vmaf().score(sample(blurred(target, size), target)) for size in (3, 5, 9)]
    assert metric.score(same) > values[0] > values[1] > values[2]


def test_vmaf_knows_the_output_from_the_ground_truth() -> None:
    target = real("bikes", 10, 2)
    soft = blurred(target, 5)
    assert Vmaf().score(sample(target, soft)) > Vmaf().score(sample(soft, target)) + 10


def test_vmaf_has_one_value_per_frame() -> None:
    target = real("carphone_pristine", 0, 3)
    output = target.clone()
    output[1] = blurred(target[1:2], 7)[0]
    each = Vmaf().per_frame(sample(output, target))
    assert each is not None and len(each) == 3
    assert each[1] < min(each[0], each[2]) - 20


def test_frames_too_small_or_without_ground_truth_are_undefined() -> None:
    with pytest.raises(MetricUndefined, match="32 pixels"):
        Vmaf().score(sample(textured(2, 31, 64), textured(2, 31, 64)))
    with pytest.raises(MetricUndefined, match="ground truth"):
        Vmaf().score(sample(textured(2, 64, 64)))


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every ffmpeg that the metric starts, in order."""
    started: list[subprocess.Popen[bytes]] = []
    create: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen

    def popen(*args: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(create(*args, **options))
        return started[-1]

    monkeypatch.setattr(module.subprocess, "Popen", popen)
    return started


def test_ffmpeg_that_fails_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "MODEL", "no_such_model")
    target = real("bikes", 0, 4)
    with pytest.raises(UserError, match="vmaf: ffmpeg ended with code [0-9-]+ and said: .*no_such_model"):
        Vmaf().score(sample(target, target))
    assert processes[0].poll() is not None
    assert os.listdir(tmp_path) == []


def test_a_scoring_that_is_given_up_leaves_no_process_and_no_file(
    monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    target = textured(3, 64, 64)
    scoring = Vmaf().begin(sample(target, target))
    assert isinstance(scoring, _VmafScoring)
    assert processes[0].poll() is None and os.listdir(tmp_path)
    del scoring
    gc.collect()
    assert processes[0].poll() is not None
    assert os.listdir(tmp_path) == []


def test_a_clip_that_breaks_off_leaves_no_process_while_its_error_is_kept(
    processes: list[subprocess.Popen[bytes]],
) -> None:
    target = textured(3, 64, 64)

    def broken() -> Iterator[Tensor]:
        yield target[0]
        raise UserError("frame 1 is damaged")

    given = Sample(ClipFrames((3, 64, 64), broken, "the output"), target, textured(3, 16, 16), 4, None)
    found = score_all({"vmaf": Vmaf()}, given)
    assert isinstance(found["vmaf"], UserError) and "damaged" in str(found["vmaf"])
    until = time.monotonic() + 5
    while processes[0].poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert processes[0].poll() is not None


def test_a_finished_scoring_leaves_no_process_and_no_file(
    monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    target = textured(2, 64, 64)
    Vmaf().score(sample(target, target))
    assert processes[0].poll() == 0
    assert os.listdir(tmp_path) == []
