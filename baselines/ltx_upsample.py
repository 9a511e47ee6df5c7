"""LTX-Video's spatial latent upsampler (HaCohen et al. 2024) as a baseline: a video VAE and a network between, x2.

diffusers' `LTXLatentUpsamplePipeline`, or that of LTX-2, with weights that lie on this machine. The upsampler is made
for latents of generated videos, which a second run of diffusion refines; here real videos are encoded, upsampled and
decoded, and no diffusion runs.
"""
from __future__ import annotations

import torch
from torch import Tensor

from baselines.diffusion import Loaded, Published, load_pipeline
from baselines.diffusion_upscaler import WindowedUpscaler, padded, tiling_option, up_to_multiple
from baselines.fixed_scale import resize_option
from baselines.options import Options
from patchvsr.errors import UserError
from patchvsr.upscaler import Upscaler

PUBLISHED = Published("Lightricks/ltxv-spatial-upscaler-0.9.7", "0.5 GB and a VAE")
KINDS = ("LTXLatentUpsamplePipeline", "LTX2LatentUpsamplePipeline")
WINDOW = 121
"""Frames at a time: five seconds at 24 per second."""


class LTXUpsample(WindowedUpscaler):
    """LTX-Video's latent upsampler between its VAE's encoder and decoder.

    Any size and length is taken: the VAE wants sizes that are multiples of 32 and 8n + 1 frames, so the border and the
    last frame are repeated and the result is cut. Memory grows with the frame and the window, mostly in the decoder;
    `tiling` bounds the frame's share and `window` the other one. The VAE's latents are drawn from its posterior, which
    is what the seed is for. AdaIN, tone mapping and noise at decoding are off, as in the pipeline's defaults.

    Args:
        loaded, resize, tiling, window: as in `WindowedUpscaler`.

    Raises:
        UserError: the upsampler is one for time, or for another factor.
    """

    name = "ltx_upsample"
    factor = 2

    def __init__(self, loaded: Loaded, resize: str = "", tiling: bool = False, window: int = WINDOW) -> None:
        super().__init__(loaded, resize, tiling, window)
        config = self.pipeline.latent_upsampler.config
        rational = config.get("rational_spatial_scale", 2) if config.get("use_rational_resampler") else 2
        if not config.spatial_upsample or config.temporal_upsample or rational != self.factor:
            raise UserError(f"the upsampler in {loaded.folder} does not make twice as many pixels per side and as many "
                            "frames; give the weights of a spatial x2 upsampler")  # fmt: skip
        self.multiple = self.pipeline.vae_spatial_compression_ratio
        self.step = self.pipeline.vae_temporal_compression_ratio

    @property
    def padding(self) -> str:
        """For `describe`."""
        return (
            f"to multiples of {self.multiple} pixels and {self.step}n + 1 frames, by repeating the border and the last "
            "frame"
        )

    def run(self, frames: Tensor, noise: torch.Generator) -> Tensor:
        """See `WindowedUpscaler`."""
        height, width = (up_to_multiple(size, self.multiple) for size in frames.shape[-2:])
        video = padded(frames, height, width, up_to_multiple(len(frames) - 1, self.step) + 1)
        return self.pipeline(video=video, height=height, width=width, generator=noise, output_type="pt").frames[0]


def ltx_upsample(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `ltx_upsample`.

    Args:
        overrides: `weights` (a folder in diffusers' layout, or `owner/name` in the Hugging Face hub's local cache;
            default the published one), `vae` (the same for the VAE, where it does not lie with the upsampler),
            `window` (frames at a time, 121; 0 for the whole clip), `tiling` (on or off), `resize` (bicubic) and
            `precision` (float32, float16 or bfloat16; default `dtype`).
        device: where it runs.
        dtype: of its models, unless `precision` says otherwise.

    Raises:
        UserError: an unknown option or value, or weights that are absent or do not fit.
    """
    options = Options("ltx_upsample", overrides, ("weights", "vae", "window", "tiling", "resize", "precision"))
    window, resize = options.whole("window", WINDOW, unit="frames"), resize_option(options)
    tiling, dtype = tiling_option(options), options.precision(dtype)
    elsewhere = {"vae": options.text("vae")}
    loaded = load_pipeline(options.name, options.text("weights"), PUBLISHED, KINDS, device, dtype, elsewhere=elsewhere)
    return LTXUpsample(loaded, resize, tiling, window)
