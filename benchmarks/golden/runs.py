"""A run directory as the regression gate reads it: what was asked for, and what became of every item."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.store import Result, Score, Store
from patchvsr.errors import UserError

_CLIP = "caption degradation scale frames output lq_sha256 gt_sha256".split()
"""What a clip is. Where it came from (`source`) may be a path of one machine, and the hashes say more."""
DAMAGED = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a JSON file of another shape raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant as it was resolved.

    Attributes:
        spec: its description without the hashes of weights.
        accepted: what it told of each clip, by the clip's name, without notes to readers.
        status: of its weights: `trained`, `untrained` or `none`.
        weights: SHA-256 of each weights file by its name.
    """

    spec: dict[str, Any]
    accepted: dict[str, dict[str, Any]]
    status: str
    weights: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run directory.

    Attributes:
        path: the directory.
        clips: by name, everything that decides their frames and hashes.
        metrics: identity by name.
        results: by variant and clip; None where an item was planned and has not been run.
        machine: processor, threads and torch version, in words.
    """

    path: Path
    suite: str
    seed: int
    device: str
    dtype: str
    clips: dict[str, dict[str, Any]]
    variants: dict[str, Variant]
    metrics: dict[str, str]
    results: dict[tuple[str, str], Result | None]
    machine: str

    def answer(self, variant: str, clip: str, metric: str) -> tuple[float | None, str, str]:
        """Value, status and message of one metric on one item.

        The status is `ok`, `undefined`, `unavailable`, `failed`, `oom`, or `missing` where nothing is recorded.
        """
        absent = [
            f"{kind} '{name}' is not in the run"
            for kind, name, known in (
                ("variant", variant, self.variants), ("clip", clip, self.clips), ("metric", metric, self.metrics),
            )
            if name not in known
        ]  # fmt: skip
        if absent:
            return None, "missing", "; ".join(absent)
        result = self.results.get((variant, clip))
        if result is None:
            return None, "missing", "the item has not been run"
        if result.status != "ok":
            return None, result.status, result.message or "the upscaling failed"
        return _told(result.scores.get(metric), self.metrics[metric])


def _told(score: Score | None, identity: str) -> tuple[float | None, str, str]:
    if score is None or score.identity != identity:
        return None, "missing", "the item has not been scored by this metric; complete the run"
    return score.value, score.status, score.message or ""


def read_run(path: Path) -> Run:
    """Read what `python -m benchmarks.run --out` wrote.

    Raises:
        UserError: there is no run, or its files are damaged.
    """
    try:
        data = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} holds no run.json that can be read; give the --out of a benchmarks.run") from error
    except ValueError as error:
        raise UserError(f"{path / 'run.json'} holds no JSON ({error}); run it again") from error
    store = Store(path)
    try:
        return Run(
            path=path,
            suite=data["suite"],
            seed=data["seed"],
            device=data["device"].partition(":")[0],
            dtype=data["dtype"],
            clips={clip["name"]: {key: clip[key] for key in _CLIP} for clip in data["clips"]},
            variants={entry["variant"]: _variant(entry) for entry in data["variants"]},
            metrics=dict(data["metrics"]),
            results={(item["variant"], item["clip"]): store.load(item["hash"]) for item in data["items"]},
            machine=_machine(data["environment"]),
        )
    except UserError:
        raise
    except DAMAGED as error:
        told = f"{type(error).__name__}: {error}"
        raise UserError(f"{path / 'run.json'} is not what benchmarks.run writes ({told}); run it again") from error


def _variant(entry: dict[str, Any]) -> Variant:
    weights = dict(entry["weights"]["sha256"])
    accepted = {
        clip: _without(told, {"note"}, set()) for clip, told in entry["accepted"].items() if set(told) != {"note"}
    }
    return Variant(
        spec=_without(entry["describe"], set(), set(weights.values())),
        accepted=accepted,
        status=entry["weights"]["status"],
        weights=weights,
    )


def _without(data: dict[str, Any], keys: set[str], values: set[str]) -> dict[str, Any]:
    """The dictionary without those keys, and without strings of those values wherever they stand under a key."""
    return {
        key: _without(value, keys, values) if isinstance(value, dict) else value
        for key, value in data.items()
        if key not in keys and not (isinstance(value, str) and value in values)
    }


def _machine(environment: dict[str, Any]) -> str:
    torch = environment["packages"]["torch"]
    return f"{environment['cpu']}, {environment['device']}, threads: {environment['torch_threads']}, torch {torch}"
