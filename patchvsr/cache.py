"""A cache of what does not depend on the denoising step, under a memory budget, and the policy of what to keep.

A batch of tiles goes through stages (`patchvsr.features`): the codec's latents of its condition, the patch branch, the
context tokens, the context's keys and values. Keeping a stage saves its time at every later step that visits the same
tiles. What is kept never changes a result: on a CPU the bytes are the same.
"""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from patchvsr.clock import synchronise
from patchvsr.errors import UserError
from patchvsr.position import Place

Key = tuple[Place, ...]
"""The tiles of a batch."""
T = TypeVar("T")

MODES = ("auto", "on", "off")
STAGES = ("condition", "view", "patch", "tokens", "keys")
MADE_FROM = {"patch": "condition", "tokens": "view", "keys": "tokens"}
"""Once a stage is kept, the one that it was made from is needed no more."""
_LEARNT = 2  # batches that are measured: the first warms up


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one batch's result of a stage takes: bytes to keep, and seconds (or FLOPs) to make again."""

    nbytes: int
    cost: float


def shares(stages: Mapping[str, StageCost], batches: int, budget: int) -> dict[str, int]:
    """Bytes of the budget for each stage: the stages that save most per byte first.

    Args:
        stages: what is known of each.
        batches: how many come again at a later step.
        budget: bytes.
    """
    ranked = sorted(stages, key=lambda name: stages[name].cost / max(stages[name].nbytes, 1), reverse=True)
    found: dict[str, int] = {}
    kept: dict[str, int] = {}
    for name in ranked:
        # A batch whose later stage is kept does not need this one.
        later = [kept.get(other, 0) for other, source in MADE_FROM.items() if source == name]
        wanted = max(batches - max(later, default=0), 0)
        kept[name] = min(wanted, budget // max(stages[name].nbytes, 1))
        found[name] = kept[name] * stages[name].nbytes
        budget -= found[name]
    return found


class FeatureCache:
    """Results of stages by batch of tiles.

    Args:
        mode: `off` keeps nothing; `on` keeps everything in the order of its making while the budget lasts; `auto`
            keeps only what a later step asks for again, and where the budget is too small for all of that, the stages
            that save most seconds per byte, as measured on the first batches.
        budget: bytes that all kept results take at most.
        uses: how many times each batch is asked for in the whole sampling run.
        device: where results are made; waited for while stages are measured.

    Raises:
        UserError: an unknown mode.
    """

    def __init__(self, mode: str, budget: int, uses: Mapping[Key, int], device: torch.device) -> None:
        if mode not in MODES:
            raise UserError(f"cache={mode} is not one of {', '.join(MODES)}")
        self.mode, self.budget, self.device = mode, budget, device
        self.used = Counter[str]()
        self.misses = Counter[str]()
        self._left = Counter(uses)
        self._recurring = sum(count > 1 for count in uses.values())
        self._learnt: dict[str, list[StageCost]] = {}
        self._shares: dict[str, int] = {}
        self._entries: dict[Key, dict[str, object]] = {}

    @property
    def total(self) -> int:
        """Bytes kept now."""
        return self.used.total()

    def get(self, stage: str, key: Key, make: Callable[[], T]) -> T:
        """The kept result of a stage for these tiles, or a new one, which is kept if the policy says so.

        Raises:
            UserError: `cache=on`, and the budget does not hold the first batch.
        """
        entry = self._entries.get(key, {})
        if stage in entry:
            return entry[stage]  # type: ignore[return-value]
        self.misses[stage] += 1
        value, found = self._measured(stage, make)
        size = found.nbytes
        if self.mode == "on" and self.total == 0 and size > self.budget:
            raise UserError(
                f"cache=on with a budget of {self.budget >> 20} MiB does not hold one batch of tiles, whose {stage} "
                f"features take {size / 2**20:.1f} MiB; raise cache_mib, lower tile_batch, or use cache=auto"
            )
        if self._keeps(stage, key, size):
            self._drop(key, MADE_FROM.get(stage, ""))
            self._entries.setdefault(key, {})[stage] = value
            self.used[stage] += size
        return value

    def done(self, key: Key) -> None:
        """A step has used this batch; what no later step asks for is let go."""
        self._left[key] -= 1
        if self._left[key] <= 0 and self.mode == "auto":
            for stage in list(self._entries.get(key, {})):
                self._drop(key, stage)

    def _keeps(self, stage: str, key: Key, size: int) -> bool:
        if self.mode == "off" or self.total + size > self.budget:
            return False
        if self.mode == "on":
            return True
        # Not kept beside what was made from it, which may be there before it.
        later = [name for name, source in MADE_FROM.items() if source == stage]
        if self._left[key] <= 1 or any(name in self._entries.get(key, {}) for name in later):
            return False
        return self.used[stage] + size <= self._shares.get(stage, self.budget)

    def _measured(self, stage: str, make: Callable[[], T]) -> tuple[T, StageCost]:
        learnt = self._learnt.setdefault(stage, [])
        learning = self.mode == "auto" and len(learnt) < _LEARNT
        if learning:
            synchronise(self.device)
        start = time.perf_counter()
        value = make()
        if learning:
            synchronise(self.device)
        found = StageCost(nbytes(value), self.cost(stage, time.perf_counter() - start))
        if learning:
            learnt.append(found)
            if all(len(known) >= _LEARNT for known in self._learnt.values()):
                least = {name: min(known, key=lambda one: one.cost) for name, known in self._learnt.items()}
                self._shares = shares(least, self._recurring, self.budget)
                self._trim()
        return value, found

    def _trim(self) -> None:
        """Let go what was kept of each stage, before any was measured, beyond its share."""
        for key, entries in self._entries.items():
            for stage in list(entries):
                if self.used[stage] > self._shares.get(stage, 0):
                    self._drop(key, stage)

    def cost(self, stage: str, seconds: float) -> float:
        """What making this stage's result has cost, in any unit: here the seconds that it took."""
        return seconds

    def _drop(self, key: Key, stage: str) -> None:
        value = self._entries.get(key, {}).pop(stage, None)
        if value is not None:
            self.used[stage] -= nbytes(value)


def nbytes(value: object) -> int:
    """Bytes of the tensors in nested tuples (or whatever else says its `nbytes`)."""
    return sum(int(part.nbytes) for part in _leaves(value))


def _leaves(value: object) -> Iterator[Tensor]:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    elif hasattr(value, "nbytes"):
        yield value  # type: ignore[misc]
