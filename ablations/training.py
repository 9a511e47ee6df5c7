"""Training the arms of a study alike: same data, schedule, steps and seeds, from the same start.

First the phase that arms with a patch branch have in common (none of the parts in question), then each arm's own, as
`patchvsr.training.recipe` does for the weights that ship. Whatever has finished is not trained again.
"""
from __future__ import annotations

import csv
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ablations.study import Arm
from patchvsr.errors import UserError
from patchvsr.loading import weights_owner
from patchvsr.training.__main__ import CONFIGS
from patchvsr.training.checkpoint import NAME as CHECKPOINT
from patchvsr.training.config import load_config
from patchvsr.training.recipe import COMMON
from patchvsr.upscaler import create
from patchvsr.variants import VariantSpec, resolve

PROBE = 1.0
"""Minutes of training that a budget in minutes takes to find out how long a step takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What training may take: steps of each arm, or minutes in all, which are turned into steps.

    Attributes:
        steps: of an arm's own phase; None for the configs' own.
        minutes: for all that is to be trained.
    """

    steps: int | None = None
    minutes: float | None = None

    @classmethod
    def of(cls, text: str | None) -> Budget:
        """From `steps=N` or `minutes=M`.

        Raises:
            UserError: neither, or no number above 0.
        """
        if text is None:
            return cls()
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        whole = name != "steps" or number.is_integer()
        if name not in cls.__dataclass_fields__ or not 0 < number < 1e9 or not whole:
            raise UserError(f"--budget {text} is not understood; write steps=1000 or minutes=60")
        return cls(steps=int(number)) if name == "steps" else cls(minutes=number)


def untrained(arms: Sequence[Arm]) -> list[Arm]:
    """The arms for which there are no trained weights."""
    return [arm for arm in arms if create(arm.variant, "cpu").weights.status == "untrained"]


def trained_apart(arms: Sequence[Arm]) -> dict[str, list[Arm]]:
    """The arms by the part of their spec that is trained: those of one list share weights."""
    found: dict[str, list[Arm]] = {}
    for arm in arms:
        found.setdefault(weights_owner(resolve(arm.variant)).arm, []).append(arm)
    return found


def trained_variant(variant: str) -> str:
    """What is trained for a variant: where parts are dropped at inference, `full` on its base."""
    spec = resolve(variant)
    if not spec.dropped_at_inference:
        return variant
    kept = ("base", "base_weights", "patch_blocks", "context_blocks")
    return "full:" + ",".join(f"{key}={value}" for key in kept if (value := getattr(spec, key)))


Runner = Callable[[list[str]], int]
"""Runs `patchvsr.training` with these words; its exit code."""


def run_training(words: list[str]) -> int:
    """In a process of its own, whose output goes on to the terminal."""
    return subprocess.run([sys.executable, "-m", "patchvsr.training", *words], check=False).returncode


def train(
    arms: Sequence[Arm], seeds: Sequence[int], data: Path, out: Path, budget: Budget, run: Runner = run_training
) -> dict[str, list[Path]]:
    """Train what the arms need, each seed apart.

    Args:
        arms: of the study.
        seeds: one training of every arm for each.
        data: folder of videos and stills.
        out: gets a folder for each training, which a later call goes on with.
        budget: of it all.
        run: starts one training.

    Returns:
        Label of each arm to its weights, in the order of the seeds.

    Raises:
        UserError: a base that is not trained here, or a training that failed.
    """
    apart = trained_apart(arms)
    for arm in arms:
        if (base := resolve(arm.variant).base) != "nano":
            raise UserError(f"the arm '{arm.label}' is on '{base}', and only nano is trained here")
    needed = {name: trained_variant(sharing[0].variant) for name, sharing in apart.items()}
    steps = _steps(list(needed.values()), seeds, data, out, budget, run)
    weights: dict[str, list[Path]] = {arm.label: [] for arm in arms}
    for seed in seeds:
        common: Path | None = None
        if any(_has_patch(resolve(variant)) for variant in needed.values()):
            common = _one("nano-common", COMMON, steps["common"], seed, None, data, out / f"common-seed{seed}", run)
        for name, sharing in apart.items():
            spec = resolve(needed[name])
            start = common if _has_patch(spec) else None
            config = "nano-arm" if spec.diffusion else "nano-control"
            folder = out / f"{spec.arm.replace('/', '-')}-seed{seed}"
            kind = "arm" if spec.diffusion else "control"
            file = _one(config, needed[name], steps[kind], seed, start, data, folder, run)
            for arm in sharing:
                weights[arm.label].append(file)
    return weights


