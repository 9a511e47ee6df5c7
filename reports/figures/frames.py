"""Metrics over time: how a clip's frames differ."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure as Canvas

from benchmarks.store import Score
from reports.figures import Figure
from reports.figures.style import heading, legend, looks_of, names_of, page, told
from reports.material import Material
from reports.tables import NotHere

FIRST = ("psnr", "lpips", "niqe", "flicker")
"""Metrics that are shown before others."""
PANELS = 4
LEAST = 3
"""Frames with values that a clip must have."""
MARKED = 30
"""Up to so many frames each is marked."""
Curves = dict[str, dict[str, dict[int, float]]]
"""Metric to variant to frame to value."""


def frames(material: Material) -> list[Figure]:
    """A figure for each setting: metrics by frame on the clip with the most frames that have values."""
    found = []
    for number, setting in enumerate(material.evidence.settings, 1):
        curves = {clip: _curves(material, setting, clip) for clip in material.evidence.clips(setting)}
        clip = max(curves, key=lambda name: _length(curves[name]))
        if _length(curves[clip]) >= LEAST:
            found.append(_figure(material, setting, clip, curves[clip], number))
    if not found:
        raise NotHere(f"no clip has {LEAST} frames with values of their own")
    return found


def _length(curves: Curves) -> int:
    return max((len(values) for by_variant in curves.values() for values in by_variant.values()), default=0)


def _curves(material: Material, setting: str, clip: str) -> Curves:
    evidence = material.evidence
    found: Curves = {}
    for variant in evidence.variants(setting):
        item = evidence.items(setting, variant).get(clip)
        if item is None or item.output is None:
            continue
        for metric, score in item.scores.items():
            values = score.per_frame or []
            places = places_of(score, item.output.frames)
            if len(values) > 1 and places is not None:
                found.setdefault(metric, {})[variant] = dict(zip(places, values, strict=True))
    order = [name for name in FIRST if name in found] + [name for name in found if name not in FIRST]
    return {name: found[name] for name in order[:PANELS]}


def places_of(score: Score, count: int) -> list[int] | None:
    """The frames that a score's values belong to, out of so many; None where its identity does not say.

    One value less than there are frames: each is of a frame and the one before. Fewer: the identity names the frames.
    """
    scored = len(score.per_frame or ())
    if scored in (count, count - 1):
        return list(range(count - scored, count))
    named = re.search(r"\bframes ((?:\d+ ?)+)", score.identity)
    places = [int(number) for number in named[1].split()] if named else []
    return places if len(places) == scored else None


def _figure(material: Material, setting: str, clip: str, curves: Curves, number: int) -> Figure:
    present = {variant for by_variant in curves.values() for variant in by_variant}
    variants = [variant for variant in material.evidence.variants(setting) if variant in present]
    names = names_of(material, variants)

    def draw() -> Canvas:
        canvas, look, handles = page(names, height=1.5 * len(curves) + 0.5), looks_of(material), {}
        panels = canvas.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (metric, by_variant) in zip(panels, curves.items(), strict=True):
            for variant, values in by_variant.items():
                size = 3 if len(values) <= MARKED else 0
                (handles[variant],) = axes.plot(*zip(*values.items(), strict=True), markersize=size, **look[variant])
            axes.set_ylabel(heading(material, metric, setting))
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
        panels[-1].set_xlabel("frame")
        canvas.align_ylabels()
        legend(canvas, names, handles)
        return canvas

    data = [{"variant": variant, "metric": metric, "frame": frame, "value": value}
            for metric, by_variant in curves.items() for variant, values in by_variant.items()
            for frame, value in values.items()]  # fmt: skip
    return Figure(
        name=f"frames-{number}", title=f"Metrics by frame, {setting}, {clip}", draw=draw, data=data,
        caption=f"{setting}, clip {clip}: values of single frames, or of a frame and the one before where a metric "
        f"compares neighbours.{told('Not shown', _absent(material, setting, curves))}",
    )  # fmt: skip


def _absent(material: Material, setting: str, curves: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    variants: Sequence[str] = material.evidence.variants(setting)
    lacks = {v: [metric for metric, by_variant in curves.items() if v not in by_variant] for v in variants}
    return {material.label(v): f"no values of {', '.join(metrics)}" for v, metrics in lacks.items() if metrics}
