"""What is trained: the base on whole frames (stage 1) or an arm's adapter on tiles (stage 2), with its loss."""
from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from patchvsr.adapter import TileInput
from patchvsr.base import Base, BaseDefinition
from patchvsr.codec import Codec
from patchvsr.context import contexts
from patchvsr.control import RegressionControl
from patchvsr.model import PatchVSRModel
from patchvsr.prompt import ByteTextEncoder
from patchvsr.sampling import samplers
from patchvsr.training.config import TrainingConfig
from patchvsr.training.data import Batch
from patchvsr.wan import TextStates, TileFeatures


class Task(nn.Module, ABC):
    """Base class: the flow-matching loss around `predict`."""

    def __init__(self, definition: BaseDefinition, codec: Codec) -> None:
        super().__init__()
        self.definition, self.codec = definition, codec

    @abstractmethod
    def predict(self, batch: Batch, noisy: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Velocity of noisy latents `[B, C, T, h, w]` at t `[B]`."""

    def forward(self, batch: Batch, generator: torch.Generator, config: TrainingConfig) -> Tensor:
        """Squared error of the velocity, weighted by t (that is, squared error of x0 over t).

        Args:
            batch: sharp and upsampled tiles.
            generator: of the times and the noise.
            config: how they are drawn.
        """
        clean = self.target(batch)
        device = clean.device  # random numbers are drawn on the CPU, so that they are the same everywhere
        noise = torch.randn(clean.shape, generator=generator)
        shared = torch.rand(len(clean), generator=generator) < config.shared_noise
        noise = torch.where(shared.view(-1, 1, 1, 1, 1), noise[:, :, :1], noise)
        t = config.lowest_time + (1 - config.lowest_time) * torch.rand(len(clean), generator=generator)
        t = torch.where(torch.rand(len(clean), generator=generator) < config.noise_share, torch.ones_like(t), t)
        noise, t = noise.to(device), t.to(device)
        share = t.view(-1, 1, 1, 1, 1)
        noisy = (1 - share) * clean + share * noise
        velocity = self.predict(batch, noisy, t, generator)
        return (t * (velocity.float() - (noise - clean)).square().flatten(1).mean(1)).mean()


    @abstractmethod
    def preview(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Frames `[B, T, 3, s, s]`, about 0..1, that show what was learnt."""

    def frames(self, batch: Batch, clean: Tensor) -> Tensor:
        """Frames of what the flow leads to."""
        if self.definition.residual_std is not None:
            clean = clean * self.definition.residual_std + encode(self.codec, batch.up)
        return torch.stack([self.codec.decode(latents) for latents in clean])

    def target(self, batch: Batch) -> Tensor:
        """What the flow leads to: sharp latents, or their difference to those of the upsampled tiles."""
        clean = encode(self.codec, batch.high)
        if self.definition.residual_std is None:
            return clean
        return (clean - encode(self.codec, batch.up)) / self.definition.residual_std


class BaseTask(Task):
    """Stage 1: the base and its text encoder learn whole frames with captions."""

    def __init__(self, base: Base, text_encoder: ByteTextEncoder, codec: Codec) -> None:
        super().__init__(base.definition, codec)
        self.base, self.text_encoder = base, text_encoder

    def predict(self, batch: Batch, noisy: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """As the base alone predicts it from the clip's caption, which is dropped one time in ten."""
        drop = torch.rand(len(batch.captions), generator=generator) < 0.1
        captions = ["" if d else c for c, d in zip(batch.captions, drop.tolist(), strict=True)]
        text = self.base.encode_text(self.text_encoder(captions))
        return self.base.velocity(noisy, t, text, TileFeatures())

    def preview(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Frames as the base, which knows no condition, makes them out of half noise."""
        clean = self.target(batch)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        half = clean.new_full((len(clean),), 0.5)
        noisy = (clean + noise) / 2
        return self.frames(batch, noisy - 0.5 * self.predict(batch, noisy, half, generator).float())


class ArmTask(Task):
    """Stage 2: adapter and LoRA learn tiles; the base is frozen.

    Args:
        model: base with the arm's adapter.
        text_encoder: of the base, frozen; only used where prompts are captions.
        codec: of the base.
        prompt: `fixed` or `caption`.
    """

    def __init__(self, model: PatchVSRModel, text_encoder: ByteTextEncoder, codec: Codec, prompt: str) -> None:
        super().__init__(model.base.definition, codec)
        self.model, self.text_encoder, self.prompt = model, text_encoder.requires_grad_(False), prompt
        self.view = contexts.get(model.config.context)

    def predict(self, batch: Batch, noisy: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """As the arm predicts it: condition noised at a level drawn from the base's range."""
        text, features = self._condition(batch, generator, len(noisy))
        return self.model.velocity(noisy, t, text, features)

    def preview(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Frames sampled from noise with the base's default steps."""
        sampler = samplers.get("euler")()
        latents = torch.randn(self.target(batch).shape, generator=generator).to(batch.high.device)
        text, features = self._condition(batch, generator, len(latents))
        for now, then in pairwise(sampler.times(self.definition.steps, self.definition.shift)):
            t = latents.new_full((len(latents),), now)
            latents = sampler.step(latents, self.model.velocity(latents, t, text, features).float(), now, then)
        return self.frames(batch, latents)

    def _condition(
        self, batch: Batch, generator: torch.Generator, count: int
    ) -> tuple[TextStates, TileFeatures]:
        low, high, _ = self.definition.augmentation
        level = low + (high - low) * torch.rand(count, generator=generator).to(batch.up.device)
        condition = encode(self.codec, batch.up)
        noise = torch.randn(condition.shape, generator=generator).to(condition.device)
        share = level.view(-1, 1, 1, 1, 1)
        condition = (1 - share) * condition + share * noise
        places = batch.places(self.codec.spatial)
        tile = TileInput(condition, self._context(batch), places, batch.scale, level)
        text = self.model.base.encode_text(self._prompts(batch))
        return text, self.model.adapter.encode(tile, text)

    def _context(self, batch: Batch) -> Tensor | None:
        if self.view is None:
            return None
        if self.view.whole:
            return encode(self.codec, batch.surround)
        boxes = [box[:4] for box in batch.boxes]
        views = [self.view().frames(f, box) for f, box in zip(batch.frames, boxes, strict=True)]
        return encode(self.codec, torch.stack(views))

    def _prompts(self, batch: Batch) -> Tensor:
        return self.model.fixed_prompt if self.prompt == "fixed" else self.text_encoder(batch.captions)


class ControlTask(Task):
    """The control without diffusion: the same tiles, plain squared error of what is missing from the upsampled ones."""

    def __init__(self, control: RegressionControl, definition: BaseDefinition, codec: Codec) -> None:
        super().__init__(definition, codec)
        self.control = control

    def predict(self, batch: Batch, noisy: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Not a flow: what is missing, whatever the noise."""
        return self.control.residual(encode(self.codec, batch.up)).float()

    def preview(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Its output."""
        return self.frames(batch, self.control.residual(encode(self.codec, batch.up)).float())

    def forward(self, batch: Batch, generator: torch.Generator, config: TrainingConfig) -> Tensor:
        """Mean squared error in units of the base's `residual_std`."""
        clean = self.target(batch)
        return (self.predict(batch, clean, clean.new_ones(len(clean)), generator) - clean).square().mean()


def encode(codec: Codec, clips: Tensor) -> Tensor:
    """Latents `[B, C, t, h, w]` of clips `[B, T, 3, H, W]`."""
    return torch.stack([codec.encode(clip) for clip in clips])
