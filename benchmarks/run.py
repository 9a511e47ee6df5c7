"""`python -m benchmarks.run`: upscale clips with several variants, keep the frames, score them, make the tables.

Exit code 0: everything ran. 1: an item or a metric failed (listed at the end). 2: the request cannot be run, and
nothing was. 130: interrupted; a later run with the same arguments goes on from there.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from patchvsr.errors import UserError

if TYPE_CHECKING:
    from benchmarks.plan import Plan, Request, WorkItem
    from benchmarks.records import Results
    from benchmarks.store import Result, Store


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def parser() -> argparse.ArgumentParser:
    """The command line; importing and building it is quick."""
    made = _Parser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0].partition(": ")[2])
    source = made.add_mutually_exclusive_group()
    source.add_argument("--suite", metavar="NAME", help="a suite by name, such as 4k")
    source.add_argument("--lq", metavar="DIR", type=Path, help="your own clips: videos, or folders of frames")
    made.add_argument("--gt", metavar="DIR", type=Path, help="ground truth for --lq, with the same names")
    made.add_argument("--variants", metavar="LIST", help="such as full,no_global or full:steps=2,tile=256,bicubic")
    made.add_argument("--scale", metavar="S", type=_number, help="factor, 1 or more (default: the suite's, or GT/LQ)")
    made.add_argument("--out", metavar="DIR", type=Path, help="run directory (default: runs/SUITE); an earlier run's "
                      "is gone on with")  # fmt: skip
    made.add_argument("--frames", metavar="N", type=_count, help="frames of each clip (default: the suite's, or all)")
    made.add_argument("--clips", metavar="LIST", type=_names, default=[], help="only these clips")
    made.add_argument("--metrics", metavar="LIST", type=_names, help="metric names, or the groups default and "
                      "full-reference (default: the suite's, or as --list says)")  # fmt: skip
    made.add_argument("--fetch", action="store_true", help="fetch weights that baselines and metrics lack, "
                      "once, into the cache")  # fmt: skip
    made.add_argument("--data-root", metavar="DIR", type=Path, help="where datasets lie, as DIR/SUITE/{GT,LQ}/CLIP "
                      "or as their archives unpack; see python -m benchmarks.data")  # fmt: skip
    made.add_argument("--degradation", metavar="NAME", help="make the input from the ground truth by this one: "
                      "bicubic, bilinear, bd or realworld (default: the suite's)")  # fmt: skip
    made.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the noise (default: 0)")
    made.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    made.add_argument("--dtype", default="auto", help="auto (the fastest), bfloat16, float16, float32 (default: auto)")
    made.add_argument("--list", action="store_true", help="name the suites, variants, baselines and metrics, and stop")
    return made


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _number(text: str) -> float:
    value = float(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a factor of 1 or more")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parser().parse_args(arguments)
        if options.list:
            print(_listing())
            return 0
        return _run(options, arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished item", file=sys.stderr)
        return 130


def _listing() -> str:
    from benchmarks.metrics import metrics
    from benchmarks.plan import DEFAULT_METRICS, FULL_REFERENCE
    from benchmarks.suites import suites
    from patchvsr.upscaler import upscalers
    from patchvsr.variants import variant_names

    rows = {
        "suites": suites.names(),
        "variants": variant_names(),
        "baselines": upscalers.names(),
        "metrics": metrics.names(),
        "default metrics": DEFAULT_METRICS,
        "full-reference metrics": FULL_REFERENCE,
    }
    return "\n".join(f"{kind}: {' '.join(names)}" for kind, names in rows.items())


def _request(options: argparse.Namespace) -> Request:
    from benchmarks.plan import Request
    from patchvsr.notation import split_list

    if options.suite is None and options.lq is None and (options.gt is None or options.degradation is None):
        raise UserError("nothing to run on: give --suite NAME, --lq DIR, or --gt DIR with --degradation NAME")
    if options.gt is not None and options.suite is not None:
        raise UserError("--gt goes with --lq or --degradation: a suite brings its own ground truth")
    if options.variants is None:
        raise UserError("nothing to run: give --variants, such as --variants full,bicubic")
    return Request(
        variants=split_list(options.variants),
        suite=options.suite,
        lq=options.lq,
        gt=options.gt,
        scale=options.scale,
        frames=options.frames,
        clips=options.clips,
        metrics=options.metrics,
        data_root=options.data_root,
        degradation=options.degradation,
        fetch=options.fetch,
        seed=options.seed,
        device=options.device,
        dtype=options.dtype,
    )


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    request = _request(options)
    from benchmarks.environment import environment
    from benchmarks.plan import make_plan
    from benchmarks.store import Store, to_json, write_atomic

    store = Store(options.out or Path("runs") / _source_name(options))
    store.check()
    plan = make_plan(request)
    described = {"argv": arguments, **plan.describe(), "environment": environment(plan.device.type)}
    try:
        write_atomic(store.root / "run.json", to_json(described))
    except OSError as error:
        raise UserError(f"cannot write to '{store.root}' ({error.strerror}); give --out another folder") from error
    return _report(plan, _execute(plan, store), store)


def _source_name(options: argparse.Namespace) -> str:
    """What the run directory is called by default: the suite, or the clips' folder or file without its suffix."""
    if options.suite:
        return str(options.suite)
    path: Path = (options.lq or options.gt).resolve()
    return path.stem if path.is_file() else path.name


def _execute(plan: Plan, store: Store) -> Results:
    """Run the plan with a progress bar, a line for each item, and tables that always show what is done."""
    from tqdm import tqdm

    from benchmarks.execute import execute
    from benchmarks.records import write_tables

    results: Results = {}
    # The bar shows on a terminal only; the line for each item always.
    with tqdm(total=len(plan.items), disable=None, bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}") as bar:

        def progress(item: WorkItem, share: float) -> None:
            bar.set_description_str(f"{item.variant.text} on {item.clip.clip.name}", refresh=False)
            bar.update(len(results) + share - bar.n)

        for item, result, how in execute(plan, store, progress):
            results[item.hash] = result
            write_tables(store.root, plan, results)
            bar.write(f"[{len(results)}/{len(plan.items)}] {_line(result, how)}", file=sys.stderr)
    return results


def _line(result: Result, how: str) -> str:
    where = f"{result.variant} on {result.clip}"
    if result.status != "ok":
        return f"{where}: {result.status}: {result.message}"
    done = {"run": "done", "rescored": "scored the stored frames", "kept": "kept from an earlier run"}
    took = {"seconds": "of upscaling", "program_seconds": "in its program"}
    times = [f", {result.measured[key]:.1f} s {what}" for key, what in took.items() if key in result.measured]
    return f"{where}: {done[how]}{''.join(times)}"


def _report(plan: Plan, results: Results, store: Store) -> int:
    """Print the tables, why values are missing, and what failed; the exit code."""
    from benchmarks.table import failures, notes, remarks, render

    print("\n" + render(plan, results))
    if told := remarks(plan, results):
        print("\nto know:\n" + "\n".join(told))
    if reasons := notes(plan, results):
        print("\nwithout a value:\n" + "\n".join(reasons))
    print(f"\n{store.root}: records.csv outputs.csv summary.csv run.json, frames in outputs/")
    if failed := failures(plan, results):
        print("\nfailed:\n" + "\n".join(f"- {line}" for line in failed), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
