"""`python -m patchvsr.training --config nano-arm --data DIR --out DIR [--variant no_pos] [--minutes M]`."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from patchvsr import checkpoints
from patchvsr.base import define
from patchvsr.codec import codecs
from patchvsr.errors import UserError
from patchvsr.model import PatchVSRModel, save_weights
from patchvsr.training.config import TrainingConfig, load_config
from patchvsr.training.data import ClipSampler, load_sources
from patchvsr.training.loop import Trainer
from patchvsr.training.task import ArmTask, BaseTask, Task
from patchvsr.variants import resolve

CONFIGS = Path(__file__).parent / "configs"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m patchvsr.training", description=__doc__)
    parser.add_argument("--config", required=True, help="a YAML file, or the name of one in patchvsr/training/configs")
    parser.add_argument("--data", type=Path, required=True, help="folder with MANIFEST.csv, stills and shots")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log and final weights; resumed from")
    parser.add_argument("--variant", help="stage 2: the arm to train, such as no_pos")
    parser.add_argument("--steps", type=int, help="optimiser steps in place of the config's")
    parser.add_argument("--minutes", type=float, help="stop after this long; run again to go on")
    parser.add_argument("--package", action="store_true", help="enter the finished weights into the package")
    return parser


def build(config: TrainingConfig) -> tuple[Task, str]:
    """The task of a config, and the name its weights get in the package.

    Raises:
        UserError: a base without a trainable text encoder, or stage 2 before stage 1.
    """
    definition = define(config.base)
    if definition.kind != "nano":
        raise UserError(f"base '{config.base}' is not trained here yet; train on base 'nano'")
    codec = codecs.get(definition.codec)()
    torch.manual_seed(config.seed)
    if config.stage == 1:
        base, text_encoder = checkpoints.load_nano(definition, None)
        return BaseTask(base, text_encoder, codec), config.base
    found = checkpoints.find("bases", config.base)
    if found is None:
        raise UserError(f"base '{config.base}' has no trained weights yet; train stage 1 first (config nano-base)")
    spec = resolve(config.variant)
    base, text_encoder = checkpoints.load_nano(definition, found)
    model = PatchVSRModel.fresh(base, spec.adapter_config())
    with torch.no_grad():
        words = definition.prompt if spec.prompt == "fixed" else ""
        model.fixed_prompt = text_encoder([words])
    return ArmTask(model, text_encoder, codec, spec.prompt), spec.arm


def final_state(task: Task) -> dict[str, torch.Tensor]:
    """What a finished task keeps."""
    if isinstance(task, BaseTask):
        return checkpoints.base_state(task.base, task.text_encoder)
    assert isinstance(task, ArmTask)
    return task.model.trained_state()


def main(argv: list[str] | None = None) -> int:
    """Train; exit code 0 when finished, 3 when stopped by --minutes, 2 for bad input."""
    args = parser().parse_args(argv)
    changes = {k: v for k in ("variant", "steps") if (v := getattr(args, k)) is not None}
    path = Path(args.config) if Path(args.config).suffix else CONFIGS / f"{args.config}.yaml"
    config = load_config(path, changes)
    task, name = build(config)
    definition = define(config.base)
    methods = list(config.degradations)
    train, held_out = (
        ClipSampler(load_sources(args.data, split), definition.tile, config.scales, methods, config.stage == 1)
        for split in ("train", "val")
    )
    trainer = Trainer(config, task, train, held_out, args.out, definition.frames)
    if trainer.resume():
        print(f"resumed at step {trainer.step}", flush=True)
    if not trainer.run(args.minutes):
        print(f"stopped at step {trainer.step} of {config.steps}; run the same command to go on")
        return 3
    folder = checkpoints.FOLDER if args.package else args.out
    file = folder / f"{name.replace('/', '-')}.safetensors"
    metadata = {"name": name, "training": config.to_dict(), "seconds": round(trainer.seconds)}
    with trainer.averaged():
        save_weights(final_state(task), file, metadata, torch.bfloat16)
    if args.package:
        checkpoints.register("bases" if config.stage == 1 else "arms", name, file)
    print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
