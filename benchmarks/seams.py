"""`python -m benchmarks.seams RUN [RUN ...] --variants shifted:steps=2 --against full:steps=2 --truth GT`.

Whether one variant's tiles show more than another's, where their cuts lie at different places of a picture. A line may
look like a seam because the scene has an edge there; so each variant's seam scores are taken relative to what the very
same lines of the ground truth give. The distance of that ratio from 1, |log ratio|, is compared by clip and judged
within `--margin`, as `benchmarks.compare` does. Runs with other seeds may be given together: clips are averaged by
source.
"""
from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare import Values, compare, notes, render, show
from benchmarks.frames import stored
from benchmarks.metrics import Measurement, Metric, MetricUndefined, Sample, metrics
from benchmarks.metrics.scoring import score_all
from benchmarks.store import Result, Store
from patchvsr.errors import UserError
from patchvsr.notation import split_list
from patchvsr.upscaler import Cuts

METRICS = ("seam", "seam_step", "seam_t")


def distances(runs: Sequence[Path], variants: Sequence[str], truth: Path) -> Values:
    """|log(seam score / that of the ground truth on the same lines)| by metric, variant and clip.

    Args:
        runs: run directories with their frames.
        variants: of the run.
        truth: folder with a folder of PNG frames for each clip.

    Raises:
        UserError: no run, an item that failed or whose frames are gone, a clip without ground truth, or one of another
            size.
    """
    chosen = {name: metrics.get(name)() for name in METRICS}
    values: Values = {metric: {variant: {} for variant in variants} for metric in METRICS}
    for run in runs:
        if not (run / "items").is_dir():
            raise UserError(f"{run} is no run directory; give the --out of a benchmarks.run")
        store, seen = Store(run), set()
        for path in sorted((run / "items").glob("*.json")):
            result = store.load(path.stem)
            if result is None or result.variant not in variants:
                continue
            seen.add(result.variant)
            for metric, value in _of_item(result, store, chosen, truth).items():
                values[metric][result.variant][f"{run.name}/{result.clip}"] = value
        if missing := sorted(set(variants) - seen):
            raise UserError(f"{run} has no item of '{missing[0]}'; its names are those typed for that run")
    return values


def _of_item(result: Result, store: Store, chosen: dict[str, Metric], truth: Path) -> dict[str, float | None]:
    if not store.has_output(result) or result.output is None or result.cuts is None:
        raise UserError(f"'{result.variant}' on '{result.clip}' has no frames or no cuts there; run it again")
    folder = truth / result.clip
    if not folder.is_dir():
        raise UserError(f"{truth} has no folder '{result.clip}' with that clip's ground truth")
    cuts = Cuts(tuple(result.cuts["rows"]), tuple(result.cuts["columns"]))
    found = []
    for frames in (stored(store.root / result.output.path), stored(folder)):
        size = (result.output.frames, 3, result.output.height, result.output.width)
        if tuple(frames.shape) != size:
            raise UserError(f"{folder} is not of the size and length of '{result.variant}' on '{result.clip}'")
        found.append(score_all(chosen, Sample(frames, None, frames, 1.0, cuts, {})))
    return {metric: _distance(*(scores[metric] for scores in found)) for metric in chosen}


def _distance(made: Measurement | Exception, true: Measurement | Exception) -> float | None:
    for one in (made, true):
        if isinstance(one, MetricUndefined):
            return None
        if isinstance(one, Exception):
            raise one
    assert isinstance(made, Measurement) and isinstance(true, Measurement)
    return abs(math.log(made.value / true.value)) if made.value > 0 and true.value > 0 else None


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; exit code 2 with one sentence for bad input."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.seams", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    made.add_argument("--variants", required=True, help="variants to compare, as in the run")
    made.add_argument("--against", required=True, help="the variant to compare with")
    made.add_argument("--truth", required=True, type=Path, metavar="DIR", help="ground truth, a folder for each clip")
    made.add_argument("--margin", type=float, default=0.02, help="of inferiority (default: 0.02)")
    args = made.parse_args(argv)
    try:
        variants = split_list(args.variants)
        values = distances(args.runs, [*variants, args.against], args.truth)
        table = compare(values, variants, args.against, None)
        rows = render(table, args.against, args.margin)
    except UserError as error:
        print(f"seams: {error}", file=sys.stderr)
        return 2
    show(rows, notes(values, table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
