"""Real-ESRGAN (Wang et al., ICCV workshops 2021) as a baseline: real-world super-resolution of single frames, x4.

Our own implementation with the released weights. `realesrgan:weights=animevideov3` chooses the small network for
animated video; the other one, `x4plus`, is the one for photographs.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.fixed_scale import FixedScale, resize_option
from baselines.options import Options
from baselines.realesrgan_networks import Released, RRDBNet, SRVGGNetCompact
from baselines.tiles import Tiles
from patchvsr import weights as known_weights
from patchvsr.devices import dtype_name
from patchvsr.upscaler import Clip, Cuts, Progress, Upscaler, Weights


@dataclass(frozen=True, slots=True)
class Model:
    """A released network: its class, its known weights and its default context in pixels of the input."""

    network: type[Released]
    weights: str
    overlap: int


MODELS = {
    "x4plus": Model(RRDBNet, "realesrgan-x4plus", 96),
    "animevideov3": Model(SRVGGNetCompact, "realesr-animevideov3", 18),
}
"""x4plus depends on pixels about 350 away, so that tiles are never exact. The largest difference from the whole
frame on a real picture is 0.03 steps of 8 bits with an overlap of 96, 1.4 with 64, 35 with 32 (a slow test prints it).
animevideov3 depends on pixels at most 18 away."""

TILE = 512
"""Frames of up to 512 pixels on a side are one tile. At its end x4plus holds two features of 64 channels at four times
the size of a tile with its context, which is 8 kB a pixel in float32."""


class RealESRGAN(FixedScale):
    """Real-ESRGAN, each frame on its own, in tiles.

    Any number of frames and any size are taken. What memory holds is a tile's features (for x4plus twice 64 channels at
    four times the tile's size) and one output frame.

    Args:
        network: on its device, in its dtype.
        weights: what its numbers rest on.
        tiles: how frames are cut.
        resize: as in `FixedScale`.
    """

    name = "realesrgan"

    def __init__(self, network: Released, weights: Weights, tiles: Tiles, resize: str = "") -> None:
        super().__init__(resize)
        self.network, self.tiles = network, tiles
        self._weights = weights
        self._sources: dict[tuple[int, int], tuple[int, int]] = {}  # by size of an output, the size it was made of

    @property
    def weights(self) -> Weights:
        """The released weights in use."""
        return self._weights

    def describe(self) -> dict[str, Any]:
        """The network, its weights and dtype, and how frames are cut and scaled."""
        parameter = next(self.network.parameters())
        return {
            "name": self.name,
            "network": self.network.title,
            "weights": {"status": self.weights.status, **self.weights.sha256},
            "tile": self.tiles.core or "whole frame",
            "overlap": self.tiles.overlap,
            "scale": self.scaling,
            "dtype": dtype_name(parameter.dtype),
            "device": parameter.device.type,
        }

    def upscale_from(
        self, first: int, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """As `upscale`; earlier frames are not made.

        Raises:
            UserError: see `accept`.
        """
        made = super().upscale_from(first, clip, scale, seed, progress)
        height, width = clip.frames.shape[-2:]
        self._sources[round(height * scale), round(width * scale)] = height, width
        return made

    def outputs(self, first: int, clip: Clip, progress: Progress | None, seed: int) -> Iterator[Tensor]:
        """See `FixedScale`."""
        count = len(clip.frames)
        for index in range(first, count):

            def tell(share: float, index: int = index) -> None:
                if progress is not None:
                    progress((index + share) / count)

            yield self.tiles.run(self.network, clip.frames[index : index + 1], self.factor, tell)

    def cuts(self, height: int, width: int, frames: int) -> Cuts | None:
        """Where cores meet in an output of this size, moved along with it where it was resized.

        The size of the input is that of the last clip that was brought to this size, or else a quarter of it.
        """
        source = self._sources.get((height, width), (-(-height // self.factor), -(-width // self.factor)))
        lines = []
        for size, length in zip((height, width), source, strict=True):
            moved = {round(cut * size / length) for cut in self.tiles.cuts(length)}
            lines.append(tuple(sorted(cut for cut in moved if 0 < cut < size)))
        return Cuts(lines[0], lines[1]) if any(lines) else None


def realesrgan(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `realesrgan`.

    It runs in float32 unless its own option says otherwise. On a GPU its authors use float16; a CPU is slow at that.

    Args:
        overrides: `weights` (x4plus, the default, or animevideov3), `tile` (pixels on a side that each tile
            contributes, before scaling; 0 for whole frames), `overlap` (pixels around them that it sees besides),
            `resize` (bicubic) and `precision` (float32, float16 or bfloat16).
        device: where it runs.
        dtype: has no effect.

    Raises:
        UserError: an unknown option or value, or weights that do not fit.
        WeightsAbsent: the weights are not in the cache.
    """
    options = Options("realesrgan", overrides, ("weights", "tile", "overlap", "resize", "precision"))
    model = MODELS[options.choice("weights", MODELS, "x4plus")]
    tiles = Tiles(options.whole("tile", TILE, unit="pixels"), options.whole("overlap", model.overlap, unit="pixels"))
    resize = resize_option(options)
    compute = options.precision(torch.float32)
    network = model.network.load(known_weights.load(model.weights), model.weights).to(device, compute)
    if device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # Up to a quarter faster there, in float16 several times.
    sha256 = known_weights.sha256_of(model.weights) or ""
    return RealESRGAN(network, Weights("trained", {model.weights: sha256}), tiles, resize)
