"""Slices in x and t: one row of the frame over time, where flicker shows as stripes and sticking texture as columns."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice, pairwise

import numpy as np
from matplotlib.figure import Figure as Canvas

from reports.figures import DPI, Figure
from reports.figures.pictures import Pixels, output_frame, pixels, to_show, truth
from reports.figures.style import SMALL, names_of, told
from reports.material import Material
from reports.runs import Item
from reports.tables import NotHere

LEAST, LONGEST = 5, 100
"""Frames that a clip must have, and that are shown at most."""
MOST = 10
"""Variants that are shown."""
SPAN = 512
"""Pixels of the row; each is drawn as 2 dots of a figure's resolution, so that nothing is resampled."""
_LEFT, _GAP, _MARGIN, _ROW = 1.75, 0.05, 0.05, 0.5
"""Inches for names, between slices, around, and of a slice at least."""


def slices(material: Material) -> list[Figure]:
    """A figure for each setting: the clip with the most frames, at the row that changes most over time."""
    evidence = material.evidence
    found = []
    for number, setting in enumerate(evidence.settings, 1):
        by_clip = {clip: to_show(material, setting, clip, MOST) for clip in evidence.clips(setting)}
        clip = max(by_clip, key=lambda name: _length(by_clip[name][0]))
        items, left = by_clip[clip]
        if _length(items) >= LEAST:
            found.append(_figure(material, setting, clip, items, told("Not shown", left), number))
    if not found:
        raise NotHere(f"no clip has {LEAST} frames that are still there")
    return found


def _length(items: Mapping[str, Item]) -> int:
    return next((item.output.frames for item in items.values() if item.output is not None), 0)


def _figure(material: Material, setting: str, clip: str, items: Mapping[str, Item], left: str, number: int) -> Figure:
    first, length = next(iter(items.values())), min(_length(items), LONGEST)
    target, missing = truth(material.evidence, setting, first)

    def frames_of(item: Item) -> Iterable[Pixels]:
        return (output_frame(item, index) for index in range(length))

    reference = frames_of(first) if target is None else pixels(target)
    row, start, width = place_of(islice(reference, length))
    strips = {} if target is None else {"ground truth": _strip(islice(pixels(target), length), row, start, width)}
    names = names_of(material, list(items), width=_LEFT - 0.1)
    strips |= {names[variant]: _strip(frames_of(item), row, start, width) for variant, item in items.items()}
    without = "" if target is not None else f" The ground truth is not shown: {missing}."
    return Figure(
        name=f"slices-{number}", title=f"x-t slices, {setting}, {clip}", draw=lambda: _draw(strips),
        caption=f"{setting}, clip {clip}: row {row} from x = {start} to {start + width}, where the "
        f"{'first variant' if target is None else 'ground truth'} changes most, over {length} frames (time goes down)."
        f"{without}{left}",
    )  # fmt: skip


def place_of(frames: Iterable[Pixels]) -> tuple[int, int, int]:
    """The row that changes most from frame to frame, and where in it a slice starts and how wide it is."""
    change = sum(np.abs(after.astype(np.int16) - before).mean(axis=2, dtype=np.float64) for before, after in
                 pairwise(frames))  # fmt: skip
    total = np.asarray(change)
    width = min(SPAN, total.shape[1])
    sums = np.pad(total.cumsum(axis=1), ((0, 0), (1, 0)))
    windows = sums[:, width:] - sums[:, :-width]
    row, start = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(row), int(start), width


def _strip(frames: Iterable[Pixels], row: int, start: int, width: int) -> Pixels:
    return np.stack([frame[row, start : start + width] for frame in frames])


def _draw(strips: Mapping[str, Pixels]) -> Canvas:
    length, across = next(iter(strips.values())).shape[:2]
    dots = max(2, round(_ROW * DPI / length))  # of a frame
    tall, wide = dots * length / DPI, 2 * across / DPI
    size = _LEFT + wide + _MARGIN, 2 * _MARGIN + len(strips) * (tall + _GAP)
    canvas = Canvas(figsize=size)
    canvas.set_layout_engine("none")
    for index, (name, strip) in enumerate(strips.items()):
        bottom = size[1] - _MARGIN - index * (tall + _GAP) - tall
        axes = canvas.add_axes((_LEFT / size[0], bottom / size[1], wide / size[0], tall / size[1]))
        axes.imshow(strip, aspect="auto", interpolation="none")
        axes.set_axis_off()
        where = (_LEFT - 0.06) / size[0], (bottom + tall / 2) / size[1]
        canvas.text(*where, name, ha="right", va="center", fontsize=SMALL)
    return canvas
