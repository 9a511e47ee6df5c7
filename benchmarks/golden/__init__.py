"""Golden files: what a run gave when it was found right, and how much worse a later one may be.

A golden file keeps everything that two runs must share to be compared (protocols, clips by hash, resolved variants,
seed, device, dtype), the values, and for each metric a tolerance that comes from runs which differ in nothing that
should matter, such as the number of threads.
"""
from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.golden.runs import DAMAGED, Run, Variant
from benchmarks.store import to_json, write_atomic
from patchvsr.errors import UserError

FORMAT = 1
TIMES = 3.0
"""A tolerance is this many times the spread of the runs, of which few show little of what there is."""
LOG = "log"
"""Unit of what is compared as a logarithm: the distance from 1 of metrics that are best there, and cost, as a ratio."""
FLOORS = {
    "dB": 0.01, "": 5e-4, LOG: 5e-3, "8-bit steps": 5e-3, "px": 1e-3, "x 1e-2": 0.01, "x 1e-3": 0.01,
    "s": math.log(1.25), "frames/s": math.log(1.25), "MiB": math.log(1.1),
}  # fmt: skip
"""Least tolerance by unit: what nobody would see or act on. That of cost is the logarithm of a factor."""
OTHER = 1e-3
"""Of a unit that is not in the table, the least tolerance as a share of the largest value."""
COST = ("s", "frames/s", "MiB")
"""Units of cost, which belongs to a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How much worse than golden a metric may be: the larger of `floor` and `times` the `spread`.

    Attributes:
        value: in `unit`, the metric's own, or `log`.
        floor: of the unit.
        spread: largest minus smallest value over the runs, on the item where that was most.
        at: this item, as `variant on clip`; empty where the runs agree.
    """

    value: float
    unit: str
    floor: float
    times: float
    spread: float
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A metric in a golden file."""

    identity: str
    unit: str
    direction: str
    tolerance: Tolerance

    @property
    def cost(self) -> bool:
        """Whether it is a time or an amount of memory."""
        return self.unit in COST

    def scaled(self, value: float) -> float:
        """The value as tolerances count it: its logarithm for cost and for metrics that are best at 1."""
        if not self.cost and self.direction != "one":
            return value
        return math.log(value) if value > 0 else -math.inf

    def loss(self, value: float) -> float:
        """The value on a scale where less is better, in the tolerance's unit."""
        scaled = self.scaled(value)
        if self.direction == "one":
            return abs(scaled)
        return -scaled if self.direction == "higher" else scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A golden file.

    Attributes:
        made_of: machine of each run that it was made from.
        clips, variants: as in `Run`.
        metrics: by name.
        values: by variant, clip and metric; None where a metric is not defined.
    """

    suite: str
    seed: int
    device: str
    dtype: str
    made_of: list[str]
    clips: dict[str, dict[str, Any]]
    variants: dict[str, Variant]
    metrics: dict[str, Gauge]
    values: dict[str, dict[str, dict[str, float | None]]]

    def items(self) -> Iterator[tuple[str, str, str, float | None]]:
        """Variant, clip, metric and value, in the order of the run."""
        for variant, clips in self.values.items():
            for clip, values in clips.items():
                for metric, value in values.items():
                    yield variant, clip, metric, value


def read_golden(path: Path) -> Golden:
    """Read what `write_golden` wrote.

    Raises:
        UserError: it is missing, damaged, or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it with --update") from error
    except ValueError as error:
        raise UserError(f"{path} holds no JSON ({error}); make it again with --update") from error
    try:
        if data.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        variants = {name: Variant(**entry) for name, entry in data.pop("variants").items()}
        gauges = {name: _gauge(entry) for name, entry in data.pop("metrics").items()}
        golden = Golden(variants=variants, metrics=gauges, **data)
        _check(golden)
        return golden
    except DAMAGED as error:
        told = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is no golden file ({told}); make it again with --update") from error


def _gauge(entry: dict[str, Any]) -> Gauge:
    gauge = Gauge(**entry | {"tolerance": Tolerance(**entry["tolerance"])})
    if gauge.direction not in ("higher", "lower", "one"):
        raise ValueError(f"{gauge.direction!r} is no direction")
    if not 0 <= gauge.tolerance.value < math.inf:
        raise ValueError(f"{gauge.tolerance.value!r} is no tolerance")
    return gauge


