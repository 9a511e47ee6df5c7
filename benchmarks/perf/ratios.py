"""`python -m benchmarks.perf.ratios RUN.json [RUN.json ...] [--against BASELINE.json] [--tolerance 1.5] [--update]`.

Has anything become slower? Reads what `pytest benchmarks/perf --benchmark-json=RUN.json` wrote, divides each
benchmark's median by the median of its reference workload in the same run, and compares this ratio with the baseline's.
Ratios differ less between machines than seconds do, and still differ: a baseline holds for its kind of processor and
its number of threads. Of several runs the median ratio counts.

Exit code 0: fine; 1: a benchmark is slower than its tolerance allows; 2: it cannot be compared. `--update` writes the
baseline instead: median ratios, and tolerances above the spread of the runs given, which should be three or more.

On one machine pytest-benchmark compares seconds itself: `pytest benchmarks/perf -m "not slow" --benchmark-autosave`
keeps a run in `.benchmarks/`, and later `--benchmark-compare --benchmark-compare-fail=median:25%` sets another beside
it and fails where the median rose by more than a quarter.
"""
from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.store import write_atomic
from patchvsr.errors import UserError, nearest

BASELINE = Path(__file__).with_name("baseline.json")
LEAST_TOLERANCE = 1.25
ABOVE_SPREAD = 1.25
"""A tolerance is this times the largest over the smallest ratio of the runs, of which few show little of the spread."""
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the benchmarks.

    Attributes:
        machine: processor and threads, in words.
        ratios: by benchmark, the name of its reference workload and its median over that one's.
    """

    path: Path
    machine: str
    ratios: dict[str, tuple[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A benchmark in the baseline: its ratio to `reference`, and the factor on it that is still no slowdown."""

    reference: str
    ratio: float
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What runs are compared with, by benchmark, and the machine that it was measured on."""

    machine: str
    benchmarks: dict[str, Expected]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A benchmark's ratio now, and what was expected; None where it is new."""

    name: str
    reference: str
    now: float
    then: Expected | None

    @property
    def slower(self) -> bool:
        """Whether it takes longer than the tolerance allows."""
        return self.then is not None and self.now > self.then.ratio * self.then.tolerance


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.ratios", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN.json", help="what --benchmark-json wrote")
    parser.add_argument("--against", type=Path, default=BASELINE, metavar="BASELINE.json", help="default: %(default)s")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=LEAST_TOLERANCE,
        help="least factor on a ratio that is a slowdown; the baseline's own count where higher (default: %(default)s)",
    )
    parser.add_argument("--update", action="store_true", help="write the baseline from the runs")
    return parser


def read_run(path: Path) -> Run:
    """The ratios of one run.

    Raises:
        UserError: the file is missing or damaged, or a benchmark's reference is not in the run.
    """
    data = _load(path, "run `make perf` first")
    try:
        info = data["machine_info"]
        machine = f"{info['cpu'].get('brand_raw', 'unknown processor')}, threads: {info.get('torch_threads', '?')}"
        medians = {entry["fullname"]: _positive(entry["stats"]["median"]) for entry in data["benchmarks"]}
        extra = {entry["fullname"]: entry["extra_info"] for entry in data["benchmarks"]}
        workloads = {extra[name]["workload"]: medians[name] for name in medians if "workload" in extra[name]}
        references = {name: str(extra[name]["reference"]) for name in medians if "workload" not in extra[name]}
    except _DAMAGED as error:
        raise UserError(
            f"{path} is not what benchmarks/perf writes with --benchmark-json ({type(error).__name__}: {error}); "
            "run `make perf` again"
        ) from error
    ratios = {}
    for name, reference in references.items():
        if reference not in workloads:
            raise UserError(
                f"{name} in {path} refers to workload '{reference}', which did not run{nearest(reference, workloads)}"
            )
        ratios[name] = reference, medians[name] / workloads[reference]
    if not ratios:
        raise UserError(f"{path} holds no benchmark but the references; run `make perf` again")
    return Run(path=path, machine=machine, ratios=ratios)


