"""Modulation strategies: how overlapping predictions of tiles become one prediction of the frame.

A strategy gives each tile along an axis a weight, and the weights sum to 1 at every position. A tile of the frame has
the outer product of a row's and a column's weights, so sums and continuity carry over from the axis to the frame.

Continuity is a property of `joint`, and of `gaussian` on tilings whose tiles overlap. `independent` and `average` are
piecewise constant by definition: they jump wherever a tile ends.
"""
from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.registry import Registry
from patchvsr.tiling import Axis, Box, TilingPolicy, tilings

Window = tuple[int, Tensor]
"""Start of a tile along an axis, and its weight `[size]`."""

_CLOSED = 1e-3  # far above the rounding of float32 sums over thousands of tiles


@dataclass(frozen=True, slots=True, eq=False)
class WeightedTile:
    """A tile and the weight of its prediction: `row[i] * column[j]` at position `(i, j)` of its box.

    Attributes:
        box: place in the frame; equal boxes of different steps compare equal.
        row: `[h]`, float32, along the height.
        column: `[w]`, float32, along the width.
    """

    box: Box
    row: Tensor
    column: Tensor

    @property
    def weight(self) -> Tensor:
        """`[h, w]`, float32, in 0..1."""
        return torch.outer(self.row, self.column)


class Modulation(ABC):
    """Weighs the tiles of an axis; a subclass implements `weigh`, and `check` where it does not go with all tilings."""

    def windows(self, axis: Axis) -> list[Window]:
        """`(start, weight [size])`, float32, ascending, one for each place of a tile that has any weight.

        Weights are in 0..1 and sum to 1 at every position of the axis, to float32's precision.
        """
        placed: dict[int, Tensor] = {}
        for start, weight in self.weigh(axis):
            # Tiles at one place have one prediction: it is made once and carries the weight of all.
            placed[start] = placed[start] + weight if start in placed else weight
        return [(start, weight.float()) for start, weight in sorted(placed.items()) if weight.any()]

    @abstractmethod
    def weigh(self, axis: Axis) -> list[Window]:
        """`(start, weight [size])` in float64, in any order; weights of equal starts are added up."""

    def check(self, tiling: str) -> None:
        """Refuse a tiling that this strategy makes no sense with; the default refuses none that exists.

        Raises:
            UserError: unknown tiling, or one that does not go with this strategy.
        """
        tilings.get(tiling)


modulations: Registry[type[Modulation]] = Registry("modulation")


def _centres(length: int) -> Tensor:
    """`[length]`, float64: the middles of the positions, as cuts lie between positions."""
    return torch.arange(length, dtype=torch.float64) + 0.5


def _normalised(axis: Axis, raw: list[Window]) -> list[Window]:
    """Weights over their sum at each position."""
    total = torch.zeros(axis.length, dtype=torch.float64)
    for start, weight in raw:
        total[start : start + axis.size] += weight
    return [(start, weight / total[start : start + axis.size]) for start, weight in raw]


@modulations.register("independent")
class Independent(Modulation):
    """No fusion: each position is one tile's, from cut to cut. Piecewise constant."""

    def weigh(self, axis: Axis) -> list[Window]:
        """1 in a tile's cell, else 0."""
        found = []
        for start, (begin, end) in zip(axis.main, axis.cells, strict=True):
            weight = torch.zeros(axis.size, dtype=torch.float64)
            weight[begin - start : end - start] = 1
            found.append((start, weight))
        return found

    def check(self, tiling: str) -> None:
        """Refuse tilings that overlap on purpose.

        Raises:
            UserError: as said.
        """
        if not tilings.get(tiling).one_owner:
            raise UserError(
                f"modulation=independent would throw away what tiling={tiling} overlaps; use it with tiling=disjoint, "
                "shifted or full, or choose modulation=average, gaussian or joint"
            )


@modulations.register("average")
class Average(Modulation):
    """Every tile counts the same wherever it is. Piecewise constant.

    Source: MultiDiffusion (arXiv 2302.08113).
    """

    def weigh(self, axis: Axis) -> list[Window]:
        """1 over the number of tiles at the position."""
        return _normalised(axis, [(start, torch.ones(axis.size, dtype=torch.float64)) for start in axis.starts])


