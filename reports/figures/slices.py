"""Slices in x and t: one row of the frame over time, where flicker shows as stripes and sticking texture as columns."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure as Canvas

from reports.figures import Figure
from reports.figures.pictures import has_frames, output_frame, truth
from reports.figures.style import WIDTH, shorten
from reports.material import Material
from reports.runs import Item
from reports.tables import NotHere

LEAST = 5
"""Frames that a clip must have."""
MOST = 10
"""Variants that are shown."""


def slices(material: Material) -> list[Figure]:
    """A figure for each setting: the clip with the most frames, at the row that changes most over time."""
    evidence = material.evidence
    found = []
    for number, setting in enumerate(evidence.settings, 1):
        by_clip = {clip: _items(material, setting, clip) for clip in evidence.clips(setting)}
        long = {clip: items for clip, items in by_clip.items() if items and _length(items) >= LEAST}
        if long:
            clip = max(long, key=lambda name: _length(long[name]))
            found.append(_figure(material, setting, clip, long[clip], number))
    if not found:
        raise NotHere(f"no clip has {LEAST} frames that are still there")
    return found


def _length(items: Mapping[str, Item]) -> int:
    return min(item.output.frames for item in items.values() if item.output is not None)


def _items(material: Material, setting: str, clip: str) -> dict[str, Item]:
    evidence = material.evidence
    found = {variant: evidence.items(setting, variant).get(clip) for variant in evidence.variants(setting)}
    return dict([(v, item) for v, item in found.items() if item is not None and has_frames(item)][:MOST])


def _figure(material: Material, setting: str, clip: str, items: Mapping[str, Item], number: int) -> Figure:
    first, length = next(iter(items.values())), _length(items)
    target, missing = truth(material.evidence, setting, first)
    reference = target if target is not None else np.stack([output_frame(first, index) for index in range(length)])
    change = np.abs(np.diff(reference.astype(np.int16), axis=0)).mean(axis=(0, 2, 3))
    row = int(change.argmax())
    named = {} if target is None else {"ground truth": target[:length, row]}
    for variant, item in items.items():
        named[material.label(variant)] = np.stack([output_frame(item, index)[row] for index in range(length)])
    told = "" if target is not None else f" The ground truth is not shown: {missing}."
    return Figure(
        name=f"slices-{number}", title=f"x-t slices, {setting}, {clip}", draw=lambda: _draw(named),
        caption=f"{setting}, clip {clip}: row {row}, which changes most, over {length} frames (time goes down).{told}",
    )  # fmt: skip


def _draw(named: Mapping[str, np.ndarray]) -> Canvas:
    canvas = Canvas(figsize=(WIDTH, 0.2 + 0.55 * len(named)))
    for axes, (label, picture) in zip(canvas.subplots(len(named), 1, squeeze=False)[:, 0], named.items(), strict=True):
        axes.imshow(picture, aspect="auto", interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        axes.set_ylabel(shorten(label, 28), rotation=0, ha="right", va="center")
    return canvas
