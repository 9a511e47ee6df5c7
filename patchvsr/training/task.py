"""What is trained: the base on whole frames (stage 1) or an arm's adapter on tiles (stage 2), with its loss."""
from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from patchvsr.adapter import TileInput
from patchvsr.base import Base
from patchvsr.codec import Codec
from patchvsr.context import contexts
from patchvsr.model import PatchVSRModel
from patchvsr.prompt import ByteTextEncoder
from patchvsr.training.data import Batch
from patchvsr.wan import TileFeatures


class Task(nn.Module, ABC):
    """Base class: the flow-matching loss around `predict`."""

    def __init__(self, base: Base, codec: Codec) -> None:
        super().__init__()
        self.base_definition = base.definition
        self.codec = codec

    @abstractmethod
    def predict(self, batch: Batch, noisy: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Velocity of noisy latents `[B, C, T, h, w]` at t `[B]`."""

    def loss(self, batch: Batch, generator: torch.Generator, noise_share: float, lowest: float) -> Tensor:
        """Squared error of the velocity, weighted by t (that is, squared error of x0 over t).

        Args:
            batch: sharp and upsampled tiles.
            generator: of the times and the noise.
            noise_share: share of samples at t = 1.
            lowest: the smallest t of the others.
        """
        clean = encode(self.codec, batch.high)
        if self.base_definition.residual_std is not None:
            clean = (clean - encode(self.codec, batch.up)) / self.base_definition.residual_std
        noise = torch.randn(clean.shape, generator=generator)
        t = lowest + (1 - lowest) * torch.rand(len(clean), generator=generator)
        t = torch.where(torch.rand(len(clean), generator=generator) < noise_share, torch.ones_like(t), t)
        share = t.view(-1, 1, 1, 1, 1)
        noisy = (1 - share) * clean + share * noise
        with torch.autocast("cpu" if noisy.device.type == "cpu" else noisy.device.type, torch.bfloat16):
            velocity = self.predict(batch, noisy, t, generator)
        return (t * (velocity.float() - (noise - clean)).square().flatten(1).mean(1)).mean()


class BaseTask(Task):
    """Stage 1: the base and its text encoder learn whole frames with captions."""

    def __init__(self, base: Base, text_encoder: ByteTextEncoder, codec: Codec) -> None:
        super().__init__(base, codec)
        self.base, self.text_encoder = base, text_encoder

    def predict(self, batch: Batch, noisy: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """As the base alone predicts it from the clip's caption, which is dropped one time in ten."""
        drop = torch.rand(len(batch.captions), generator=generator) < 0.1
        captions = ["" if d else c for c, d in zip(batch.captions, drop.tolist(), strict=True)]
        text = self.base.encode_text(self.text_encoder(captions))
        return self.base.velocity(noisy, t, text, TileFeatures())


class ArmTask(Task):
    """Stage 2: adapter and LoRA learn tiles; the base is frozen.

    Args:
        model: base with the arm's adapter.
        text_encoder: of the base, frozen; only used where prompts are captions.
        codec: of the base.
        prompt: `fixed` or `caption`.
    """

    def __init__(self, model: PatchVSRModel, text_encoder: ByteTextEncoder, codec: Codec, prompt: str) -> None:
        super().__init__(model.base, codec)
        self.model, self.text_encoder, self.prompt = model, text_encoder.requires_grad_(False), prompt
        self.view = contexts.get(model.config.context)

    def predict(self, batch: Batch, noisy: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """As the arm predicts it: condition noised at a level drawn from the base's range."""
        low, high, _ = self.base_definition.augmentation
        level = low + (high - low) * torch.rand(len(noisy), generator=generator)
        condition = encode(self.codec, batch.up)
        noise = torch.randn(condition.shape, generator=generator)
        share = level.view(-1, 1, 1, 1, 1)
        condition = (1 - share) * condition + share * noise
        places = batch.places(self.codec.spatial)
        tile = TileInput(condition, self._context(batch), places, batch.scale, level)
        text = self.model.base.encode_text(self._prompts(batch))
        return self.model.velocity(noisy, t, text, self.model.adapter.encode(tile, text))

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


def encode(codec: Codec, clips: Tensor) -> Tensor:
    """Latents `[B, C, t, h, w]` of clips `[B, T, 3, H, W]`."""
    return torch.stack([codec.encode(clip) for clip in clips])
