"""How much faster than an earlier commit, at what quality: both run side by side on the rendered 4K clip.

    python -m benchmarks.cost.since 056cd6a --then full --now fast,shifted:steps=2 --frames 5

Each commit runs its own code and weights in a checkout of its own, with this Python, and in turns (--repeats).
"""
from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.cache import LIMIT
from benchmarks.cost.table import render
from patchvsr.errors import UserError
from patchvsr.notation import split_list

METRICS = ("psnr", "lpips", "seam", "seam_step", "seam_t", "grid")
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A temporary checkout of a commit.

    Raises:
        UserError: git is not there, or knows no such commit.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "then"
        try:
            done = subprocess.run(
                ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(path), commit],
                capture_output=True,
                text=True,
            )
        except FileNotFoundError as error:
            raise UserError("git is needed to get the earlier commit, and is not installed") from error
        if done.returncode:
            raise UserError(f"git cannot check out '{commit}': {done.stderr.strip().splitlines()[-1]}")
        try:
            yield path
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(path)], capture_output=True)


def run(root: Path, variant: str, frames: int, out: Path, metrics: Sequence[str]) -> dict[str, float]:
    """One run of one variant by the code in `root`: its records by metric.

    Raises:
        UserError: it failed; the message ends with what it printed last.
    """
    command = [sys.executable, "-m", "benchmarks.run", "--suite", "4k", "--clips", "rendered", "--variants", variant]
    command += ["--frames", str(frames), "--out", str(out), "--metrics", ",".join([*metrics, "seconds"])]
    if root == ROOT:  # earlier commits may know no such option, and nothing that it would switch off
        command.append("--no-mlflow")
    # An output that an earlier run has made would be taken with that run's seconds.
    settings = {"PYTHONPATH": str(root), LIMIT: "0"}
    done = subprocess.run(command, cwd=root, env=os.environ | settings, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UserError(f"{variant} of {root.name} failed: {''.join(last)}")
    with open(out / "records.csv") as file:
        return {row["metric"]: float(row["value"]) for row in csv.DictReader(file) if row["status"] == "ok"}


def compare(commit: str, then: str, now: list[str], frames: int, repeats: int) -> list[dict[str, object]]:
    """A row for each variant: seconds a frame (median), how many times as fast as `then`, and its metrics."""
    with checkout(commit) as earlier, tempfile.TemporaryDirectory() as folder:
        jobs = [(f"{then} at {commit}", earlier, then), *((f"{variant} now", ROOT, variant) for variant in now)]
        found: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in jobs}
        for repeat in range(repeats):
            for index, (name, root, variant) in enumerate(jobs):
                metrics = METRICS if repeat == 0 else ()
                values = run(root, variant, frames, Path(folder) / f"{repeat}-{index}", metrics)
                found[name].append(values)
                print(f"{name}: {values['seconds'] / frames:.2f} s a frame", file=sys.stderr)
    seconds = {name: median(one["seconds"] for one in values) / frames for name, values in found.items()}
    base = seconds[jobs[0][0]]
    return [
        {"variant": name, "s a frame": seconds[name], "times as fast": base / seconds[name]}
        | {metric: found[name][0].get(metric) for metric in METRICS}
        for name in found
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when done, 2 with one sentence for bad input."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.cost.since",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("commit", help="of the earlier code")
    made.add_argument("--then", default="full", help="the earlier commit's variant (default: full)")
    made.add_argument("--now", default="full", help="variants of the present code (default: full)")
    made.add_argument("--frames", type=int, default=5, help="of the clip (default: 5)")
    made.add_argument("--repeats", type=int, default=2, help="runs of each, in turns (default: 2)")
    args = made.parse_args(argv)
    try:
        rows = compare(args.commit, args.then, split_list(args.now), args.frames, args.repeats)
    except UserError as error:
        print(f"since: {error}", file=sys.stderr)
        return 2
    print(render(rows, {key: key for key in rows[0]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
