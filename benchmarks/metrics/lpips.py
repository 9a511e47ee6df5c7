"""LPIPS with AlexNet, version 0.1, weights from the cache."""
from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.metrics.base import (
    Measurement,
    Metric,
    MetricUndefined,
    Sample,
    inside,
    installed,
    mean_over_frames,
    missing,
    need_target,
)
from patchvsr import weights
from patchvsr.errors import UserError

SMALLEST = 31
"""Pixels: below this AlexNet's second pooling has nothing left to pool."""


def load_lpips(name: str = "lpips-alex") -> nn.Module:
    """The `lpips` package's network on the CPU, every weight from the checked file `name`, frozen, in eval mode.

    Raises:
        UserError: the weights cannot be had, or are not those of this network.
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


def lpips_distance(net: nn.Module, first: Tensor, second: Tensor) -> float:
    """LPIPS of two uint8 frames `[3, H, W]`.

    The network's own forward keeps the features of all layers at once (1.6 GB at 4K); here each layer's are dropped
    as soon as they are compared.
    """
    from lpips import normalize_tensor

    parts: Any = net
    ours, theirs = (parts.scaling_layer(frame.float()[None] / 127.5 - 1) for frame in (first, second))
    total = 0.0
    for slice_index in range(parts.L):
        layer = getattr(parts.net, f"slice{slice_index + 1}")
        ours, theirs = layer(ours), layer(theirs)
        difference = normalize_tensor(ours).sub_(normalize_tensor(theirs)).square_()
        total += float(parts.lins[slice_index](difference).mean(dtype=torch.float64))
    return total


class LpipsAlex(Metric):
    """Learned perceptual distance (AlexNet, v0.1) on 8-bit RGB, a frame at a time, in float32 on the CPU.

    Args:
        crop: pixels left out along each edge.
    """

    id = "lpips"
    direction = "lower"
    colour = "RGB scaled to -1..1 from 8 bit"
    aggregation = "mean over pixels of each layer, sum over layers, mean over frames"
    source = "Zhang et al. 2018, LPIPS v0.1, AlexNet"
    needs_target = True
    fetches = ("lpips-alex",)

    def __init__(self, crop: int = 0) -> None:
        self.crop = crop
        self._net: nn.Module | None = None

    @property
    def backend(self) -> str:
        """The lpips package, in float32."""
        return f"{installed('lpips')} float32"

    def available(self) -> str | None:
        """None, or how to install lpips; its weights are fetched on first use."""
        return missing("lpips")

    def prepare(self) -> None:
        """Fetch the weights and load the network."""
        super().prepare()
        self._loaded()

    def _loaded(self) -> nn.Module:
        if self._net is None:
            self._net = load_lpips()
        return self._net

    def measure(self, sample: Sample) -> Measurement:
        """Compare output and ground truth frame by frame."""
        target = need_target(sample, self.id)
        if min(sample.output.shape[-2:]) - 2 * self.crop < SMALLEST:
            raise MetricUndefined(f"lpips needs at least {SMALLEST} pixels a side, after a crop of {self.crop}")
        net = self._loaded()
        with torch.inference_mode():
            values = [
                lpips_distance(net, inside(output, self.crop), inside(truth, self.crop))
                for output, truth in zip(sample.output, target, strict=True)
            ]
        return mean_over_frames(values)
