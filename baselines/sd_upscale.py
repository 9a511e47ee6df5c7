"""Stable Diffusion's x4 upscaler (Rombach et al., CVPR 2022) as a baseline: latent diffusion, frame by frame.

diffusers' `StableDiffusionUpscalePipeline` with weights that lie on this machine. It knows nothing of time: the noise
of every frame is its own, so that detail flickers.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.diffusion import Loaded, Published, load_pipeline
from baselines.diffusion_upscaler import (
    PipelineUpscaler,
    generator,
    padded,
    tiling_option,
    up_to_multiple,
)
from baselines.fixed_scale import resize_option
from baselines.options import Options
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Progress, Upscaler

PUBLISHED = Published(
    "stabilityai/stable-diffusion-x4-upscaler",
    "about 3.5 GB",
    " --exclude 'x4-upscaler-ema.*' --exclude '*.bin' --exclude '*.fp16.*'",
)
LEFT_OUT = ("safety_checker", "feature_extractor", "watermarker")
"""The pipeline's optional components. The first two blank frames out, and the watermark is put on PIL images only."""
CAPTION = "caption"
"""The prompt that stands for the clip's own caption."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the pipeline is called with; the defaults are its own.

    Attributes:
        steps: of the sampler.
        guidance: away from the empty prompt, so that an empty `prompt` knows none; up to 1 is none.
        noise_level: the step of the noise schedule whose noise is added to the input.
        prompt: `caption` is the clip's.
    """

    steps: int = 75
    guidance: float = 9.0
    noise_level: int = 20
    prompt: str = ""


class SDUpscale(PipelineUpscaler):
    """Stable Diffusion's x4 upscaler, one frame at a time.

    Any frame size is taken: frames are padded by repeating their border to what the VAE and the U-Net halve evenly, and
    the result is cut. Memory grows with the frame, mostly in the VAE's decoder, which works in 128 channels at the
    output's size. `tiling` bounds the decoder's share; the U-Net takes every frame as a whole.

    Args:
        loaded: the pipeline.
        settings: what it is called with.
        resize, tiling: as in `PipelineUpscaler`.
    """

    name = "sd_upscale"

    def __init__(self, loaded: Loaded, settings: Settings, resize: str = "", tiling: bool = False) -> None:
        super().__init__(loaded, resize, tiling)
        self.settings = settings
        vae, unet = self.pipeline.vae, self.pipeline.unet
        self.multiple = math.lcm(self.pipeline.vae_scale_factor, 2 ** (len(unet.config.block_out_channels) - 1))
        if vae.dtype == torch.float16 and vae.config.force_upcast:
            vae.to(torch.float32)  # As the pipeline does for every frame: it overflows in float16.

    @property
    def padding(self) -> str:
        """For `describe`."""
        return f"to multiples of {self.multiple} pixels, by repeating the border"

    def describe(self) -> dict[str, Any]:
        """As `PipelineUpscaler`'s, with the scheduler and the settings."""
        schedulers = {name: self.scheduler(name) for name in ("scheduler", "low_res_scheduler")}
        return super().describe() | asdict(self.settings) | schedulers | {"left_out": list(LEFT_OUT)}

    def accept(self, clip: Clip, scale: float) -> dict[str, Any]:
        """The prompt, where it is the clip's caption.

        Raises:
            UserError: the scale cannot be made, or the clip has no caption to prompt with.
        """
        super().accept(clip, scale)
        if self.settings.prompt != CAPTION:
            return {}
        if not clip.caption:
            raise UserError(f"'{self.name}:prompt={CAPTION}' needs a caption, and clip '{clip.name}' has none; write "
                            "the prompt itself, or leave it out")  # fmt: skip
        return {"prompt": clip.caption}

    def outputs(self, first: int, clip: Clip, progress: Progress | None, seed: int) -> Iterator[Tensor]:
        """See `FixedScale`."""
        count, _, height, width = clip.frames.shape
        height, width = up_to_multiple(height, self.multiple), up_to_multiple(width, self.multiple)
        prompt = (clip.caption or "") if self.settings.prompt == CAPTION else self.settings.prompt
        for index in range(first, count):

            def tell(step: int, timestep: Any, latents: Tensor, index: int = index) -> None:
                if progress is not None:
                    progress((index + min((step + 1) / self.settings.steps, 1.0)) / count)

            frame = padded(clip.frames[index : index + 1].to(torch.float32), height, width)
            yield self.cut(self._call(frame, prompt, generator(seed, clip.name, index), tell), clip)

    def _call(self, frame: Tensor, prompt: str, noise: torch.Generator, tell: Any) -> Tensor:
        settings = self.settings
        return self.pipeline(
            prompt=prompt,
            image=frame,
            num_inference_steps=settings.steps,
            # From the empty prompt to itself there is nowhere to guide; it would only cost a second pass.
            guidance_scale=settings.guidance if prompt else 1.0,
            noise_level=settings.noise_level,
            generator=noise,
            output_type="pt",
            callback=tell,
        ).images


def sd_upscale(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `sd_upscale`.

    Args:
        overrides: `weights` (a folder in diffusers' layout, or `owner/name` in the Hugging Face hub's local cache;
            default the published one), `steps` (75), `guidance` (9; up to 1 is none), `noise_level` (20; the noise
            added to the input), `prompt` (empty; `caption` is the clip's), `tiling` (on or off), `resize` (bicubic) and
            `precision` (float32, float16 or bfloat16; default `dtype`).
        device: where it runs.
        dtype: of its models, unless `precision` says otherwise.

    Raises:
        UserError: an unknown option or value, or weights that are absent or do not fit.
    """
    options = Options("sd_upscale", overrides, ("weights", "steps", "guidance", "noise_level", "prompt", "tiling",
                                                "resize", "precision"))  # fmt: skip
    default = Settings()
    settings = Settings(
        options.whole("steps", default.steps, least=1),
        options.number("guidance", default.guidance),
        options.whole("noise_level", default.noise_level),
        options.text("prompt", default.prompt),
    )
    resize, tiling, dtype = resize_option(options), tiling_option(options), options.precision(dtype)
    loaded = load_pipeline(
        options.name, options.text("weights"), PUBLISHED, ("StableDiffusionUpscalePipeline",), device, dtype, LEFT_OUT
    )
    _refuse_above(options, "steps", settings.steps, loaded.pipeline.scheduler.config.num_train_timesteps)
    _refuse_above(options, "noise_level", settings.noise_level, loaded.pipeline.config.max_noise_level)
    return SDUpscale(loaded, settings, resize, tiling)


def _refuse_above(options: Options, option: str, value: int, most: int) -> None:
    if value > most:
        raise UserError(f"{option}={value} of baseline '{options.name}' is more than these weights know; give at most "
                        f"{most}")  # fmt: skip
