"""The profile across cuts: do lines near a cut differ from lines far from it?"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from benchmarks.compare import source_of
from benchmarks.metrics.seam import DISTANCE, PERIOD, ROUGHLY
from benchmarks.statistics import mean_interval
from reports.figures import Figure
from reports.figures.pictures import has_frames, output_frame
from reports.figures.style import legend, looks_of, names_of, page, told
from reports.material import Material
from reports.runs import Item
from reports.tables import NotHere

REACH = 16
"""Lines on each side of a cut."""
Profiles = dict[str, np.ndarray]
"""Variant to `[sources, 2 REACH + 1]`, logarithms of ratios: 2 is as far from 1 as 0.5."""


def seams(material: Material) -> list[Figure]:
    """A figure for each setting whose outputs have cuts and frames that are still there."""
    found = []
    for number, setting in enumerate(material.evidence.settings, 1):
        profiles, left = _profiles(material, setting)
        if profiles:
            found.append(_figure(material, setting, profiles, left, number))
    if not found:
        raise NotHere(
            f"no setting has outputs whose frames are still there, with cuts and lines {DISTANCE} pixels from any cut"
        )
    return found


def _profiles(material: Material, setting: str) -> tuple[Profiles, str]:
    """The variants that have a profile on every clip where any has one; and what is left out."""
    evidence = material.evidence
    by_variant: dict[str, dict[str, np.ndarray]] = {}
    left: dict[str, str] = {}
    for variant in evidence.variants(setting):
        items = evidence.items(setting, variant)
        if gone := [clip for clip, item in items.items() if not has_frames(item)]:
            left[material.label(variant)] = f"no frames of {len(gone)} of {len(items)} clips"
            continue
        each = {clip: profile_of(item) for clip, item in items.items()}
        by_variant[variant] = {clip: profile for clip, profile in each.items() if profile is not None}
    clips = [clip for clip in evidence.clips(setting) if any(clip in found for found in by_variant.values())]
    profiles: Profiles = {}
    for variant, found in by_variant.items():
        if lacking := [clip for clip in clips if clip not in found]:
            left[material.label(variant)] = f"no profile on {len(lacking)} of {len(clips)} clips"
        elif clips:
            profiles[variant] = _by_source(found, clips)
    others = [clip for clip in evidence.clips(setting) if clip not in clips]
    without = {f"{len(others)} clips": f"no cuts with lines {DISTANCE} pixels away, or flat"} if others else {}
    return profiles, told("Not shown", left) + told("Left out", without)


def _by_source(found: Mapping[str, np.ndarray], clips: Sequence[str]) -> np.ndarray:
    sources: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        sources.setdefault(source_of(clip), []).append(np.log(found[clip]))
    return np.stack([np.mean(each, axis=0) for each in sources.values()])


def profile_of(item: Item) -> np.ndarray | None:
    """`[2 REACH + 1]`: the difference across lines by distance from a cut, relative to other lines; middle frame.

    At distance 0 it is the metric `seam` of this frame: the sum over all cuts, divided by the sum of what lines of the
    same axis and phase mod 16 have at least 16 pixels from any cut. None where there is no such line, or
    where the frame is flat.
    """
    assert item.output is not None
    cuts = item.cuts or {}
    frame = output_frame(item, item.output.frames // 2).astype(np.int16)
    tops, bottoms = np.zeros(2 * REACH + 1), np.zeros(2 * REACH + 1)
    for axis, name in enumerate(("rows", "columns")):
        own, length = sorted(set(cuts.get(name, ()))), frame.shape[axis]
        if not own:
            continue
        lines = np.arange(1, length)  # the line at p lies between pixels p - 1 and p
        values = np.abs(np.diff(frame, axis=axis)).sum(axis=(1 - axis, 2)) / 3
        far = np.abs(lines[:, None] - np.array(own)).min(axis=1) >= DISTANCE
        phases = [values[far & (lines % PERIOD == phase)] for phase in range(PERIOD)]
        if not all(len(each) for each in phases):
            return None
        levels = np.array([each.mean() for each in phases])
        for cut in own:
            near = np.arange(max(cut - REACH, 1), min(cut + REACH, length - 1) + 1)
            tops[near - cut + REACH] += values[near - 1]
            bottoms[near - cut + REACH] += levels[near % PERIOD]
    return tops / bottoms if min(tops.min(), bottoms.min()) > ROUGHLY else None


def _figure(material: Material, setting: str, profiles: Profiles, left: str, number: int) -> Figure:
    distances = np.arange(-REACH, REACH + 1)
    names = names_of(material, list(profiles))

    def draw() -> Canvas:
        canvas, look, handles = page(names), looks_of(material), {}
        axes = canvas.add_subplot()
        for variant, of_sources in profiles.items():
            (handles[variant],) = axes.plot(distances, np.exp(of_sources.mean(axis=0)), markersize=3, **look[variant])
        axes.axvline(0, color="#999999", linewidth=0.8, zorder=0)
        axes.axhline(1, color="#999999", linewidth=0.8, zorder=0)
        axes.set_xlabel("pixels from the cut")
        axes.set_ylabel("difference across the line, 1 elsewhere")
        legend(canvas, names, handles)
        return canvas

    data: list[dict[str, object]] = []
    for variant, of_sources in profiles.items():
        for distance, values in zip(distances, of_sources.T, strict=True):
            low, high = np.exp(mean_interval(list(values))).tolist() if len(values) > 1 else (None, None)
            row = {"variant": variant, "distance": int(distance), "ratio": float(np.exp(values.mean()))}
            data.append(row | {"low": low, "high": high, "sources": len(values)})
    return Figure(
        name=f"seams-{number}", title=f"Profile across cuts, {setting}", draw=draw, data=data,
        caption=f"{setting}: mean absolute difference between neighbouring pixels across a line, by the line's "
        f"distance from a cut, over that of lines of the same axis and phase mod {PERIOD} at least {DISTANCE} pixels "
        "from any cut (1, the null level; at 0 this is the metric seam); middle frame of each clip, geometric mean "
        "over sources. A seam is a peak or a dip at 0 that neither other distances have nor outputs without tiles, "
        f"which are shown at the cuts of disjoint 256-pixel tiles.{left}",
    )  # fmt: skip
