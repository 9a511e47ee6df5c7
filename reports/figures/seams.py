"""The profile across cuts: do lines near a cut differ from lines far from it?"""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure as Canvas

from reports.figures import Figure
from reports.figures.pictures import has_frames, output_frame
from reports.figures.style import looks, page, shorten
from reports.material import Material
from reports.runs import Item
from reports.tables import NotHere

REACH = 16
"""Lines on each side of a cut."""
CLIPS = 16
"""Clips of a setting that are read, at most; of each the middle frame."""


def seams(material: Material) -> list[Figure]:
    """A figure for each setting whose outputs have cuts and frames that are still there."""
    found = []
    for number, setting in enumerate(material.evidence.settings, 1):
        profiles = {}
        for variant in material.evidence.variants(setting):
            items = list(material.evidence.items(setting, variant).values())
            if items and all(has_frames(item) for item in items) and (one := _profile(items)) is not None:
                profiles[variant] = one
        if profiles:
            found.append(_figure(material, setting, profiles, number))
    if not found:
        raise NotHere("no setting has outputs with cuts whose frames are still there")
    return found


def _profile(items: list[Item]) -> np.ndarray | None:
    """`[2 REACH + 1]`: the difference across a line by its distance from the cut, relative to the frame's mean line."""
    sums, count = np.zeros(2 * REACH + 1), 0
    for item in items[:: max(len(items) // CLIPS, 1)][:CLIPS]:
        assert item.output is not None and item.cuts is not None
        frame = output_frame(item, item.output.frames // 2).mean(axis=2, dtype=np.float32)
        for axis, name in ((0, "rows"), (1, "columns")):
            lines = np.abs(np.diff(frame, axis=axis)).mean(axis=1 - axis)
            mean = float(lines.mean())
            for cut in item.cuts[name]:
                around = lines[cut - 1 - REACH : cut + REACH]  # the line at p lies between pixels p - 1 and p
                if cut - 1 >= REACH and len(around) == len(sums) and mean > 0:
                    sums += around / mean
                    count += 1
    return sums / count if count else None


def _figure(material: Material, setting: str, profiles: Mapping[str, np.ndarray], number: int) -> Figure:
    distances = np.arange(-REACH, REACH + 1)

    def draw() -> Canvas:
        canvas = page(len(profiles))
        axes = canvas.add_subplot()
        look = looks(list(profiles))
        for variant, profile in profiles.items():
            axes.plot(distances, profile, label=shorten(material.label(variant)), markersize=3, **look[variant])
        axes.axvline(0, color="#999999", linewidth=0.8, zorder=0)
        axes.set_xlabel("pixels from the cut")
        axes.set_ylabel("difference across the line / mean")
        canvas.legend(loc="outside right upper")
        return canvas

    data = [{"variant": v, "distance": int(d), "relative_difference": float(value)}
            for v, profile in profiles.items() for d, value in zip(distances, profile, strict=True)]  # fmt: skip
    return Figure(
        name=f"seams-{number}", title=f"Profile across cuts, {setting}", draw=draw, data=data,
        caption=f"{setting}: mean absolute difference between neighbouring pixels across a line, by the line's "
        f"distance from a cut, relative to all lines of the frame; rows and columns, {CLIPS} clips at most. A peak or "
        "a dip at 0 is a seam. Outputs without tiles are shown at the lines of disjoint 256-pixel tiles.",
    )  # fmt: skip
