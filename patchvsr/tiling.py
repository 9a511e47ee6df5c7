"""Tiling policies: which tiles of a frame are denoised at each step.

Pure geometry in latent pixels: length, tile size and step go in, tile starts come out, one axis at a time. In two
dimensions a plan is the outer product of both axes (`patchvsr.modulation.plan`), so every property that holds along
one axis holds in the frame. Starts need no alignment, and a frame may be smaller than a tile.

Between two neighbouring tiles lies one *cut*: the line where the left one hands over to the right one. A cut at `p`
lies between positions `p - 1` and `p`. What lies between two cuts is a *cell*; its tile is centred on it as far as
the frame allows. Where tiles do not fit evenly, cells are narrower than tiles rather than the last one moved in, so
every tile sees a little beyond its cuts.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from patchvsr.errors import UserError
from patchvsr.registry import Registry


@dataclass(frozen=True, slots=True)
class Axis:
    """Tiles along one axis at one step, in latent pixels.

    Attributes:
        length: of the frame along this axis.
        size: of every tile, at most `length`.
        main: starts of the tiles that cover the axis, ascending, all different.
        cuts: handovers between successive main tiles, one fewer than these.
        auxiliary: starts of the tiles laid over the cuts, one for each cut in the same order, or none at all. Where a
            frame is hardly longer than a tile, one may coincide with a main tile.
    """

    length: int
    size: int
    main: tuple[int, ...]
    cuts: tuple[int, ...]
    auxiliary: tuple[int, ...] = ()

    @property
    def starts(self) -> tuple[int, ...]:
        """Starts of all tiles, ascending, each once."""
        return tuple(sorted({*self.main, *self.auxiliary}))

    @property
    def cells(self) -> tuple[tuple[int, int], ...]:
        """`(begin, end)` of the cell of each main tile."""
        return tuple(zip((0, *self.cuts), (*self.cuts, self.length), strict=True))


@dataclass(frozen=True, slots=True)
class Box:
    """A tile's place in the frame, in latent pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices that cut this tile out of a `[..., H, W]` tensor."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class TilingPolicy(ABC):
    """Places tiles along an axis; a subclass implements `place`.

    Args:
        overlap: least share of a tile that it has in common with the next, in [0, 1); read by `overlapped` only, and
            taken by every policy so that all are made alike.

    Raises:
        UserError: the overlap is out of range.
    """

    least_steps: ClassVar[int] = 1
    """Fewer denoising steps than this are refused."""
    one_owner: ClassVar[bool] = False
    """Each position is meant for one tile: overlaps are what is left where tiles do not fit evenly."""
    has_auxiliary: ClassVar[bool] = False
    """Each cut lies under an auxiliary tile."""

    def __init__(self, *, overlap: float = 0.25) -> None:
        if not 0 <= overlap < 1:
            raise UserError(f"overlap={overlap} must be a share of the tile, in [0, 1)")
        self.overlap = overlap

    def axis(self, length: int, size: int, step: int, steps: int) -> Axis:
        """The tiles along one axis at step `step` of `steps`.

        Args:
            length: of the frame, at least 1.
            size: wanted tile size, at least 1; a longer one is cut to `length`.
            step: counted from 0.
            steps: of the whole sampling run.

        Raises:
            UserError: length or size below 1.
            ValueError: `step` is not one of `steps`.
        """
        if length < 1 or size < 1:
            raise UserError(f"tiles of {size} along a frame of {length} latent pixels: both must be at least 1")
        if not 0 <= step < steps:
            raise ValueError(f"step {step} is not in 0..{steps - 1}")
        return self.place(length, min(size, length), step)

    @abstractmethod
    def place(self, length: int, size: int, step: int) -> Axis:
        """The tiles at this step, for `1 <= size <= length`."""

    def check(self, steps: int) -> None:
        """Refuse a number of steps that this policy makes no sense with.

        Raises:
            UserError: too few steps.
        """
        if steps < self.least_steps:
            raise UserError(
                f"steps={steps} is too few for tiling={type(self).__name__.lower()}, which needs at least "
                f"{self.least_steps}; raise steps or use tiling=disjoint"
            )


tilings: Registry[type[TilingPolicy]] = Registry("tiling")


