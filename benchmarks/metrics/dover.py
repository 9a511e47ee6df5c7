"""DOVER's three readings, by the authors' own code: it is not on PyPI, so the user's checkout of it is used."""
from __future__ import annotations

import functools
import importlib
import os
import sys
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from benchmarks.metrics.base import Measurement, MetricUndefined, Sample
from benchmarks.metrics.stream import Instant, Scoring, StreamedMetric
from patchvsr.errors import UserError
from patchvsr.weights import sha256_file

VARIABLE = "PATCHVSR_DOVER"
FILES = ("dover.yml", "pretrained_weights/DOVER.pth", "dover/models/__init__.py")
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def checkout() -> Path | None:
    """The folder that `PATCHVSR_DOVER` names, if it holds DOVER's code, configuration and weights."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named)
    return folder if all((folder / file).is_file() for file in FILES) else None


class Evaluator:
    """DOVER's network and its way of sampling frames.

    Args:
        folder: of the checkout.

    Raises:
        UserError: its code cannot be imported, or its weights do not fit.
    """

    def __init__(self, folder: Path) -> None:
        options = yaml.safe_load((folder / "dover.yml").read_text(encoding="utf-8"))
        sys.path.insert(0, str(folder))
        try:
            network, data = (importlib.import_module(f"dover.{part}") for part in ("models", "datasets.dover_datasets"))
            self.model = network.DOVER(**options["model"]["args"])
            self.model.load_state_dict(torch.load(folder / FILES[1], map_location="cpu", weights_only=True))
        except (ImportError, KeyError, RuntimeError) as error:
            raise UserError(f"DOVER in {folder} cannot be used: {error}; install what its README asks for") from error
        finally:
            sys.path.remove(str(folder))
        self.model.eval()
        self.views: dict[str, dict[str, Any]] = options["data"]["val-l1080p"]["args"]["sample_types"]
        self.one_view: Callable[..., Tensor] = data.get_single_view
        self.samplers = {name: self._sampler(data, view) for name, view in self.views.items()}

    @staticmethod
    def _sampler(data: Any, view: dict[str, Any]) -> Any:
        clips, interval = view["num_clips"], view["frame_interval"]
        if "t_frag" not in view:
            return data.UnifiedFrameSampler(view["clip_len"], clips, interval)
        return data.UnifiedFrameSampler(view["clip_len"] // view["t_frag"], view["t_frag"], interval, clips)

    def indices(self, count: int) -> dict[str, np.ndarray]:
        """Which of `count` frames each view takes."""
        with _seeded():
            return {name: np.asarray(sampler(count, False)) for name, sampler in self.samplers.items()}

    def readings(self, frames: dict[str, Tensor]) -> tuple[float, float]:
        """Aesthetic and technical readings of each view's frames, float `[3, T, H, W]`, 0..255."""
        mean, deviation = (torch.tensor(values).reshape(3, 1, 1, 1) for values in (MEAN, DEVIATION))
        with _seeded():  # fragments are cut at random places
            views = {name: self.one_view(clip, name, **self.views[name]) for name, clip in frames.items()}
        shaped = {}
        for name, view in views.items():
            clips = self.views[name].get("num_clips", 1)
            view = (view - mean) / deviation
            shaped[name] = view.reshape(3, clips, -1, *view.shape[2:]).transpose(0, 1)
        # DOVER answers in the order of its views; that order differs between its releases, and swapping is easy.
        found = {name: float(reading.mean()) for name, reading in zip(shaped, self.model(shaped), strict=True)}
        return found["aesthetic"], found["technical"]


class _seeded:
    """Random numbers from seed 0 within the block, the caller's own untouched."""

    def __enter__(self) -> None:
        self._numpy, self._torch = np.random.get_state(), torch.get_rng_state()
        np.random.seed(0)
        torch.manual_seed(0)

    def __exit__(self, *_: object) -> None:
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)


@functools.cache
def _evaluator(folder: Path) -> Evaluator:
    return Evaluator(folder)


@functools.cache
def _weights_hash(path: Path) -> str:
    return sha256_file(path)[:12]


class _DoverScoring(Scoring):
    def __init__(self, evaluator: Evaluator, count: int, reading: Callable[[float, float], float]) -> None:
        self._evaluator, self._reading = evaluator, reading
        self._indices = evaluator.indices(count)
        self._wanted = {int(index) for taken in self._indices.values() for index in taken}
        self._frames: dict[int, Tensor] = {}

    def add(self, instant: Instant) -> None:
        if instant.index in self._wanted:
            self._frames[instant.index] = instant.output

    def result(self) -> Measurement:
        clips = {
            name: torch.stack([self._frames[int(index)].float() for index in taken], dim=1)
            for name, taken in self._indices.items()
        }
        return Measurement(self._reading(*self._evaluator.readings(clips)))


class _Dover(StreamedMetric):
    frames = "those that DOVER's samplers take (val-l1080p)"
    aggregation = "one value per clip"

    @property
    def backend(self) -> str:
        """The authors' code with its weights."""
        folder = checkout()
        return f"DOVER with weights {'absent' if folder is None else _weights_hash(folder / FILES[1])}"

    def available(self) -> str | None:
        """None where the user's checkout of DOVER is known, else what makes it so."""
        if checkout() is not None:
            return None
        return (
            f"export {VARIABLE}=DIR (a checkout of github.com/VQAssessment/DOVER with "
            "pretrained_weights/DOVER.pth in it)"
        )

    def begin(self, sample: Sample) -> Scoring:
        """Choose the frames.

        Raises:
            UserError: DOVER cannot be loaded.
        """
        folder = checkout()
        if folder is None:
            raise MetricUndefined(f"{self.id}: {self.available()}")
        return _DoverScoring(_evaluator(folder), len(sample.output), self.read)

    @staticmethod
    @abstractmethod
    def read(aesthetic: float, technical: float) -> float:
        """One number of DOVER's two raw readings."""


def _normal(aesthetic: float, technical: float) -> tuple[float, float]:
    """DOVER's published shift and scale of each reading."""
    return (aesthetic + 0.08285) / 0.03774, (technical - 0.1107) / 0.07355


class DoverFused(_Dover):
    """The overall score, 0..1."""

    id = "dover_fused"
    source = "Wu et al. 2023, DOVER, sigmoid of 0.6104 technical + 0.3896 aesthetic, each normalised; 0..1, not x100"

    @staticmethod
    def read(aesthetic: float, technical: float) -> float:
        """Weighted sum of both, through a sigmoid."""
        beauty, craft = _normal(aesthetic, technical)
        return float(1 / (1 + np.exp(-(0.6104 * craft + 0.3896 * beauty))))


class DoverTechnical(_Dover):
    """The technical reading alone, as the network gives it."""

    id = "dover_technical"
    source = "Wu et al. 2023, DOVER, raw technical reading"

    @staticmethod
    def read(aesthetic: float, technical: float) -> float:
        """The technical one."""
        return technical


class DoverAesthetic(_Dover):
    """The aesthetic reading alone, as the network gives it."""

    id = "dover_aesthetic"
    source = "Wu et al. 2023, DOVER, raw aesthetic reading"

    @staticmethod
    def read(aesthetic: float, technical: float) -> float:
        """The aesthetic one."""
        return aesthetic
