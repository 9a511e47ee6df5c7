"""Interrupted runs: nothing half-written, and gone on with to the same bytes."""
from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from patchvsr.cli import main

Phone = Callable[..., Path]


def run(*arguments: str | Path) -> int:
    return main(["upscale", "--variant", "bicubic", "--quiet", *map(str, arguments)])


SLOW = """
import sys, time
from pathlib import Path
from patchvsr.cli import main
from patchvsr.video import open_source
import baselines.resize
quick = baselines.resize.Bicubic.resize
def slowly(self, frame, height, width):
    time.sleep(0.02)
    return quick(self, frame, height, width)
baselines.resize.Bicubic.resize = slowly
sys.exit(main(sys.argv[1:]))
"""


def stopped(arguments: list[str], after: Callable[[], bool], number: signal.Signals) -> tuple[int, str]:
    """Exit code and words of a run that gets a signal once `after` says so."""
    # A shell in the background hands down that interrupts are ignored.
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not after() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return process.returncode, error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(phone: Phone, tmp_path: Path, number: signal.Signals) -> None:
    source, out = phone(seconds=5), tmp_path / "out.mp4"
    work = tmp_path / ".out.mp4.patchvsr"
    arguments = ["upscale", str(source), str(out), "--scale", "2", "--variant", "bicubic"]
    code, error = stopped(arguments, lambda: (work / "00000000.mkv").exists(), number)
    assert code == 130 and "interrupted; nothing was written" in error and "Traceback" not in error
    assert [p.name for p in tmp_path.iterdir()] == ["phone.mp4"]


@pytest.mark.parametrize("out", ["out.mp4", "out"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_resumed_run_gives_the_same_bytes(phone: Phone, tmp_path: Path, out: str, number: signal.Signals) -> None:
    source = phone(seconds=5)
    plain, resumed = tmp_path / f"plain-{out}", tmp_path / out
    # x264's bytes are not the same twice; x265's are.
    coding = ["--codec", "hevc", "--preset", "ultrafast"] if "." in out else []
    assert run(source, plain, "--scale", "2", *coding) == 0
    work = tmp_path / f".{out}.patchvsr"
    piece = work / ("00000000.mkv" if "." in out else "images/00000050.png")
    arguments = ["upscale", str(source), str(resumed), "--scale", "2", "--variant", "bicubic", "--resume", *coding]
    code, error = stopped(arguments, piece.exists, number)
    assert code == (130 if number == signal.SIGINT else -9) and not resumed.exists()
    made = piece.stat().st_mtime_ns
    assert number == signal.SIGKILL or "the same command goes on from there" in error
    assert main([*arguments, "--seed", "5"]) == 2 and piece.exists()
    assert run(source, resumed, "--scale", "2", "--resume", *coding) == 0
    assert not work.exists()
    if resumed.is_dir():
        pairs = list(zip(sorted(plain.iterdir()), sorted(resumed.iterdir()), strict=True))
        assert (resumed / "00000049.png").stat().st_mtime_ns < made
    else:
        pairs = [(plain, resumed)]
    assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def test_two_runs_do_not_make_one_output(phone: Phone, tmp_path: Path) -> None:
    source, out = phone(seconds=5), tmp_path / "out.mp4"
    arguments = ["upscale", str(source), str(out), "--scale", "2", "--variant", "bicubic", "--quiet"]
    first = subprocess.Popen([sys.executable, "-c", SLOW, *arguments])
    while not (tmp_path / ".out.mp4.patchvsr" / "job.json").exists() and first.poll() is None:
        time.sleep(0.01)
    assert main(arguments) == 2
    assert first.wait(60) == 0 and out.exists()
