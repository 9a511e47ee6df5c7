"""`python -m benchmarks.regress RUN --against GOLDEN.json [--junit FILE] [--markdown FILE] [--cost]`.

Has a run become worse than the golden one? Compares every metric of every variant clip by clip, each in its own
direction and within the tolerance that the golden file states. Values that are missing and items that failed count as
worse. What is better passes, and is told.

Exit code 0: nothing is worse; 1: something is; 2: the two cannot be compared, because a protocol, a clip, the seed,
the device, the dtype or a variant's description is another. Other weights may be compared: that is what a gate is for.

`python -m benchmarks.regress RUN [RUN ...] --against GOLDEN.json --update` writes the golden file instead, of runs of
one plan that differ in nothing that should matter (threads, processors): their medians, and tolerances above their
spread.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.golden import Gauge, Golden, make_golden, read_golden, write_golden
from benchmarks.golden.report import Row, junit, junit_refusal, markdown, text, write
from benchmarks.golden.runs import Run, read_run
from patchvsr.errors import UserError

SHOWN = 3
"""Differences that a refusal names."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.regress", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directory; with --update also several")
    made.add_argument("--against", type=Path, required=True, metavar="GOLDEN.json", help="the golden file")
    made.add_argument("--update", action="store_true", help="write the golden file from the runs")
    made.add_argument("--cost", action="store_true", help="seconds, frames per second and memory count too, which "
                      "means something on the machine of the golden file only")  # fmt: skip
    made.add_argument("--junit", type=Path, metavar="FILE", help="also write JUnit XML there")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="also write Markdown there")
    return made


def differences(run: Run, golden: Golden) -> Iterator[str]:
    """Why the two cannot be compared: whatever both have and is not the same, weights apart."""
    for name in ("suite", "seed", "device", "dtype"):
        now, then = getattr(run, name), getattr(golden, name)
        if now != then:
            yield f"{name} is {now}, not {then}"
    for name, gauge in golden.metrics.items():
        if name in run.metrics and run.metrics[name] != gauge.identity:
            yield f"metric {name} is '{run.metrics[name]}', not '{gauge.identity}'"
    for name, clip in golden.clips.items():
        if name in run.clips:
            yield from _changed(f"clip {name}", run.clips[name], clip)
    for name, variant in golden.variants.items():
        if name not in run.variants:
            continue
        ours = run.variants[name]
        if ours.status != variant.status:
            yield f"variant {name}: its weights are '{ours.status}', not '{variant.status}'"
        yield from _changed(f"variant {name}", ours.spec, variant.spec)
        for on in (clip for clip in golden.clips if clip in run.clips):
            yield from _changed(f"variant {name} on {on}", ours.accepted.get(on, {}), variant.accepted.get(on, {}))


