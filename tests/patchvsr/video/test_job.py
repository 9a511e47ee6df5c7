"""The hidden folder of a job: one process at a time, gone on with only by the same job."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from patchvsr.errors import UserError
from patchvsr.video.job import WorkFolder

JOB = {"seed": 0, "frames": (0, 3)}


def test_it_is_gone_when_the_job_is_done(tmp_path: Path) -> None:
    for resume in (False, True):
        work = WorkFolder(tmp_path / "out.mp4", JOB, resume)
        assert work.path.parent == tmp_path and work.path.is_dir()
        work.close(done=True)
        assert list(tmp_path.iterdir()) == []


def test_pieces_are_kept_only_for_a_job_that_may_be_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    work = WorkFolder(out, JOB, False)
    (work.path / "piece").touch()
    work.close(done=False)
    assert list(tmp_path.iterdir()) == []
    work = WorkFolder(out, JOB, True)
    (work.path / "piece").touch()
    work.close(done=False)
    again = WorkFolder(out, JOB, True)
    assert (again.path / "piece").is_file()
    again.close(done=False)
    with pytest.raises(UserError, match="go on with --resume, or give --overwrite"):
        WorkFolder(out, JOB, False)
    fresh = WorkFolder(out, JOB, False, discard=True)
    assert not (fresh.path / "piece").exists()
    fresh.close(done=True)


def test_leftovers_of_a_killed_job_that_kept_nothing_are_cleared(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    work = WorkFolder(out, JOB, False)
    (work.path / "piece").touch()
    work._lock.close()  # as the end of a process does
    again = WorkFolder(out, JOB, False)
    assert not (again.path / "piece").exists()
    again.close(done=True)


def test_another_job_s_pieces_are_not_gone_on_with_and_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    work = WorkFolder(out, JOB, True)
    (work.path / "piece").touch()
    work.close(done=False)
    for _ in range(2):
        with pytest.raises(UserError, match=r"another job \(seed differ"):
            WorkFolder(out, {**JOB, "seed": 1}, True)
    assert (work.path / "piece").is_file()


def test_two_processes_do_not_share_it(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "out.mp4", JOB, True)
    code = (
        "from pathlib import Path; from patchvsr.video.job import WorkFolder; "
        f"WorkFolder(Path({str(tmp_path / 'out.mp4')!r}), {JOB!r}, True)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode != 0 and "another process is making" in other.stderr
    work.close(done=True)


def test_a_lock_does_not_outlive_its_process(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal; from pathlib import Path; from patchvsr.video.job import WorkFolder\n"
        f"work = WorkFolder(Path({str(tmp_path / 'out.mp4')!r}), {JOB!r}, True)\n"
        "(work.path / 'piece').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True)
    work = WorkFolder(tmp_path / "out.mp4", JOB, True)
    assert (work.path / "piece").is_file()
    work.close(done=True)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        WorkFolder(tmp_path / "file" / "out.mp4", JOB, False)
