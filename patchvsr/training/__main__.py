"""`python -m patchvsr.training --config nano-arm --data DIR --out DIR [--variant no_pos] [--minutes M]`."""
from __future__ import annotations

import argparse
import math
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator

from patchvsr import checkpoints
from patchvsr.base import define
from patchvsr.codec import codecs
from patchvsr.control import RegressionControl
from patchvsr.errors import UserError
from patchvsr.model import PatchVSRModel, save_weights
from patchvsr.training import sources
from patchvsr.training.config import TrainingConfig, load_config
from patchvsr.training.data import MOTION, ClipSampler
from patchvsr.training.loop import Trainer, make_accelerator
from patchvsr.training.progress import Progress
from patchvsr.training.start import start_from
from patchvsr.training.task import ArmTask, BaseTask, ControlTask, Task
from patchvsr.variants import resolve
from patchvsr.weights import sha256_file

CHANGES = ("variant", "steps", "still_batch", "clip_batch", "learning_rate", "start", "base_weights")
CONFIGS = Path(__file__).parent / "configs"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m patchvsr.training", description=__doc__)
    parser.add_argument("--config", required=True, help="a YAML file, or the name of one in patchvsr/training/configs")
    parser.add_argument("--data", type=Path, required=True, help="folder of videos and stills, or with a MANIFEST.csv")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log and final weights; resumed from")
    parser.add_argument("--variant", help="stage 2: the arm to train, such as no_pos")
    parser.add_argument("--steps", type=int, help="optimiser steps in place of the config's")
    parser.add_argument("--start", help="stage 2: weights of another arm to start from, where both have a part")
    parser.add_argument("--base-weights", help="stage 2: weights of the base in place of the packaged ones")
    parser.add_argument("--still-batch", type=int, help="tiles per step of one frame, in place of the config's")
    parser.add_argument("--clip-batch", type=int, help="tiles per step of a clip, in place of the config's")
    parser.add_argument("--learning-rate", type=float, help="in place of the config's")
    parser.add_argument("--minutes", type=float, help="stop after this long; run again to go on")
    parser.add_argument("--allow-excluded", action="store_true", help="go on without files that cannot be trained on")
    parser.add_argument("--mlflow", metavar="URI", help="also log to this MLflow store, such as sqlite:///mlflow.db")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU, whatever else is there")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw batches ahead (default: 1)")
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
    spec = resolve(config.variant)
    if not spec.diffusion:
        return ControlTask(RegressionControl.for_base(definition), definition, codec), spec.arm
    base, text_encoder = checkpoints.load_nano(definition, base_weights(config))
    model = PatchVSRModel.fresh(base, spec.adapter_config())
    with torch.no_grad():
        words = definition.prompt if spec.prompt == "fixed" else ""
        model.fixed_prompt = text_encoder([words])
    if config.start:
        fresh, left = start_from(model, Path(config.start))
        print(f"started from {config.start}: {len(fresh)} tensors are new, {len(left)} of its own have no place here")
    return ArmTask(model, text_encoder, codec, spec.prompt), spec.arm


def base_weights(config: TrainingConfig) -> checkpoints.Checkpoint:
    """The trained base that an arm is for.

    Raises:
        UserError: there is none.
    """
    if config.base_weights:
        path = Path(config.base_weights)
        if not path.is_file():
            raise UserError(f"base_weights={path} does not exist; give the safetensors file that stage 1 wrote")
        return checkpoints.Checkpoint(path, sha256_file(path))
    found = checkpoints.find("bases", config.base)
    if found is None:
        raise UserError(f"base '{config.base}' has no trained weights yet; train stage 1 first (config nano-base)")
    return found


def final_state(task: Task) -> dict[str, torch.Tensor]:
    """What a finished task keeps."""
    if isinstance(task, BaseTask):
        return checkpoints.base_state(task.base, task.text_encoder)
    if isinstance(task, ControlTask):
        return task.control.state_dict()
    assert isinstance(task, ArmTask)
    return task.model.trained_state()


