"""Codecs: frames to latents and back, behind one interface."""
from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from patchvsr.errors import UserError
from patchvsr.registry import Registry


class Codec(ABC):
    """Turns frames `[T, 3, H, W]` (0..1) into latents `[C, t, H / spatial, W / spatial]` and back.

    Attributes:
        channels: C.
        spatial: pixels per latent pixel, in height and width.
        temporal: frames per latent frame after the first.
    """

    channels: int
    spatial: int
    temporal: int

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Latents, about unit variance, float32."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Frames, float32, not clamped."""

    def latent_frames(self, frames: int) -> int:
        """Latent frames that `frames` frames become."""
        return 1 + (frames - 1 + self.temporal - 1) // self.temporal

    def padded_frames(self, frames: int) -> int:
        """The smallest number of frames, at least `frames`, that the codec takes."""
        return 1 + (self.latent_frames(frames) - 1) * self.temporal


codecs: Registry[type[Codec]] = Registry("codec", {"wan": "patchvsr.codec:WanCodec"})


@codecs.register("pixel")
class PixelCodec(Codec):
    """Space-to-depth by 4: lossless, no weights. Used by the nano base."""

    channels, spatial, temporal = 48, 4, 1
    mean, std = 0.5, 0.25

    def encode(self, frames: Tensor) -> Tensor:
        """`[T, 3, H, W]` to `[48, T, H / 4, W / 4]`."""
        return F.pixel_unshuffle((frames.float() - self.mean) / self.std, self.spatial).transpose(0, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """`[48, T, h, w]` to `[T, 3, 4 h, 4 w]`."""
        return F.pixel_shuffle(latents.float().transpose(0, 1), self.spatial) * self.std + self.mean


class WanCodec(Codec):
    """diffusers' `AutoencoderKLWan`: 8x8 in space, 4 in time, 16 channels, chunks of 1 + 4 n frames.

    Args:
        vae: the autoencoder, with its weights.
    """

    channels, spatial, temporal = 16, 8, 4

    def __init__(self, vae: Any) -> None:
        self.vae = vae
        config = vae.config
        self._mean = torch.tensor(config.latents_mean).view(-1, 1, 1, 1)
        self._std = torch.tensor(config.latents_std).view(-1, 1, 1, 1)

    @classmethod
    def from_diffusers(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> WanCodec:
        """The autoencoder of a diffusers folder (`folder/vae` or `folder` itself), safetensors only.

        Raises:
            UserError: the folder holds none.
        """
        from diffusers import AutoencoderKLWan

        path = folder / "vae" if (folder / "vae").is_dir() else folder
        if not (path / "config.json").is_file():
            raise UserError(f"{folder} holds no diffusers autoencoder: expected {path / 'config.json'}")
        return cls(AutoencoderKLWan.from_pretrained(path, torch_dtype=dtype, use_safetensors=True).to(device).eval())

    @torch.inference_mode()
    def encode(self, frames: Tensor) -> Tensor:
        """`[1 + 4 n, 3, H, W]` to `[16, 1 + n, H / 8, W / 8]`, the mode of the posterior, normalised."""
        video = (frames * 2 - 1).transpose(0, 1)[None].to(self.vae.device, self.vae.dtype)
        latents = self.vae.encode(video).latent_dist.mode()[0].float()
        return (latents - self._mean.to(latents.device)) / self._std.to(latents.device)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """`[16, 1 + n, h, w]` to `[1 + 4 n, 3, 8 h, 8 w]`."""
        scaled = latents * self._std.to(latents.device) + self._mean.to(latents.device)
        video = self.vae.decode(scaled[None].to(self.vae.device, self.vae.dtype)).sample
        return (video[0].transpose(0, 1).float() + 1) / 2
