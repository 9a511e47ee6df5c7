"""The tiles of a step in batches, and how they are read from the frame's latents and added up again."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchvsr.cache import Key
from patchvsr.modulation import Fusion, WeightedTile
from patchvsr.position import Place


@dataclass(frozen=True, slots=True, eq=False)
class TileBatch:
    """Tiles that go through the model together.

    Attributes:
        tiles: in the order of the plan.
        key: their places.
        index: `[B, h, w]`, the tiles' positions in a flattened frame, and
        weight: `[B, h, w]`, float32, both on the device; None where a tile is cut out as a slice (one tile on a CPU).
    """

    tiles: tuple[WeightedTile, ...]
    key: Key
    index: Tensor | None = None
    weight: Tensor | None = None

    def gather(self, latents: Tensor) -> Tensor:
        """Cut the tiles `[B, C, T, h, w]` out of `[C, T, H, W]`."""
        if self.index is None:
            return torch.stack([latents[..., *tile.box.slices] for tile in self.tiles])
        return latents.flatten(-2)[..., self.index].permute(2, 0, 1, 3, 4)

    def add(self, predictions: Tensor, fusion: Fusion) -> None:
        """Add predictions `[B, C, T, h, w]` with their weights.

        On a GPU overlapping tiles of one batch are added in no fixed order, so the last bits may vary from run to run.
        """
        if self.index is None or self.weight is None:
            for prediction, tile in zip(predictions, self.tiles, strict=True):
                fusion.add(prediction, tile)
        else:
            fusion.add_indexed(predictions, self.index, self.weight)


def batches(
    tiles: Sequence[WeightedTile], frame: tuple[int, int], size: int, device: torch.device, indexed: bool
) -> list[TileBatch]:
    """The tiles of a plan, `size` at a time.

    Args:
        tiles: of one step, all of one size.
        frame: height and width in latent pixels.
        size: tiles of a batch.
        device: where latents are.
        indexed: read and add a batch at once through its index, as pays on a GPU.
    """
    found = []
    for start in range(0, len(tiles), size):
        part = tuple(tiles[start : start + size])
        boxes = [tile.box for tile in part]
        key = tuple(Place(box.top, box.left, box.height, box.width, *frame) for box in boxes)
        index = weight = None
        if indexed:
            positions = torch.arange(frame[0] * frame[1]).view(frame)
            index = torch.stack([positions[box.slices] for box in boxes]).to(device)
            weight = torch.stack([tile.weight for tile in part]).to(device)
        found.append(TileBatch(part, key, index, weight))
    return found
