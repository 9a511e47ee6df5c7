"""Counted FLOPs against the frame's size, with the slope that was fitted."""
from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Canvas

from patchvsr.errors import UserError
from reports.figures import Figure
from reports.figures.style import looks, page, shorten
from reports.material import Material
from reports.tables import NotHere


def cost(material: Material) -> list[Figure]:
    """A figure for each number of frames that has two frame sizes."""
    found = []
    for frames in dict.fromkeys(row["frames"] for row in material.costs):
        sums: dict[tuple[str, int], float] = {}
        for row in material.costs:
            if row["frames"] == frames:
                key = row["variant"], _pixels(row["frame"])
                sums[key] = sums.get(key, 0.0) + float(row["tflop"])
        if len({pixels for _, pixels in sums}) > 1:
            found.append(_figure(material, frames, sums))
    if not found:
        raise NotHere("no file of counted cost with two frame sizes was given (--cost)")
    return found


def slope(pixels: list[int], tflop: list[float]) -> float:
    """Exponent of the power law through the points: 1 is linear in the pixels, 2 is what attention over a frame has."""
    return float(np.polyfit(np.log(pixels), np.log(tflop), 1)[0])


def _pixels(frame: str) -> int:
    width, _, height = frame.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UserError(f"the frame '{frame}' in a file of cost is no size such as 3840x2160")
    return int(width) * int(height)


def _figure(material: Material, frames: str, sums: dict[tuple[str, int], float]) -> Figure:
    variants = list(dict.fromkeys(variant for variant, _ in sums))
    points = {v: sorted((pixels, tflop) for (name, pixels), tflop in sums.items() if name == v) for v in variants}

    def draw() -> Canvas:
        canvas = page(len(variants))
        axes = canvas.add_subplot()
        look = looks(variants)
        for variant, own in points.items():
            x, y = [pixels for pixels, _ in own], [tflop for _, tflop in own]
            fitted = f" (slope {slope(x, y):.2f})" if len(own) > 1 else ""
            label = shorten(material.label(variant)) + fitted
            axes.plot([pixels / 1e6 for pixels in x], y, label=label, markersize=4, **look[variant])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("megapixels of a frame")
        axes.set_ylabel("TFLOP ↓")
        canvas.legend(loc="outside right upper")
        return canvas

    data = [{"variant": v, "frames": frames, "pixels": p, "tflop": t} for v, own in points.items() for p, t in own]
    return Figure(
        name=f"cost-{frames}", title=f"Counted FLOPs against frame size, {frames} frames", draw=draw, data=data,
        caption=f"Counted FLOPs of {frames} frames, all parts, against a frame's pixels; slopes are exponents.",
    )  # fmt: skip
