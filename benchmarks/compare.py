"""`python -m benchmarks.compare RUN [RUN ...] --variants full,no_global --against bicubic [--metrics lpips,psnr]`.

Compares variants clip by clip with one other, over the clips of one or more runs, and says with a 95 % interval
whether they can be told apart. Clips named `SOURCE__NAME` are averaged by source first.

Effect sizes are Cohen's d_z and the matched-pairs rank-biserial correlation (r_rb). A difference counts if its interval
excludes 0 and its p, corrected over all rows of the table (Holm), is at most 0.05; so name only the metrics that the
question is about. `--interval bootstrap` draws sources with replacement and tests by sign flips, in the place of
Student's t for both.

With `--margin 0.02` the question is another: whether the variants are at most that much worse (non-inferiority).
Metrics that are best at 1 are then compared by their distance from it, |log value|. The interval alone decides.
"""
from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path

from benchmarks.metrics import metrics
from benchmarks.statistics import INTERVALS, LEVEL, Interval, Paired, holm, paired, verdict
from patchvsr.errors import UserError
from patchvsr.notation import split_list

Values = dict[str, dict[str, dict[str, float | None]]]
"""Metric, variant, clip to value; None where the metric is not defined for the clip."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories; their clips are pooled")
    parser.add_argument("--variants", required=True, help="variants to compare, as in the run")
    parser.add_argument("--against", required=True, help="the variant to compare with")
    parser.add_argument("--metrics", help="metric names (default: all that both have on every clip)")
    parser.add_argument("--margin", type=float, help="say whether the variants are worse by at most this much")
    parser.add_argument("--interval", choices=INTERVALS, default="t", help="of the difference (default: t)")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    return parser


def read(runs: list[Path]) -> Values:
    """Every value of the runs' records.

    Raises:
        UserError: a folder without records, a clip that two runs have, an item that failed, or untrained weights.
    """
    values: Values = {}
    for run in runs:
        path = run / "records.csv"
        if not path.is_file():
            raise UserError(f"{run} holds no records.csv; give the --out of a benchmarks.run")
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["status"] not in ("ok", "unavailable"):
                    raise UserError(
                        f"'{row['metric']}' of '{row['variant']}' on '{row['clip']}' in {path} is {row['status']}; "
                        "nothing is averaged over the rest: complete the run, or use trained weights"
                    )
                clips = values.setdefault(row["metric"], {}).setdefault(row["variant"], {})
                name = f"{run.name}/{row['clip']}" if len(runs) > 1 else row["clip"]
                if name in clips:
                    raise UserError(f"{path} has clip '{row['clip']}' of '{row['variant']}' twice; give each run once")
                clips[name] = float(row["value"]) if row["status"] == "ok" else None
    return values


def defined(clips: dict[str, float | None]) -> dict[str, float]:
    """The clips that have a value."""
    return {clip: value for clip, value in clips.items() if value is not None}


def notes(values: Values, table: dict[tuple, Paired]) -> list[str]:
    """Which clips a metric is not defined for, one line for each metric of the table, and what too few sources mean."""
    lines = []
    for metric in dict.fromkeys(metric for metric, _ in table):
        without = sorted({clip for clips in values[metric].values() for clip, value in clips.items() if value is None})
        if without:
            lines.append(f"- {metric}: not defined for {len(without)} clips, which do not count: {', '.join(without)}")
    if few := sorted({found.n for found in table.values() if found.interval == "bootstrap" and _too_few(found.n)}):
        sources = ", ".join(map(str, few))
        lines.append(f"- of {sources} sources no sign flips give a p of 0.05: nothing can be told apart there")
    return lines


def _too_few(n: int) -> bool:
    """Even if all differences have the same sign, only they and their mirror image among 2^n are as far from 0."""
    return 2 / 2**n > 1 - LEVEL


def distances(values: Values, chosen: list[str] | None) -> Values:
    """The values with those of metrics that are best at 1 as their distance from it, |log value|.

    Raises:
        UserError: a metric of unknown direction, or a value of such a metric that is not positive.
    """
    found: Values = {}
    for metric, by_variant in values.items():
        if chosen and metric not in chosen:
            continue
        if metric not in metrics:
            raise UserError(f"which way '{metric}' is better is not known here, so nothing can be said within a margin")
        if metrics.get(metric)().direction != "one":
            found[metric] = by_variant
            continue
        found[metric] = {}
        for variant, clips in by_variant.items():
            if wrong := [clip for clip, value in clips.items() if value is not None and value <= 0]:
                raise UserError(f"'{metric}' of '{variant}' on '{wrong[0]}' is not positive: it has no distance from 1")
            found[metric][variant] = {clip: None if v is None else abs(math.log(v)) for clip, v in clips.items()}
    return found


def source_of(clip: str) -> str:
    """What a clip was taken from: its name up to `__`, without the run's."""
    return clip.rpartition("/")[2].partition("__")[0]