def with_weights(variant: str, file: Path) -> str:
    """The variant with its own trained weights."""
    return f'{variant}{"," if ":" in variant else ":"}weights="{file}"'


def _has_patch(spec: VariantSpec) -> bool:
    return spec.diffusion and spec.patch


def _one(
    config: str, variant: str, steps: int, seed: int, start: Path | None, data: Path, out: Path, run: Runner
) -> Path:
    """One training, finished; its weights."""
    file = out / f"{resolve(variant).arm.replace('/', '-')}.safetensors"
    made = load_config(CONFIGS / f"{config}.yaml", {"variant": variant, "steps": steps, "seed": seed})
    made = load_config(CONFIGS / f"{config}.yaml", made.to_dict() | {"start": str(start) if start else ""})
    settings, where = yaml.safe_dump(made.to_dict()), f"{data.resolve()}\n"
    written, drawn = out / "config.yaml", out / "data.txt"
    if file.is_file() or (out / CHECKPOINT).is_file():
        for path, text, what in ((written, settings, "other settings"), (drawn, where, "other data")):
            if not path.is_file() or path.read_text() != text:
                raise UserError(f"{out} holds a training with {what}; give another --out, or remove the folder")
    if file.is_file():
        return file
    out.mkdir(parents=True, exist_ok=True)
    written.write_text(settings)
    drawn.write_text(where)
    code = run(["--config", str(written), "--data", str(data), "--out", str(out)])
    if code or not file.is_file():
        raise UserError(
            f"training '{variant}' in {out} ended with exit code {code}; what it said is above, and the same command "
            "goes on from its last checkpoint"
        )
    return file


def _steps(
    variants: Sequence[str], seeds: Sequence[int], data: Path, out: Path, budget: Budget, run: Runner
) -> dict[str, int]:
    """Steps of the common phase, of an arm's own, and of the control, which has as many as both together."""
    common, own = (load_config(CONFIGS / f"nano-{name}.yaml", {}).steps for name in ("common", "arm"))
    if budget.steps is not None:
        common, own = math.ceil(common * budget.steps / own), budget.steps
    if budget.minutes is not None:
        share = _fraction(variants, seeds, data, out, budget.minutes, common, own, run)
        common, own = max(round(common * share), 1), max(round(own * share), 1)
    return {"common": common, "arm": own, "control": common + own}


def _fraction(
    variants: Sequence[str], seeds: Sequence[int], data: Path, out: Path, minutes: float, common: int, own: int,
    run: Runner,
) -> float:  # fmt: skip
    """The share of the configs' steps that the minutes allow, from a minute's training that is thrown away."""
    file = out / "budget.txt"
    if file.is_file() and file.read_text().startswith(f"{minutes:g} "):
        return float(file.read_text().split()[1])  # a run that goes on keeps its number of steps
    probe = out / "probe"
    code = run(["--config", "nano-arm", "--data", str(data), "--out", str(probe), "--minutes", f"{PROBE:g}"])
    if code not in (0, 3):
        raise UserError(f"the training that measures a step's time ended with exit code {code}; what it said is above")
    with (probe / "log.csv").open(newline="") as log:
        rows = list(csv.DictReader(log))
    if not rows:
        raise UserError(f"{PROBE:g} minute is too short for 50 steps, to divide minutes by; give --budget steps=")
    second = float(rows[-1]["seconds"]) / int(rows[-1]["step"])
    patched = any(_has_patch(resolve(variant)) for variant in variants)
    whole = len(seeds) * ((common if patched else 0) + sum(
        own if resolve(variant).diffusion else common + own for variant in variants
    ))  # fmt: skip
    share = min(60 * minutes / (second * whole), 1.0)
    file.write_text(f"{minutes:g} {share:.6f}\n")
    return share
