"""What a run tells while it goes: the log, validation on tiles that are never trained on, and pictures of them."""
from __future__ import annotations

import csv
from pathlib import Path

import torch
from torch import Tensor

from patchvsr.training.config import TrainingConfig
from patchvsr.training.data import Batch, ClipSampler
from patchvsr.training.task import Task
from patchvsr.video.images import save_png

BATCHES = 6
"""Of four tiles each in a validation; the first is also drawn as a picture."""
COLUMNS = ("step", "loss", "validation_loss", "psnr", "psnr_bicubic", "learning_rate", "seconds")


class Progress:
    """Keeps `log.csv` and `samples/` in a run's folder.

    Args:
        out: the folder.
        config: the run.
        validation: where validation tiles come from, or None without any.
    """

    def __init__(self, out: Path, config: TrainingConfig, validation: ClipSampler | None) -> None:
        self.out, self.config, self.validation = out, config, validation

    @torch.no_grad()
    def validate(self, task: Task, step: int) -> dict[str, float] | None:
        """Validation loss and PSNR in dB of the task's output (see `Task.preview`) and of bicubic, on the same tiles
        every time; None without a validation split.
        """
        if self.validation is None:
            return None
        task.eval()
        device = next(task.parameters()).device
        losses, psnr, plain = [], [], []
        for index in range(BATCHES):
            batch = self.validation.draw(1, index, 4, 1).to(device)
            generator = torch.Generator().manual_seed((1 << 32) + index)
            losses.append(task(batch, generator, self.config).float())
            output = task.preview(batch, generator).clamp(0, 1)
            psnr.append(_psnr(output, batch.high))
            plain.append(_psnr(batch.up, batch.high))
            if index == 0:
                self._draw(step, batch, output)
        values = [torch.stack(losses).mean(), torch.cat(psnr).mean(), torch.cat(plain).mean()]
        return dict(zip(("validation_loss", "psnr", "psnr_bicubic"), map(float, values), strict=True))

    def _draw(self, step: int, batch: Batch, output: Tensor) -> None:
        """A picture with a row per tile: bicubic, output, truth."""
        folder = self.out / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [torch.cat([up[0], made[0], high[0]], -1) for up, made, high in
                zip(batch.up, output, batch.high, strict=True)]  # fmt: skip
        pixels = (torch.cat(rows, -2).clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
        save_png(pixels.cpu().numpy(), folder / f"step_{step:06d}.png")

    def write(
        self, step: int, loss: float, rate: float, seconds: float, validation: dict[str, float] | None
    ) -> None:
        """Add a row to the log, and print it."""
        checked = {name: f"{value:.5f}" for name, value in (validation or {}).items()}
        row = {"step": step, "loss": f"{loss:.5f}", "learning_rate": f"{rate:.2e}", "seconds": f"{seconds:.1f}"}
        row |= checked
        path = self.out / "log.csv"
        fresh = not path.is_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{name} {row[name]}" for name in COLUMNS if name in row), flush=True)

    def forget_after(self, step: int) -> None:
        """Take rows of steps out of the log that a resumed run will do again."""
        path = self.out / "log.csv"
        if not path.is_file():
            return
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        part = path.with_suffix(".csv.part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        part.replace(path)


def _psnr(output: Tensor, target: Tensor) -> Tensor:
    """Of every tile `[B, T, 3, h, w]`, in dB."""
    return -10 * (output.float() - target).square().flatten(1).mean(1).clamp(min=1e-10).log10()
