"""TAEHV: a tiny autoencoder for the latents of Wan 2.1, as published under the name `taew2_1`.

Source: github.com/madebyollin/taehv (MIT). Architecture, names of the weights and conventions follow it: frames in
0..1, latents as the transformer sees them (already normalised), frames padded at the end when encoding and dropped
at the start when decoding. The weights are not part of this package.
"""
from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from patchvsr.errors import UserError
from patchvsr.weights import load_safetensors

HALO = 18
"""Latent pixels around a tile that its results depend on, in both directions.

Decoding one latent pixel's 8x8 pixels takes 2 convolutions at the frame's resolution, 10 at a half, 10 at a quarter
and 10 at an eighth: 2 pixels are 1 at a half, 1 + 10 are 6 at a quarter, 6 + 10 are 8 at an eighth, and 8 + 10 = 18.
Encoding one takes 10 convolutions at an eighth, a halving one and 9 more at a quarter, again at a half, and a halving
one and 1 more at the frame's: 10, 2 * 10 + 1 + 9 = 30, 2 * 30 + 1 + 9 = 70, 2 * 70 + 1 + 1 = 142 pixels, within
18 * 8 = 144. Memory looks back in time and adds nothing in space.
"""


def _conv(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)


class Squash(nn.Module):
    """A soft clamp of latents to -3..3."""

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape."""
        return torch.tanh(maps / 3) * 3


class MemoryBlock(nn.Module):
    """Three convolutions with a skip over each frame's map and what the same block was given one frame before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.conv = nn.Sequential(
            _conv(2 * channels, channels), relu, _conv(channels, channels), relu, _conv(channels, channels)
        )

    def forward(self, maps: Tensor, past: Tensor) -> Tensor:
        """Both `[T, C, h, w]`, and the result."""
        return torch.relu(self.conv(torch.cat([maps, past], dim=1)) + maps)