def _check(golden: Golden) -> None:
    """Raise ValueError unless there is a number or None for every variant, clip and metric, and nothing else."""
    for variant in golden.variants:
        for clip in golden.clips:
            if golden.values[variant][clip].keys() != golden.metrics.keys():
                raise ValueError(f"the metrics of '{variant}' on '{clip}' are not those of the file")
    for variant, clip, metric, value in golden.items():
        if variant not in golden.variants or clip not in golden.clips:
            raise ValueError(f"'{variant}' on '{clip}' is not described")
        if value is not None and not math.isfinite(golden.metrics[metric].loss(value)):
            raise ValueError(f"{value!r} is no value of '{metric}'")


def write_golden(path: Path, golden: Golden) -> None:
    """Write the file atomically.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_atomic(path, to_json({"format": FORMAT, **asdict(golden)}))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def make_golden(runs: Sequence[Run]) -> Golden:
    """Medians of runs of one plan, and tolerances from how far the runs lie apart.

    Raises:
        UserError: runs of different plans or weights, items that failed or are missing, metrics that are unavailable
            or not known here, or a value that has no logarithm where one is needed.
    """
    first = runs[0]
    for run in runs[1:]:
        if differing := _differing(first, run):
            raise UserError(f"{run.path} and {first.path} are not of the same {differing}; give runs of one plan")
    found = {
        variant: {clip: {name: _pooled(runs, variant, clip, name) for name in first.metrics} for clip in first.clips}
        for variant in first.variants
    }
    gauges = {}
    for name, identity in first.metrics.items():
        by_item = {f"{variant} on {clip}": of[name] for variant, clips in found.items() for clip, of in clips.items()}
        gauges[name] = _measured(name, identity, by_item)
    return Golden(
        suite=first.suite,
        seed=first.seed,
        device=first.device,
        dtype=first.dtype,
        made_of=[run.machine for run in runs],
        clips=first.clips,
        variants=first.variants,
        metrics=gauges,
        values={
            variant: {
                clip: {name: statistics.median(values) if values else None for name, values in of.items()}
                for clip, of in clips.items()
            }
            for variant, clips in found.items()
        },
    )


def _differing(one: Run, other: Run) -> str:
    shared = "suite seed device dtype clips variants metrics".split()
    return " and ".join(name for name in shared if getattr(one, name) != getattr(other, name))


def _pooled(runs: Sequence[Run], variant: str, clip: str, metric: str) -> list[float]:
    """The value in each run; none where the metric is not defined for the item."""
    values = []
    for run in runs:
        value, status, message = run.answer(variant, clip, metric)
        if value is not None:
            values.append(value)
        elif status != "undefined":
            raise UserError(
                f"'{metric}' of '{variant}' on '{clip}' in {run.path} is {status} ({message}); a golden file is made "
                "of complete runs only"
            )
    if values and len(values) < len(runs):
        raise UserError(f"'{metric}' of '{variant}' on '{clip}' is defined in some of the runs only")
    return values


def _measured(name: str, identity: str, by_item: dict[str, list[float]]) -> Gauge:
    """The metric with its tolerance, from its values in each run by item."""
    from benchmarks.metrics import metrics  # loads torch, which comparing does not need

    metric = metrics.get(name)()
    cost = metric.unit in COST
    unit = LOG if cost or metric.direction == "one" else metric.unit
    largest = max((abs(value) for values in by_item.values() for value in values), default=0.0)
    floor = FLOORS.get(metric.unit if cost else unit, OTHER * largest)

    def gauge(spread: float, at: str) -> Gauge:
        tolerance = Tolerance(
            value=_rounded(max(floor, TIMES * spread)), unit=unit, floor=_rounded(floor), times=TIMES,
            spread=_rounded(spread), at=at,
        )  # fmt: skip
        return Gauge(identity=identity, unit=metric.unit, direction=metric.direction, tolerance=tolerance)

    plain = gauge(0.0, "")
    spreads = {}
    for item, values in by_item.items():
        scaled = [plain.scaled(value) for value in values]
        if not all(map(math.isfinite, scaled)):
            raise UserError(f"'{name}' of {item} is {values[0]:g}, which has no logarithm; leave the metric out")
        spreads[item] = max(scaled) - min(scaled) if scaled else 0.0
    at = max(spreads, key=lambda item: spreads[item], default="")
    return gauge(spreads[at], at) if at and spreads[at] > 0 else plain


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
