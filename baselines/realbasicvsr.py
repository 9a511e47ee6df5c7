"""RealBasicVSR (Chan et al., CVPR 2022) as a baseline: recurrent super-resolution of real-world videos, x4.

Our own implementation. The released weights cannot be downloaded from an index, so the user brings them: once, by
`patchvsr weights fetch realbasicvsr --from FILE`, or any checkpoint of this network by `realbasicvsr:weights=FILE`.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.basicvsr import BasicVSR
from baselines.basicvsr_network import CHANNELS
from baselines.basicvsr_recurrence import SMALLEST
from baselines.fixed_scale import resize_option
from baselines.options import Options
from baselines.realbasicvsr_network import MOST_PASSES, WHOLE_RANGE, Cleaned, RealBasicVSRNetwork
from patchvsr import weights as known_weights
from patchvsr.upscaler import Clip, Progress, Upscaler, Weights
from patchvsr.weights.realbasicvsr import convert
from patchvsr.weights.user import load_own

NAME = "realbasicvsr"

MEASURING = 0.125
"""About what measuring a clip takes of all the work on it, for progress."""


class RealBasicVSR(BasicVSR):
    """RealBasicVSR with SPyNet, in float32, over whole clips in both directions.

    Any clip length and any frame size are taken. Frames are cleaned as they are; where they are under 64 pixels on a
    side, what is padded for BasicVSR is the cleaned frame. Memory is that of `BasicVSR`, and the cleaned frames of one
    segment more.

    Args:
        network: the network on its device, float32.
        weights: what its numbers rest on.
        window: as in `BasicVSR`; each window also decides for itself how often it is cleaned.
        resize: as in `FixedScale`.
        refine: frames are cleaned again while the mean absolute residue of the last pass is at least `refine` / 255,
            three times at most; see `Cleaned`. At 255, with which the authors train and with which their inference
            runs, they are cleaned once. MMagic's configuration of the released network suggests 5 for tests.
        segment: as in `Recurrence`; it changes memory and time, not the result.
    """

    name = NAME

    def __init__(
        self,
        network: RealBasicVSRNetwork,
        weights: Weights,
        window: int = 0,
        resize: str = "",
        refine: float = WHOLE_RANGE,
        segment: int = 0,
    ) -> None:
        super().__init__(network.basicvsr, weights, window, resize, segment)
        self.generator, self.refine = network, refine

    def describe(self) -> dict[str, Any]:
        """The network, its weights and how the clip is cleaned, walked, scaled and padded."""
        once = self.refine >= WHOLE_RANGE
        until = f"until the mean absolute residue is below {self.refine:g}/255, {MOST_PASSES} times at most"
        return super().describe() | {
            "network": f"RealBasicVSR, {CHANNELS} channels, {self.generator.cleaning_blocks} blocks for cleaning, "
            f"{self.generator.blocks} per direction",
            "cleaning": "once" if once else until,
            "smallest": f"{SMALLEST} pixels on a side, smaller frames cleaned, then padded by their border",
        }

    def outputs(self, first: int, clip: Clip, progress: Progress | None, seed: int) -> Iterator[Tensor]:
        """See `BasicVSR`; how often frames are cleaned rests on all of their walk, whatever the first one put out."""
        share = MEASURING if self.refine < WHOLE_RANGE else 0.0
        done = {"measured": 0.0, "walked": 0.0}

        def tell(part: str, finished: float) -> None:
            done[part] = finished
            if progress is not None:
                progress(share * done["measured"] + (1 - share) * done["walked"])

        cleaned = Cleaned(self.generator, clip.frames, self.window, self.refine, lambda part: tell("measured", part))
        return super().outputs(first, replace(clip, frames=cleaned), lambda part: tell("walked", part), seed)


def realbasicvsr(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `realbasicvsr`; it runs in float32 whatever the dtype, since features run through hundreds of frames.

    Args:
        overrides: `weights` (the path of a checkpoint, .pth or .safetensors; by default the released weights in the
            cache), `window` (a whole number of frames, 0 for the whole clip, which is the default), `resize` (bicubic)
            and `refine` (a number above 0, default 255); see `RealBasicVSR`.
        device: where it runs.
        dtype: has no effect.

    Raises:
        UserError: an unknown option or value, or weights that cannot be read or do not fit.
        WeightsAbsent: the released weights are not in the cache.
    """
    options = Options(NAME, overrides, ("weights", "window", "resize", "refine"))
    window, resize = options.whole("window", 0, unit="frames"), resize_option(options)
    refine = options.number("refine", WHOLE_RANGE)
    network, sha256 = _loaded(options.text("weights"))
    network.to(device, torch.float32)
    if device.type == "cpu":
        network.to(memory_format=torch.channels_last)
    return RealBasicVSR(network, Weights("trained", sha256), window, resize, refine)


def _loaded(path: str) -> tuple[RealBasicVSRNetwork, dict[str, str]]:
    """The network with the released weights or those of a file, and the hash by which records quote them."""
    if not path:
        network = RealBasicVSRNetwork.load(known_weights.load(NAME), NAME)
        return network, {NAME: known_weights.sha256_of(NAME) or ""}
    source = Path(path)
    state, sha256 = load_own(source, NAME, _converted)
    return RealBasicVSRNetwork.load(state, source.name), {source.name: sha256}


def _converted(path: Path) -> known_weights.State:
    """As `convert`, refused before it is kept if it is of another network."""
    state = convert(path)
    RealBasicVSRNetwork.load(dict(state), path.name)
    return state