@modulations.register("gaussian")
class Gaussian(Modulation):
    """Gaussian windows over their sum. Towards an edge of the frame a window stays at its height.

    A window's edge meets others near their middle where tiles overlap by a quarter or more, also where the frame is
    hardly longer than a tile (hence the flat side): there weights are continuous, but for the window's value at its
    edge. On tilings that do not overlap everywhere they jump at the cuts.

    Source: Mixture of Diffusers (arXiv 2302.02412).

    Args:
        sigma: standard deviation as a share of the tile size. The default leaves 0.4 % at the edge.

    Raises:
        UserError: sigma out of range.
    """

    def __init__(self, sigma: float = 0.15) -> None:
        # Below, the ends of a window would vanish in float64 and leave positions without weight.
        if not 0.02 <= sigma <= 10:
            raise UserError(f"sigma={sigma} of modulation=gaussian must be a share of the tile size, in [0.02, 10]")
        self.sigma = sigma

    def weigh(self, axis: Axis) -> list[Window]:
        """`exp(-(x / sigma size)^2 / 2)` at distance x from the tile's middle, normalised."""
        return _normalised(axis, [(start, self._window(axis, start)) for start in axis.starts])

    def _window(self, axis: Axis, start: int) -> Tensor:
        offset = _centres(axis.size) - axis.size / 2
        if start == 0:
            offset = offset.clamp(min=0)
        if start + axis.size == axis.length:
            offset = offset.clamp(max=0)
        return torch.exp(-(offset / (self.sigma * axis.size)).square() / 2)


@modulations.register("joint")
class Joint(Modulation):
    """The paper's joint modulation: an auxiliary tile has weight 1 on its cut and fades to both sides of it.

    Its weight is a raised cosine that has come to 0 half-way to the next cut or at the tile's edge, whichever is
    nearer, on each side by itself; a main tile has the rest of its cell. So weights sum to 1 and are continuous, tiles
    fitting or not: main tiles have none where they meet, auxiliary tiles none where they end.

    Source: PatchVSR (arXiv 2509.26025), multi-patch joint modulation. The paper shows the map's shape without a
    formula; the raised cosine is a choice of this project.
    """

    def weigh(self, axis: Axis) -> list[Window]:
        """Main tiles' cells less the bumps of the auxiliary tiles, and the bumps.

        Raises:
            ValueError: the axis lacks an auxiliary tile for each cut.
        """
        rest = torch.ones(axis.length, dtype=torch.float64)
        found = []
        # The frame's edges are no cuts: there only the tile's edge ends a bump, and that is inside the frame.
        outer = (-axis.length, *axis.cuts, 2 * axis.length)
        for index, (cut, start) in enumerate(zip(axis.cuts, axis.auxiliary, strict=True)):
            left = min((cut - outer[index]) / 2, cut - start)
            right = min((outer[index + 2] - cut) / 2, start + axis.size - cut)
            bump = _bump(_centres(axis.size) + (start - cut), left, right)
            rest[start : start + axis.size] -= bump
            found.append((start, bump))
        for start, weight in Independent().weigh(axis):
            found.append((start, weight * rest[start : start + axis.size]))
        return found

    def check(self, tiling: str) -> None:
        """Refuse tilings without auxiliary tiles.

        Raises:
            UserError: as said.
        """
        if not tilings.get(tiling).has_auxiliary:
            raise UserError(
                f"modulation=joint weighs auxiliary tiles and tiling={tiling} has none; "
                "use it with tiling=auxiliary, or choose modulation=average, gaussian or independent"
            )


def _bump(offset: Tensor, left: float, right: float) -> Tensor:
    """Raised cosine of the distance from a cut: 1 at 0, 0 from `left` before it and from `right` behind it."""
    reach = torch.where(offset < 0, left, right).clamp(min=0.5)  # nearest positions are half a step away
    share = offset.abs() / reach
    # Exactly 0 outside: a tile's support ends where its bump does, which rounding of the cosine would hide.
    return torch.where(share < 1, torch.cos(share * (math.pi / 2)).square(), 0.0)


