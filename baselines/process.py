"""Runs one external program to its end: in a clean environment, within a time, with what it prints kept."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from patchvsr.errors import UserError

KEPT = 64 * 1024
"""Bytes that are kept of the end of what a program prints to each of its outputs."""

_GRACE = 5.0
_SAMPLING = 0.1
_OURS = ("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a program left.

    Attributes:
        code: exit code, negative for a signal.
        seconds: wall clock from its start to its end.
        peak_mib: the most resident memory that it and its child processes held together, sampled ten times a second,
            at first more often. What the system counts by itself starts from the memory of the process that starts
            another, which is ours, and says too much.
        stderr, stdout: the end of what it printed.
    """

    code: int
    seconds: float
    peak_mib: float
    stderr: str
    stdout: str


class TimedOut(Exception):
    """The program was stopped after its time; `finished` says what it left until then."""

    def __init__(self, finished: Finished) -> None:
        super().__init__(f"stopped after {finished.seconds:.0f} s")
        self.finished = finished


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what belongs to its Python environment, and with `more` in it."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    if sys.prefix != sys.base_prefix:
        own = Path(sys.prefix).resolve()
        folders = kept.get("PATH", "").split(os.pathsep)
        kept["PATH"] = os.pathsep.join(part for part in folders if own not in Path(part or ".").resolve().parents)
    return kept | dict(more)


def run_program(
    arguments: Sequence[str], *, cwd: Path | None, environment: Mapping[str, str], timeout: float, folder: Path
) -> Finished:
    """Run a program without a shell and without input, and wait for it.

    Whatever ends the waiting (its time, an interruption) ends the program and what it started.

    Args:
        arguments: the program and its arguments.
        cwd: where it runs; None for here.
        environment: all of its variables.
        timeout: seconds it may take.
        folder: where its two outputs are written meanwhile.

    Raises:
        TimedOut: it took longer.
        UserError: it cannot be started.
    """
    out, err = folder / "stdout", folder / "stderr"
    start = time.perf_counter()
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        try:
            process = subprocess.Popen(
                list(arguments),
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"program '{arguments[0]}' cannot be started: {error.strerror or error}") from error
        try:
            code, peak = _waited(process, start + timeout)
        finally:
            _end(process)

    seconds = time.perf_counter() - start
    ended = process.returncode if code is None else code
    finished = Finished(code=ended, seconds=seconds, peak_mib=peak, stderr=_tail(err), stdout=_tail(out))
    if code is None:
        raise TimedOut(finished)
    return finished


def _waited(process: subprocess.Popen[bytes], deadline: float) -> tuple[int | None, float]:
    """Exit code, None when the deadline came first, and peak memory in MiB."""
    peak, pause = 0.0, _SAMPLING / 32
    while True:
        peak = max(peak, _resident_mib(process.pid))
        left = deadline - time.perf_counter()
        try:
            return process.wait(max(0.0, min(pause, left))), peak
        except subprocess.TimeoutExpired:
            if left <= 0:
                return None, peak
        pause = min(2 * pause, _SAMPLING)


def _resident_mib(pid: int) -> float:
    """Of a process and all that come from it; 0 for one that has gone."""
    try:
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # gone meanwhile
            continue
    return total / 2**20


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program's whole session, also where only what it started is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        if process.returncode is None:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                continue
    if process.returncode is None:
        process.wait()


def _tail(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - KEPT))
        return file.read().decode("utf-8", errors="replace")
