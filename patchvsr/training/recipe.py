"""`python -m patchvsr.training.recipe --data DIR --out DIR`: everything that ships as nano, in order, in one command.

First the base, then the phase that arms with a patch branch have in common, then every arm on top, each from its own
config. It can be stopped and run again at any time. On a GPU the same configs scale up: `--batch 16 --steps 4` trains
four times the steps on sixteen times the tiles.
"""
from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from patchvsr.errors import UserError
from patchvsr.training.__main__ import CONFIGS
from patchvsr.training.config import load_config
from patchvsr.variants import resolve
from patchvsr.weights.packaged import FOLDER

COMMON = "full:context=none,position=none"


@dataclass(frozen=True, slots=True)
class Arm:
    """A run of the recipe: its folder, config and variant, and whether it starts from the common phase."""

    name: str
    config: str
    variant: str
    starts: bool = False


ARMS = (
    Arm("full", "nano-arm", "full", True),
    Arm("no_global", "nano-arm", "no_global", True),
    Arm("no_pos", "nano-arm", "no_pos", True),
    Arm("no_diffusion", "nano-control", "no_diffusion"),
    Arm("no_lora", "nano-arm", "no_lora", True),
    Arm("no_patch", "nano-arm", "no_patch"),
    Arm("box", "nano-arm", "full:position=box", True),
    Arm("no_fixed_prompt", "nano-arm", "no_fixed_prompt", True),
)
"""In the order in which they are trained. `no_patch` has nothing that the common phase trains."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m patchvsr.training.recipe", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of videos and stills, or with a MANIFEST.csv")
    parser.add_argument("--out", type=Path, required=True, help="a folder for each run goes there; gone on with")
    parser.add_argument("--arms", help="only these, such as full,no_global (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="arms that are trained side by side (default: 1)")
    parser.add_argument("--batch", type=int, default=1, help="multiplies the tiles of a step (default: 1)")
    parser.add_argument("--steps", type=float, default=1, help="multiplies the steps (default: 1)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw batches, for each (default: 1)")
    parser.add_argument("--minutes", type=float, help="stop after this long; run again to go on")
    parser.add_argument("--package", action="store_true", help="enter the weights into the package")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU, whatever else is there")
    return parser


def command(arm: Arm, args: argparse.Namespace, base: Path | None, common: Path | None) -> list[str]:
    """The training command of one run, without the interpreter."""
    config = load_config(CONFIGS / f"{arm.config}.yaml", {})
    words = ["--config", arm.config, "--data", str(args.data), "--out", str(args.out / arm.name)]
    words += ["--steps", str(math.ceil(config.steps * args.steps))]
    if args.batch > 1:  # tiles are averaged over, so larger batches take larger steps, by the square root
        rate = config.learning_rate * math.sqrt(args.batch)
        words += ["--still-batch", str(config.still_batch * args.batch), "--clip-batch"]
        words += [str(config.clip_batch * args.batch), "--learning-rate", f"{min(rate, 3e-3):.3g}"]
    if config.stage == 2:
        words += ["--variant", arm.variant]
        words += ["--base-weights", str(base)] if base and arm.variant != "no_diffusion" else []
        words += ["--start", str(common)] if common and arm.starts else []
    words += ["--package"] if args.package and arm.name != "common" else []
    return [*words, "--workers", str(args.workers), *(["--cpu"] if args.cpu else [])]


def chosen(text: str | None) -> list[Arm]:
    """The arms of a list.

    Raises:
        UserError: a name that is no arm of the recipe.
    """
    names = [arm.name for arm in ARMS]
    wanted = text.split(",") if text else names
    if unknown := [name for name in wanted if name not in names]:
        raise UserError(f"the recipe has no arm '{unknown[0]}'; it has {', '.join(names)}")
    return [arm for arm in ARMS if arm.name in wanted]


def run(words: list[str], threads: int, minutes: float | None) -> int:
    """Train in a process of its own; what it prints goes on to the terminal. Returns its exit code."""
    limit = [] if minutes is None else ["--minutes", f"{minutes:.3f}"]
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.run([sys.executable, "-m", "patchvsr.training", *words, *limit], env=env, check=False).returncode


def train(args: argparse.Namespace, start: Callable[[list[str], int, float | None], int] = run) -> int:
    """All runs in order; the exit code of the first that did not finish, else 0."""
    began, cores = monotonic(), os.cpu_count() or 1

    def left() -> float | None:
        return None if args.minutes is None else max(args.minutes - (monotonic() - began) / 60, 0.0)

    arms = chosen(args.arms)
    base = args.out / "base" / "nano.safetensors"
    common = args.out / "common" / f"{resolve(COMMON).arm.replace('/', '-')}.safetensors"
    first = [(Arm("base", "nano-base", ""), base), (Arm("common", "nano-common", COMMON), common)]
    for arm, file in first:
        if not file.is_file() and (code := start(command(arm, args, base, None), cores, left())):
            return code
    if args.package:  # its weights live on in the arms; its log belongs beside theirs
        shutil.copyfile(args.out / "common" / "log.csv", FOLDER / "training" / "nano-common.csv")
    threads = max(cores // args.jobs, 1)
    with ThreadPoolExecutor(args.jobs) as pool:
        codes = list(pool.map(lambda arm: start(command(arm, args, base, common), threads, left()), arms))
    return next((code for code in codes if code), 0)


def main(argv: list[str] | None = None) -> int:
    """Run the recipe; exit code 0 when finished, 3 when stopped by --minutes, 2 for bad input."""
    args = parser().parse_args(argv)
    try:
        return train(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