def _changed(what: str, ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """Every key whose value differs, those of dictionaries inside after a full stop."""
    first, second = _flat(ours), _flat(theirs)
    for key in [*second, *(key for key in first if key not in second)]:
        now, then = first.get(key, "nothing"), second.get(key, "nothing")
        if now != then:
            yield f"{what}: {key} is {_short(now)}, not {_short(then)}"


def _flat(data: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _short(value: Any) -> str:
    """A value as a sentence quotes it; twelve digits tell hashes apart."""
    told = str(value)
    is_hash = len(told) == 64 and set(told) <= set("0123456789abcdef")
    return told[:12] if is_hash else told


def notes(run: Run, golden: Golden) -> list[str]:
    """What a reader should know and the gate does not close for."""
    found = []
    for name, variant in golden.variants.items():
        if name in run.variants:
            told = "; ".join(_changed(f"variant {name}", run.variants[name].weights, variant.weights))
            found += [f"other weights: {told}"] if told else []
    for kind, ours, theirs in (
        ("variant", run.variants, golden.variants), ("clip", run.clips, golden.clips),
        ("metric", run.metrics, golden.metrics),
    ):  # fmt: skip
        if new := [name for name in ours if name not in theirs]:
            found.append(f"{kind} {', '.join(new)}: not in the golden file, so not compared; --update adds what is new")
    if run.machine not in golden.made_of:
        found.append(f"the golden file is of {' and '.join(sorted(set(golden.made_of)))}; this run is of {run.machine}")
    return found


def compare(run: Run, golden: Golden, against: Path, cost: bool = False) -> list[Row]:
    """A row for every value of the golden file.

    Args:
        run: what is judged.
        golden: what it is judged by.
        against: the golden file's path, for messages.
        cost: whether times and memory count.

    Raises:
        UserError: the two cannot be compared, or cost is to count and the golden file has none.
    """
    if found := list(differences(run, golden)):
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(f"{run.path} cannot be compared with {against}: {'; '.join(found[:SHOWN])}{more}")
    if cost and not any(gauge.cost for gauge in golden.metrics.values()):
        raise UserError(f"{against} has no cost metric, so --cost has nothing to compare; leave it out")
    return [_row(run, golden.metrics[metric], (variant, clip, metric), value, cost)
            for variant, clip, metric, value in golden.items()]  # fmt: skip


def _row(run: Run, gauge: Gauge, item: tuple[str, str, str], golden: float | None, cost: bool) -> Row:
    variant, clip, metric = item
    now, status, message = run.answer(*item)
    worse = None if now is None or golden is None else gauge.loss(now) - gauge.loss(golden)
    tolerance = gauge.tolerance
    if gauge.cost and not cost:
        verdict = "not gated"
    elif golden is None and status in ("ok", "undefined"):
        verdict = "not defined" if now is None else "new"
    elif worse is None:
        # A value that is no longer defined, or whose metric cannot run here, is as good as none.
        verdict, message = (status, message) if status in ("failed", "oom") else ("missing", message or status)
    elif worse <= tolerance.value:
        verdict = "improved" if worse < -tolerance.value else "ok"
    else:
        verdict = "regressed"  # also where a file holds nan, which is no better than anything
    return Row(
        variant=variant, clip=clip, metric=metric, golden=golden, now=now, worse=worse, tolerance=tolerance.value,
        unit=tolerance.unit, verdict=verdict, message=message,
    )  # fmt: skip


def update(paths: Sequence[Path], against: Path) -> Golden:
    """Write the golden file from runs.

    Raises:
        UserError: a run is given twice, or see `read_run`, `make_golden` and `write_golden`.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("a run is given twice, which would tell nothing of the spread; give each once")
    golden = make_golden([read_run(path) for path in paths])
    write_golden(against, golden)
    return golden


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; exit code 1 where something is worse, 2 where nothing can be compared."""
    args = parser().parse_args(argv)
    try:
        if args.update:
            golden = update(args.runs, args.against)
            print(_updated(golden, args.against))
        elif len(args.runs) > 1:
            raise UserError("only --update takes several runs; compare one at a time")
        else:
            golden = read_golden(args.against)
        return _report(args, golden)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        _leave_refusal(args, str(error))
        return 2


def _updated(golden: Golden, against: Path) -> str:
    lines = [f"wrote {against} from {len(golden.made_of)} run{'s' * (len(golden.made_of) > 1)}"]
    if len(golden.made_of) == 1:
        lines.append("note: one run shows no spread, so the tolerances are the least of each unit; give three or more")
    for name, gauge in golden.metrics.items():
        told = gauge.tolerance
        at = f" at {told.at}" if told.at else ""
        lines.append(f"- {name}: {told.value:g} {told.unit}".rstrip() + f" (floor {told.floor:g}; spread "
                     f"{told.spread:g}{at}, times {told.times:g})")  # fmt: skip
    return "\n".join([*lines, ""])


def _report(args: argparse.Namespace, golden: Golden) -> int:
    """Compare the run, or after an update the first of them, print and write what was asked for."""
    run = read_run(args.runs[0])
    rows, told = compare(run, golden, args.against, args.cost), notes(run, golden)
    print(text(rows, told))
    if args.junit:
        write(args.junit, junit(rows, golden.suite))
    if args.markdown:
        write(args.markdown, markdown(rows, told, f"{golden.suite} against {args.against.name}"))
    return int(any(row.failing for row in rows))


def _leave_refusal(args: argparse.Namespace, message: str) -> None:
    """Reports that say why there is none, in the place of an earlier run's; as far as they can be written."""
    try:
        if args.junit:
            write(args.junit, junit_refusal(args.against.stem, message))
        if args.markdown:
            write(args.markdown, f"## {args.against.name}\n\n**not compared**: {message}\n")
    except UserError:
        pass  # the first error has been told, and it may be this one


if __name__ == "__main__":
    sys.exit(main())
