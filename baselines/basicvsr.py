"""BasicVSR (Chan et al., CVPR 2021) as a baseline: recurrent super-resolution, trained for fidelity, x4.

Our own implementation with the released weights, loaded strictly. `basicvsr:weights=vimeo_bi` chooses among them.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from baselines.basicvsr_network import CHANNELS, SCALE, BasicVSRNetwork
from baselines.basicvsr_recurrence import SMALLEST, Recurrence
from patchvsr import weights as known_weights
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError, nearest
from patchvsr.upscaler import Clip, Progress, Upscaler, Weights

WEIGHTS = {"reds4": "basicvsr-reds4", "vimeo_bi": "basicvsr-vimeo-bi", "vimeo_bd": "basicvsr-vimeo-bd"}
"""Released weights: trained on REDS (bicubic), on Vimeo-90K (bicubic) and on Vimeo-90K (blurred, BD)."""

OPTIONS = ("weights", "window", "resize")


class BasicVSR(Upscaler):
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
        resize: `bicubic` resizes the x4 result to scales other than 4 (MATLAB's kernel, antialiased when it
            shrinks); an empty string refuses them.
        segment: as in `Recurrence`; it changes memory and time, not the result.
    """

    name = "basicvsr"

    def __init__(
        self, network: BasicVSRNetwork, weights: Weights, window: int = 0, resize: str = "", segment: int = 0
    ) -> None:
        self.network = network
        self.window, self.resize, self.segment = window, resize, segment
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
            "scale": f"{SCALE}, then resized ({self.resize})" if self.resize else str(SCALE),
            "smallest": f"{SMALLEST} pixels on a side, smaller frames padded by their border",
            "dtype": "float32",
            "device": self.network.fusion.weight.device.type,
        }

    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        """One frame `[1, 3, round(H * scale), round(W * scale)]` at a time; `seed` has no effect.

        Raises:
            UserError: the scale is not 4, and nothing was said about resizing.
        """
        return self.upscale_from(0, clip, scale, seed, progress)

    def upscale_from(
        self, first: int, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """As `upscale`; earlier frames are walked where later ones need them, but not upsampled.

        Raises:
            UserError: see `upscale`.
        """
        if scale != SCALE and not self.resize:
            raise UserError(
                f"baseline '{self.name}' upscales by {SCALE} only, not by {scale:g}; use scale {SCALE}, or "
                f"'{self.name}:resize=bicubic' to have its result resized"
            )
        height, width = clip.frames.shape[-2:]
        return self._outputs(first, clip, (round(height * scale), round(width * scale)), progress)

    def _outputs(self, first: int, clip: Clip, size: tuple[int, int], progress: Progress | None) -> Iterator[Tensor]:
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
            for frame in walk.run(tell):
                same = tuple(frame.shape[-2:]) == size
                # Interpolation kernels overshoot at edges; what cannot be shown is clipped.
                yield frame if same else resize_bicubic(frame, *size).clamp(0.0, 1.0)


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
    for option in overrides:
        if option not in OPTIONS:
            raise UserError(f"baseline 'basicvsr' has no option '{option}'{nearest(option, OPTIONS)}")
    chosen = overrides.get("weights", "reds4")
    if chosen not in WEIGHTS:
        raise UserError(f"baseline 'basicvsr' has no weights '{chosen}'{nearest(chosen, WEIGHTS)}")
    resize = overrides.get("resize", "")
    if resize not in ("", "bicubic"):
        raise UserError(f"baseline 'basicvsr' cannot resize by '{resize}'; write resize=bicubic, or leave it out")
    window = _window(overrides.get("window", "0"))
    name = WEIGHTS[chosen]
    network = BasicVSRNetwork.load(known_weights.load(name), name).to(device, torch.float32)
    if device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # A fifth to a half faster there.
    sha256 = known_weights.sha256_of(name) or ""
    return BasicVSR(network, Weights("trained", {name: sha256}), window, resize)


def _window(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"window={text} of baseline 'basicvsr' is no number of frames; write window=0 for the whole "
                        "clip, or window=15")  # fmt: skip
    return int(text)
