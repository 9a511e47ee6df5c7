"""The tiny codec for Wan 2.1's latents: TAEHV with its published weights."""
from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from patchvsr.codec import networks, tiles
from patchvsr.codec.flops import CodecFlops, FlopCount
from patchvsr.codec.interface import Codec
from patchvsr.codec.taehv import HALO, AutoencoderTinyHV
from patchvsr.codec.tiles import Grid
from patchvsr.errors import UserError
from patchvsr.offload import compute_device
from patchvsr.weights import sha256_file


class TinyWanCodec(Codec):
    """`AutoencoderTinyHV`: latents of the same size, number and normalisation as Wan 2.1's own autoencoder makes.

    The network is convolutional, so tiles with a halo of its field (`HALO`, 18 latent or 144 frame pixels) give what
    the whole frame gives, to rounding. Frames of a tile are calculated at once as far as they fit in the memory that
    one latent frame of a full tile takes, else in successive chunks.

    Args:
        model: the network, with its weights.
        tile: largest height and width in pixels, halo included, that is encoded or decoded at once. The decoder's
            largest maps take 4 * 64 * tile^2 numbers, and up to four of them are held: about 3 GiB in bfloat16 and
            6 GiB in float32 for the default.

    Raises:
        UserError: a tile that is not in whole latent pixels or no larger than its halo.
    """

    channels, spatial, temporal = 16, 8, 4
    needs: ClassVar[str] = "taew2_1.safetensors of github.com/madebyollin/taehv"

    def __init__(self, model: AutoencoderTinyHV, tile: int = 1280) -> None:
        super().__init__()
        self.model, self.tile, self.halo = model, tile, HALO
        self.channels, self.temporal = model.config["latent_channels"], model.grow
        networks.check_tiles(tile, 2 * self.halo * self.spatial, self.spatial)
        self._count: FlopCount | None = None

    @classmethod
    def load(cls, weights: str, device: torch.device, dtype: torch.dtype) -> Self:
        """From a safetensors file with the published names, or a folder that `save_pretrained` wrote.

        Raises:
            UserError: neither of the two, a pickle, or weights of another network.
        """
        path = Path(weights)
        if path.is_dir():
            folder = networks.diffusers_folder(path, "autoencoder")
            _check_class(folder)
            model = AutoencoderTinyHV.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True)
            sha256 = networks.hashes(folder)
        else:
            model = AutoencoderTinyHV.from_published(path, dtype)
            sha256 = {f"codec/{path.name}": sha256_file(path)}
        codec = cls(model.to(device).eval())
        codec.sha256 = sha256
        return codec

    @classmethod
    def on_meta(cls) -> Self:
        """The published size."""
        with torch.device("meta"):
            return cls(AutoencoderTinyHV().eval())

    @property
    def module(self) -> nn.Module:
        """The network."""
        return self.model

    @torch.inference_mode()
    def encode(self, frames: Tensor) -> Tensor:
        """`[1 + 4 n, 3, H, W]` to `[16, 1 + n, H / 8, W / 8]`, normalised."""
        self.check(len(frames), *frames.shape[-2:])
        grid = self._grid(*frames.shape[-2:])
        chunk = self._chunk(grid)
        return tiles.stitch(frames, lambda part: self._encode(part, chunk), grid, self.spatial, 1)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """`[16, 1 + n, h, w]` to `[1 + 4 n, 3, 8 h, 8 w]`, in 0..1."""
        grid = self._grid(*(size * self.spatial for size in latents.shape[-2:]))
        chunk = self._chunk(grid)
        return tiles.stitch(latents, lambda part: self._decode(part, chunk), grid, 1, self.spatial, self.group)

    def flops(self, frames: int, height: int, width: int) -> CodecFlops:
        """Counted on the meta device, with the frames that are added to encode and dropped after decoding."""
        self.check(frames, height, width)
        if self._count is None:
            bare = networks.meta_copy(self.model)
            self._count = FlopCount(bare.encode, bare.decode, bare.dtype)
        grid = self._grid(height, width)
        tall, wide = grid.tile
        clip = (frames, 3, tall * self.spatial, wide * self.spatial)
        return self._count.tiles(len(grid), clip, (self.latent_frames(frames), self.channels, tall, wide))

    def _grid(self, height: int, width: int) -> Grid:
        # A cut lies in the middle of what two tiles share, so each has its halo beyond it.
        size = self.spatial
        return Grid.over(height // size, width // size, self.tile // size, 2 * self.halo, tight=True)

    def _chunk(self, grid: Grid) -> int:
        tall, wide = grid.tile
        return max(1, (self.tile // self.spatial) ** 2 // (tall * wide))

    def _encode(self, frames: Tensor, chunk: int) -> Tensor:
        given = frames.to(compute_device(self.model), self.model.dtype)
        return self.model.encode(given, chunk).transpose(0, 1).float()

    def _decode(self, latents: Tensor, chunk: int) -> Tensor:
        given = latents.transpose(0, 1).to(compute_device(self.model), self.model.dtype)
        return self.model.decode(given, chunk).float()


def _check_class(folder: Path) -> None:
    name = AutoencoderTinyHV.load_config(folder).get("_class_name")
    if name != AutoencoderTinyHV.__name__:
        raise UserError(f"{folder} holds a {name}, and codec 'taehv' needs {TinyWanCodec.needs}")
