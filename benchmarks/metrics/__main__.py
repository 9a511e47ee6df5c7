"""`python -m benchmarks.metrics list`: the metrics, which can run here, and what makes the others run."""
from __future__ import annotations

import argparse
import sys

from benchmarks.metrics import Metric, metrics
from patchvsr.errors import UserError


def state(metric: Metric) -> str:
    """`ready`, or what makes the metric run."""
    command = metric.available()
    return "ready" if command is None else f"cannot run; needs: {command}"


def main(arguments: list[str] | None = None) -> int:
    """Print one line per metric. Exit code 2 and one sentence for a metric that cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("command", choices=["list"], help="list: every metric and whether it can run here")
    parser.add_argument("--identity", action="store_true", help="also print each metric's identity")
    options = parser.parse_args(arguments)
    arrows = {"higher": "higher is better", "lower": "lower is better", "one": "1 is best"}
    try:
        found = {name: metrics.get(name)() for name in metrics.names()}
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    wide = max(len(name) for name in found)
    for name, metric in found.items():
        print(f"{name:{wide}}  {arrows[metric.direction]:16}  {state(metric)}")
        if options.identity:
            print(f"{'':{wide}}  {metric.identity()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
