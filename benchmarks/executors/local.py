"""Several processes for one run: each goes through the whole plan and leaves to the others what these hold locked.

So a process that is lost loses the item in hand, which another takes up; nothing is handed out in advance.
"""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from patchvsr.errors import UserError

WORKER = "PATCHVSR_BENCH_WORKER"
"""Set in the processes that the first one has started: they record items, and write no tables and no report."""


def is_worker() -> bool:
    """Whether another process has started this one to help it."""
    return bool(os.environ.get(WORKER))


@contextmanager
def helpers(arguments: Sequence[str], jobs: int, device: torch.device) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start `jobs - 1` processes of `benchmarks.run` with the same arguments, and end them with the block.

    On CUDA each process has a GPU of its own, the first one included; on a CPU they share the cores evenly.

    Args:
        arguments: of this run.
        jobs: processes in all.
        device: of this run.

    Raises:
        UserError: fewer than one process, or more than there are GPUs.
    """
    if jobs < 1:
        raise UserError(f"--jobs {jobs} does nothing; give 1 or more")
    if device.type == "cuda" and jobs > torch.cuda.device_count():
        raise UserError(f"--jobs {jobs} needs as many GPUs, and {torch.cuda.device_count()} are seen here")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // jobs)
    if jobs > 1 and device.type == "cpu":
        torch.set_num_threads(threads)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for index in range(1, jobs):
            environment = os.environ | {WORKER: "1"}
            if device.type == "cuda":
                environment["CUDA_VISIBLE_DEVICES"] = _visible()[index]
            else:
                environment["OMP_NUM_THREADS"] = str(threads)
            command = [sys.executable, "-m", "benchmarks.run", *arguments, "--progress", "quiet"]
            started.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        yield started
        for process in started:
            process.wait()
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _visible() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
