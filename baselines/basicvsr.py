"""BasicVSR (Chan et al., CVPR 2021) as a baseline: recurrent super-resolution, trained for fidelity, x4.

Our own implementation with the released weights, loaded strictly. `basicvsr:weights=vimeo_bi` chooses among them.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from baselines.basicvsr_network import CHANNELS, BasicVSRNetwork
from baselines.basicvsr_recurrence import SMALLEST, Recurrence
from baselines.fixed_scale import FixedScale, resize_option
from baselines.options import Options
from patchvsr import weights as known_weights
from patchvsr.upscaler import Clip, Progress, Upscaler, Weights

WEIGHTS = {"reds4": "basicvsr-reds4", "vimeo_bi": "basicvsr-vimeo-bi", "vimeo_bd": "basicvsr-vimeo-bd"}
"""Released weights: trained on REDS (bicubic), on Vimeo-90K (bicubic) and on Vimeo-90K (blurred, BD)."""


class BasicVSR(FixedScale):
    """BasicVSR with SPyNet, in float32, over whole clips in both directions.

    Any clip length and any frame size are taken; frames under 64 pixels on a side are padded by repeating their border,
    and the result is cut. One frame is upsampled at a time, which decides the peak of the memory: several tensors of 64
    channels at the output's size. Features of other frames add `baselines.basicvsr_recurrence`'s bound to that.

    Args:
        network: the network on its device, float32.
        weights: what its numbers rest on.
        window: 0 walks the clip as a whole. N walks each N frames as if they were a clip: memory no longer grows with
            the clip, and the output at a frame sees nothing beyond its window, so it loses quality there (most at the
            window's ends) and may jump from one window to the next.
        resize: as in `FixedScale`.
        segment: as in `Recurrence`; it changes memory and time, not the result.
    """

    name = "basicvsr"

    def __init__(
        self, network: BasicVSRNetwork, weights: Weights, window: int = 0, resize: str = "", segment: int = 0
    ) -> None:
        super().__init__(resize)
        self.network = network
        self.window, self.segment = window, segment
        self._weights = weights

    @property
    def weights(self) -> Weights:
        """The released weights in use, SPyNet's included."""
        return self._weights

    def describe(self) -> dict[str, Any]:
        """The network, its weights and how the clip is walked, scaled and padded."""
        return {
            "name": self.name,
            "network": f"BasicVSR, {CHANNELS} channels, {self.network.blocks} blocks per direction",
            "weights": {"status": self.weights.status, **self.weights.sha256},
            "window": self.window or "whole clip",
            "scale": self.scaling,
            "smallest": f"{SMALLEST} pixels on a side, smaller frames padded by their border",
            "dtype": "float32",
            "device": self.network.fusion.weight.device.type,
        }

    def outputs(self, first: int, clip: Clip, progress: Progress | None, seed: int) -> Iterator[Tensor]:
        """See `FixedScale`; earlier frames are walked where later ones need them, but not upsampled."""
        count = len(clip.frames)
        window = self.window or count
        if first >= count:
            return
        for start in range(first - first % window, count, window):
            stop = min(start + window, count)

            def tell(share: float, start: int = start, stop: int = stop) -> None:
                if progress is not None:
                    progress((start + share * (stop - start)) / count)

            walk = Recurrence(self.network, clip.frames, start, stop, max(first, start), self.segment)
            yield from walk.run(tell)


def basicvsr(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `basicvsr`; it runs in float32 whatever the dtype, since features run through hundreds of frames.

    Args:
        overrides: `weights` (reds4, vimeo_bi or vimeo_bd; default reds4), `window` (a whole number of frames, 0 for
            the whole clip, which is the default) and `resize` (bicubic); see `BasicVSR`.
        device: where it runs.
        dtype: has no effect.

    Raises:
        UserError: an unknown option or value, or weights that do not fit.
        WeightsAbsent: the weights are not in the cache.
    """
    options = Options("basicvsr", overrides, ("weights", "window", "resize"))
    name = WEIGHTS[options.choice("weights", WEIGHTS, "reds4")]
    window, resize = options.whole("window", 0, unit="frames"), resize_option(options)
    network = BasicVSRNetwork.load(known_weights.load(name), name).to(device, torch.float32)
    if device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # A fifth to a half faster there.
    sha256 = known_weights.sha256_of(name) or ""
    return BasicVSR(network, Weights("trained", {name: sha256}), window, resize)

