"""`python -m benchmarks.cost`: what variants cost. FLOPs need no weights and no GPU; memory and time are measured here.

`flops`: torch's counter on the meta device over everything that a variant does to one chunk of `--frames` frames.
`memory,throughput`: each variant in a process of its own upscales a clip of that length, with the weights that its base
ships with, else with random ones, which cost the same and mean nothing: the table says which.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from patchvsr.errors import UserError, nearest

if TYPE_CHECKING:
    from benchmarks.cost.request import Case

MEASURES = ("flops", "memory", "throughput")
EXAMPLES = """examples:
  python -m benchmarks.cost --base wan2.1-1.3b --frame 3840x2160 --frames 17,81 \\
    --variants full,shifted,average,no_global,full_attention --measure flops --out runs/cost
  python -m benchmarks.cost --variants full,shifted --frame 1920x1080,3840x2160 --frames 5 --measure memory,throughput
  python -m benchmarks.cost.gpu                     the whole measurement of a GPU, under ten minutes
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.cost",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--variants", metavar="LIST", default="full,shifted,no_global,full_attention")
    made.add_argument("--base", metavar="NAME", help="for the variants that name none (default: theirs)")
    made.add_argument("--frame", metavar="WxH,...", default="3840x2160", help="output sizes (default: 3840x2160)")
    made.add_argument("--frames", metavar="N,...", default="17", help="lengths (default: 17)")
    made.add_argument("--measure", metavar="LIST", default="flops", help=f"of {', '.join(MEASURES)} (default: flops)")
    made.add_argument("--out", metavar="DIR", type=Path, help="folder for the CSV files and plots")
    made.add_argument("--scale", metavar="S", type=float, default=4.0, help="factor of the clip measured (default: 4)")
    made.add_argument("--repeats", metavar="N", type=int, default=3, help="timed runs after the warm-up (default: 3)")
    made.add_argument("--no-warm-up", action="store_true", help="time the first run, too")
    made.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    made.add_argument("--dtype", default="auto", help="auto, bfloat16, float16 or float32 (default: auto)")
    made.add_argument("--timeout", metavar="S", type=float, default=3600, help="seconds for each case (default: 3600)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when done, 1 when a measurement failed, 2 with one sentence for bad input."""
    args = parser().parse_args(argv)
    try:
        return _run(args)
    except UserError as error:
        print(f"cost: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cost: interrupted", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    from benchmarks.cost.request import cases

    wanted = [name.strip() for name in args.measure.split(",")]
    for name in wanted:
        if name not in MEASURES:
            raise UserError(f"unknown measure '{name}'{nearest(name, MEASURES)}")
    asked = cases(args.variants, args.base, args.frame, args.frames)
    code = 0
    if "flops" in wanted:
        _flops(asked, args.scale, args.out)
    if {"memory", "throughput"} & set(wanted):
        code = _throughput(asked, args)
    return code


def _flops(asked: list[Case], scale: float, out: Path | None) -> None:
    from benchmarks.cost.flops import count_variant
    from benchmarks.cost.slopes import plot, slopes
    from benchmarks.cost.table import COLUMNS, part_rows, ratios, render, slope_lines, total_row, write_csv

    parts, totals, uncounted = [], [], set()
    for case in asked:
        cost = count_variant(case.spec, *case.frame, case.frames, scale)
        parts += part_rows(case, cost)
        totals.append(total_row(case, cost))
        uncounted |= cost.uncounted
    heads = {"variant": "variant", "frame": "frame", "frames": "frames", "steps": "steps", "tiles": "tiles"}
    heads |= {"dit": "DiT", "adapter": "adapter", "codec": "codec", "total": "total (TFLOP)"}
    heads |= {"cache_mib": "cache (MiB)"}
    print(render(totals, heads))
    print("\n".join(["", *ratios(totals)]))
    found = slopes(totals, "dit_adapter") + slopes(totals, "total")
    told = [one for one in found if one.value == "dit_adapter" and one.against == "pixels"]
    print("\n".join(["", *slope_lines(told), ""]))
    print(f"not counted, as torch has no formula for them: {' '.join(sorted(uncounted))}")
    if out is not None:
        write_csv(out / "cost.csv", parts, COLUMNS)
        if found:
            write_csv(out / "slopes.csv", [asdict(one) for one in found], list(asdict(found[0])))
        if len({row["frame"] for row in totals}) > 1:
            plot(totals, "dit_adapter", "TFLOP of DiT and adapter", out / "cost.png")
        print(f"\n{out}: {' '.join(sorted(path.name for path in out.iterdir()))}")


def _throughput(asked: list[Case], args: argparse.Namespace) -> int:
    from benchmarks.cost.measure import COLUMNS, HEADS, Settings, measure
    from benchmarks.cost.slopes import plot, slopes
    from benchmarks.cost.table import render, slope_lines, write_csv

    settings = Settings(
        scale=args.scale,
        repeats=args.repeats,
        warm_up=not args.no_warm_up,
        device=args.device,
        dtype=args.dtype,
        timeout=args.timeout,
    )
    rows = []
    for case in asked:
        rows.append(measure(case, settings))
        print(f"{case.variant} {case.size}, {case.frames} frames: {rows[-1]['status']}", file=sys.stderr)
        if args.out is not None:  # as it goes, so that an interruption loses one measurement
            write_csv(args.out / "throughput.csv", rows, COLUMNS)
    print(render(rows, HEADS))
    found = slopes(rows, "seconds") + slopes(rows, "peak_host_mib") + slopes(rows, "peak_device_mib")
    print("\n".join(["", *slope_lines(found)]) if found else "")
    if args.out is not None and len({row["frame"] for row in rows}) > 1:
        plot(rows, "seconds", "s", args.out / "throughput.png")
    failed = [row for row in rows if row["status"] not in ("ok", "oom")]
    for row in failed:
        print(f"cost: {row['variant']} at {row['frame']}: {row['message']}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
