"""How cost grows with pixels and frames: straight lines through logarithms, and a plot of them."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Cost grows as `against` to the power of `slope`.

    Attributes:
        variant, value: whose cost, and which.
        against: `pixels` or `frames`.
        at: what stays the same, such as `17 frames`.
        slope: of the least-squares line through the logarithms; 1 is proportional.
        error: of the slope (standard error; None with two points).
        points: that the line goes through.
    """

    variant: str
    value: str
    against: str
    at: str
    slope: float
    error: float | None
    points: int


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    """Slope of log(y) over log(x) with its standard error.

    Raises:
        ValueError: fewer than two different x, or a value that is not positive.
    """
    xs, ys = ([math.log(pair[axis]) for pair in points] for axis in (0, 1))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if spread == 0:
        raise ValueError("a slope needs two different sizes")
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    if len(xs) < 3:
        return slope, None
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    return slope, math.sqrt(rest / (len(xs) - 2) / spread)


def slopes(rows: Sequence[Mapping[str, Any]], value: str) -> list[Slope]:
    """Slopes of a value of rows that have `variant`, `frame` and `frames`; none where there is only one size.

    Rows without the value (None) are left out of the fits, and out of nothing else.
    """
    found = []
    for against, fixed in (("pixels", "frames"), ("frames", "frame")):
        groups: dict[tuple[str, Any], list[tuple[float, float]]] = {}
        for row in rows:
            if row[value]:
                x = pixels(row["frame"]) if against == "pixels" else float(row["frames"])
                groups.setdefault((row["variant"], row[fixed]), []).append((x, float(row[value])))
        for (variant, kept), points in groups.items():
            if len({x for x, _ in points}) > 1:
                slope, error = fit(points)
                at = f"{kept} frames" if fixed == "frames" else str(kept)
                found.append(
                    Slope(
                        variant=variant,
                        value=value,
                        against=against,
                        at=at,
                        slope=slope,
                        error=error,
                        points=len(points),
                    )
                )
    return found


def pixels(frame: str) -> float:
    """Pixels of a frame given as `3840x2160`."""
    width, _, height = frame.partition("x")
    return float(width) * float(height)


def plot(rows: Sequence[Mapping[str, Any]], value: str, unit: str, path: Path) -> None:
    """Write a plot of a value against the frame's pixels, a line for each variant and length (PNG, SVG or PDF)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    lengths = sorted({row["frames"] for row in rows})
    groups: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in rows:
        if row[value]:
            groups.setdefault((row["variant"], row["frames"]), []).append((pixels(row["frame"]), float(row[value])))
    variants = list(dict.fromkeys(variant for variant, _ in groups))
    for (variant, frames), points in groups.items():
        points.sort()
        label = f"{variant}, {frames} frames" if len(lengths) > 1 else variant
        if len(points) > 1:
            label += f" (slope {fit(points)[0]:.2f})"
        colour, style = f"C{variants.index(variant)}", ("-", "--", ":", "-.")[lengths.index(frames) % 4]
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, linestyle=style, label=label)
    axes.set(xscale="log", yscale="log", xlabel="pixels of the output frame", ylabel=f"{value} ({unit})")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