def _centred(begin: int, end: int, length: int, size: int) -> int:
    """Start of the tile in the middle of `[begin, end)`, moved into the frame; it covers a range of up to `size`."""
    return min(max((begin + end - size) // 2, 0), length - size)


def _from_cuts(length: int, size: int, cuts: Iterable[int]) -> Axis:
    """The tiles for given cuts, at most `size` apart; a cut that one tile can span is left out, and its tile saved."""
    edges = [0, *cuts, length]
    kept = [0]
    for edge, following in zip(edges[1:], edges[2:], strict=False):
        if following - kept[-1] > size:
            kept.append(edge)
    cells = zip(kept, [*kept[1:], length], strict=True)
    return Axis(length, size, tuple(_centred(begin, end, length, size) for begin, end in cells), tuple(kept[1:]))


@tilings.register("disjoint")
class Disjoint(TilingPolicy):
    """As few tiles as cover the frame, the same at every step, with evenly spread cuts."""

    one_owner = True

    def place(self, length: int, size: int, step: int) -> Axis:
        """`ceil(length / size)` tiles."""
        count = -(-length // size)
        return _from_cuts(length, size, (index * length // count for index in range(1, count)))


@tilings.register("auxiliary")
class Auxiliary(Disjoint):
    """`disjoint`, and on each cut an auxiliary tile made of the adjacent halves of the tiles at its sides.

    Source: PatchVSR (arXiv 2509.26025), multi-patch joint modulation. In two dimensions that gives auxiliary tiles on
    the cuts of each axis and on their crossings.
    """

    one_owner = False
    has_auxiliary = True

    def place(self, length: int, size: int, step: int) -> Axis:
        """`ceil(length / size)` main tiles and one auxiliary tile fewer."""
        main = super().place(length, size, step)
        return Axis(length, size, main.main, main.cuts, tuple(_centred(cut, cut, length, size) for cut in main.cuts))


@tilings.register("overlapped")
class Overlapped(TilingPolicy):
    """Uniform stride, the same at every step: each tile shares at least `overlap` of itself with the next.

    The stride is shrunk, to the pixel, until the last tile ends with the frame.
    """

    def place(self, length: int, size: int, step: int) -> Axis:
        """The fewest tiles with that overlap."""
        stride = max(int(size * (1 - self.overlap)), 1)
        gaps = -(-(length - size) // stride)
        main = tuple(index * (length - size) // gaps if gaps else 0 for index in range(gaps + 1))
        middles = ((left + size + right) // 2 for left, right in zip(main, main[1:], strict=False))
        return Axis(length, size, main, tuple(middles))


@tilings.register("shifted")
class Shifted(TilingPolicy):
    """Alternates from step to step between two grids, each disjoint, that have no interior cut in common.

    Cuts repeat with a period of at most the tile size; each grid starts at its own offset in it, so no cut can be in
    two grids, whether tiles fit evenly or not. Grid 0 has as many tiles as `disjoint`. So have the others where there
    is room to spare for the offset (half a tile between two grids); else they have one more.

    A frame of one tile has no cut. Tiles of `size` positions can be offset in `size` ways only: smaller tiles than
    there are grids alternate between `size` grids (with tiles of one position there is one grid, cut everywhere).
    """

    least_steps = 2
    one_owner = True
    order: ClassVar[tuple[int, ...]] = (0, 1)
    """Offsets of successive steps, in shares `1 / len(order)` of the period."""

    def place(self, length: int, size: int, step: int) -> Axis:
        """The grid whose turn it is."""
        order = [share for share in self.order if share < size]
        grids, count = len(order), -(-length // size)
        even = -(-length // count)
        # The shortest period with which even the grid of the largest offset needs `count` tiles.
        spared = -(-grids * (length - size) // (grids * (count - 1) - grids + 1)) if count > 1 else 0
        # At most size, and one position or more for each grid's offset.
        period = max(spared if even < spared <= size else even, grids)
        offset = order[step % len(order)] * period // len(order)
        return _from_cuts(length, size, range(offset or period, length, period))


@tilings.register("shifted4")
class Shifted4(Shifted):
    """`shifted` with four grids: a cut returns to its place every fourth step only."""

    order = (0, 2, 1, 3)  # halves before quarters: cuts of successive steps lie as far apart as they can


@tilings.register("full")
class Full(TilingPolicy):
    """One tile, the whole frame, whatever the tile size."""

    one_owner = True

    def place(self, length: int, size: int, step: int) -> Axis:
        """The tile."""
        return Axis(length, length, (0,), ())
