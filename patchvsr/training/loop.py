"""The training loop: rectified flow on batches of tiles, on one or many devices, resumable with the same continuation.

accelerate moves the model, wraps it for several processes and accumulates gradients. Batches, times and noise are
functions of (seed, step, process, micro-batch) alone, so nothing random has to be saved.
"""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from patchvsr.errors import UserError
from patchvsr.training import checkpoint
from patchvsr.training.config import TrainingConfig
from patchvsr.training.data import Batch, ClipSampler
from patchvsr.training.progress import Progress
from patchvsr.training.task import Task

CHECKPOINT_SECONDS = 120
LOG_STEPS = 50


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine to `final_rate` of the peak at the last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    share = (step - config.warmup) / max(config.steps - config.warmup, 1)
    fall = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * fall)


def is_clip_step(config: TrainingConfig, step: int) -> bool:
    """Whether a step trains on clips: evenly spread, so that `clip_share` of the steps do."""
    return math.floor((step + 1) * config.clip_share) > math.floor(step * config.clip_share)


class Trainer:
    """Runs a task to its last step.

    Args:
        config: the run.
        task: what is trained and its loss.
        sampler: where batches come from.
        progress: keeps the log, and validates.
        out: folder of the checkpoint.
        chunk: frames of a clip step.
        accelerator: devices and processes; one process on the default device where it is None.
        workers: processes that draw batches ahead; 0 draws them in between steps.
        keep: called every `keep_every` steps in the main process, with the averaged weights in the task.
    """

    def __init__(
        self,
        config: TrainingConfig,
        task: Task,
        sampler: ClipSampler,
        progress: Progress,
        out: Path,
        chunk: int,
        accelerator: Accelerator | None = None,
        workers: int = 0,
        keep: Callable[[int], None] | None = None,
    ) -> None:
        self.accelerator = accelerator or make_accelerator(config)
        self.config, self.task, self.sampler, self.progress = config, task, sampler, progress
        self.out, self.chunk, self.step, self.seconds = out, chunk, 0, 0.0
        self.workers, self.keep = workers, keep
        task.to(self.accelerator.device)
        self.parameters = {n: p for n, p in task.named_parameters() if p.requires_grad}
        decayed = [p for p in self.parameters.values() if p.ndim > 1]
        others = [p for p in self.parameters.values() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))
        self.model, self.optimizer = self.accelerator.prepare(task, optimizer)
        self.average = EMAModel(self.parameters.values(), decay=config.ema)

    def run(self, minutes: float | None = None) -> bool:
        """Train until the last step or until `minutes` have passed.

        Returns:
            Whether the last step was reached.

        Raises:
            UserError: the loss or its gradient is not finite, or the checkpoint cannot be written.
        """
        started = saved = time.monotonic()
        losses: list[float] = []
        for batches in self._batches():
            began = time.monotonic()
            losses.append(self._update(batches))
            self.seconds += time.monotonic() - began
            if self.step % LOG_STEPS == 0 or self._validates():
                self._report(sum(losses) / len(losses))
                losses = []
            if self.keep and self.config.keep_every and self.step % self.config.keep_every == 0:
                with self.averaged():
                    if self.accelerator.is_main_process:
                        self.keep(self.step)
            now = time.monotonic()
            if now - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = now
            if self._out_of_time(minutes, now - started):
                break
        self.save()
        return self.step >= self.config.steps

    def _validates(self) -> bool:
        return self.step % self.config.validate_every == 0 or self.step == self.config.steps

    def _out_of_time(self, minutes: float | None, elapsed: float) -> bool:
        if minutes is None:
            return False
        over = torch.tensor(float(elapsed > minutes * 60), device=self.accelerator.device)
        return bool(self.accelerator.reduce(over, "sum") > 0)  # all processes stop at one step

    def _batches(self) -> Iterator[list[Batch]]:
        """The micro-batches of every step that is left, drawn ahead by other processes."""
        drawn: Iterable[list[Batch] | UserError] = DataLoader(
            _Steps(self._draw, self.config.steps),
            batch_size=None,
            sampler=range(self.step, self.config.steps),
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            worker_init_fn=_single_thread,
        )
        for batches in drawn:
            if isinstance(batches, UserError):
                raise batches
            yield batches

    def _draw(self, step: int) -> list[Batch]:
        clips = is_clip_step(self.config, step)
        size = self.config.clip_batch if clips else self.config.still_batch
        frames = self.chunk if clips else 1
        return [self.sampler.draw(self._seed(micro), step, size, frames) for micro in range(self.config.accumulation)]

    def _seed(self, micro: int) -> int:
        """Of a micro-batch of this process; the config's own for the first of the first."""
        index = self.accelerator.process_index * self.config.accumulation + micro
        return self.config.seed + 1_000_003 * index

    def _update(self, batches: list[Batch]) -> float:
        self.task.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        total = 0.0
        for micro, batch in enumerate(batches):
            last = micro == len(batches) - 1
            generator = generator_of(self._seed(micro), self.step)
            with self._together(last):
                loss = self.model(batch.to(self.accelerator.device), generator, self.config) / len(batches)
                self._refuse(loss, "loss")
                self.accelerator.backward(loss)
            total += float(loss.detach())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm)
        self._refuse(norm, "gradient")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.step(self.parameters.values())
        self.step += 1
        mean = torch.tensor(total, device=self.accelerator.device)
        return float(self.accelerator.reduce(mean, "mean"))

    def _together(self, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients with the last micro-batch of a step only."""
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def _refuse(self, value: Tensor, what: str) -> None:
        if not torch.isfinite(value):
            raise UserError(
                f"{what} is {value.item()} at step {self.step}; the checkpoint in {self.out} is from before it: start "
                "again with a lower learning_rate, or with precision: no"
            )

    def _report(self, loss: float) -> None:
        config, step = self.config, self.step
        validation = None
        if self._validates():
            with self.averaged(), self.accelerator.autocast():
                validation = self.progress.validate(self.task, step) if self.accelerator.is_main_process else None
        if self.accelerator.is_main_process:
            self.progress.write(step, loss, learning_rate(config, step), self.seconds, validation)
            tracked = {"loss": loss, **(validation or {})}
            self.accelerator.log({name: value for name, value in tracked.items() if value is not None}, step=step)
        self.accelerator.wait_for_everyone()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the task has the averaged weights."""
        self.average.store(self.parameters.values())
        self.average.copy_to(self.parameters.values())
        try:
            yield
        finally:
            self.average.restore(self.parameters.values())

    def save(self) -> None:
        """Write the checkpoint (see `checkpoint.save`)."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "parameters": {name: value.detach() for name, value in self.parameters.items()},
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        checkpoint.save(state, self.config, self.out)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one.

        Raises:
            UserError: it is damaged or belongs to another config.
        """
        state = checkpoint.load(self.config, self.out)
        if state is None:
            return False
        self.step, self.seconds = state["step"], state["seconds"]
        with torch.no_grad():
            for name, value in state["parameters"].items():
                self.parameters[name].copy_(value)
        self.average.load_state_dict(state["average"])
        self.average.to(self.accelerator.device)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.is_main_process:
            self.progress.forget_after(self.step)
        return True


def make_accelerator(config: TrainingConfig, tracker: str | None = None, cpu: bool = False) -> Accelerator:
    """Devices and processes as `accelerate launch` or `torchrun` set them; bf16 autocast where the config asks."""
    return Accelerator(mixed_precision=config.precision, log_with=tracker, cpu=cpu)


class _Steps(Dataset):
    """What each step trains on; an error of the data is handed on, since a worker's own would lose its type."""

    def __init__(self, draw: Callable[[int], list[Batch]], steps: int) -> None:
        self.draw, self.steps = draw, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[Batch] | UserError:
        try:
            return self.draw(step)
        except UserError as error:
            return error


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)  # the cores belong to the training step


def generator_of(seed: int, step: int) -> torch.Generator:
    """The generator of a step's times and noise, on the CPU."""
    return torch.Generator().manual_seed((seed << 32) + step)
