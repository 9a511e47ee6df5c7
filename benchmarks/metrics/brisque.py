"""BRISQUE by pyiqa, with the support vectors of the authors' release."""
from __future__ import annotations

from importlib import import_module

from torch import Tensor

from benchmarks.metrics.base import MetricUndefined, Sample, inside
from benchmarks.metrics.colour import as_float
from benchmarks.metrics.stream import FrameMetric, Instant
from patchvsr import weights

SMALLEST = 16


class Brisque(FrameMetric):
    """Blind spatial quality evaluator, of the output alone, a frame at a time; arguments as in `FrameMetric`."""

    id = "brisque"
    direction = "lower"
    colour = "grey BT.601 full range 0..255"
    source = "Mittal et al. 2012, BRISQUE, the release's support vectors and feature ranges"
    packages = ("pyiqa",)
    fetches = ("brisque",)
    _model: dict[str, Tensor] | None = None

    def prepare(self) -> None:
        """Import pyiqa and load the support vectors."""
        import_module("pyiqa.archs.brisque_arch")
        self._loaded()

    def _loaded(self) -> dict[str, Tensor]:
        if self._model is None:
            self._model = weights.load("brisque")
        return self._model

    def check(self, sample: Sample) -> None:
        """Frames must be large enough for the window at half size."""
        if min(sample.output.shape[-2:]) - 2 * self.crop < SMALLEST:
            raise MetricUndefined(f"brisque needs at least {SMALLEST} pixels a side, after a crop of {self.crop}")

    def value(self, instant: Instant) -> float:
        """Score the output's frame."""
        from pyiqa.archs.brisque_arch import brisque

        model = self._loaded()
        score = brisque(
            as_float(inside(instant.output, self.crop)).double(),
            sv=model["sv"],
            sv_coef=model["sv_coef"].reshape(-1, 1),
            gamma=float(model["gamma"]),
            rho=float(model["rho"]),
        )
        return float(score)
