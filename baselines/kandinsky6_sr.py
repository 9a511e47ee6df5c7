"""Kandinsky 6's video super-resolution (Kandinsky Lab 2026) as a baseline: tiled latent video diffusion, x2 or x4.

diffusers' `Kandinsky6SRPipeline` with weights that lie on this machine. A transformer without text refines overlapping
tiles of 512 or 768 pixels a side on its own noise, and the pipeline blends them.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from baselines.diffusion import Loaded, Published, load_pipeline
from baselines.diffusion_upscaler import WindowedUpscaler, padded, up_to_multiple
from baselines.fixed_scale import resize_option
from baselines.options import Options
from patchvsr.upscaler import Upscaler

PUBLISHED = Published("kandinskylab/Kandinsky-6.0-VSR-distilled2steps-5s-Diffusers", "about 14 GB")
FACTORS = ("2", "4")
STEPS = 2
WINDOW = 121
"""Frames at a time: the five seconds at 24 per second that the weights were trained on."""


class Kandinsky6SR(WindowedUpscaler):
    """Kandinsky 6's video super-resolution, in the pipeline's own tiles.

    Any size and length is taken: frames are padded by repeating their border to the VAE's multiple and at least to the
    largest tile, clips by repeating the last frame to 4n + 1 frames, and the result is cut. On a CUDA GPU the
    transformer's blocks are compiled when they first run; elsewhere its attention holds all pairs of a tile's tokens
    (one for 16 x 16 pixels of 4 frames), which fits in memory for a small `window` only.

    Args:
        loaded, resize, window: as in `WindowedUpscaler`.
        factor: 2 or 4.
        steps: of the sampler; 2 for distilled weights, 4 is the pipeline's default for others.
    """

    name = "kandinsky6_sr"

    def __init__(
        self, loaded: Loaded, factor: int = 4, steps: int = STEPS, resize: str = "", window: int = WINDOW
    ) -> None:
        super().__init__(loaded, resize, window=window)
        self.factor, self.steps = factor, steps
        self.multiple, self.step = self.pipeline.vae_scale_factor_spatial, self.pipeline.vae_scale_factor_temporal
        tile = max(max(size) for size in self.pipeline.transformer_tile_sizes)
        self.smallest = up_to_multiple(tile // factor, self.multiple)
        self.compiled = loaded.device.type == "cuda"
        if self.compiled:
            self.pipeline.transformer.compile_repeated_blocks(fullgraph=True)

    @property
    def padding(self) -> str:
        """For `describe`."""
        return (
            f"to multiples of {self.multiple} and at least {self.smallest} pixels, and to {self.step}n + 1 frames, by "
            "repeating the border and the last frame"
        )

    def describe(self) -> dict[str, Any]:
        """As `WindowedUpscaler`'s, with the scheduler and the steps."""
        return super().describe() | {
            "steps": self.steps,
            "scheduler": self.scheduler(),
            "tile_sizes": [list(size) for size in self.pipeline.transformer_tile_sizes],
            "compiled": self.compiled,
        }

    def run(self, frames: Tensor, noise: torch.Generator) -> Tensor:
        """See `WindowedUpscaler`."""
        height, width = (max(up_to_multiple(size, self.multiple), self.smallest) for size in frames.shape[-2:])
        video = padded(frames, height, width, up_to_multiple(len(frames) - 1, self.step) + 1)
        return self.pipeline(
            video, resolution_scale=self.factor, num_inference_steps=self.steps, generator=noise, output_type="pt"
        ).frames[0]


def kandinsky6_sr(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `kandinsky6_sr`.

    Args:
        overrides: `weights` (a folder in diffusers' layout, or `owner/name` in the Hugging Face hub's local cache;
            default the published one), `factor` (2 or 4; default 4), `steps` (2), `window` (frames at a time, 121; 0
            for the whole clip), `resize` (bicubic) and `precision` (float32, float16 or bfloat16; default `dtype`).
        device: where it runs.
        dtype: of its models, unless `precision` says otherwise.

    Raises:
        UserError: an unknown option or value, or weights that are absent or do not fit.
    """
    options = Options("kandinsky6_sr", overrides, ("weights", "factor", "steps", "window", "resize", "precision"))
    factor, steps = int(options.choice("factor", FACTORS, "4")), options.whole("steps", STEPS, least=1)
    window, resize = options.whole("window", WINDOW, unit="frames"), resize_option(options)
    dtype = options.precision(dtype)
    loaded = load_pipeline(options.name, options.text("weights"), PUBLISHED, ("Kandinsky6SRPipeline",), device, dtype)
    return Kandinsky6SR(loaded, factor, steps, resize, window)
