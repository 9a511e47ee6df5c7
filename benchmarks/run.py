"""`python -m benchmarks.run`: upscale clips with several variants, keep the frames, score them, make the tables.

Exit code 0: everything ran. 1: an item or a metric failed (listed at the end). 2: the request cannot be run, and
nothing was; or the run directory cannot be written any more. 130: interrupted. After either of the last two the same
command goes on from the last finished item.
"""
from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from benchmarks.progress import MODES
from patchvsr.errors import UserError

if TYPE_CHECKING:
    from benchmarks.executors import Start
    from benchmarks.plan import Plan, Request
    from benchmarks.records import Results
    from benchmarks.store import Store
    from benchmarks.tracking import MlflowTracker


REPORT = Path("runs") / "report"
EXAMPLES = """examples:
  python -m benchmarks.run --suite 4k --variants full,no_global,no_pos --frames 2 --dry-run
  python -m benchmarks.run --lq clips/ --gt truth/ --variants full:steps=2,bicubic,basicvsr --fetch
  python -m benchmarks.run --config sweep.yaml --jobs 4
then:
  python -m benchmarks.compare runs/4k --variants no_global,no_pos --against full
  python -m reports.build runs/4k --out runs/report"""


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def parser() -> argparse.ArgumentParser:
    """The command line; importing and building it is quick."""
    made = _Parser(
        prog="python -m benchmarks.run", description=__doc__.splitlines()[0].partition(": ")[2], epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    source = made.add_mutually_exclusive_group()
    source.add_argument("--suite", metavar="NAME", help="a suite by name, such as 4k, or its YAML file")
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
    made.add_argument("--config", metavar="FILE", type=Path, help="options from a YAML file; flags given here override "
                      "them")  # fmt: skip
    made.add_argument("--print-config", action="store_true", help="print the resolved options as YAML, and stop")
    made.add_argument("--dry-run", action="store_true", help="say what would run and what it would take, and stop")
    made.add_argument("--progress", choices=MODES, default="auto", help="how it is shown: auto, live, plain, quiet or "
                      "json (default: auto)")  # fmt: skip
    made.add_argument("--retry-failed", action="store_true", help="run items again that an earlier run recorded as "
                      "failed")  # fmt: skip
    made.add_argument("--fail-fast", action="store_true", help="stop after the first item that fails")
    made.add_argument("--jobs", metavar="N", type=int, default=1, help="processes that share the items, each with its "
                      "own GPU or its part of the cores (default: 1)")  # fmt: skip
    made.add_argument("--executor", choices=("local", "ray"), default="local", help="where items are made: here, or "
                      "on a Ray cluster that is there already (default: local)")  # fmt: skip
    made.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster's head (default: RAY_ADDRESS, else "
                      "the cluster that this machine is part of)")  # fmt: skip
    made.add_argument("--task", metavar="NEEDS", help="what an item takes of a Ray node, such as "
                      "cpus=4,gpus=1,memory_gib=16 (default: cpus=1, and gpus=1 on CUDA)")  # fmt: skip
    made.add_argument("--no-cache", action="store_true", help="neither take outputs of other runs nor keep this one's "
                      "for them (see python -m benchmarks.cache)")  # fmt: skip
    made.add_argument("--mlflow", metavar="URI", help="track the run there: sqlite:///FILE.db or http(s)://SERVER "
                      "(default: MLFLOW_TRACKING_URI, else mlflow.db beside the run directory)")  # fmt: skip
    made.add_argument("--mlflow-outputs", action="store_true", help="send whole outputs to MLflow, too")
    made.add_argument("--no-mlflow", action="store_true", help="do not track the run")
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
        from benchmarks.config import apply, resolved

        options = apply(parser(), arguments)
        if options.print_config:
            print(resolved(options), end="")
            return 0
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
    from benchmarks.cache import OutputCache
    from benchmarks.config import resolved
    from benchmarks.dry_run import estimate, render_estimate
    from benchmarks.environment import environment
    from benchmarks.execute import Execution, execute
    from benchmarks.executors import cluster_of, executor
    from benchmarks.executors.local import is_worker
    from benchmarks.plan import make_plan
    from benchmarks.store import FORMAT, Store, to_json, write_atomic
    from benchmarks.tracking import MlflowTracker
    from benchmarks.tracking.queue import without_password

    store = Store(options.out or Path("runs") / _source_name(options))
    store.check()
    # Made before anything is planned, so that a wrong URI or address is answered at once.
    cluster = None if options.dry_run else cluster_of(options)
    tracker = None if options.no_mlflow else MlflowTracker(store.root, options.mlflow, options.mlflow_outputs)
    plan = make_plan(request)
    kept = None if options.no_cache else OutputCache.of_user()
    if options.dry_run:
        reusable = {entry.path.name for entry in kept.entries()} if kept else ()
        print(render_estimate(estimate(plan, store, retry_failed=options.retry_failed, reusable=reusable)))
        return 0
    how = Execution(retry_failed=options.retry_failed, fail_fast=options.fail_fast, cache=kept)
    if is_worker():
        results = {item.hash: result for item, result, _ in execute(plan, store, lambda item, share: None, how)}
        return int(any(result.status != "ok" for result in results.values()))
    public = argparse.Namespace(**vars(options) | {"mlflow": options.mlflow and without_password(options.mlflow)})
    typed, where = [without_password(text) for text in arguments], environment(plan.device.type)
    described = {"format": FORMAT, "argv": typed, "config": resolved(public), **plan.describe(), "environment": where}
    try:
        write_atomic(store.root / "run.json", to_json(described))
    except OSError as error:
        raise UserError(f"cannot write to '{store.root}' ({error.strerror}); give --out another folder") from error
    store.sweep()
    if others := store.others(item.hash for item in plan.items):
        print(f"{others} more items are in '{store.root}', of other variants, clips, code or versions; they are kept, "
              "and not in this run's tables", file=sys.stderr)  # fmt: skip
    try:
        if tracker:
            tracker.started(plan, typed, where)
        with executor(cluster, options.jobs, arguments, plan, request, store, how) as start:
            results = _execute(plan, store, start, options.progress, tracker)
        if tracker:
            tracker.finished(store.root)
    finally:
        if tracker and (said := tracker.close()):
            print(said, file=sys.stderr)
    if kept is not None:
        kept.prune()
    # With `json`, standard output is the stream of events.
    return _report(plan, results, store, sys.stderr if options.progress == "json" else sys.stdout)


