"""`python -m reports.training LOG.csv [LOG.csv ...] --out FILE.png`: validation losses of trainings, by step.

The logs are those that `patchvsr.training` writes. Losses of different tasks (a base, an arm, the control) are not
comparable with each other; whether a line still falls at its end is what the figure shows.
"""
from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from patchvsr.errors import UserError


def read_log(path: Path) -> list[tuple[int, float]]:
    """Steps and validation losses.

    Raises:
        UserError: the file is no training log, or has no validation.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["step"]), float(row["validation_loss"])) for row in csv.DictReader(file)
                    if row["validation_loss"]]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is no log of patchvsr.training ({error!r})") from error
    if not rows:
        raise UserError(f"'{path}' has no validation loss; train longer, or with a validation split")
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the figure; 2 with one sentence for bad input."""
    made = argparse.ArgumentParser(prog="python -m reports.training", description=__doc__.partition("\n\n")[2])
    made.add_argument("logs", nargs="+", type=Path, metavar="LOG.csv")
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="PNG, PDF or SVG")
    args = made.parse_args(argv)
    try:
        logs = {path.stem: read_log(path) for path in args.logs}
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from reports.figures.style import in_lines, legend, looks, page, styled

    with styled():
        names = {name: in_lines(name, 2.0) for name in logs}
        canvas = page(names)
        axes = canvas.add_subplot()
        lines = {}
        for name, look in looks(list(logs)).items():
            steps, losses = zip(*logs[name], strict=True)
            # Relative to the first validation, so that tasks share an axis.
            lines[name] = axes.plot(steps, [loss / losses[0] for loss in losses], markersize=3, **look)[0]
        axes.set_xscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel("validation loss / the first")
        legend(canvas, names, lines)
        canvas.savefig(args.out, dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
