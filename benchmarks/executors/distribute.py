"""A run on an existing Ray cluster: `--executor ray`.

The run directory stays with the process that was started: it plans, holds the locks, takes what is there already and
records, as ever. What has to be made goes to Ray as a task for each item, and comes back as a record and frames: nodes
need no folder in common for it. A task whose worker is lost is sent again; what a method does wrong is recorded and not
tried again.
"""
from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from benchmarks.execute import Execution, Outcome, Work
from benchmarks.executors.cluster import Cluster, Lost
from benchmarks.executors.worker import Job, Part
from benchmarks.item import Progress, result_of
from benchmarks.plan import Plan, Request, WorkItem
from benchmarks.store import Result, Store, parse_result, writing
from patchvsr.devices import dtype_name

RETRIES = 3
"""How often an item is sent again after its worker was lost."""
AHEAD = 2
"""Tasks that are sent, as a multiple of those that the cluster can run at once."""


@dataclass(slots=True, kw_only=True)
class _Flight:
    """An item that is being made elsewhere: its lock, its task, and what has come of it."""

    item: WorkItem
    lock: FileLock
    parts: Any
    losses: int = 0
    result: Result | None = None
    folder: Path = field(default_factory=Path)


def execute_on(
    cluster: Cluster, plan: Plan, request: Request, store: Store, progress: Progress, how: Execution
) -> Iterator[Outcome]:
    """As `benchmarks.execute.execute`, with the items that have to be made on a cluster.

    Yields:
        Each item as it is settled, in whatever order they come back.

    Raises:
        UserError: a node does not see what this one does, or the cluster is gone. What is finished is recorded.
    """
    run = _Run(cluster, plan, request, store, progress, how)
    try:
        yield from run.outcomes()
    finally:
        run.end()


class _Run:
    """One run: what waits, and what is in the air."""

    def __init__(
        self, cluster: Cluster, plan: Plan, request: Request, store: Store, progress: Progress, how: Execution
    ) -> None:
        self.cluster, self.plan, self.store, self.progress = cluster, plan, store, progress
        self.request = replace(request, device=plan.device.type, dtype=dtype_name(plan.dtype))
        self.work = Work(plan, store, progress, how)
        self.metrics = tuple(name for name, metric in plan.metrics.items() if metric.available() is None)
        self.flying: list[_Flight] = []
        self.slots = cluster.slots()

    def outcomes(self) -> Iterator[Outcome]:
        """Send what has to be made, as many as the cluster has use for, and give each item as it is settled."""
        waiting, busy = deque(self.plan.items), deque[WorkItem]()
        while waiting or busy or self.flying:
            while waiting and len(self.flying) < max(1, self.slots * AHEAD):
                outcome = self._begin(item := waiting.popleft())
                if outcome == "busy":
                    busy.append(item)
                elif outcome != "sent":
                    yield outcome
                    if self.work.stops(outcome[1]):
                        return
            for outcome in self._land():
                yield outcome
                if self.work.stops(outcome[1]):
                    return
            if not waiting:  # another run may be through with what it had locked
                waiting, busy = busy, deque()

    def _begin(self, item: WorkItem) -> Outcome | Literal["sent", "busy"]:
        """An item's outcome, unless it had to be sent or another process works on it."""
        lock = self.store.acquire(item.hash, wait=False)
        if lock is None:
            return "busy"
        try:
            outcome = self.work.known(item)
            if outcome is None:
                self.flying.append(_Flight(item=item, lock=lock, parts=self.cluster.send(self._job(item))))
                return "sent"
        except BaseException:
            lock.release()
            raise
        lock.release()
        return outcome

    def _job(self, item: WorkItem) -> Job:
        return Job(
            request=self.request,
            variant=item.variant.text,
            clip=item.clip.clip.name,
            key=item.key,
            hash=item.hash,
            metrics=self.metrics,
            folder=os.getcwd(),
            threads=self.cluster.needs.cpus,
        )

    def _land(self) -> Iterator[Outcome]:
        """What has come back by now; waits a little where nothing has."""
        if not self.flying:
            time.sleep(1.0)
            return
        if not self.cluster.answers():
            time.sleep(1.0)
            return
        ready = self.cluster.ready([flight.parts for flight in self.flying], 1.0)
        if not ready:
            self._look_around()
        shares = self.cluster.shares()  # some may come late, of items that are there already
        for flight in self.flying:
            if flight.item.hash in shares:
                self.progress(flight.item, shares[flight.item.hash])
        for flight in [flight for flight in self.flying if flight.parts in ready]:
            try:
                part = self.cluster.take(flight.parts)
            except Lost as error:
                if (given_up := self._lost(flight, error)) is None:
                    continue
                self.store.save(given_up)
                yield self._arrived(flight, given_up)
                continue
            if part is not None:
                self._keep(flight, part)
                continue
            assert flight.result is not None
            if flight.result.output is not None:
                self.store.publish(flight.folder, self.store.root / flight.item.output)
            self.store.save(flight.result)
            self.work.keep(flight.result)
            yield self._arrived(flight, flight.result)

    def _look_around(self) -> None:
        """Count the nodes again, since some come and go; say so, once, where none is left that could run a task."""
        before, self.slots = self.slots, self.cluster.slots()
        if before and not self.slots:
            print("no node that could run an item is left in the Ray cluster; waiting for one", file=sys.stderr)

    def _keep(self, flight: _Flight, part: Part) -> None:
        """Write one part of an output where the frames lie until all are there."""
        if isinstance(part, str):
            flight.result = parse_result(part)
            output = self.store.root / flight.item.output
            self.store.make_room(flight.item.hash, output)
            flight.folder = self.store.unfinished(output)
            if flight.result.output is not None:
                with writing(self.store.root):
                    flight.folder.mkdir(parents=True)
            return
        name, data = part
        with writing(self.store.root):
            (flight.folder / name).write_bytes(data)

    def _lost(self, flight: _Flight, error: Lost) -> Result | None:
        """Send the item again; the record of its failure once that was done often enough, or was for memory."""
        item, flight.losses = flight.item, flight.losses + 1
        if flight.result is not None:
            self.store.discard(flight.folder)
        flight.result = None
        if not error.out_of_memory and flight.losses <= RETRIES:
            what = f"the worker of '{item.variant.text}' on '{item.clip.clip.name}' was lost ({error})"
            print(f"{what}; the item is sent again ({flight.losses} of {RETRIES})", file=sys.stderr)
            flight.parts = self.cluster.send(self._job(item))
            return None
        what = "Ray ended its worker for want of memory" if error.out_of_memory else "its worker was lost each time"
        return result_of(item, "oom" if error.out_of_memory else "failed", f"{what} ({error})")

    def _arrived(self, flight: _Flight, result: Result) -> Outcome:
        self.flying.remove(flight)
        flight.lock.release()
        return flight.item, result, "run"

    def end(self) -> None:
        """Cancel what is in the air, and leave nothing half-written."""
        for flight in self.flying:
            self.cluster.cancel(flight.parts)
            if flight.result is not None:
                self.store.discard(flight.folder)
            flight.lock.release()
        self.flying = []
