"""The network of RealBasicVSR (Chan et al., "Investigating Tradeoffs in Real-World Video Super-Resolution", CVPR 2022).

Frames are cleaned one by one, up to three times over, and then upscaled by BasicVSR. `Cleaned` is a clip whose frames
are cleaned when they are read, so that `baselines.basicvsr_recurrence` walks it as it walks any other.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from baselines.basicvsr_network import CHANNELS, BasicVSRNetwork, Trunk
from baselines.networks import computed, conv, filled
from patchvsr.errors import UserError
from patchvsr.upscaler import Frames
from patchvsr.weights import State

BLOCKS = 20
CLEANING_BLOCKS = 20
MOST_PASSES = 3
WHOLE_RANGE = 255.0
"""As the value of `refine`: frames are cleaned once, as no usable network changes them by 1 of 0..1 on average."""


class RealBasicVSRNetwork(nn.Module):
    """The cleaning of frames, and BasicVSR; parameters are named as in MMEditing for the one, in BasicSR for the other.

    Args:
        blocks: residual blocks per direction of BasicVSR. The released weights have 20.
        cleaning_blocks: residual blocks of the cleaning. The released weights have 20.
    """

    def __init__(self, blocks: int = BLOCKS, cleaning_blocks: int = CLEANING_BLOCKS) -> None:
        super().__init__()
        self.blocks, self.cleaning_blocks = blocks, cleaning_blocks
        self.image_cleaning = nn.Sequential(Trunk(cleaning_blocks, 3), conv(CHANNELS, 3))
        self.basicvsr = BasicVSRNetwork(blocks)

    @classmethod
    def load(cls, state: State, source: str) -> RealBasicVSRNetwork:
        """The network with the tensors of a state dict; see `baselines.networks.filled`.

        Raises:
            UserError: they are of another network or another depth, or a tensor is missing, left over or of another
                shape.
        """
        expected = {
            "image_cleaning.0": CLEANING_BLOCKS,
            "basicvsr.backward_trunk": BLOCKS,
            "basicvsr.forward_trunk": BLOCKS,
        }
        blocks = {part: _blocks(state, part) for part in expected}
        if not any(blocks.values()):
            raise UserError(f"weights '{source}' are not those of RealBasicVSR: they hold neither its cleaning "
                            "(image_cleaning) nor its BasicVSR; give a checkpoint of that network")  # fmt: skip
        if wrong := [f"{found} in {part}" for part, found in blocks.items() if found != expected[part]]:
            raise UserError(f"weights '{source}' do not fit RealBasicVSR with {CLEANING_BLOCKS} residual blocks for "
                            f"cleaning and {BLOCKS} per direction: they have {', '.join(wrong)}")  # fmt: skip
        with torch.device("meta"):
            network = cls()
        return filled(network, state, source, "RealBasicVSR")

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def residue(self, frame: Tensor) -> Tensor:
        """What one pass of cleaning adds to frames `[B, 3, H, W]`, RGB, 0..1; the same shape."""
        residue: Tensor = self.image_cleaning(frame)
        return residue


class Cleaned:
    """A clip's frames as BasicVSR gets them: cleaned when they are read, one at a time, and not clipped.

    As in the authors' code, the frames of a walk are cleaned once, and again until the mean absolute residue of the
    last pass is below `refine` / 255, three times at most. That mean is over all pixels and channels of all frames of
    the walk, so it is taken before the first frame can be given out: the clip is read once for each pass but the third
    (here it is added up in float64, there in float32, so they may differ on a mean that equals the threshold to the
    seventh digit). From 255 on nothing is measured.

    The frames that were read last are kept, since the walk over a segment reads it twice in a row.

    Args:
        network: on the device that is to compute, float32.
        frames: `[T, 3, H, W]`; no slice that is read may cross from one window to the next.
        window: frames of a walk; 0 for the whole clip.
        refine: the threshold, in 8-bit steps.
        measured: told the share of the clip that was measured, 0..1.
    """

    def __init__(
        self,
        network: RealBasicVSRNetwork,
        frames: Frames,
        window: int = 0,
        refine: float = WHOLE_RANGE,
        measured: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.network, self.frames, self.refine, self.measured = network, frames, refine, measured
        self.window = window or len(frames)
        self._passes: dict[int, int] = {}
        self._kept: dict[int, Tensor] = {}

    @property
    def shape(self) -> Sequence[int]:
        """T, 3, H, W."""
        return self.frames.shape

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: slice) -> Tensor:
        start, stop, _ = index.indices(len(self))
        if start >= stop:
            return self.frames[start:stop].to(self.network.device, torch.float32)
        missing = [number for number in range(start, stop) if number not in self._kept]
        found = {number: self._kept[number] for number in range(start, stop) if number in self._kept}
        if missing:
            passes = self.passes(start)
            originals = self.frames[missing[0] : missing[-1] + 1].split(1)
            for number, original in enumerate(originals, missing[0]):
                if number not in found:
                    # Layouts decide the last bits of what convolutions make of a frame, so that all have one.
                    found[number] = self._cleaned(original, passes)[0].contiguous()
        self._kept = found
        return torch.cat([found[number] for number in range(start, stop)])

    def passes(self, index: int) -> int:
        """How often the frames of the walk that frame `index` belongs to are cleaned."""
        window = index // self.window
        if window not in self._passes:
            self._passes[window] = self._decided(window * self.window)
        return self._passes[window]

    def _decided(self, start: int) -> int:
        if self.refine >= WHOLE_RANGE:
            return 1
        stop = min(start + self.window, len(self))
        for passes in range(1, MOST_PASSES):
            if self._mean(start, stop, passes) < self.refine / 255:
                return passes
        return MOST_PASSES

    def _mean(self, start: int, stop: int, passes: int) -> float:
        """The mean absolute residue of the pass of that number, from 1."""
        total, count = 0.0, 0
        for number in range(start, stop):
            _, residue = self._cleaned(self.frames[number : number + 1], passes)
            total += float(residue.abs().sum(dtype=torch.float64))
            count += residue.numel()
            if passes == 1:
                self.measured((number + 1) / len(self))
        return total / count

    def _cleaned(self, frame: Tensor, passes: int) -> tuple[Tensor, Tensor]:
        """The frame after so many passes, and what the last one added."""
        frame = frame.to(self.network.device, torch.float32)
        residue = torch.zeros_like(frame)
        for _ in range(passes):
            residue = computed(self.network.residue, frame)
            frame = frame + residue
        return frame, residue


def _blocks(state: State, part: str) -> int:
    """How many residual blocks a state dict holds for a part of the network."""
    pattern = re.compile(rf"{re.escape(part)}\.main\.2\.(\d+)\.")
    return len({match[1] for name in state if (match := pattern.match(name))})
