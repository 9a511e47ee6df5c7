"""The part of a run that a Ray worker does: one item at a time, made in a folder of its own and sent back.

A worker plans its item anew, from the data and the weights that its own node has, and compares the item's hash with the
one that it was asked for: so a node with other code, packages, weights or clips is found out before it makes anything.
"""
from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.item import make, warm_up
from benchmarks.memory import release_memory
from benchmarks.plan import Plan, Request, make_plan
from benchmarks.store import Store, to_json
from patchvsr.errors import UserError
from patchvsr.upscaler import Upscaler, create

Part = str | tuple[str, bytes]
"""What is sent back: the record as JSON, then each frame as its file's name and bytes."""

_EVERY = 0.5
"""Seconds between two reports of progress, at least."""
_model: tuple[tuple[str, torch.device, torch.dtype], Upscaler] | None = None
"""Kept from item to item, since Ray keeps the process."""
_warm: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One item as a worker gets it.

    Attributes:
        request: the run's, with device and dtype resolved.
        variant, clip: of the item.
        key, hash: as the run's own plan has them.
        metrics: those that can run where the run was started.
        folder: the current folder there; relative paths are relative to it.
        threads: of torch.
    """

    request: Request
    variant: str
    clip: str
    key: dict[str, Any]
    hash: str
    metrics: tuple[str, ...]
    folder: str
    threads: int


def work(job: Job, report: Callable[[float], None]) -> Iterator[Part]:
    """Make the item and give its record, then its frames; a failure of the method is a record, too.

    Raises:
        UserError: this node does not see what the run's own does.
    """
    try:
        os.chdir(job.folder)
    except OSError as error:
        raise UserError(
            f"{_here()} cannot enter '{job.folder}' ({error.strerror}), the folder that the run was started in; "
            "have it under the same path on every node"
        ) from error
    torch.set_num_threads(job.threads)
    try:
        plan = make_plan(replace(job.request, variants=[job.variant], clips=[job.clip], fetch=False), _kept)
    except UserError as error:
        raise UserError(f"{_here()}: {error}") from error
    item = plan.items[0]
    if item.hash != job.hash:
        differ = sorted(name for name in job.key if item.key.get(name) != job.key[name])
        raise UserError(
            f"{_here()} has another {' and '.join(differ)} for '{job.variant}' on '{job.clip}' than the node that the "
            "run was started on; install the same versions and copy the same data there"
        )
    _check_metrics(plan, job.metrics)
    report(0.0)
    if not _warm.issuperset(plan.metrics):
        warm_up(plan.metrics)
        _warm.update(plan.metrics)
    with TemporaryDirectory(prefix="patchvsr-") as folder:
        store = Store(Path(folder))
        upscaler = _kept(job.variant, plan.device, plan.dtype)
        result = make(item, upscaler, plan, store, lambda _, share: report(share))
        yield to_json(asdict(result))
        if result.output is not None:
            for path in sorted((store.root / result.output.path).iterdir()):
                yield path.name, path.read_bytes()


def reporter(send: Callable[[float], object]) -> Callable[[float], None]:
    """A report of progress that sends the share now and then."""
    last = float("-inf")

    def report(share: float) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= _EVERY:
            last = now
            send(share)

    return report


def _check_metrics(plan: Plan, wanted: tuple[str, ...]) -> None:
    for name in wanted:
        if (command := plan.metrics[name].available()) is not None:
            raise UserError(f"metric '{name}' cannot run on {_here()}, as it can elsewhere; to make it run: {command}")


def _kept(text: str, device: torch.device, dtype: torch.dtype) -> Upscaler:
    global _model
    if _model is None or _model[0] != (text, device, dtype):
        _model = None
        release_memory()
        _model = (text, device, dtype), create(text, device, dtype)
    return _model[1]


def _here() -> str:
    return f"node {socket.gethostname()}"
