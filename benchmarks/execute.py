"""Runs a plan: item by item, each recorded when it is complete and never before.

Several processes may work on one run directory: each item is done under a lock that ends with its holder, however that
ends, and what another process has done meanwhile is taken as it is.
"""
from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cache import OutputCache
from benchmarks.item import Progress, make, missing_metrics, rescore, warm_up
from benchmarks.memory import release_memory
from benchmarks.plan import Plan, PlannedVariant, WorkItem
from benchmarks.store import Result, Store
from patchvsr.upscaler import Upscaler, create

Outcome = tuple[WorkItem, Result, str]
"""An item, its recorded result, and how it came: `run`, `rescored`, `reused` from the cache, or `kept`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a plan is run.

    Attributes:
        retry_failed: run items again that an earlier run has recorded as failed or out of memory.
        fail_fast: stop after the first item that fails, or of which a metric fails.
        cache: outputs of all runs on this machine, or None.
    """

    retry_failed: bool = False
    fail_fast: bool = False
    cache: OutputCache | None = None


def execute(plan: Plan, store: Store, progress: Progress, how: Execution | None = None) -> Iterator[Outcome]:
    """Run what the store does not hold yet, score what lacks a metric, and record each item as it is done.

    A failing item or metric is recorded with its message, and the run goes on unless it is to stop there.

    Yields:
        Each item as it is settled: those that another process works on come last.
    """
    run = Work(plan, store, progress, how or Execution())
    try:
        yield from _outcomes(plan, run)
    finally:
        gc.unfreeze()


def _outcomes(plan: Plan, run: Work) -> Iterator[Outcome]:
    busy: list[WorkItem] = []
    for variant in plan.variants:
        for item in plan.items_of(variant):
            outcome = run.settle(item, wait=False)
            if outcome is None:
                busy.append(item)
                continue
            yield outcome
            if run.stops(outcome[1]):
                return
        run.forget_model()
    for item in busy:
        outcome = run.settle(item, wait=True)
        assert outcome is not None
        yield outcome
        if run.stops(outcome[1]):
            return


class Work:
    """One process's part in a run; one model at a time: made when an item needs it, gone before the next variant's."""

    def __init__(self, plan: Plan, store: Store, progress: Progress, how: Execution) -> None:
        self.plan, self.store, self.progress, self.how = plan, store, progress, how
        self._warm = False
        self._model: tuple[PlannedVariant, Upscaler] | None = None

    def settle(self, item: WorkItem, wait: bool) -> Outcome | None:
        """The item's outcome; None if another process is at it and there is no wish to wait."""
        result = self.store.sound(item.hash)
        if result is not None and self._is_done(item, result):
            self.progress(item, 0.0)
            return item, result, "kept"
        lock = self.store.acquire(item.hash, wait)
        if lock is None:
            return None
        self.progress(item, 0.0)
        try:
            return self.known(item) or (item, self._made(item), "run")
        finally:
            lock.release()

    def _is_done(self, item: WorkItem, result: Result) -> bool:
        """Whether nothing is left to do: so most items of a resumed run need no lock."""
        if result.status != "ok":
            return not self.how.retry_failed
        return self.store.has_output(result) and not missing_metrics(result, self.plan)

    def known(self, item: WorkItem) -> Outcome | None:
        """The outcome of an item whose frames are there, or in the cache; None if they have to be made.

        The item's lock is to be held.
        """
        result = self.store.load_or_set_aside(item.hash)  # again: another process may have been at it until now
        if result is not None and self._is_done(item, result):
            return item, result, "kept"
        came = "kept"
        if (result is None or not self.store.has_output(result)) and self.how.cache is not None:
            result = self.how.cache.restore(item, self.store) or result
            came = "reused"
        if result is not None and self.store.has_output(result):
            known = rescore(result, item, self.plan, self.store)
            if known != "lost":
                return item, result, came if known == "kept" else known
        return None

    def _made(self, item: WorkItem) -> Result:
        result = make(item, self._upscaler(item.variant), self.plan, self.store, self.progress)
        self.keep(result)
        return result

    def keep(self, result: Result) -> None:
        """Have other runs find the frames of a result."""
        if self.how.cache is not None and result.status == "ok":
            self.how.cache.keep(result, self.store)

    def _upscaler(self, variant: PlannedVariant) -> Upscaler:
        if not self._warm:
            warm_up(self.plan.metrics)
            gc.collect()
            gc.freeze()  # what the packages hold stays: collecting it before every item took 0.4 s
            self._warm = True
        if self._model is None or self._model[0] is not variant:
            self.forget_model()
            self._model = variant, create(variant.text, self.plan.device, self.plan.dtype)
        return self._model[1]

    def forget_model(self) -> None:
        """Let the model go, if there is one: collecting garbage takes a quarter of a second."""
        if self._model is not None:
            self._model = None
            release_memory()

    def stops(self, result: Result) -> bool:
        """Whether the run ends with this result."""
        broken = [result.status, *(score.status for score in result.scores.values())]
        return self.how.fail_fast and any(status in ("failed", "oom") for status in broken)
