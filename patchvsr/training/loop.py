"""The training loop: rectified flow on batches of tiles, resumable with the same continuation."""
from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from patchvsr.errors import UserError
from patchvsr.training.config import TrainingConfig
from patchvsr.training.data import Batch, ClipSampler
from patchvsr.training.task import Task

CHECKPOINT_SECONDS = 120


class Average:
    """Exponential moving average of a module's trainable parameters."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: dict[str, nn.Parameter], step: int) -> None:
        """Move towards the parameters; faster at the start, so that the first weights are forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in parameters.items():
            self.values[name].lerp_(value, 1 - decay)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine to zero at the last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    share = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def is_clip_step(config: TrainingConfig, step: int) -> bool:
    """Whether a step trains on clips: evenly spread, so that `clip_share` of the steps do."""
    return math.floor((step + 1) * config.clip_share) > math.floor(step * config.clip_share)


class Trainer:
    """Runs a task to its last step.

    Args:
        config: the run.
        task: what is trained and its loss.
        sampler, validation: where batches come from.
        out: folder of the checkpoint and the log.
        chunk: frames of a clip step.
    """

    def __init__(
        self,
        config: TrainingConfig,
        task: Task,
        sampler: ClipSampler,
        validation: ClipSampler | None,
        out: Path,
        chunk: int,
    ) -> None:
        self.config, self.task, self.sampler, self.validation = config, task, sampler, validation
        self.out, self.chunk, self.step, self.seconds = out, chunk, 0, 0.0
        self.parameters = {n: p for n, p in task.named_parameters() if p.requires_grad}
        decayed = [p for p in self.parameters.values() if p.ndim > 1]
        others = [p for p in self.parameters.values() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))
        self.average = Average(self.parameters, config.ema)

    @property
    def fingerprint(self) -> str:
        """Of the config; a checkpoint of another one is refused."""
        return hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode()).hexdigest()

    def run(self, minutes: float | None = None) -> bool:
        """Train until the last step or until `minutes` have passed.

        Returns:
            Whether the last step was reached.

        Raises:
            UserError: the loss is not finite.
        """
        started, saved, losses = time.monotonic(), time.monotonic(), []
        self.out.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self._draw, self.step)
            while self.step < self.config.steps:
                batch = future.result()
                future = pool.submit(self._draw, self.step + 1)
                began = time.monotonic()
                losses.append(self._update(batch))
                self.seconds += time.monotonic() - began
                if self.step % 50 == 0 or self.step == self.config.steps:
                    self._log(sum(losses) / len(losses), time.monotonic() - started)
                    losses = []
                now = time.monotonic()
                if now - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = now
                if minutes is not None and now - started > minutes * 60:
                    break
        self.save()
        return self.step >= self.config.steps

    def _draw(self, step: int) -> Batch:
        clips = is_clip_step(self.config, step)
        size = self.config.clip_batch if clips else self.config.still_batch
        return self.sampler.draw(self.config.seed, step, size, self.chunk if clips else 1)

    def _update(self, batch: Batch) -> float:
        self.task.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        loss = self._loss(batch, _generator(self.config.seed, self.step))
        if not torch.isfinite(loss):
            raise UserError(f"loss is {loss.item()} at step {self.step}; resume from {self.out} with a lower rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm)
        self.optimizer.step()
        self.average.update(self.parameters, self.step)
        self.step += 1
        return float(loss.detach())

    def _loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return self.task.loss(batch, generator, self.config.noise_share, self.config.lowest_time)

    @torch.no_grad()
    def validate(self, batches: int = 6) -> float | None:
        """Mean loss of the averaged weights on fixed batches of the validation split; None without one."""
        if self.validation is None:
            return None
        self.task.eval()
        with self.averaged():
            losses = [
                self._loss(self.validation.draw(1, i, 4, 1), _generator(1, i)) for i in range(batches)
            ]
        return float(torch.stack(losses).mean())

    def averaged(self) -> Swap:
        """Context in which the task has the averaged weights."""
        return Swap(self.parameters, self.average.values)

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "parameters": {n: p.detach() for n, p in self.parameters.items()},
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
        }
        temporary = self.out / "checkpoint.pt.part"
        torch.save(state, temporary)
        temporary.replace(self.out / "checkpoint.pt")

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one.

        Raises:
            UserError: it belongs to another config.
        """
        path = self.out / "checkpoint.pt"
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        if state["fingerprint"] != self.fingerprint:
            raise UserError(f"{path} belongs to another config; use another --out, or remove it")
        self.step, self.seconds = state["step"], state["seconds"]
        with torch.no_grad():
            for name, value in state["parameters"].items():
                self.parameters[name].copy_(value)
        self.average.values = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        return True

    def _log(self, loss: float, elapsed: float) -> None:
        validation = self.validate() if self.step % 250 == 0 or self.step == self.config.steps else None
        row = {
            "step": self.step,
            "loss": f"{loss:.5f}",
            "validation_loss": "" if validation is None else f"{validation:.5f}",
            "learning_rate": f"{learning_rate(self.config, self.step):.2e}",
            "seconds": f"{self.seconds:.1f}",
        }
        path = self.out / "log.csv"
        fresh = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{k} {v}" for k, v in row.items() if v), f"elapsed {elapsed:.0f}", flush=True)


class Swap:
    """Exchanges parameters for other values inside a `with` block."""

    def __init__(self, parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
        self.parameters, self.values = parameters, values

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self.values.items():
            mine = self.parameters[name].detach().clone()
            self.parameters[name].copy_(value)
            value.copy_(mine)


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed << 32) + step)
