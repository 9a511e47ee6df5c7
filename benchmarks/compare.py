"""`python -m benchmarks.compare RUN [RUN ...] --variants full,no_global --against bicubic [--metrics lpips,psnr]`.

Compares variants clip by clip with one other, over the clips of one or more runs, and says with a 95 % interval
whether they can be told apart. Clips named `SOURCE__NAME` are averaged by source first.
"""
from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from benchmarks.metrics import metrics
from benchmarks.statistics import Paired, paired
from patchvsr.errors import UserError
from patchvsr.notation import split_list

Values = dict[str, dict[str, dict[str, float]]]
"""Metric, variant, clip to value."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories; their clips are pooled")
    parser.add_argument("--variants", required=True, help="variants to compare, as in the run")
    parser.add_argument("--against", required=True, help="the variant to compare with")
    parser.add_argument("--metrics", help="metric names (default: all that both have on every clip)")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    return parser


def read(runs: list[Path]) -> Values:
    """Every value of the runs' records that is `ok`.

    Raises:
        UserError: a folder without records, or a clip that two runs have.
    """
    values: Values = {}
    for run in runs:
        path = run / "records.csv"
        if not path.is_file():
            raise UserError(f"{run} holds no records.csv; give the --out of a benchmarks.run")
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["status"] != "ok" or not row["value"]:
                    continue
                clips = values.setdefault(row["metric"], {}).setdefault(row["variant"], {})
                name = f"{run.name}/{row['clip']}" if len(runs) > 1 else row["clip"]
                if name in clips:
                    raise UserError(f"{path} has clip '{row['clip']}' of '{row['variant']}' twice; give each run once")
                clips[name] = float(row["value"])
    return values


def source_of(clip: str) -> str:
    """What a clip was taken from: its name up to `__`, without the run's."""
    return clip.rpartition("/")[2].partition("__")[0]


def compare(values: Values, variants: list[str], against: str, chosen: list[str] | None) -> dict[tuple, Paired]:
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
            first, second = by_variant[variant], by_variant[against]
            if missing := sorted(first.keys() ^ second.keys()):
                raise UserError(
                    f"'{variant}' and '{against}' do not have '{metric}' on the same clips ({missing[0]} is only in "
                    "one of them); complete the run"
                )
            table[metric, variant] = paired(first, second, {clip: source_of(clip) for clip in first})
    return table


def render(table: dict[tuple, Paired], against: str) -> list[list[str]]:
    """The rows of the table, header first."""
    rows = [["metric", "variant", "mean", against, "difference", "95 % interval", "relative", "p", "n", "so"]]
    for (metric, variant), found in table.items():
        rows.append([
            metric, variant, f"{found.first:.4g}", f"{found.second:.4g}", f"{found.difference:+.4g}",
            f"[{found.low:+.4g}, {found.high:+.4g}]", f"{100 * found.relative:+.1f} %", f"{found.p:.2g}",
            str(found.n), _words(metric, found),
        ])  # fmt: skip
    return rows


def _words(metric: str, found: Paired) -> str:
    if not found.distinguishable:
        return "not distinguishable"
    direction = metrics.get(metric)().direction if metric in metrics.names() else "higher"
    if direction == "one":
        return "nearer to 1" if abs(found.first - 1) < abs(found.second - 1) else "farther from 1"
    return "better" if (found.difference > 0) == (direction == "higher") else "worse"


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit code 2 for bad input."""
    args = parser().parse_args(argv)
    try:
        chosen = args.metrics.split(",") if args.metrics else None
        rows = render(compare(read(args.runs), split_list(args.variants), args.against, chosen), args.against)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if args.csv:
        with args.csv.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
