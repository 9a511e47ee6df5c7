"""Large frames through a codec in tiles: feathered where tiles differ, cut where they are exact.

Tiles are placed by `tiling.Overlapped`, so all have one size, the last ends with the frame, and no sliver of a tile is
left at the edge. Positions are in latent pixels; `reads` and `writes` say how many pixels of the input and of the
output stand for one of them.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from patchvsr.modulation import Fusion, Modulation, WeightedTile, Window
from patchvsr.parallel import SINGLE, Group
from patchvsr.tiling import Axis, Box, Overlapped

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles of a frame, in latent pixels: the outer product of both axes."""

    rows: Axis
    columns: Axis

    @classmethod
    def over(cls, height: int, width: int, tile: int, overlap: int, tight: bool = False) -> Grid:
        """As few tiles of at most `tile` as share at least `overlap` with the next.

        With `tight` they are no larger than that many need to be, which is less work; without, they share more.

        Raises:
            UserError: a frame or tile below 1, or an overlap that is not below the tile.
        """
        return cls(_spread(height, tile, overlap, tight), _spread(width, tile, overlap, tight))

    def __len__(self) -> int:
        return len(self.rows.main) * len(self.columns.main)

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of every tile."""
        return self.rows.size, self.columns.size


def _spread(length: int, size: int, overlap: int, tight: bool) -> Axis:
    # Half a pixel less: the policy takes a share and rounds the stride down, which must not lose a whole pixel.
    axis = Overlapped(overlap=max(overlap - 0.5, 0) / size).axis(length, size, 0, 1)
    count = len(axis.main)
    needed = -(-(length + (count - 1) * overlap) // count)
    return _spread(length, needed, overlap, False) if tight and needed < axis.size else axis


class Feather(Modulation):
    """Linear cross-fade over as much as neighbouring tiles share; a partition of unity."""

    def weigh(self, axis: Axis) -> list[Window]:
        """Ramps over the least overlap on the axis, none at the frame's edges, divided by their sum."""
        if len(axis.main) == 1:
            return [(axis.main[0], torch.ones(axis.size, dtype=torch.float64))]
        steps = [right - left for left, right in zip(axis.main, axis.main[1:], strict=False)]
        overlap = axis.size - max(steps)
        up = ((torch.arange(axis.size, dtype=torch.float64) + 0.5) / max(overlap, 1)).clamp(max=1)
        raw = []
        for start in axis.main:
            left = up if start > 0 else torch.ones_like(up)
            right = up.flip(0) if start + axis.size < axis.length else torch.ones_like(up)
            raw.append((start, torch.minimum(left, right)))
        total = torch.zeros(axis.length, dtype=torch.float64)
        for start, weight in raw:
            total[start : start + axis.size] += weight
        return [(start, weight / total[start : start + axis.size]) for start, weight in raw]


def fuse(source: Tensor, run: Run, grid: Grid, reads: int, writes: int, group: Group = SINGLE) -> Tensor:
    """Cross-fade `run`'s results on the tiles of `source`.

    Args:
        source: `[..., reads * H, reads * W]`, of which one tile at a time is given to `run`.
        run: a tile to `[A, B, writes * h, writes * w]`, on any device.
        grid: the tiles.
        reads, writes: pixels per latent pixel of what is read and written.
        group: processes that share the tiles, and all get the result.

    Returns:
        `[A, B, writes * H, writes * W]`, float32, on the device of `source`. One tile's result is held beside it.
    """
    if len(grid) == 1:
        return run(source).float().to(source.device)
    fusion: Fusion | None = None
    weighted = list(_weighted(grid, writes))

    def one(index: int) -> Tensor:
        box = weighted[index].box
        place = _scaled(Box(box.top // writes, box.left // writes, *grid.tile), reads)
        return run(source[..., *place.slices]).to(source.device)

    for index, part in group.each(len(weighted), one):
        if fusion is None:
            fusion = Fusion((*part.shape[:2], grid.rows.length * writes, grid.columns.length * writes), source.device)
        fusion.add(part.to(source.device), weighted[index])
    assert fusion is not None  # a grid has at least one tile
    return fusion.result()


def stitch(source: Tensor, run: Run, grid: Grid, reads: int, writes: int, group: Group = SINGLE) -> Tensor:
    """As `fuse`, but each position is one tile's, from cut to cut: for networks whose field the overlap covers."""
    if len(grid) == 1:
        return run(source).float().to(source.device)
    out: Tensor | None = None
    rows, columns = (list(zip(axis.main, axis.cells, strict=True)) for axis in (grid.rows, grid.columns))
    places = [(row, column) for row in rows for column in columns]

    def one(index: int) -> Tensor:
        (top, _), (left, _) = places[index]
        return run(source[..., *_scaled(Box(top, left, *grid.tile), reads).slices])

    for index, part in group.each(len(places), one):
        (top, (row, row_end)), (left, (column, column_end)) = places[index]
        if out is None:
            size = (grid.rows.length * writes, grid.columns.length * writes)
            out = torch.empty(*part.shape[:2], *size, device=source.device)
        cell = Box(row, column, row_end - row, column_end - column)
        within = Box(row - top, column - left, cell.height, cell.width)
        out[..., *_scaled(cell, writes).slices] = part[..., *_scaled(within, writes).slices].to(source.device)
    assert out is not None  # a grid has at least one tile
    return out


def _weighted(grid: Grid, scale: int) -> Iterator[WeightedTile]:
    """The feathered tiles of a grid `scale` times as large."""
    across = Feather().windows(_axis(grid.columns, scale))
    height, width = (size * scale for size in grid.tile)
    for top, row in Feather().windows(_axis(grid.rows, scale)):
        for left, column in across:
            yield WeightedTile(Box(top, left, height, width), row, column)


def _axis(axis: Axis, scale: int) -> Axis:
    main, cuts = (tuple(place * scale for place in places) for places in (axis.main, axis.cuts))
    return Axis(axis.length * scale, axis.size * scale, main, cuts)


def _scaled(box: Box, scale: int) -> Box:
    return Box(box.top * scale, box.left * scale, box.height * scale, box.width * scale)
