"""PatchVSR as an upscaler: a variant's spec in, any clip to any size."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from patchvsr.base import define
from patchvsr.chunks import blend_chunks, chunk_cuts, chunk_spans
from patchvsr.clock import Clock
from patchvsr.context import contexts
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.loading import Parts, load_parts
from patchvsr.modulation import cut_lines, modulations
from patchvsr.noise import NoiseField
from patchvsr.parallel import Group
from patchvsr.sampling import ChunkSampler, SamplingSettings, StepCallback, samplers
from patchvsr.tiling import tilings
from patchvsr.upscaler import Clip, Cuts, Progress, Upscaler, Weights
from patchvsr.variants import VariantSpec, filled
from patchvsr.wan import TextStates


class PatchVSR(Upscaler):
    """A variant, ready to run.

    Args:
        spec: resolved; fields that say "the base's own" are filled in here.
        parts: codec, model and text encoder of such a spec.
        device: where the model runs; frames and latents stay on the CPU.

    Raises:
        UserError: parts that do not go together.
    """

    def __init__(self, spec: VariantSpec, parts: Parts, device: torch.device) -> None:
        self.name = spec.name
        self.definition = define(spec.base)
        self.spec = spec = filled(spec)
        self.device, self.dtype = device, parts.dtype
        self.codec, self.text_encoder, self._weights = parts.codec, parts.text_encoder, parts.weights
        self.control = parts.control
        self.patch = 1
        self._clock = Clock()
        if parts.model is None:
            return
        self.model = parts.model
        self.patch = self.model.base.shape.patch
        if spec.tile % (self.patch * self.codec.spatial):
            raise UserError(
                f"tile={spec.tile} of '{spec.name}' must be a multiple of {self.patch * self.codec.spatial} pixels"
            )
        view = contexts.get(spec.context)
        settings = SamplingSettings(
            tiling=tilings.get(spec.tiling)(overlap=spec.overlap),
            modulation=modulations.get(spec.modulation)(),
            sampler=samplers.get(spec.sampler)(),
            steps=spec.steps,
            shift=spec.shift,
            tile=spec.tile // self.codec.spatial,
            level=spec.augmentation,
            tile_batch=spec.tile_batch,
            cache=spec.cache,
            cache_mib=spec.cache_mib,
        )
        self.sampler = ChunkSampler(self.model, self.codec, view() if view else None, settings, device)

    @classmethod
    def load(cls, spec: VariantSpec, device: torch.device, dtype: torch.dtype) -> PatchVSR:
        """The variant with the weights that its spec names, or the packaged ones.

        Raises:
            UserError: parts or weights that do not go together.
        """
        return cls(spec, load_parts(spec, device, dtype), device)

    def measure(self) -> Clock:
        """Count the seconds of the parts from now on, which makes a GPU wait at every part's ends."""
        self._clock = Clock(self.device)
        if self.spec.diffusion:
            self.sampler.clock = self._clock
        return self._clock

    def share(self, group: Group, job: dict[str, Any]) -> None:
        """See `Upscaler.share`.

        Raises:
            UserError: the processes are not of one mind about the job, the variant, its weights or the precision.
        """
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        group.agree(job | self.describe() | {"hardware": name, "torch": torch.__version__})
        self.codec.group = group
        if self.spec.diffusion:
            self.sampler.group = group

    @property
    def weights(self) -> Weights:
        """Status and hashes of the base's and the adapter's files."""
        return self._weights

    def describe(self) -> dict[str, Any]:
        """The resolved spec, the hashes of the weights, and the dtype and kind of device."""
        # Hashes say more than paths, and the cache changes no byte.
        hidden = ("weights", "base_weights", "codec_weights", "cache", "cache_mib")
        spec = {key: value for key, value in self.spec.to_dict().items() if key not in hidden}
        return {
            "kind": "patchvsr",
            "spec": spec,
            "arm": self.spec.arm if self.spec.diffusion or self.control is not None else None,
            "weights": {"status": self.weights.status, **self.weights.sha256},
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
        }

    def cuts(self, height: int, width: int, frames: int) -> Cuts | None:
        """Where the plans of all steps cut an output of this size, and where its chunks change."""
        if not self.spec.diffusion:
            return None
        settings, spatial = self.sampler.settings, self.codec.spatial
        lines = []
        for size in (height, width):
            length = self._padded(size) // spatial
            tile = min(settings.tile, length)
            found = cut_lines(settings.tiling, settings.modulation, length, tile, settings.steps)
            lines.append(tuple(sorted({round(cut * spatial) for cut in found if 0 < round(cut * spatial) < size})))
        return Cuts(lines[0], lines[1], chunk_cuts(self._spans(frames)))

    def accept(self, clip: Clip, scale: float) -> dict[str, Any]:
        """See `Upscaler.accept`.

        Raises:
            UserError: a scale below 1, or a prompt that is a caption for a clip that has none.
        """
        if scale < 1:
            raise UserError(f"scale {scale} of clip '{clip.name}' is below 1; PatchVSR only enlarges")
        if self.spec.diffusion and self.spec.prompt == "caption" and not clip.caption:
            raise UserError(
                f"'{self.name}' needs a caption, and clip '{clip.name}' has none; give one (--caption, a suite's "
                "YAML, or captions.csv beside the clips), or use a variant with prompt=fixed"
            )
        return {}

    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        """See `Upscaler.upscale`. Long clips run in chunks whose shared frames are cross-faded.

        Raises:
            UserError: a scale below 1, or a caption prompt for a clip without a caption.
        """
        return self.upscale_from(0, clip, scale, seed, progress)

    def upscale_from(
        self,
        first: int,
        clip: Clip,
        scale: float,
        seed: int = 0,
        progress: Progress | None = None,
        on_step: StepCallback | None = None,
    ) -> Iterator[Tensor]:
        """As `upscale`, from frame `first` on; chunks that end before it are not made.

        `on_step` is called after every sampling step of every chunk (see `ChunkSampler.sample`).
        """
        self.accept(clip, scale)
        tell = progress or (lambda share: None)
        every = self._spans(len(clip.frames))
        done = sum(stop <= first for _, stop in every)
        spans = every[done:]
        text = self._text(clip) if self.spec.diffusion else None
        noise = NoiseField(seed, clip.name, self.spec.shared_noise)

        def chunks() -> Iterator[Tensor]:
            for index, (start, stop) in enumerate(spans, done):
                part = lambda share, index=index: tell((index + share) / len(every))  # noqa: E731
                yield self._chunk(clip.frames[start:stop], scale, start, noise, text, part, on_step)

        position = spans[0][0] if spans else 0
        for chunk in blend_chunks(spans, chunks()):
            if position + len(chunk) > first:
                yield chunk[max(first - position, 0) :].clamp_(0, 1)
            position += len(chunk)

    def _spans(self, frames: int) -> list[tuple[int, int]]:
        return chunk_spans(frames, self.spec.frames, self.spec.frame_overlap)

    def _chunk(
        self,
        frames: Tensor,
        scale: float,
        first: int,
        noise: NoiseField,
        text: TextStates | None,
        progress: Progress,
        on_step: StepCallback | None,
    ) -> Tensor:
        height, width = (round(size * scale) for size in frames.shape[-2:])
        up = resize_bicubic(frames, height, width)
        up = up.clone() if up.data_ptr() == frames.data_ptr() else up  # it is written over below
        missing = self.codec.padded_frames(len(up)) - len(up)
        if missing:
            up = torch.cat([up, up[-1:].expand(missing, -1, -1, -1)])
        short = (self._padded(height) - height, self._padded(width) - width)
        if any(short):
            up = F.pad(up, (0, short[1], 0, short[0]), "replicate")
        if text is None:
            latents = self.codec.encode(up)
            out = self._decode(latents if self.control is None else self.control(latents).cpu(), None, up)
            progress(1.0)
        else:
            latents = self.sampler.sample(up, scale, noise, first, text, progress, on_step)
            out = self._decode(latents, self.definition.residual_std, up)
        return out[: len(frames), :, :height, :width]

    def _decode(self, latents: Tensor, std: float | None, up: Tensor) -> Tensor:
        """Frames of the latents, written over `up`; a codec without temporal compression goes frame by frame.

        `std` is the base's `residual_std` where the latents are a difference to those of `up`.
        """
        parts = range(len(up)) if self.codec.temporal == 1 else [slice(None)]
        for part in parts:
            index = slice(part, part + 1) if isinstance(part, int) else part
            piece = latents[:, index]
            if std is not None:
                piece = piece * std + self.codec.encode(up[index].to(piece.device))
            with self._clock.part("codec"):
                up[index] = self.codec.decode(piece).cpu()
        return up

    def _padded(self, size: int) -> int:
        unit = self.patch * self.codec.spatial
        return -(-size // unit) * unit

    @torch.inference_mode()
    def _text(self, clip: Clip) -> TextStates:
        if self.spec.prompt == "fixed":
            embeddings = self.model.fixed_prompt
        else:
            if self.text_encoder is None:
                raise UserError(f"base '{self.spec.base}' has no text encoder here; use prompt=fixed")
            embeddings = self.text_encoder([clip.caption if self.spec.prompt == "caption" and clip.caption else ""])
        return self.model.base.encode_text(embeddings.to(self.device))
