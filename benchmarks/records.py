"""The tables of a run, made from its items' results: `records.csv`, `outputs.csv` and `summary.csv`."""
from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.disk import write_atomic, writing
from benchmarks.plan import Plan, PlannedVariant, WorkItem
from benchmarks.store import Result, Score

RECORDS = "suite clip variant seed metric value unit identity status".split()
OUTPUTS = "suite clip variant seed path width height frames sha256".split()
SUMMARY = "suite variant metric value clips unit identity status".split()

_PAUSE = 2.0
"""Seconds between two writings of the tables, at least,"""
_SHARE = 100.0
"""and as a multiple of the seconds that the last one took."""
Results = dict[str, Result]
"""Results by item hash; items that have not been reached are not in it."""


def write_tables(root: Path, plan: Plan, results: Results) -> None:
    """Write the three CSV files, each atomically, for the items of this plan that have a result."""
    done = [(item, results[item.hash]) for item in plan.items if item.hash in results]
    _write(root / "records.csv", RECORDS, (row for _, result in done for row in record_rows(plan, result)))
    _write(root / "outputs.csv", OUTPUTS, (output_row(result) for _, result in done if result.output is not None))
    _write(root / "summary.csv", SUMMARY, summary_rows(plan, results))


class Tables:
    """The tables of a run that goes on: written again when that costs little beside the run itself.

    Args:
        root: run directory.
        plan: of the run.
        results: filled as the run goes on.
    """

    def __init__(self, root: Path, plan: Plan, results: Results) -> None:
        self.root, self.plan, self.results = root, plan, results
        self._next = 0.0

    def write(self) -> None:
        """Write them."""
        start = time.monotonic()
        write_tables(self.root, self.plan, self.results)
        end = time.monotonic()
        self._next = end + max(_PAUSE, _SHARE * (end - start))

    def write_now_and_then(self) -> None:
        """Write them, unless that was done a short while ago."""
        if time.monotonic() >= self._next:
            self.write()


def _write(path: Path, columns: Sequence[str], rows: Iterable[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with writing(path.parent):
        write_atomic(path, text.getvalue())


def status_of(result: Result, score: Score | None) -> str:
    """The status column: `ok`, `untrained`, `unavailable`, `failed` or `oom`.

    Untrained weights mark every record that did not fail, with or without a value: they must not be overlooked.
    """
    status = result.status if score is None else score.status
    if status in ("failed", "oom"):
        return status
    if result.weights == "untrained":
        return "untrained"
    return "unavailable" if status == "undefined" else status


def record_rows(plan: Plan, result: Result) -> list[dict[str, object]]:
    """One row per metric of the plan. `value` is empty unless the metric gave one."""
    rows: list[dict[str, object]] = []
    for name, metric in plan.metrics.items():
        score = result.scores.get(name)
        rows.append(
            {
                "suite": result.suite,
                "clip": result.clip,
                "variant": result.variant,
                "seed": result.seed,
                "metric": name,
                "value": "" if score is None or score.value is None else score.value,
                "unit": metric.unit,
                "identity": metric.identity(),
                "status": status_of(result, score),
            }
        )
    return rows


def output_row(result: Result) -> dict[str, object]:
    """Where the frames of one item are, and the hash of what they hold."""
    assert result.output is not None
    return {
        "suite": result.suite,
        "clip": result.clip,
        "variant": result.variant,
        "seed": result.seed,
        "path": result.output.path,
        "width": result.output.width,
        "height": result.output.height,
        "frames": result.output.frames,
        "sha256": result.output.sha256,
    }


def summary_rows(plan: Plan, results: Results) -> list[dict[str, object]]:
    """One row per variant and metric: the mean over the suite's clips, given only if every clip has a value.

    `clips` is `with a value/in the suite`. Where they differ, `value` is empty and `status` says `partial: ` and what
    each missing clip lacks, so that a mean over the survivors cannot be mistaken for the suite's.
    """
    rows: list[dict[str, object]] = []
    for variant in plan.variants:
        by_clip = {item.clip.clip.name: item for item in plan.items_of(variant)}
        for name, metric in plan.metrics.items():
            values, missing = _values(plan, by_clip, results, name)
            rows.append(
                {
                    "suite": plan.suite,
                    "variant": variant.text,
                    "metric": name,
                    "value": "" if missing else sum(values) / len(values),
                    "clips": f"{len(values)}/{len(plan.suite_clips)}",
                    "unit": metric.unit,
                    "identity": metric.identity(),
                    "status": "partial: " + "; ".join(missing) if missing else _trained(variant),
                }
            )
    return rows


def _values(
    plan: Plan, by_clip: dict[str, WorkItem], results: Results, metric: str
) -> tuple[list[float], list[str]]:
    values: list[float] = []
    missing: list[str] = []
    for clip in plan.suite_clips:
        item = by_clip.get(clip)
        result = None if item is None else results.get(item.hash)
        if result is None:
            missing.append(f"{clip} not run")
            continue
        score = result.scores.get(metric)
        if score is not None and score.value is not None:
            values.append(score.value)
        else:
            missing.append(f"{clip} {(result if score is None else score).status}".replace("undefined", "unavailable"))
    return values, missing


def _trained(variant: PlannedVariant) -> str:
    return "untrained" if variant.weights.status == "untrained" else "ok"
