"""Counted FLOPs against the frame's size, with the slope that was fitted."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Canvas
from scipy import stats

from patchvsr.errors import UserError
from reports.figures import Figure
from reports.figures.style import legend, logarithmic, looks_of, names_of, page
from reports.material import Material
from reports.tables import NotHere

Points = dict[str, dict[int, float]]
"""Variant to pixels of the frame to TFLOP."""


def cost(material: Material) -> list[Figure]:
    """A figure for each base and number of frames that has two frame sizes."""
    found: list[Figure] = []
    for base, frames in dict.fromkeys((row.get("base", ""), row["frames"]) for row in material.costs):
        rows = [row for row in material.costs if (row.get("base", ""), row["frames"]) == (base, frames)]
        points = _points(rows)
        if len({pixels for own in points.values() for pixels in own}) > 1:
            found.append(_figure(material, base, frames, points, len(found) + 1))
    if not found:
        raise NotHere("no file of counted cost with two frame sizes was given (--cost)")
    return found


def _points(rows: Sequence[Mapping[str, str]]) -> Points:
    """Sums over parts.

    Raises:
        UserError: a part is there twice, a frame is no size, or one costs nothing.
    """
    found: Points = {}
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        part = row["variant"], row["frame"], row["part"]
        if part in seen:
            raise UserError(f"'{row['part']}' of '{row['variant']}' at {row['frame']} is twice in the files of cost")
        seen.add(part)
        own, pixels = found.setdefault(row["variant"], {}), _pixels(row["frame"])
        own[pixels] = own.get(pixels, 0.0) + float(row["tflop"])
    if empty := [variant for variant, own in found.items() if min(own.values()) <= 0]:
        raise UserError(f"'{empty[0]}' has a frame size that costs nothing in the files of cost; count it again")
    return found


def _pixels(frame: str) -> int:
    width, _, height = frame.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise UserError(f"the frame '{frame}' in a file of cost is no size such as 3840x2160")
    return int(width) * int(height)


def _fit(own: Mapping[int, float]) -> Any:
    """The least-squares line through the logarithms."""
    return stats.linregress([math.log(pixels) for pixels in own], [math.log(tflop) for tflop in own.values()])


def _figure(material: Material, base: str, frames: str, points: Points, number: int) -> Figure:
    fits = {variant: _fit(own) for variant, own in points.items() if len(own) > 1}
    names = names_of(material, list(points), width=1.7)
    names |= {variant: f"{names[variant]}\n(slope {fit.slope:.2f})" for variant, fit in fits.items()}

    def draw() -> Canvas:
        canvas, look, handles = page(names), looks_of(material, list(points)), {}
        axes = canvas.add_subplot()
        for variant, own in points.items():
            style = {"markersize": 5, "markerfacecolor": "none", **look[variant]}
            axes.plot([p / 1e6 for p in own], list(own.values()), **style | {"linestyle": "none"})
            if fit := fits.get(variant):
                ends = [min(own), max(own)]
                line = [math.exp(fit.intercept + fit.slope * math.log(p)) for p in ends]
                axes.plot([p / 1e6 for p in ends], line, **style | {"marker": ""})
            (handles[variant],) = axes.plot([], [], **style)
        logarithmic(axes.xaxis, [p / 1e6 for own in points.values() for p in own])
        logarithmic(axes.yaxis, [tflop for own in points.values() for tflop in own.values()])
        axes.set_xlabel("megapixels of a frame")
        axes.set_ylabel("TFLOP ↓")
        legend(canvas, names, handles)
        return canvas

    data = [{"variant": v, "base": base, "frames": frames, "pixels": p, "tflop": t, "slope": fits[v].slope
             if v in fits else None} for v, own in points.items() for p, t in sorted(own.items())]  # fmt: skip
    what = f"{frames} frames, {base}" if base else f"{frames} frames"
    return Figure(
        name=f"cost-{number}", title=f"Counted FLOPs against frame size, {what}", draw=draw, data=data,
        caption=f"Counted FLOPs (2 for each multiply-add) of {what}, all parts, against a frame's pixels. Lines are "
        "power laws, fitted by least squares to the logarithms; slopes are their exponents, 1 is proportional.",
    )  # fmt: skip
