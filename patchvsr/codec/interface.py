"""The interface that every codec implements, the registry of codecs, and the codec without weights."""
from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from patchvsr.codec.flops import CodecFlops
from patchvsr.errors import UserError
from patchvsr.parallel import SINGLE, Group
from patchvsr.registry import Registry


class Codec(ABC):
    """Turns frames `[T, 3, H, W]` (0..1) into latents `[C, t, H / spatial, W / spatial]` and back.

    Results lie on the device of what was given, wherever the codec's weights are.

    Attributes:
        channels: C.
        spatial: pixels per latent pixel, in height and width.
        temporal: frames per latent frame after the first.
        needs: what `codec_weights` must name, in words; empty for a codec without weights.
        sha256: of the files of weights it was loaded from, by name.
        group: processes that decode together, all of the same latents; each encodes for itself.
    """

    channels: int
    spatial: int
    temporal: int
    needs: ClassVar[str] = ""

    def __init__(self) -> None:
        self.sha256: dict[str, str] = {}
        self.group: Group = SINGLE

    @classmethod
    def load(cls, weights: str, device: torch.device, dtype: torch.dtype) -> Self:
        """The codec with its weights; the default is for a codec that has none.

        Raises:
            UserError: weights for a codec that has none; in other codecs, weights that are missing or do not fit.
        """
        if weights:
            raise UserError(f"{cls.__name__} has no weights to load from {weights}; leave codec_weights out")
        return cls()

    @classmethod
    def on_meta(cls) -> Self:
        """The codec at its published size on torch's meta device: no weights, good for `flops` only."""
        return cls()

    @property
    def module(self) -> nn.Module | None:
        """The network behind it, if there is one."""
        return None

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """Latents, about unit variance, float32.

        Raises:
            UserError: a number of frames or a size that the codec does not take.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Frames, float32, about 0..1: not every codec clamps."""

    @abstractmethod
    def flops(self, frames: int, height: int, width: int) -> CodecFlops:
        """What it costs to encode and to decode a clip of this size, tiles and their overlaps included.

        Raises:
            UserError: a number of frames or a size that the codec does not take.
        """

    def latent_frames(self, frames: int) -> int:
        """Latent frames that `frames` frames become."""
        return 1 + (frames - 1 + self.temporal - 1) // self.temporal

    def padded_frames(self, frames: int) -> int:
        """The smallest number of frames, at least `frames`, that the codec takes."""
        return 1 + (self.latent_frames(frames) - 1) * self.temporal

    def check(self, frames: int, height: int, width: int) -> None:
        """Refuse what would have to be cut or padded, which is the caller's to undo.

        Raises:
            UserError: frames other than `padded_frames` gives, or a size that is no multiple of `spatial`.
        """
        if frames < 1 or frames != self.padded_frames(frames):
            raise UserError(
                f"this codec takes 1 + {self.temporal} n frames and was given {frames}; repeat the last frame until "
                f"there are {self.padded_frames(max(frames, 1))}"
            )
        if height < 1 or width < 1 or height % self.spatial or width % self.spatial:
            raise UserError(
                f"this codec takes heights and widths that are multiples of {self.spatial} pixels and was given "
                f"{width}x{height}; pad the frames"
            )


codecs: Registry[type[Codec]] = Registry(
    "codec", {"wan": "patchvsr.codec.wan:WanCodec", "taehv": "patchvsr.codec.tiny:TinyWanCodec"}
)


def fitting(name: str, own: str, base: str, codec: Codec | None = None) -> type[Codec]:
    """The codec `name` for a base that was trained with the codec `own`.

    Args:
        name: of the codec; empty for the base's own.
        own: name of the base's own codec.
        base: name of the base, for the message.
        codec: where it is loaded already, its sizes count and not those of its class.

    Raises:
        UserError: unknown codec, or one whose latents are not of the size and number that the base works on.
    """
    kind, trained = codecs.get(name or own), codecs.get(own)
    sizes = _sizes(codec or kind)
    if sizes != _sizes(trained):
        raise UserError(
            f"codec '{name or own}' does not fit base '{base}': it makes {_words(sizes)}, where the base works on "
            f"{_words(_sizes(trained))}; leave codec out for the base's own, '{own}'"
        )
    return kind


def _sizes(codec: Codec | type[Codec]) -> tuple[int, int, int]:
    return codec.channels, codec.spatial, codec.temporal


def _words(sizes: tuple[int, int, int]) -> str:
    channels, spatial, temporal = sizes
    return f"{channels} channels for {spatial}x{spatial} pixels and {temporal} frame{'s' * (temporal > 1)}"


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

    def flops(self, frames: int, height: int, width: int) -> CodecFlops:
        """None: pixels are moved, and scaled by one multiply-add each, which is not counted."""
        self.check(frames, height, width)
        return CodecFlops(0, 0, ())
