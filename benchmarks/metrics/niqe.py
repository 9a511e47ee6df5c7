"""NIQE by pyiqa, with the parameters of the authors' release."""
from __future__ import annotations

from importlib import import_module

from torch import Tensor

from benchmarks.metrics.base import MetricUndefined, Sample, inside
from benchmarks.metrics.colour import as_float
from benchmarks.metrics.stream import FrameMetric, Instant
from patchvsr import weights

BLOCK = 96


class Niqe(FrameMetric):
    """Natural image quality evaluator, of the output alone, a frame at a time; arguments as in `FrameMetric`."""

    id = "niqe"
    direction = "lower"
    colour = "grey BT.601 full range, rounded to 8 bit"
    source = "Mittal et al. 2013, NIQE; blocks 96x96, incomplete ones left out"
    packages = ("pyiqa",)
    fetches = ("niqe",)
    _parameters: dict[str, Tensor] | None = None

    def prepare(self) -> None:
        """Import pyiqa and load the parameters."""
        import_module("pyiqa.archs.niqe_arch")
        self._loaded()

    def _loaded(self) -> dict[str, Tensor]:
        if self._parameters is None:
            self._parameters = weights.load("niqe")
        return self._parameters

    def check(self, sample: Sample) -> None:
        """Frames must hold two blocks, or there is no covariance."""
        height, width = (side - 2 * self.crop for side in sample.output.shape[-2:])
        if (height // BLOCK) * (width // BLOCK) < 2:
            raise MetricUndefined(f"niqe needs frames of at least two blocks of {BLOCK}x{BLOCK}, got {width}x{height}")

    def value(self, instant: Instant) -> float:
        """Score the output's frame."""
        from pyiqa.archs.niqe_arch import calculate_niqe

        parameters = self._loaded()
        score = calculate_niqe(
            as_float(inside(instant.output, self.crop)),
            mu_pris_param=parameters["mu_pris_param"].double().reshape(1, -1),
            cov_pris_param=parameters["cov_pris_param"].double().reshape(1, 36, 36),
        )
        return float(score)