def read_baseline(path: Path) -> Baseline:
    """A baseline that `write_baseline` wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    data = _load(path, "give one with --against, or make it with --update")
    try:
        found = {
            name: Expected(
                reference=entry["reference"],
                ratio=_positive(entry["ratio"]),
                tolerance=_positive(entry["tolerance"]),
            )
            for name, entry in data["benchmarks"].items()
        }
        return Baseline(machine=data["machine"], benchmarks=found)
    except _DAMAGED as error:
        told = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is no baseline ({told}); make it again with --update") from error


def write_baseline(path: Path, runs: list[Run], least: float) -> Baseline:
    """Median ratios of the runs, and tolerances of `ABOVE_SPREAD` times their spread, or `least` if that is more.

    Raises:
        UserError: a benchmark is not in all runs, or not with one reference, or the file cannot be written.
    """
    found = {}
    for name, (reference, ratios) in pooled(runs).items():
        spread = max(ratios) / min(ratios)
        found[name] = Expected(
            reference=reference,
            ratio=_rounded(statistics.median(ratios)),
            tolerance=_rounded(max(least, ABOVE_SPREAD * spread)),
        )
    baseline = Baseline(machine=runs[0].machine, benchmarks=dict(sorted(found.items())))
    try:
        write_atomic(path, json.dumps(asdict(baseline), indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return baseline


def pooled(runs: list[Run]) -> dict[str, tuple[str, list[float]]]:
    """By benchmark, its reference and its ratio in each run.

    Raises:
        UserError: a benchmark is not in all runs, or not with one reference.
    """
    for name in dict.fromkeys(name for run in runs for name in run.ratios):
        absent = [str(run.path) for run in runs if name not in run.ratios]
        if absent:
            raise UserError(f"{name} is not in {', '.join(absent)}, but in another run; give runs of the same set")
        if len({run.ratios[name][0] for run in runs}) > 1:
            raise UserError(f"{name} has not the same reference in all runs; give runs of the same code")
    return {name: (ref, [run.ratios[name][1] for run in runs]) for name, (ref, _) in runs[0].ratios.items()}


def compare(runs: list[Run], baseline: Baseline, against: Path, least: float) -> list[Change]:
    """Each benchmark of the runs against the baseline, by name.

    Raises:
        UserError: a benchmark of the baseline is not in the runs or has another reference there; see also `pooled`.
    """
    now = pooled(runs)
    for name, expected in baseline.benchmarks.items():
        if name not in now:
            raise UserError(
                f"{name} of {against} is not in {runs[0].path}; `make perf` says why a benchmark is skipped, and if "
                "this one is gone for good, make the baseline again with --update"
            )
        if now[name][0] != expected.reference:
            raise UserError(
                f"{name} refers to '{now[name][0]}' in {runs[0].path} and to '{expected.reference}' in {against}; "
                "make the baseline again with --update"
            )
    changes = []
    for name, (reference, ratios) in sorted(now.items()):
        then = baseline.benchmarks.get(name)
        if then is not None:
            then = replace(then, tolerance=max(least, then.tolerance))
        changes.append(Change(name=name, reference=reference, now=statistics.median(ratios), then=then))
    return changes


def render(changes: list[Change]) -> list[str]:
    """The table, header first."""
    rows = [["benchmark", "relative to", "now", "then", "change", "tolerance", ""]]
    for change in changes:
        then, told = change.then, ["-", "-", "-", "new"]
        if then is not None:
            factors = f"x{change.now / then.ratio:.2f}", f"x{then.tolerance:.2f}"
            told = [f"{then.ratio:.4g}", *factors, "SLOWER" if change.slower else ""]
        rows.append([change.name, change.reference, f"{change.now:.4g}", *told])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit code 1 for a slowdown, 2 for what cannot be compared."""
    args = parser().parse_args(argv)
    try:
        if not 1 <= args.tolerance < math.inf:
            raise UserError(f"--tolerance {args.tolerance} must be a factor of at least 1")
        runs = [read_run(path) for path in args.runs]
        update, path = args.update, args.against
        baseline = write_baseline(path, runs, args.tolerance) if update else read_baseline(path)
        changes = compare(runs, baseline, path, args.tolerance)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(render(changes)))
    if args.update:
        print(f"\nwrote {path} from {len(runs)} runs")
    if others := " and ".join(sorted({run.machine for run in runs} - {baseline.machine})):
        print(f"\nnote: the baseline is of {baseline.machine}; this is {others}; ratios may differ for that")
    slower = [change for change in changes if change.slower]
    if slower:
        print(f"\n{len(slower)} of {len(changes)} benchmarks are slower than the baseline allows")
    return int(bool(slower))


def _load(path: Path, hint: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {hint}") from error
    except ValueError as error:
        raise UserError(f"{path} holds no JSON ({error}); {hint}") from error


def _positive(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is no positive number")
    return float(value)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    sys.exit(main())