class Pool(nn.Module):
    """`stride` successive frames into one."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels * stride, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """`[stride * T, C, h, w]` to `[T, C, h, w]`."""
        return self.conv(maps.unflatten(0, (-1, self.stride)).flatten(1, 2))


class Grow(nn.Module):
    """One frame into `stride` successive ones."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels * stride, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """`[T, C, h, w]` to `[stride * T, C, h, w]`."""
        return self.conv(maps).unflatten(1, (self.stride, -1)).flatten(0, 1)


class AutoencoderTinyHV(ModelMixin, ConfigMixin):
    """A convolutional video autoencoder whose only tie between frames is each block's memory of the frame before.

    The defaults are the published `taew2_1`: 128 tensors, 11,315,539 parameters (1,470,928 in the encoder).

    Args:
        latent_channels: channels of the latents.
        encoder_width: channels inside the encoder.
        decoder_widths: channels inside the decoder at 1/8, 1/4, 1/2 and the whole of the frame's resolution.
        pools: frames into one at each of the encoder's three halvings.
        grows: frames out of one at each of the decoder's three doublings.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        encoder_width: int = 64,
        decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 64),
        pools: tuple[int, int, int] = (2, 2, 1),
        grows: tuple[int, int, int] = (1, 2, 2),
    ) -> None:
        super().__init__()
        width = encoder_width
        encoder: list[nn.Module] = [_conv(3, width), nn.ReLU(inplace=True)]
        for pool in pools:
            encoder += [Pool(width, pool), _conv(width, width, stride=2, bias=False)]
            encoder += [MemoryBlock(width) for _ in range(3)]
        decoder: list[nn.Module] = [Squash(), _conv(latent_channels, decoder_widths[0]), nn.ReLU(inplace=True)]
        for inner, outer, grow in zip(decoder_widths, decoder_widths[1:], grows, strict=False):
            decoder += [MemoryBlock(inner) for _ in range(3)]
            decoder += [nn.Upsample(scale_factor=2), Grow(inner, grow), _conv(inner, outer, bias=False)]
        self.encoder = nn.Sequential(*encoder, _conv(width, latent_channels))
        self.decoder = nn.Sequential(*decoder, nn.ReLU(inplace=True), _conv(decoder_widths[-1], 3))
        self.pool = pools[0] * pools[1] * pools[2]
        self.grow = grows[0] * grows[1] * grows[2]

    @classmethod
    def from_published(cls, path: Path, dtype: torch.dtype) -> AutoencoderTinyHV:
        """The network of a safetensors file with the published names.

        Raises:
            UserError: a pickle, a damaged file, or weights with other names or shapes.
        """
        if path.suffix in (".pth", ".pt", ".bin", ".ckpt"):
            raise UserError(
                f"{path} is a pickle, which is not read here; convert it once with: python -c \"import torch; "
                f"from safetensors.torch import save_file; save_file(torch.load('{path}', map_location='cpu', "
                f"weights_only=True), '{path.with_suffix('.safetensors')}')\""
            )
        if not path.is_file():
            raise UserError(f"{path} does not exist; give taew2_1.safetensors of github.com/madebyollin/taehv")
        state = load_safetensors(path)
        with torch.device("meta"):
            model = cls()
        _check_names(state, {name: value.shape for name, value in model.state_dict().items()}, path)
        model.load_state_dict({name: value.to(dtype) for name, value in state.items()}, assign=True)
        return model.eval()

    @apply_forward_hook
    def encode(self, frames: Tensor, chunk: int = 0) -> Tensor:
        """Latents of frames.

        Args:
            frames: `[T, 3, H, W]` in 0..1; the last is repeated until T is a multiple of `pool`.
            chunk: latent frames to calculate at once, 0 for all: the same result in less memory.

        Returns:
            `[ceil(T / pool), C, H / 8, W / 8]`, normalised.
        """
        missing = -len(frames) % self.pool
        padded = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)]) if missing else frames
        memory: dict[int, Tensor] = {}
        return torch.cat([_run(self.encoder, part, memory) for part in padded.split(self.pool * chunk or len(padded))])

    @apply_forward_hook
    def decode(self, latents: Tensor, chunk: int = 0) -> Tensor:
        """Frames of latents.

        Args:
            latents: `[t, C, h, w]`, normalised.
            chunk: latent frames to calculate at once, 0 for all: the same result in less memory.

        Returns:
            `[1 + (t - 1) * grow, 3, 8 h, 8 w]` in 0..1: the first `grow - 1` of what the decoder makes are dropped.
        """
        memory: dict[int, Tensor] = {}
        parts = [_run(self.decoder, part, memory) for part in latents.split(chunk or len(latents))]
        return torch.cat(parts)[self.grow - 1 :].clamp(0, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames encoded and decoded."""
        return self.decode(self.encode(frames))


def _run(layers: nn.Sequential, maps: Tensor, memory: dict[int, Tensor]) -> Tensor:
    """All frames of `maps` through one layer after the other; `memory` keeps each block's last for the next call."""
    for index, layer in enumerate(layers):
        if isinstance(layer, MemoryBlock):
            before = memory.get(index, torch.zeros_like(maps[:1]))
            memory[index] = maps[-1:].clone()  # not a view, which would keep all frames alive
            maps = layer(maps, torch.cat([before, maps[:-1]]))
        else:
            maps = layer(maps)
    return maps


def _check_names(state: dict[str, Tensor], expected: dict[str, torch.Size], path: Path) -> None:
    wrong = sorted(state.keys() ^ expected.keys())
    wrong += [name for name in sorted(state.keys() & expected.keys()) if state[name].shape != expected[name]]
    if wrong:
        name = wrong[0]
        found = tuple(state[name].shape) if name in state else "absent"
        wanted = tuple(expected[name]) if name in expected else "absent"
        raise UserError(
            f"{path} is not taew2_1: '{name}' is {found}, expected {wanted} ({len(wrong)} names differ); give the file "
            "for Wan 2.1 of github.com/madebyollin/taehv"
        )
