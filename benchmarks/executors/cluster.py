"""The connection to an existing Ray cluster: tasks sent, their parts taken, progress told; all that knows of Ray."""
from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.executors.worker import Job, Part, reporter, work
from patchvsr.errors import UserError

_ANSWER = 5.0
"""Seconds that a head has to accept a connection, and then to answer."""
_PATIENCE = 20.0
"""Seconds that a head may be away in the midst of a run. After 60 Ray ends the process without asking."""
_NEWS = 0.2
"""Seconds to wait for what the board has to tell."""
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
        self._head = self._ray.get_runtime_context().gcs_address
        self._heard = time.monotonic()
        self._asked: dict[str, Any] = {}
        self._slots = self._check()

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
        if self._is_there():  # else Ray would wait for the head
            self._ray.shutdown()

    def send(self, job: Job) -> Any:
        """Start the task of a job; `ready` and `take` understand what is returned."""
        with _connected():
            return self._task.remote(job, self._board)

    def answers(self) -> bool:
        """Whether the head was there within the last second; little may be asked of Ray while it is away.

        Raises:
            UserError: it has been away for long.
        """
        now = time.monotonic()
        if now - self._heard < 1:
            return True
        if self._is_there():
            self._heard = now
        elif now - self._heard > _PATIENCE:
            raise _broken(f"its head at '{self._head}' no longer answers")
        return self._heard == now

    def _is_there(self) -> bool:
        try:
            _probe(self._head)
        except OSError:
            return False
        return True

    def ready(self, tasks: list[Any], seconds: float) -> list[Any]:
        """Those of the tasks that have a part to take, or have ended; waits until one has."""
        with _connected():
            if not self._ray.wait(tasks, timeout=seconds, fetch_local=False)[0]:
                return []
            return list(self._ray.wait(tasks, num_returns=len(tasks), timeout=0, fetch_local=False)[0])

    def take(self, task: Any) -> Part | None:
        """The next part; None after the last.

        Raises:
            Lost: the worker is gone.
            UserError: the worker's node does not see what this one does, or Ray cannot start a worker.
        """
        from ray.exceptions import (
            NodeDiedError,
            ObjectLostError,
            OutOfMemoryError,
            RayError,
            RayTaskError,
            WorkerCrashedError,
        )

        try:
            part: Part = self._ray.get(next(task))
            return part
        except StopIteration:
            return None
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except OutOfMemoryError as error:
            raise Lost(_first_line(error), out_of_memory=True) from error
        except (WorkerCrashedError, NodeDiedError, ObjectLostError) as error:
            raise Lost(f"{type(error).__name__}: {_first_line(error)}") from error
        except RayError as error:
            raise _broken(_in_short(error)) from error

    def cancel(self, task: Any) -> None:
        """End a task, and its worker where it does not end on its own."""
        if self._is_there():
            with suppress(Exception):  # it may have ended, and the cluster with it
                self._ray.cancel(task, force=True)

    def shares(self) -> dict[str, float]:
        """Item hash to the finished share of its upscaling, of those that have reported since the last call."""
        found: dict[str, float] = self._board_says("take") or {}
        return found

    def slots(self) -> int:
        """Tasks that the nodes that were there when last counted could run at once, were they otherwise idle."""
        nodes = self._board_says("nodes")
        if nodes is not None:
            self._slots = self._room(nodes)
        return self._slots

    def _board_says(self, method: str) -> Any:
        """What a method of the board returns; None while it has not answered, and a later call has the answer.

        The board may take a minute to start on a busy machine, which must not hold up or end the run.
        """
        with _connected():
            if method not in self._asked:
                self._asked[method] = getattr(self._board, method).remote()
            asked = self._asked[method]
            if not self._ray.wait([asked], timeout=_NEWS)[0]:
                return None
            del self._asked[method]
            return self._ray.get(asked, timeout=_PATIENCE)

    def _room(self, nodes: list[dict[str, float]]) -> int:
        needed = self.needs.resources()
        return sum(min(int(node.get(name, 0) // amount) for name, amount in needed.items()) for node in nodes)

    def _check(self) -> int:
        """The slots at the start, at least one."""
        needed, nodes = self.needs.resources(), _nodes(self._ray)
        if slots := self._room(nodes):
            return slots
        best = {name: max((node.get(name, 0) for node in nodes), default=0) for name in needed}
        self._ray.shutdown()
        raise UserError(f"no node of the Ray cluster has {_amounts(needed)} for a task (the most that one has: "
                        f"{_amounts(best)}); ask for less with --task, or add a node")  # fmt: skip


class Lost(Exception):
    """A worker ended before its item was there; `out_of_memory` where Ray ended it for that."""

    def __init__(self, why: str, out_of_memory: bool = False) -> None:
        super().__init__(why)
        self.out_of_memory = out_of_memory


def _nodes(ray: Any) -> list[dict[str, float]]:
    """What each node that is there has, by Ray's names."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class _Board:
    """Where workers report how far they are, and nodes are counted.

    Where the head has just gone, Ray would end a process that counts them: it had better not be the run's own.
    """

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}

    def put(self, digest: str, share: float) -> None:
        self._shares[digest] = share

    def nodes(self) -> list[dict[str, float]]:
        import ray

        return _nodes(ray)

    def take(self) -> dict[str, float]:
        found, self._shares = self._shares, {}
        return found


def _task(job: Job, board: Any) -> Iterator[Part]:
    yield from work(job, reporter(lambda share: board.put.remote(job.hash, share)))


@contextmanager
def _connected() -> Iterator[None]:
    """Turn what Ray raises when the cluster, or this machine's part of it, is gone into a sentence."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise _broken(_in_short(error)) from error


def _broken(why: str) -> UserError:
    return UserError(
        f"the Ray cluster no longer runs the items ({why}); see that it is up and what its logs say: what is "
        "finished is kept, and the same command goes on from there"
    )


def _in_short(error: Exception) -> str:
    """The kind of an error of Ray's, its first line, and the last, where the cause stands if there are several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {' ... '.join(dict.fromkeys((lines[0], lines[-1])))}"


def _connect(address: str) -> Any:
    """The `ray` module, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--executor ray needs Ray ({error}); pip install 'patchvsr[ray]'") from error
    # Ray has no option for it: the logs of nodes that are lost would go to standard output, into the stream of events.
    ray._private.worker._worker_logs_enabled = False
    advice = "start one with 'ray start --head', or give --address HOST:PORT of its head"
    if "://" in address:
        raise UserError(f"'{address}' is a Ray Client address; start the run on a node of the cluster, with HOST:PORT")
    if address != "auto":
        try:
            _probe(address)
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(f"no Ray head answers at '{address}' ({error}); {advice}") from error
    passed = {name: value for name, value in os.environ.items() if name.startswith("PATCHVSR_")}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": passed})
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, SystemExit) as error:
        raise UserError(f"no connection to a Ray cluster at '{address}' ({_first_line(error)}); {advice}") from error
    return ray


def _probe(address: str) -> None:
    """Raise OSError or ValueError unless an HTTP/2 server, such as a head, answers there with its settings.

    Ray itself waits two minutes for whatever accepts a connection, and then ends the process.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), _ANSWER) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4" + bytes(5))
        if connection.recv(9, socket.MSG_WAITALL)[3:4] != b"\4":
            raise OSError("something else answers there")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _amounts(resources: dict[str, float]) -> str:
    named = {"CPU": "cores", "GPU": "GPUs"}
    return ", ".join(
        f"{amount / 2**30:.1f} GiB" if name == "memory" else f"{amount:g} {named[name]}"
        for name, amount in resources.items()
    )
