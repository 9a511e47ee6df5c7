"""Where a run's items are worked on: processes on this machine (`local`) or a Ray cluster (`distribute`)."""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.execute import Execution, Outcome, execute
from benchmarks.item import Progress
from benchmarks.plan import Plan, Request
from benchmarks.store import Store
from patchvsr.devices import device_of
from patchvsr.errors import UserError

if TYPE_CHECKING:
    from benchmarks.executors.cluster import Cluster

Start = Callable[[Progress], Iterator[Outcome]]
"""Begins a run; gives each item as it is settled."""


def cluster_of(options: argparse.Namespace) -> Cluster | None:
    """The Ray cluster of a command line, connected; None with `--executor local`.

    Raises:
        UserError: options that do not go together, or no such cluster.
    """
    if options.executor == "local":
        if named := [name for name in ("address", "task") if getattr(options, name) is not None]:
            raise UserError(f"--{named[0]} is for --executor ray; add that, or leave it out")
        return None
    if options.jobs != 1:
        raise UserError("--jobs is for --executor local; on a cluster, --task says what an item takes of a node")
    from benchmarks.executors.cluster import Cluster, Needs

    return Cluster(options.address, Needs.of(options.task, device_of(options.device).type))


@contextmanager
def executor(
    cluster: Cluster | None,
    jobs: int,
    arguments: Sequence[str],
    plan: Plan,
    request: Request,
    store: Store,
    how: Execution,
) -> Iterator[Start]:
    """What begins the run of a plan, where the command line wants it.

    Args:
        cluster: to run on; None for this machine.
        jobs: processes on this machine.
        arguments: of this run, for its other processes.
        plan, request, store, how: of this run.
    """
    if cluster is not None:
        from benchmarks.executors.distribute import execute_on

        with cluster:
            yield lambda progress: execute_on(cluster, plan, request, store, progress, how)
        return
    from benchmarks.executors.local import helpers

    with helpers(arguments, jobs, plan.device):
        yield lambda progress: execute(plan, store, progress, how)
