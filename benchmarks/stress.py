"""`python -m benchmarks.stress --kills 100`: a run is killed again and again, and must neither lose nor spoil anything.

Small clips go through cheap variants. Processes of `benchmarks.run` on one run directory, one or two at a time, are
killed (SIGKILL) at random moments until as many kills are made as asked for; a complete directory is begun anew. About
every other moment is one after the first item that they finish, since most of so short a run is its start. After each
kill every record must be readable, and nothing that was finished may be gone or have changed; at the end the records
must equal those of a run that nobody disturbed, and no leftovers may remain.
"""
from __future__ import annotations

import argparse
import csv
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.store import read_result
from patchvsr.errors import UserError

MEASURED = frozenset({"seconds", "fps", "peak_host_mib"})
"""Metrics that no two runs have the same value of."""
VARIANTS = "bicubic,lanczos,no_diffusion"


class Broken(Exception):
    """The run directory is not what it must be."""


def make_clips(folder: Path, count: int, frames: int = 2, side: int = 48) -> None:
    """Noise as PNG images, `frames` of `side` x `side` pixels for each clip."""
    rng = np.random.default_rng(0)
    for clip in range(count):
        (folder / f"clip{clip}").mkdir(parents=True)
        for index in range(frames):
            picture = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / f"clip{clip}" / f"{index}.png")


def arguments(clips: Path, out: Path) -> list[str]:
    """Of `benchmarks.run`."""
    command = ["--gt", str(clips), "--degradation", "bicubic", "--scale", "4", "--variants", VARIANTS, "--no-cache"]
    command.append("--no-mlflow")
    return [*command, "--metrics", "psnr,ssim,seconds", "--device", "cpu", "--dtype", "float32", "--out", str(out)]


def _child(argv: list[str]) -> None:
    import torch

    from benchmarks.run import main

    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        os._exit(main(argv))


def state(out: Path) -> dict[str, str]:
    """Hash of each finished item's frames and scores, by item.

    Raises:
        Broken: a record cannot be read, or its frames are not those it speaks of.
    """
    found = {}
    for path in sorted((out / "items").glob("*.json")):
        try:
            result = read_result(path)
        except UserError as error:
            raise Broken(str(error)) from error
        if result.status != "ok" or result.output is None:
            raise Broken(f"{path.name} is recorded as {result.status}: {result.message}")
        count = len(list((out / result.output.path).glob("*.png")))
        if count != result.output.frames:
            raise Broken(f"{path.name} speaks of {result.output.frames} frames, and {count} are there")
        scores = sorted((name, one.value) for name, one in result.scores.items() if name not in MEASURED)
        found[path.stem] = hashlib.sha256(repr((result.output.sha256, scores)).encode()).hexdigest()
    return found


def records(out: Path) -> list[tuple[str, ...]]:
    """The rows of records.csv without measured ones."""
    with open(out / "records.csv", newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file) if row["metric"] not in MEASURED]


def leftovers(out: Path) -> list[str]:
    """Unfinished frames and temporary files."""
    return [str(path) for path in out.rglob("*") if ".unfinished-" in path.name or path.name.startswith(".")]


def stress(folder: Path, kills: int, clips: int, seed: int, tell: bool = True) -> dict[str, int]:
    """Kill and check; how many kills, kills in the midst of work, and directories completed there were.

    Raises:
        Broken: something was lost, spoilt or done twice.
    """
    make_clips(folder / "clips", clips)
    context, rng = multiprocessing.get_context("fork"), random.Random(seed)
    start = time.time()
    _run_through(context, arguments(folder / "clips", folder / "calm"))
    calm, took = state(folder / "calm"), time.time() - start
    working = time.time() - min(path.stat().st_mtime for path in (folder / "calm" / "items").glob("*.json"))
    done = {"kills": 0, "in the midst": 0, "complete": 0}
    out = folder / "disturbed"
    while done["kills"] < kills:
        before = state(out)
        children = [
            context.Process(target=_child, args=(arguments(folder / "clips", out),)) for _ in range(rng.choice((1, 2)))
        ]
        for child in children:
            child.start()
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 1.5 * took))
        else:
            _wait_for_items(out, len(before), children)
            time.sleep(rng.uniform(0, 0.8 * working))
        for child in children:
            if child.is_alive() and child.pid:
                os.kill(child.pid, signal.SIGKILL)
                done["kills"] += 1
            child.join()
        _compare(before, state(out), calm)
        done["in the midst"] += 0 < len(state(out)) < len(calm)
        if len(state(out)) == len(calm):
            done["complete"] += _complete(context, folder, out)
            shutil.rmtree(out)
        if tell:
            print(f"{done['kills']} kills, {len(before)} of {len(calm)} items before the last", file=sys.stderr)
    _complete(context, folder, out)
    return done


def _wait_for_items(out: Path, before: int, children: Sequence[multiprocessing.process.BaseProcess]) -> None:
    """Until there are more items than before, or nobody works on them."""
    while len(list((out / "items").glob("*.json"))) <= before and any(child.is_alive() for child in children):
        time.sleep(0.01)


def _run_through(context: multiprocessing.context.ForkContext, argv: list[str]) -> None:
    child = context.Process(target=_child, args=(argv,))
    child.start()
    child.join()
    if child.exitcode:
        raise Broken(f"an undisturbed run ended with exit code {child.exitcode}")


def _compare(before: dict[str, str], after: dict[str, str], calm: dict[str, str]) -> None:
    if lost := before.keys() - after.keys():
        raise Broken(f"{len(lost)} finished items are gone")
    if changed := [item for item, value in after.items() if value != calm.get(item)]:
        raise Broken(f"{len(changed)} items are not what an undisturbed run makes of them")


def _complete(context: multiprocessing.context.ForkContext, folder: Path, out: Path) -> int:
    """Finish a run directory and compare it with the undisturbed one."""
    _run_through(context, arguments(folder / "clips", out))
    if records(out) != records(folder / "calm"):
        raise Broken("the records of the disturbed run are not those of the undisturbed one")
    if left := leftovers(out):
        raise Broken(f"{left[0]} was left behind")
    return 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 if nothing was lost, 1 with what was."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.stress", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--kills", type=int, default=100, help="default: 100")
    made.add_argument("--clips", type=int, default=8, help="of which each has three items (default: 8)")
    made.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    args = made.parse_args(argv)
    # Loaded once, before the processes are split off: seconds for each of them otherwise.
    import benchmarks.execute  # noqa: F401
    import benchmarks.metrics.psnr  # noqa: F401
    import benchmarks.metrics.ssim  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        try:
            done = stress(Path(folder), args.kills, args.clips, args.seed)
        except Broken as error:
            print(f"stress: {error}", file=sys.stderr)
            return 1
    words = ", ".join(f"{number} {name}" for name, number in done.items())
    print(f"{words}: 0 corrupt records, 0 lost items, 0 done twice or otherwise")
    return 0


if __name__ == "__main__":
    sys.exit(main())