def plan(
    policy: TilingPolicy,
    modulation: Modulation,
    height: int,
    width: int,
    tile: tuple[int, int],
    step: int,
    steps: int,
) -> tuple[WeightedTile, ...]:
    """The tiles of one denoising step and their weights: the outer product of both axes' windows, row by row.

    Args:
        policy: places the tiles.
        modulation: weighs them.
        height, width: frame size in latent pixels.
        tile: wanted height and width of tiles in latent pixels; cut to the frame's.
        step: counted from 0.
        steps: of the whole sampling run.

    Returns:
        Tiles whose weights sum to 1 at every position; a tile without any weight is left out.

    Raises:
        UserError: a size below 1.
    """
    rows = policy.axis(height, tile[0], step, steps)
    columns = policy.axis(width, tile[1], step, steps)
    across = modulation.windows(columns)
    return tuple(
        WeightedTile(Box(top, left, rows.size, columns.size), row, column)
        for top, row in modulation.windows(rows)
        for left, column in across
    )


def cut_lines(policy: TilingPolicy, modulation: Modulation, length: int, size: int, steps: int) -> tuple[float, ...]:
    """Every line inside an axis where the weight of a tile begins or ends, over all steps' plans.

    These are the cuts between main tiles and, where tiles are laid over these, the lines where their weight ends. A
    line at `p` lies between positions `p - 1` and `p`.

    Raises:
        UserError: a size below 1.
    """
    lines: set[float] = set()
    for axis in {policy.axis(length, size, step, steps) for step in range(steps)}:
        for start, weight in modulation.windows(axis):
            support = weight.nonzero()
            lines |= {float(start + support[0].item()), float(start + support[-1].item() + 1)}
    return tuple(sorted(lines - {0.0, float(length)}))


class Fusion:
    """Weighted sum of tiles' predictions, added one at a time so that none has to be kept.

    Sums are float32 whatever the predictions' dtype. Floating-point sums depend on their order: add tiles in the order
    of the plan for results that are the same to the bit.

    Args:
        shape: `(C, T, H, W)` of the frame's prediction.
        device: where sums are kept; predictions are expected there.
    """

    def __init__(self, shape: Sequence[int], device: torch.device | str = "cpu") -> None:
        channels, frames, height, width = shape
        self._sum = torch.zeros(channels, frames, height, width, dtype=torch.float32, device=device)
        self._weight = torch.zeros(height, width, dtype=torch.float32, device=device)

    def add(self, prediction: Tensor, tile: WeightedTile) -> None:
        """Add one tile's prediction.

        Args:
            prediction: `[C, T, h, w]`, any float dtype.
            tile: its place and weight.

        Raises:
            ValueError: the prediction's shape is not its tile's, or the tile is not inside the frame.
        """
        box = tile.box
        wanted = (*self._sum.shape[:2], box.height, box.width)
        if tuple(prediction.shape) != wanted:
            raise ValueError(
                f"prediction is {tuple(prediction.shape)}, its tile at ({box.top}, {box.left}) is {wanted}"
            )
        height, width = self._weight.shape
        if min(box.top, box.left) < 0 or box.top + box.height > height or box.left + box.width > width:
            raise ValueError(f"{box} is not inside the frame, which is {height} x {width}")
        weight = tile.weight.to(self._sum.device)
        self._sum[..., *box.slices] += prediction.float() * weight
        self._weight[box.slices] += weight

    def add_indexed(self, predictions: Tensor, index: Tensor, weight: Tensor) -> None:
        """Add a batch of tiles at once: the sums of `add`, in an order that a GPU chooses where tiles overlap.

        Args:
            predictions: `[B, C, T, h, w]`, any float dtype.
            index: `[B, h, w]`, positions in the flattened frame.
            weight: `[B, h, w]`, float32.
        """
        weighted = (predictions.float() * weight[:, None, None]).permute(1, 2, 0, 3, 4).flatten(2)
        self._sum.flatten(2).index_add_(2, index.flatten(), weighted)
        self._weight.flatten().index_add_(0, index.flatten(), weight.flatten())

    def result(self) -> Tensor:
        """`[C, T, H, W]`, float32: the fused prediction.

        Raises:
            ValueError: the weights added so far do not sum to 1 everywhere: a tile is missing or was added twice.
        """
        off = (self._weight - 1).abs()
        if off.max() > _CLOSED:
            row, column = divmod(int(off.argmax()), off.shape[1])
            total = self._weight[row, column].item()
            raise ValueError(f"weights at ({row}, {column}) sum to {total:.3f}, not 1: tiles are missing or repeated")
        return self._sum