def _source_name(options: argparse.Namespace) -> str:
    """What the run directory is called by default: the suite, or the clips' folder or file without its suffix."""
    if options.suite:
        from benchmarks.suites import suite_name

        return suite_name(options.suite)
    path: Path = (options.lq or options.gt).resolve()
    return path.stem if path.is_file() else path.name


def _execute(plan: Plan, store: Store, start: Start, mode: str, tracker: MlflowTracker | None) -> Results:
    """Run the plan, show how it goes, and keep tables that say what is done."""
    from benchmarks.progress import make_progress
    from benchmarks.records import Tables

    results: Results = {}
    tables = Tables(store.root, plan, results)
    try:
        with make_progress(mode, plan) as shown:
            for item, result, came in start(shown.progress):
                results[item.hash] = result.in_short()
                tables.write_now_and_then()
                if tracker:
                    tracker.item(item, result, came)
                shown.done(item, result, came)
    finally:
        tables.write()
    return results


def _report(plan: Plan, results: Results, store: Store, out: TextIO) -> int:
    """Print the tables, why values are missing, and what failed; the exit code."""
    from benchmarks.table import damaged, failures, notes, remarks, render

    print("\n" + render(plan, results), file=out)
    if told := [*remarks(plan, results), *damaged(plan, store)]:
        print("\nto know:\n" + "\n".join(told), file=out)
    if reasons := notes(plan, results):
        print("\nwithout a value:\n" + "\n".join(reasons), file=out)
    print(f"\n{store.root}: records.csv outputs.csv summary.csv run.json, frames in outputs/", file=out)
    print(f"to look at it: python -m reports.build {shlex.quote(str(store.root))} --out {REPORT}", file=out)
    if failed := failures(plan, results):
        print("\nfailed:\n" + "\n".join(f"- {line}" for line in failed), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
