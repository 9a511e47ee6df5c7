"""DISTS: structure and texture similarity of VGG16 features."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.metrics.base import MetricUndefined, Sample, inside
from benchmarks.metrics.stream import FrameMetric, Instant
from benchmarks.metrics.vgg import over_strips
from patchvsr import weights

CHANNELS = (3, 64, 128, 256, 512, 512)
C1 = C2 = 1e-6
SMALLEST = 16


class _Moments:
    """Sums over pixels, per channel, of two pictures' features and their products, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | float = 0.0

    def add(self, maps: Tensor) -> None:
        """Take in features `[2, C, h, w]` of some of the pixels."""
        # A channel at a time: in float64 all of them would take gigabytes.
        found = [_sums(x.double(), y.double()) for x, y in zip(*maps, strict=True)]
        self.sums = self.sums + torch.stack(found, dim=1)
        self.count += maps.shape[-2] * maps.shape[-1]

    def similarities(self) -> tuple[Tensor, Tensor]:
        """Texture (of means) and structure (of covariances) similarity of each channel."""
        assert isinstance(self.sums, Tensor)
        x, y, xx, yy, xy = self.sums / self.count
        texture = (2 * x * y + C1) / (x * x + y * y + C1)
        structure = (2 * (xy - x * y) + C2) / ((xx - x * x) + (yy - y * y) + C2)
        return texture, structure


def _sums(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])


def stages(backbone: dict[str, Tensor]) -> list[nn.Module]:
    """VGG16 up to relu5_3 in five stages, max pooling replaced by pyiqa's L2 pooling as DISTS has it."""
    from pyiqa.archs.dists_arch import L2pooling

    made: list[nn.Module] = []
    for stage, pooled in enumerate(CHANNELS[:-1], start=1):
        prefix = f"net.slice{stage}."
        kernels = [name for name in backbone if name.startswith(prefix) and name.endswith(".weight")]
        names = sorted((name.removesuffix(".weight") for name in kernels), key=_index)
        layers: list[nn.Module] = [L2pooling(channels=pooled)] if stage > 1 else []
        for name in names:
            kernel, bias = backbone[f"{name}.weight"], backbone[f"{name}.bias"]
            layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
            layer.load_state_dict({"weight": kernel, "bias": bias})
            layers += [layer, nn.ReLU(inplace=True)]
        made.append(nn.Sequential(*layers).eval().requires_grad_(False))
    return made


def _index(name: str) -> int:
    return int(name.rpartition(".")[2])


class Dists(FrameMetric):
    """Deep image structure and texture similarity, a frame at a time at full size; arguments as in `FrameMetric`."""

    id = "dists"
    direction = "lower"
    colour = "RGB scaled to 0..1 from 8 bit, then by ImageNet's mean and deviation"
    aggregation = "moments over all pixels of a frame, weighted over channels, mean over frames"
    source = "Ding et al. 2020, DISTS, VGG16 with L2 pooling, no resizing (the authors' script shrinks to 256 pixels)"
    needs_target = True
    packages = ("pyiqa",)
    fetches = ("dists", "lpips-vgg")
    _parts: tuple[list[nn.Module], dict[str, Tensor]] | None = None

    def prepare(self) -> None:
        """Load the network."""
        self._loaded()

    def _loaded(self) -> tuple[list[nn.Module], dict[str, Tensor]]:
        if self._parts is None:
            self._parts = stages(weights.load("lpips-vgg")), weights.load("dists")
        return self._parts

    def check(self, sample: Sample) -> None:
        """Frames must be large enough for the last stage."""
        if min(sample.output.shape[-2:]) - 2 * self.crop < SMALLEST:
            raise MetricUndefined(f"dists needs at least {SMALLEST} pixels a side, after a crop of {self.crop}")

    def value(self, instant: Instant) -> float:
        """Compare output and ground truth."""
        network, factors = self._loaded()
        sides: Any = ("output", "target")
        pair = torch.stack([inside(instant.side(side), self.crop).float() / 255 for side in sides])
        moments = [_Moments() for _ in CHANNELS]
        moments[0].add(pair)
        mean, deviation = (torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        over_strips(network, (pair - mean) / deviation, lambda stage, maps: moments[stage + 1].add(maps))
        found = [each.similarities() for each in moments]
        texture, structure = (torch.cat(parts) for parts in zip(*found, strict=True))
        alpha, beta = (factors[name].double().flatten() for name in ("alpha", "beta"))
        return float(1 - (alpha @ texture + beta @ structure) / (alpha.sum() + beta.sum()))
