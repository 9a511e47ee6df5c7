"""A run on an existing Ray cluster: `--executor ray`.

The run directory stays with the process that was started: it plans, holds the locks, takes what is there already and
records, as ever. What has to be made goes to Ray as a task for each item, and comes back as a record and frames: nodes
need no folder in common. A task whose worker is lost is sent again; what a method does wrong is recorded and not tried
again.
"""
from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from benchmarks.execute import Execution, Outcome, Work
from benchmarks.executors.worker import Job, Part, reporter, work
from benchmarks.item import Progress
from benchmarks.plan import Plan, Request, WorkItem
from benchmarks.store import Result, Store, parse_result, writing
from patchvsr.devices import dtype_name
from patchvsr.errors import UserError

RETRIES = 3
"""How often an item is sent again after its worker was lost."""
AHEAD = 2
"""Tasks that are sent, as a multiple of those that the cluster can run at once."""
_ANSWER = 5.0
"""Seconds that a head has to accept a connection."""
_SENT = 8
"""Parts of an output that may wait to be fetched from a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a task takes of its node: CPU cores (and threads of torch), GPUs, and GiB of memory (0: not counted)."""

    cpus: int = 1
    gpus: float = 0
    memory_gib: float = 0

    @classmethod
    def of(cls, text: str | None, device: str) -> Needs:
        """From `cpus=4,gpus=0.5,memory_gib=16`; a task on CUDA takes one GPU unless it says otherwise.

        Raises:
            UserError: another name, or a value that is no positive number.
        """
        found: dict[str, Any] = {"gpus": 1.0 if device == "cuda" else 0.0}
        for part in filter(None, (text or "").split(",")):
            name, _, value = part.partition("=")
            try:
                number = float(value)
            except ValueError:
                number = -1.0
            whole = name != "cpus" or number.is_integer()
            if name not in cls.__dataclass_fields__ or not 0 < number < 1e6 or not whole:
                raise UserError(f"--task '{part}' is not understood; write it as cpus=4,gpus=1,memory_gib=16")
            found[name] = int(number) if name == "cpus" else number
        return cls(**found)

    def resources(self) -> dict[str, float]:
        """By Ray's names for them; memory in bytes."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_gib * 2**30}
        return {name: float(amount) for name, amount in named.items() if amount}


@dataclass(slots=True, kw_only=True)
class _Flight:
    """An item that is being made elsewhere: its lock, its task, and what has come of it."""

    item: WorkItem
    lock: FileLock
    parts: Any
    losses: int = 0
    result: Result | None = None
    folder: Path = field(default_factory=Path)


class Cluster:
    """A connection to a Ray cluster, for the length of a `with` block.

    Args:
        address: `HOST:PORT` of the head, or None for `RAY_ADDRESS` or a cluster that this machine is part of.
        needs: of a task.

    Raises:
        UserError: no head answers, it is of another version, or no node has what a task needs.
    """

    def __init__(self, address: str | None, needs: Needs) -> None:
        self.needs = needs
        self._ray = _connect(address or os.environ.get("RAY_ADDRESS") or "auto")
        self.slots = self._count_slots()

    def __enter__(self) -> Cluster:
        ray = self._ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()
        self._task = ray.remote(_task).options(
            num_cpus=self.needs.cpus,
            num_gpus=self.needs.gpus,
            memory=int(self.needs.memory_gib * 2**30) or None,
            num_returns="streaming",
            max_retries=0,
            _generator_backpressure_num_objects=_SENT,
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()

    def send(self, job: Job) -> Any:
        """Start the task of a job; `ready` and `take` understand what is returned."""
        return self._task.remote(job, self._board)

    def ready(self, tasks: list[Any], seconds: float) -> list[Any]:
        """Those of the tasks that have a part to take, or have ended."""
        return list(self._ray.wait(tasks, num_returns=len(tasks), timeout=seconds, fetch_local=False)[0])

    def take(self, task: Any) -> Part | None:
        """The next part; None after the last.

        Raises:
            Lost: the worker is gone.
            UserError: the worker's node does not see what this one does.
        """
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        try:
            part: Part = self._ray.get(next(task))
            return part
        except StopIteration:
            return None
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except OutOfMemoryError as error:
            raise Lost(_first_line(error), out_of_memory=True) from error
        except RayError as error:
            raise Lost(f"{type(error).__name__}: {_first_line(error)}") from error

    def cancel(self, task: Any) -> None:
        """End a task, and its worker where it does not end on its own."""
        with suppress(Exception):  # it may have ended, and the cluster with it
            self._ray.cancel(task, force=True)

    def shares(self) -> dict[str, float]:
        """Item hash to the finished share of its upscaling, of those that have reported since the last call."""
        found: dict[str, float] = self._ray.get(self._board.take.remote())
        return found

    def _count_slots(self) -> int:
        needed = self.needs.resources()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        fits = [min(int(node.get(name, 0) // amount) for name, amount in needed.items()) for node in nodes]
        if not any(fits):
            best = {name: max((node.get(name, 0) for node in nodes), default=0) for name in needed}
            self._ray.shutdown()
            raise UserError(f"no node of the Ray cluster has {_amounts(needed)} for a task (the most that one has: "
                            f"{_amounts(best)}); ask for less with --task, or add a node")  # fmt: skip
        return sum(fits)


class Lost(Exception):
    """A worker ended before its item was there; `out_of_memory` where Ray ended it for that."""

    def __init__(self, why: str, out_of_memory: bool = False) -> None:
        super().__init__(why)
        self.out_of_memory = out_of_memory


class _Board:
    """Where workers report how far they are."""

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}

    def put(self, digest: str, share: float) -> None:
        self._shares[digest] = share

    def take(self) -> dict[str, float]:
        found, self._shares = self._shares, {}
        return found


def _task(job: Job, board: Any) -> Iterator[Part]:
    yield from work(job, reporter(lambda share: board.put.remote(job.hash, share)))


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
        self.by_hash = {item.hash: item for item in plan.items}
        self.flying: list[_Flight] = []

    def outcomes(self) -> Iterator[Outcome]:
        waiting, busy = deque(self.plan.items), deque[WorkItem]()
        while waiting or busy or self.flying:
            while waiting and len(self.flying) < self.cluster.slots * AHEAD:
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
        ready = self.cluster.ready([flight.parts for flight in self.flying], 1.0)
        for digest, share in self.cluster.shares().items():
            self.progress(self.by_hash[digest], share)
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
        return Result(
            hash=item.hash,
            key=item.key,
            suite=item.clip.clip.suite,
            clip=item.clip.clip.name,
            variant=item.variant.text,
            seed=item.seed,
            weights=item.variant.weights.status,
            status="oom" if error.out_of_memory else "failed",
            message=f"{what} ({error})",
        )

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


def _connect(address: str) -> Any:
    """The `ray` module, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--executor ray needs Ray ({error}); pip install 'patchvsr[ray]'") from error
    advice = "start one with 'ray start --head', or give --address HOST:PORT of its head"
    if "://" in address:
        raise UserError(f"'{address}' is a Ray Client address; start the run on a node of the cluster, with HOST:PORT")
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _ANSWER).close()
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(f"no Ray head answers at '{address}' ({error}); {advice}") from error
    passed = {name: value for name, value in os.environ.items() if name.startswith("PATCHVSR_")}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": passed})
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(f"no connection to a Ray cluster at '{address}' ({_first_line(error)}); {advice}") from error
    return ray


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _amounts(resources: dict[str, float]) -> str:
    named = {"CPU": "cores", "GPU": "GPUs"}
    return ", ".join(
        f"{amount / 2**30:.1f} GiB" if name == "memory" else f"{amount:g} {named[name]}"
        for name, amount in resources.items()
    )
