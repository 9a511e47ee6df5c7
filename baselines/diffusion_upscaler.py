"""What upscalers that run a pipeline of diffusers share: seeds by place in the clip, padding, chunks of frames."""
from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.diffusion import Loaded
from baselines.fixed_scale import FixedScale
from baselines.options import Options
from patchvsr.devices import dtype_name
from patchvsr.upscaler import Clip, Progress, Weights

TILINGS = ("on", "off")


class PipelineUpscaler(FixedScale):
    """A pipeline of diffusers that upscales by one factor.

    Args:
        loaded: the pipeline.
        resize: as in `FixedScale`.
        tiling: whether the pipeline's VAE codes large frames in tiles that it blends: less memory, and other values
            around the tiles' borders.
    """

    def __init__(self, loaded: Loaded, resize: str = "", tiling: bool = False) -> None:
        super().__init__(resize)
        self.loaded, self.pipeline = loaded, loaded.pipeline
        self.tiling = tiling
        if tiling:
            self.pipeline.vae.enable_tiling()

    @property
    def weights(self) -> Weights:
        """All files that the pipeline was loaded from; they are hashed when this is first asked for."""
        return Weights("trained", self.loaded.sha256())

    def describe(self) -> dict[str, Any]:
        """The pipeline with its parts, where and in what precision it runs, its scale and its padding."""
        return {
            "name": self.name,
            "pipeline": f"diffusers {self.loaded.kind}",
            "components": {part.name: part.kind for part in self.loaded.components},
            "weights": {"status": self.weights.status, **self.weights.sha256},
            "scale": self.scaling,
            "padding": self.padding,
            "vae_tiling": self._tiles() if self.tiling else "off",
            "dtype": dtype_name(self.loaded.dtype),
            "vae_dtype": dtype_name(self.pipeline.vae.dtype),
            "device": self.loaded.device.type,
        }

    @property
    @abstractmethod
    def padding(self) -> str:
        """How frames and clips are padded, for `describe`."""

    def cut(self, frames: Tensor, clip: Clip) -> Tensor:
        """Of a pipeline's frames `[t, 3, H, W]`, 0..1, what is no padding; float32, on the CPU."""
        height, width = clip.frames.shape[-2:]
        return frames[..., : self.factor * height, : self.factor * width].float().clamp(0.0, 1.0).cpu()

    def scheduler(self, name: str = "scheduler") -> dict[str, Any]:
        """A scheduler's class and settings, for `describe`."""
        scheduler = getattr(self.pipeline, name)
        settings = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
        return {"class": type(scheduler).__name__, **settings}

    def _tiles(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self.pipeline.vae).items() if name.startswith("tile_")}


class WindowedUpscaler(PipelineUpscaler):
    """A pipeline that takes a video as a whole and so many frames as its VAE has steps in time: `step * n + 1`.

    Args:
        loaded, resize, tiling: as in `PipelineUpscaler`.
        window: so many frames go through the pipeline at a time; 0 is the whole clip. Windows know nothing of each
            other, so that the output may jump from one to the next; memory grows with them.
    """

    def __init__(self, loaded: Loaded, resize: str = "", tiling: bool = False, window: int = 0) -> None:
        super().__init__(loaded, resize, tiling)
        self.window = window

    def describe(self) -> dict[str, Any]:
        """As `PipelineUpscaler`'s, with the window."""
        return super().describe() | {"window": self.window or "whole clip"}

    def outputs(self, first: int, clip: Clip, progress: Progress | None, seed: int) -> Iterator[Tensor]:
        """See `FixedScale`; the window that holds frame `first` is made from its start."""
        count = len(clip.frames)
        window = self.window or count
        if first >= count:
            return
        for start in range(first - first % window, count, window):
            frames = clip.frames[start : min(start + window, count)].to(torch.float32)
            made = self.cut(self.run(frames, generator(seed, clip.name, start)), clip)
            if progress is not None:
                progress((start + len(frames)) / count)
            yield from made[max(first - start, 0) : len(frames)].split(1)

    @abstractmethod
    def run(self, frames: Tensor, noise: torch.Generator) -> Tensor:
        """The pipeline's frames, at least as many as `frames` `[t, 3, H, W]`, and at least `factor` times as large."""


def generator(seed: int, clip: str, frame: int) -> torch.Generator:
    """Draws the noise of what starts at a frame; on the CPU, so that it is the same on every device."""
    key = hashlib.sha256(f"{seed}\0{clip}\0{frame}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "big", signed=True))


def padded(frames: Tensor, height: int, width: int, count: int = 1) -> Tensor:
    """Frames `[t, 3, H, W]` of at least this size and number: their border and the last one are repeated."""
    right, below = max(width - frames.shape[-1], 0), max(height - frames.shape[-2], 0)
    if right or below:
        frames = F.pad(frames, (0, right, 0, below), mode="replicate")
    more = max(count - len(frames), 0)
    return torch.cat([frames, frames[-1:].expand(more, -1, -1, -1)]) if more else frames


def up_to_multiple(size: int, of: int) -> int:
    """The smallest multiple of `of` that is not below `size`."""
    return -(-size // of) * of


def tiling_option(options: Options) -> bool:
    """The option `tiling`; off, as in diffusers, unless it is asked for.

    Raises:
        UserError: neither on nor off.
    """
    return options.choice("tiling", TILINGS, "off") == "on"
