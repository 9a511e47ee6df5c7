"""A feed-forward network over a frame in tiles, each with context from the frame around it, in bounded memory."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from baselines.networks import computed
from patchvsr.tiling import Disjoint

Tell = Callable[[float], None]
"""Told the finished share of one frame, 0..1."""


class Tiles:
    """Cores that partition a frame, each predicted from itself and the pixels around it.

    Where a core touches the frame's border its tile ends there too, so that the network pads as it does untiled.

    Args:
        core: the longest side of a core, in input pixels; 0 for the whole frame.
        overlap: pixels of context on each side of a core, where the frame has them.
    """

    def __init__(self, core: int, overlap: int) -> None:
        self.core, self.overlap = core, overlap if core else 0

    def cuts(self, length: int) -> tuple[int, ...]:
        """Where cores meet along an axis of `length` input pixels: as few as can be, evenly spread."""
        return Disjoint().axis(length, self.core or length, 0, 1).cuts

    def run(self, network: nn.Module, frame: Tensor, factor: int, tell: Tell) -> Tensor:
        """The network's result for a frame, one tile at a time.

        Args:
            network: `[1, 3, h, w]` to `[1, 3, factor * h, factor * w]`; tiles are given to it on its device and in its
                dtype. Feed-forward: each output depends on what is around it only.
            frame: `[1, 3, H, W]` on the CPU.
            factor: of the enlargement.
            tell: called after each tile.

        Returns:
            `[1, 3, factor * H, factor * W]`, float32, 0..1, on the CPU.
        """
        height, width = frame.shape[-2:]
        rows, columns = list(self._spans(height)), list(self._spans(width))
        like = next(network.parameters())
        whole = torch.empty(1, 3, factor * height, factor * width)
        for index, (row, column) in enumerate([(row, column) for row in rows for column in columns], 1):
            (top, bottom, above, below), (left, right, before, after) = row, column
            tile = frame[..., above:below, before:after].to(like.device, like.dtype)
            made = computed(network, tile)
            kept = made[..., (top - above) * factor : (bottom - above) * factor,
                        (left - before) * factor : (right - before) * factor]  # fmt: skip
            whole[..., top * factor : bottom * factor, left * factor : right * factor] = kept.float().clamp(0.0, 1.0)
            tell(index / (len(rows) * len(columns)))
        return whole

    def _spans(self, length: int) -> Iterator[tuple[int, int, int, int]]:
        """Along an axis, for each core: where it begins and ends, and where its tile does."""
        edges = [0, *self.cuts(length), length]
        for begin, end in zip(edges, edges[1:], strict=False):
            yield begin, end, max(begin - self.overlap, 0), min(end + self.overlap, length)
