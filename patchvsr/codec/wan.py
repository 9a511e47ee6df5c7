"""Wan's own codec: diffusers' `AutoencoderKLWan`, in tiles where a frame is larger than one.

diffusers can tile it too (`enable_tiling`); that is not used here, for what diffusers 0.42 does:

- It steps by a fixed stride whatever the frame's size, so the last tile of a row is what is left over, down to a strip
  of one latent pixel. Such a strip is decoded without the picture around it and then gets 7/8 of the weight along the
  frame's edge. Here all tiles have one size and the last ends with the frame.
- A frame that one tile covers in one direction gets a second, smaller tile in that direction all the same.
- It keeps the frames of all tiles until the last is done, and then builds the whole out of them twice, where here one
  tile is held beside the result.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from patchvsr.codec import networks, tiles
from patchvsr.codec.flops import CodecFlops, FlopCount
from patchvsr.codec.interface import Codec
from patchvsr.codec.tiles import Grid
from patchvsr.offload import compute_device
from patchvsr.upscaler import Cuts


class WanCodec(Codec):
    """diffusers' `AutoencoderKLWan`: 8x8 in space, 4 in time, 16 channels, chunks of 1 + 4 n frames.

    The middle of both networks attends to the whole picture, so no overlap makes tiles equal to the whole frame;
    their results are cross-faded. Beside the result, only one tile is held. `python -m benchmarks.codecs` measures the
    seams.

    Args:
        vae: the autoencoder, with its weights.
        tile: largest height and width in pixels that is encoded or decoded at once; the default is the size that
            Wan 2.1's bases see.
        overlap: pixels that neighbouring tiles share at least. With random weights the step in tone at cuts was that
            of the undivided frame at 128 pixels, up to twice it at 64, and 4 to 35 times it at 0.

    Raises:
        UserError: a tile or overlap that is not in whole latent pixels, or an overlap that is not below the tile.
    """

    channels, spatial, temporal = 16, 8, 4
    needs: ClassVar[str] = "the folder of diffusers' AutoencoderKLWan"

    def __init__(self, vae: Any, tile: int = 512, overlap: int = 128) -> None:
        super().__init__()
        self.vae, self.tile, self.overlap = vae, tile, overlap
        config = vae.config
        self.channels, self.spatial = config.z_dim, config.scale_factor_spatial
        self.temporal = config.scale_factor_temporal
        networks.check_tiles(tile, overlap, self.spatial)
        self._mean = torch.tensor(config.latents_mean).view(-1, 1, 1, 1)
        self._std = torch.tensor(config.latents_std).view(-1, 1, 1, 1)
        self._count: FlopCount | None = None

    @classmethod
    def load(cls, weights: str, device: torch.device, dtype: torch.dtype) -> Self:
        """See `from_diffusers`."""
        return cls.from_diffusers(Path(weights), device, dtype)

    @classmethod
    def from_diffusers(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Self:
        """The autoencoder of a diffusers folder (`folder/vae` or `folder` itself), safetensors only.

        Raises:
            UserError: the folder holds none.
        """
        from diffusers import AutoencoderKLWan

        path = networks.diffusers_folder(folder, "autoencoder")
        vae = AutoencoderKLWan.from_pretrained(path, torch_dtype=dtype, use_safetensors=True)
        codec = cls(vae.to(device).eval())
        codec.sha256 = networks.hashes(path)
        return codec

    @classmethod
    def on_meta(cls) -> Self:
        """Wan 2.1's autoencoder, which is the default config of diffusers' class."""
        from diffusers import AutoencoderKLWan

        with torch.device("meta"):
            return cls(AutoencoderKLWan().eval())

    @property
    def module(self) -> nn.Module:
        """The autoencoder."""
        return self.vae

    @torch.inference_mode()
    def encode(self, frames: Tensor) -> Tensor:
        """`[1 + 4 n, 3, H, W]` to `[16, 1 + n, H / 8, W / 8]`, the mode of the posterior, normalised."""
        self.check(len(frames), *frames.shape[-2:])
        return tiles.fuse(frames, self._encode, self._grid(*frames.shape[-2:]), self.spatial, 1)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """`[16, 1 + n, h, w]` to `[1 + 4 n, 3, 8 h, 8 w]`, in 0..1."""
        height, width = (size * self.spatial for size in latents.shape[-2:])
        return tiles.fuse(latents, self._decode, self._grid(height, width), 1, self.spatial, self.group)

    def flops(self, frames: int, height: int, width: int) -> CodecFlops:
        """Counted on the meta device; all tiles have one shape. The cross-fade is not counted."""
        self.check(frames, height, width)
        if self._count is None:
            bare = networks.meta_copy(self.vae)
            self._count = FlopCount(bare.encode, bare.decode, bare.dtype)
        grid = self._grid(height, width)
        tall, wide = grid.tile
        video = (1, 3, frames, tall * self.spatial, wide * self.spatial)
        return self._count.tiles(len(grid), video, (1, self.channels, self.latent_frames(frames), tall, wide))

    def cuts(self, height: int, width: int) -> Cuts:
        """The middles of the cross-fades of a frame of this size, in pixels: where seams would be."""
        grid = self._grid(height, width)
        rows, columns = (tuple(cut * self.spatial for cut in axis.cuts) for axis in (grid.rows, grid.columns))
        return Cuts(rows, columns)

    def _grid(self, height: int, width: int) -> Grid:
        size = self.spatial
        return Grid.over(height // size, width // size, self.tile // size, self.overlap // size)

    def _encode(self, frames: Tensor) -> Tensor:
        video = (frames * 2 - 1).transpose(0, 1)[None].to(compute_device(self.vae), self.vae.dtype)
        latents = self.vae.encode(video).latent_dist.mode()[0].float()
        return (latents - self._mean.to(latents.device)) / self._std.to(latents.device)

    def _decode(self, latents: Tensor) -> Tensor:
        scaled = latents * self._std.to(latents.device) + self._mean.to(latents.device)
        video = self.vae.decode(scaled[None].to(compute_device(self.vae), self.vae.dtype)).sample
        return (video[0].transpose(0, 1).float() + 1) / 2
