"""An upscaler and metrics made for tests of the harness, and readers of what a run writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from benchmarks import run
from benchmarks.frames import whole
from benchmarks.metrics import Measurement, Metric, MetricUndefined, Sample
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Cuts, Progress, Upscaler, Weights

FAULTS = {"interrupt": KeyboardInterrupt(), "memory": MemoryError("no more"), "bug": ZeroDivisionError("oops")}


class Dummy(Upscaler):
    """Repeats pixels; misbehaves as its options say."""

    name = "dummy"
    calls: list[tuple[str, int]] = []

    def __init__(self, overrides: dict[str, str]) -> None:
        unknown = set(overrides) - {"weights", "fault", "on", "gain"}
        if unknown:
            raise UserError(f"unknown override '{unknown.pop()}' of 'dummy'")
        self.options = overrides

    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        self.calls.append((clip.name, seed))
        fault = self.options.get("fault") if self.options.get("on", clip.name) == clip.name else None
        for index, frame in enumerate(clip.frames):
            if index == 1 and fault in FAULTS:
                raise FAULTS[fault]
            if index == 1 and fault == "short":
                return
            wide = F.interpolate(frame[None], scale_factor=scale) * float(self.options.get("gain", "1"))
            yield wide[..., :-1] if fault == "narrow" else wide
            if index == 1 and fault == "extra":
                yield wide
            if progress is not None:
                progress((index + 1) / len(clip.frames))

    def describe(self) -> dict[str, Any]:
        return {"name": "dummy", **self.options}

    @property
    def weights(self) -> Weights:
        return Weights(self.options.get("weights", "trained"), {"model": "ab" * 32})

    def cuts(self, height: int, width: int, frames: int) -> Cuts | None:
        return Cuts((), (width // 2,))


class Level(Metric):
    """Mean brightness: needs no ground truth."""

    id = "level"
    version = 1
    direction = "higher"
    unit = "level"
    needs_target = False
    calls = 0

    def identity(self) -> str:
        return f"{self.id} v{self.version}"

    def measure(self, sample: Sample) -> Measurement:
        Level.calls += 1
        frames = [float(frame.float().mean()) for frame in sample.output]
        return Measurement(sum(frames) / len(frames), frames)


class Error(Level):
    """Mean absolute error: needs a ground truth."""

    id, direction, needs_target = "error", "lower", True

    def measure(self, sample: Sample) -> Measurement:
        assert sample.target is not None
        return Measurement(float((whole(sample.output).float() - whole(sample.target).float()).abs().mean()))


class Cut(Level):
    """Where the cut is; undefined where nothing was cut."""

    id = "cut"

    def measure(self, sample: Sample) -> Measurement:
        if sample.cuts is None or not sample.cuts.columns:
            raise MetricUndefined("there is no cut")
        return Measurement(float(sample.cuts.columns[0]))


class Broken(Level):
    """Fails on every sample."""

    id = "broken"

    def measure(self, sample: Sample) -> Measurement:
        raise RuntimeError("no such kernel")


class Offline(Level):
    """Needs weights that cannot be fetched."""

    id, needs_target = "offline", True

    def prepare(self) -> None:
        raise UserError("its weights cannot be fetched")


class Absent(Level):
    """Lacks a package."""

    id = "absent"

    def available(self) -> str | None:
        return "pip install nothing"


METRICS = (Level, Error, Cut, Broken, Offline, Absent)


def bench(data: Path, variants: str, *more: str, metrics: str = "level,error", gt: bool = True) -> int:
    truth = ["--gt", str(data / "gt")] if gt else ["--scale", "2"]
    where = ["--lq", str(data / "lq"), *truth, "--out", str(data / "run"), "--no-mlflow"]
    return run.main([*where, "--variants", variants, "--metrics", metrics, *more])


def command(clips: Path, out: Path, *more: str, variants: str = "bicubic,lanczos") -> list[str]:
    """The arguments of a quick run on the fixture `clips`."""
    made = ["--gt", str(clips), "--degradation", "bicubic", "--scale", "4", "--variants", variants, "--out", str(out)]
    return [*made, "--no-mlflow", "--metrics", "psnr", "--device", "cpu", "--dtype", "float32", *more]


def table(data: Path, name: str) -> list[dict[str, str]]:
    with open(data / "run" / name, newline="") as file:
        return list(csv.DictReader(file))


def header(data: Path, name: str) -> list[str]:
    return (data / "run" / name).read_text().splitlines()[0].split(",")


def items(data: Path) -> dict[tuple[str, str], dict[str, Any]]:
    loaded = [json.loads(path.read_text()) for path in (data / "run" / "items").glob("*.json")]
    return {(item["variant"], item["clip"]): item for item in loaded}


def csvs(data: Path) -> dict[str, bytes]:
    return {name: (data / "run" / name).read_bytes() for name in ("records.csv", "outputs.csv", "summary.csv")}
