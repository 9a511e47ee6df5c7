"""LPIPS version 0.1 with AlexNet and with VGG16, and tLP, which compares how both change over time."""
from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.metrics.base import MetricUndefined, Sample, inside, installed
from benchmarks.metrics.stream import FrameMetric, Instant, PairMetric, Side
from benchmarks.metrics.vgg import over_strips
from patchvsr import weights
from patchvsr.errors import UserError

SMALLEST = 31
"""Pixels: below this AlexNet's second pooling has nothing left to pool."""
_EPSILON = 1e-10
"""Of the lpips package, beside the norm of a feature vector."""

_SIDES: tuple[Side, Side] = ("output", "target")

Features = list[Tensor]
"""Unit-length feature maps `[1, C, h, w]` of five layers."""


def load_lpips(name: str) -> nn.Module:
    """The `lpips` package's network on the CPU, every weight from the checked file `name`, frozen, in eval mode.

    Args:
        name: `lpips-alex` or `lpips-vgg`.

    Raises:
        UserError: the weights are absent, damaged, or not those of this network.
    """
    import lpips

    state = weights.load(name)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # The trunk is made without weights on purpose, which torchvision's old argument only warns of; making it
        # draws random numbers that the caller's generator must not lose.
        warnings.simplefilter("ignore", UserWarning)
        net: nn.Module = lpips.LPIPS(
            pretrained=False, pnet_rand=True, net=name.removeprefix("lpips-"), version="0.1", verbose=False
        )
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"weights '{name}' do not fit the network of {installed('lpips')}: {reason}") from error
    return net.eval().requires_grad_(False)


class _Loaded:
    """A network that is loaded when it is first needed, once for all metrics that use it."""

    _nets: dict[tuple[str, str | None], nn.Module] = {}

    @classmethod
    def net(cls, name: str) -> Any:
        key = name, weights.sha256_of(name)
        if key not in cls._nets:
            cls._nets[key] = load_lpips(name)
        return cls._nets[key]


def scaled(net: Any, frame: Tensor) -> Tensor:
    """uint8 `[3, H, W]` as the network's input `[1, 3, H, W]`."""
    return net.scaling_layer(frame.float()[None] / 127.5 - 1)


def unit(maps: Tensor) -> Tensor:
    """Feature vectors `[1, C, h, w]` divided in place by their length over channels."""
    return maps.div_(torch.linalg.vector_norm(maps, dim=1, keepdim=True).add_(_EPSILON))


def features(net: Any, frame: Tensor) -> Features:
    """The network's five layers for a uint8 frame `[3, H, W]`, each feature vector of unit length."""
    maps, found = scaled(net, frame), []
    for index in range(net.L):
        maps = getattr(net.net, f"slice{index + 1}")(maps)
        found.append(unit(maps.clone()))
    return found


def weighted(net: Any, layer: int, difference: Tensor) -> Tensor:
    """Sums over pixels of squared differences `[1, C, h, w]`, weighted over channels by the layer's head: a scalar."""
    per_channel = difference.square_().sum(dim=(0, 2, 3))
    return (per_channel.double() * net.lins[layer].model[1].weight.flatten().double()).sum()


def distance(net: Any, first: Features, second: Features) -> float:
    """LPIPS of two frames given by their features: mean over pixels of each layer, sum over layers."""
    layers = enumerate(zip(first, second, strict=True))
    return float(sum(weighted(net, i, a - b) / (a.shape[-2] * a.shape[-1]) for i, (a, b) in layers))


class _Lpips(FrameMetric):
    direction = "lower"
    colour = "RGB scaled to -1..1 from 8 bit"
    packages = ("lpips",)

    @property
    def backend(self) -> str:
        """The lpips package's network, in float32."""
        return f"{installed('lpips')} float32"

    @property
    def _net(self) -> Any:
        return _Loaded.net(self.fetches[0])

    def prepare(self) -> None:
        """Load the network."""
        assert self._net is not None

    def check(self, sample: Sample) -> None:
        """Frames must be large enough for the last layer."""
        if min(sample.output.shape[-2:]) - 2 * self.crop < SMALLEST:
            raise MetricUndefined(f"{self.id} needs at least {SMALLEST} pixels a side, after a crop of {self.crop}")

    def _features(self, instant: Instant, side: Side) -> Features:
        def make() -> Features:
            return features(self._net, inside(instant.side(side), self.crop))

        return instant.shared(f"lpips-alex {side} {self.crop}", make)


class LpipsAlex(_Lpips):
    """Learned perceptual distance with AlexNet; its features are shared with tLP. Arguments as in `FrameMetric`."""

    id = "lpips"
    aggregation = "mean over pixels of each layer, sum over layers, mean over frames"
    source = "Zhang et al. 2018, LPIPS v0.1, AlexNet"
    needs_target = True
    fetches = ("lpips-alex",)

    def value(self, instant: Instant) -> float:
        """Compare output and ground truth."""
        return distance(self._net, self._features(instant, "output"), self._features(instant, "target"))


class LpipsVgg(_Lpips):
    """Learned perceptual distance with VGG16, by strips so that a 4K frame fits; arguments as in `FrameMetric`."""

    id = "lpips_vgg"
    aggregation = LpipsAlex.aggregation
    source = "Zhang et al. 2018, LPIPS v0.1, VGG16"
    needs_target = True
    fetches = ("lpips-vgg",)

    def value(self, instant: Instant) -> float:
        """Compare output and ground truth strip by strip: exact, since strips overlap by what a feature sees."""
        net = self._net
        stages = [getattr(net.net, f"slice{index + 1}") for index in range(net.L)]
        pair = torch.cat([scaled(net, inside(instant.side(side), self.crop)) for side in ("output", "target")])
        sums, counts = [0.0] * net.L, [0] * net.L

        def take(layer: int, maps: Tensor) -> None:
            ours, theirs = (unit(picture[None].clone()) for picture in maps)
            sums[layer] += float(weighted(net, layer, ours.sub_(theirs)))
            counts[layer] += maps.shape[-2] * maps.shape[-1]

        over_strips(stages, pair, take)
        return sum(total / count for total, count in zip(sums, counts, strict=True))


class TemporalLpips(PairMetric, _Lpips):
    """tLP: by how much the output changes more, or less, from frame to frame than the ground truth does, x 100."""

    id = "tlp"
    unit = "x 1e-2"
    aggregation = "absolute difference of the two LPIPS x 100, mean over frames"
    source = (
        "Chu et al. 2020 (TecoGAN): |LPIPS(out_t, out_t-1) - LPIPS(gt_t, gt_t-1)|, LPIPS v0.1 AlexNet, whole frames "
        "(their script crops to multiples of 32)"
    )
    needs_target = True
    fetches = ("lpips-alex",)
    keeps = frozenset({"lpips-alex"})

    def value(self, instant: Instant) -> float:
        """Compare the changes since the frame before."""
        assert instant.before is not None
        ours, theirs = (self._change(instant, instant.before, side) for side in _SIDES)
        return 100 * abs(ours - theirs)

    def _change(self, instant: Instant, before: Instant, side: Side) -> float:
        return distance(self._net, self._features(instant, side), self._features(before, side))