def compare(
    values: Values, variants: list[str], against: str, chosen: list[str] | None, interval: Interval = "t"
) -> dict[tuple, Paired]:
    """Each variant and metric against the other variant.

    Raises:
        UserError: a variant or metric without values, or one that lacks clips which the other has.
    """
    table = {}
    for metric in chosen or list(values):
        if metric not in values:
            raise UserError(f"the runs have no value of metric '{metric}'; they have {', '.join(values)}")
        by_variant = values[metric]
        for variant in variants:
            for name in (variant, against):
                if name not in by_variant and chosen:
                    raise UserError(f"the runs have no '{metric}' of '{name}'; they have {', '.join(by_variant)}")
            if variant not in by_variant or against not in by_variant:
                continue
            first, second = (defined(by_variant[name]) for name in (variant, against))
            if not first and not second and not chosen:
                continue
            if missing := sorted(first.keys() ^ second.keys()):
                raise UserError(
                    f"'{variant}' and '{against}' do not have '{metric}' on the same clips ({missing[0]} is only in "
                    "one of them); complete the run"
                )
            if not first:
                raise UserError(f"'{metric}' is not defined for any clip of the runs")
            table[metric, variant] = paired(first, second, {clip: source_of(clip) for clip in first}, interval)
    return table


def render(table: dict[tuple, Paired], against: str, margin: float | None = None) -> list[list[str]]:
    """The rows of the table, header first."""
    rows = [["metric", "variant", "mean", against, "difference", "95 % interval", "relative", "d_z", "r_rb", "p",
             "p Holm", "n", "so"]]  # fmt: skip
    corrected = holm([found.p for found in table.values()])
    for ((metric, variant), found), p in zip(table.items(), corrected, strict=True):
        words = _words(metric, found, p) if margin is None else _within(metric, found, margin)
        name = f"|log {metric}|" if margin is not None and metrics.get(metric)().direction == "one" else metric
        rows.append([
            name, variant, f"{found.first:.4g}", f"{found.second:.4g}", f"{found.difference:+.4g}",
            f"[{found.low:+.4g}, {found.high:+.4g}]", f"{100 * found.relative:+.1f} %",
            f"{found.d_z:+.2f}", f"{found.rank_biserial:+.2f}", f"{found.p:.2g}", f"{p:.2g}", str(found.n), words,
        ])  # fmt: skip
    return rows


def _words(metric: str, found: Paired, corrected: float) -> str:
    # Of a metric of a package that is not installed here, nobody knows which way is better.
    direction = metrics.get(metric)().direction if metric in metrics else None
    return verdict(found, corrected, direction).words


def _within(metric: str, found: Paired, margin: float) -> str:
    """Whether the 95 % interval lies above the margin of inferiority."""
    worst = -found.low if metrics.get(metric)().direction == "higher" else found.high
    return f"not inferior by more than {margin:g}" if worst <= margin else f"may be inferior by more than {margin:g}"


def show(rows: list[list[str]], told: list[str]) -> None:
    """Print a table, header first, and what there is to tell of it."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("".join(f"{line}\n" for line in told), end="")


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit code 2 for bad input."""
    args = parser().parse_args(argv)
    try:
        chosen = args.metrics.split(",") if args.metrics else None
        values = read(args.runs)
        if args.margin is not None:
            if not args.margin > 0:
                raise UserError(f"--margin {args.margin:g} is not a positive number")
            values = distances(values, chosen)
        table = compare(values, split_list(args.variants), args.against, chosen, args.interval)
        rows = render(table, args.against, args.margin)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(rows, notes(values, table))
    if args.csv:
        with args.csv.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