def load_data(args: argparse.Namespace, config: TrainingConfig) -> dict[str, ClipSampler | None]:
    """The samplers of both splits.

    Raises:
        UserError: files that cannot be trained on, unless they may be excluded; no file left in the training split.
    """
    definition, spec = define(config.base), resolve(config.variant)
    tile, chunk = config.tile or definition.tile, definition.frames
    # A clip's frames are smaller than the smallest file, to leave room for motion.
    needs = sources.Needs(
        side=tile + MOTION + math.lcm(*config.scales) - 1 if not config.frame else config.frame,
        frames=chunk,
        captions=config.stage == 2 and spec.diffusion and spec.prompt == "caption",
    )
    files = sources.listed(args.data)
    found, problems = sources.load(files, needs)
    if not args.allow_excluded:
        sources.refuse(problems, len(files))
    sources.write_excluded(problems, args.out / "excluded.csv")
    splits = {file.path: file.split for file in files}
    samplers: dict[str, ClipSampler | None] = {}
    for split in ("train", "val"):
        footage = [f for f in found if splits[f.path] == split]
        samplers[split] = ClipSampler(footage, config, tile) if footage else None
        bare = sum(not f.caption for f in footage)
        print(f"{split}: {len(footage)} files, {bare} without a caption", flush=True)
    print(f"excluded: {len(problems)} files", flush=True)
    if samplers["train"] is None:
        raise UserError(f"{args.data} has no file of split 'train' to train on")
    return samplers


def main(argv: list[str] | None = None) -> int:
    """Train; exit code 0 when finished, 3 when stopped by --minutes, 2 for bad input."""
    args = parser().parse_args(argv)
    changes = {k: v for k in CHANGES if (v := getattr(args, k)) is not None}
    path = Path(args.config) if Path(args.config).suffix else CONFIGS / f"{args.config}.yaml"
    config = load_config(path, changes)
    if args.mlflow and find_spec("mlflow") is None:
        raise UserError("--mlflow needs the package mlflow, which is not installed; run `pip install mlflow`")
    task, name = build(config)
    samplers = load_data(args, config)
    accelerator = make_accelerator(config, "mlflow" if args.mlflow else None, args.cpu)
    if args.mlflow:
        track(accelerator, config, name, args.mlflow)
    progress = Progress(args.out, config, samplers["val"])
    sampler = samplers["train"]
    assert sampler is not None  # load_data refuses that
    file = args.out / f"{name.replace('/', '-')}.safetensors"

    def keep(step: int) -> None:
        metadata = {"name": name, "training": config.to_dict(), "step": step}
        save_weights(final_state(task), file.with_stem(f"{file.stem}-step{step:06d}"), metadata, torch.bfloat16)

    chunk = define(config.base).frames
    trainer = Trainer(config, task, sampler, progress, args.out, chunk, accelerator, args.workers, keep)
    if trainer.resume():
        print(f"resumed at step {trainer.step}", flush=True)
    finished = trainer.run(args.minutes)
    accelerator.end_training()
    if not finished:
        print(f"stopped at step {trainer.step} of {config.steps}; run the same command to go on")
        return 3
    if accelerator.is_main_process:
        metadata = {"name": name, "training": config.to_dict(), "seconds": round(trainer.seconds)}
        with trainer.averaged():
            save_weights(final_state(task), file, metadata, torch.bfloat16)
        print(f"wrote {file}")
        if args.package:
            checkpoints.adopt("bases" if config.stage == 1 else "arms", name, file, args.out / "log.csv")
    return 0


def track(accelerator: Accelerator, config: TrainingConfig, name: str, uri: str) -> None:
    """Log to an MLflow store."""
    settings = {key: str(value) for key, value in config.to_dict().items()}
    accelerator.init_trackers("patchvsr-training", settings, {"mlflow": {"tracking_uri": uri, "run_name": name}})


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
