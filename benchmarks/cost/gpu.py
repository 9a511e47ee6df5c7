"""The whole measurement of one machine in under ten minutes: `python -m benchmarks.cost.gpu`.

It goes through a list of cases, the most telling first, each in a process of its own, and keeps what was measured in
`benchmarks/results/HARDWARE-DTYPE.csv`. Cases for which no time is left are named, and are not in the table. Where the
base ships no weights, as Wan, they are random, which cost the same. `--plan cpu` is for a machine without a GPU, with
nano.
"""
from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from patchvsr.errors import UserError

RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Some variants of a plan, at one size and length.

    Attributes:
        variants: a list in the notation of `benchmarks.run`.
        frame, frames: size and length.
        base: for all of them.
        repeats: timed runs.
        why: what they are to show.
    """

    variants: str
    frame: str
    frames: int
    base: str
    repeats: int
    why: str


def _wan(variants: str, why: str, repeats: int = 2) -> Line:
    """4K and 17 frames at the sizes of Wan 1.3B."""
    return Line(variants=variants, frame="3840x2160", frames=17, base="wan2.1-1.3b", repeats=repeats, why=why)


def _nano(variants: str, why: str, frame: str = "3840x2160", frames: int = 5, repeats: int = 1) -> Line:
    return Line(variants=variants, frame=frame, frames=frames, base="nano", repeats=repeats, why=why)


_ONE = "no_modulation:steps=1,codec=taehv"
_FOUR = "no_modulation:position=box,steps=4,codec=taehv,cache_mib=12000"
PLANS: dict[str, tuple[Line, ...]] = {
    "gpu": (
        _wan(f"{_ONE},compile=blocks", "one step, end to end", 3),
        _wan(_ONE, "the same without torch.compile"),
        _wan("shifted:steps=2,codec=taehv,compile=blocks", "two steps, no cut twice"),
        _wan("full:steps=2,codec=taehv,compile=blocks", "the paper's scheme", 1),
        _wan(f"{_ONE},compile=blocks,quantize=fp8", "products in fp8"),
        _wan(f"{_FOUR},cache=off,{_FOUR},cache=auto", "what the cache saves", 1),
        _wan(f"{_ONE},compile=graphs", "CUDA graphs"),
        _wan(f"{_ONE},attention=_native_cudnn", "cuDNN's attention"),
        _wan("full_attention:steps=1,codec=taehv", "no tiles at all", 1),
        _nano("full,shifted:steps=2,fast", "nano with its weights", repeats=2),
        _wan("no_modulation:steps=1", "Wan's own codec", 1),
    ),
    "cpu": (
        _nano("fast,shifted:steps=2,full:steps=2", "4K"),
        _nano("fast,shifted:steps=2", "a quarter of the pixels", "1920x1080", repeats=2),
        _nano("fast", "a longer clip", "1920x1080", 17),
    ),
}


def slug(text: str) -> str:
    """A file's name of any words: `NVIDIA H200` as `nvidia-h200`."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when done, 1 when a case failed or no time was left, 2 with one sentence for bad input."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.cost.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--plan", choices=sorted(PLANS), default="gpu")
    made.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    made.add_argument("--dtype", default="auto", help="auto, bfloat16, float16 or float32 (default: auto)")
    made.add_argument("--minutes", type=float, default=9.5, help="for all of it (default: 9.5)")
    made.add_argument("--out", type=Path, default=RESULTS, help=f"folder for the table (default: {RESULTS.name}/)")
    args = made.parse_args(argv)
    try:
        return _run(args)
    except UserError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    from benchmarks.cost.measure import COLUMNS, HEADS, Settings, measure
    from benchmarks.cost.probe import hardware
    from benchmarks.cost.request import cases
    from benchmarks.cost.table import render, write_csv
    from patchvsr.devices import device_of, dtype_name, dtype_of

    device = device_of(args.device)
    if args.plan == "gpu" and device.type != "cuda":
        raise UserError("no GPU is seen here, and --plan gpu needs one; use --plan cpu")
    path = args.out / f"{slug(hardware(device))}-{dtype_name(dtype_of(args.dtype, device))}.csv"
    end, rows, left = time.monotonic() + 60 * args.minutes, [], []
    for line in PLANS[args.plan]:
        settings = Settings(repeats=line.repeats, device=args.device, dtype=args.dtype)
        for case in cases(line.variants, line.base, line.frame, str(line.frames)):
            seconds = end - time.monotonic()
            if seconds < 10:
                left.append(f"{case.variant} ({line.why})")
                continue
            rows.append(measure(case, replace(settings, timeout=seconds)))
            print(f"{case.variant} at {case.size} ({line.why}): {rows[-1]['status']}", file=sys.stderr)
            write_csv(path, rows, COLUMNS)
    print(render(rows, HEADS) + f"\n{path}")
    if left:
        print(f"no time was left for: {', '.join(left)}", file=sys.stderr)
    failed = [row for row in rows if row["status"] not in ("ok", "oom")]
    for row in failed:
        print(f"gpu: {row['variant']}: {row['status']}: {row['message']}", file=sys.stderr)
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
