"""Crops at 1:1 beside each other, with their place marked on the frame."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

from reports.figures import DPI, Figure
from reports.figures.pictures import has_frames, output_frame, truth
from reports.figures.style import shorten
from reports.material import Material
from reports.runs import Item
from reports.tables import NotHere

SIDE = 144
"""Pixels of a crop's side; each is drawn as 2 x 2 dots, so that nothing is resampled."""
COLUMNS = 4
MOST = 12
_GAP, _TEXT, _MARGIN = 0.06, 0.2, 0.05
"""Inches between pictures, for a line of text, and around."""


def crops(material: Material) -> list[Figure]:
    """A figure for each setting, of the clip on which the variants differ most, where they differ most."""
    evidence = material.evidence
    found, why = [], "no setting has a clip with frames of two variants"
    for number, setting in enumerate(evidence.settings, 1):
        clips = [clip for clip in evidence.clips(setting) if len(_items(material, setting, clip)) > 1]
        if not clips:
            continue
        clip = max(clips, key=lambda name: _largest_difference(_frames(_items(material, setting, name)))[0])
        found.append(_figure(material, setting, clip, number))
    if not found:
        raise NotHere(why)
    return found


def _items(material: Material, setting: str, clip: str) -> dict[str, Item]:
    evidence = material.evidence
    found = {variant: evidence.items(setting, variant).get(clip) for variant in evidence.variants(setting)}
    return {variant: item for variant, item in found.items() if item is not None and has_frames(item)}


def _frames(items: Mapping[str, Item]) -> dict[str, np.ndarray]:
    """The middle frame of each variant."""
    return {v: output_frame(item, item.output.frames // 2) for v, item in items.items() if item.output is not None}


def _largest_difference(frames: Mapping[str, np.ndarray]) -> tuple[float, int, int]:
    """How much the variants differ in the square where they do most, and its top and left."""
    grey = np.stack([frame.mean(axis=2, dtype=np.float32) for frame in frames.values()])
    height, width = grey.shape[1:]
    sums = np.pad(grey.std(axis=0).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tall, wide = min(SIDE, height), min(SIDE, width)
    boxes = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return float(boxes.max()) / (tall * wide), int(top), int(left)


def _figure(material: Material, setting: str, clip: str, number: int) -> Figure:
    items = dict(list(_items(material, setting, clip).items())[:MOST])
    frames = _frames(items)
    first = next(iter(items.values()))
    assert first.output is not None
    index = first.output.frames // 2
    _, top, left = _largest_difference(frames)
    target, missing = truth(material.evidence, setting, first)
    named = {material.label(variant): frame for variant, frame in frames.items()}
    if target is not None:
        named = {"ground truth": target[index], **named}
    overview = next(iter(named.values()))
    told = "" if target is not None else f" The ground truth is not shown: {missing}."
    return Figure(
        name=f"crops-{number}", title=f"Crops at 1:1, {setting}, {clip}",
        caption=f"{setting}, clip {clip}, frame {index}: {SIDE} x {SIDE} pixels from ({left}, {top}), unscaled, where "
        f"the variants differ most; left, their place on the frame.{told}",
        draw=lambda: _draw(overview, named, top, left),
    )  # fmt: skip


def _draw(overview: np.ndarray, named: Mapping[str, np.ndarray], top: int, left: int) -> Canvas:
    height, width = overview.shape[:2]
    side = 2 * SIDE / DPI
    tall, wide = min(SIDE, height), min(SIDE, width)
    columns = min(COLUMNS, len(named))
    rows = -(-len(named) // columns)
    cell = side + _GAP
    shown_height = min(rows * (side + _TEXT) - _TEXT, 2.2)
    shown_width = shown_height * width / height
    if shown_width > 3.2:
        shown_width, shown_height = 3.2, 3.2 * height / width
    size = 2 * _MARGIN + shown_width + _GAP + columns * cell, 2 * _MARGIN + rows * (side + _TEXT)
    canvas = Canvas(figsize=size)
    canvas.set_layout_engine("none")

    def place(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        """Inches from the top left as shares from the bottom left."""
        return x / size[0], 1 - (y + h) / size[1], w / size[0], h / size[1]

    axes = canvas.add_axes(place(_MARGIN, _MARGIN + _TEXT, shown_width, shown_height))
    axes.imshow(overview, aspect="auto")
    axes.add_patch(Rectangle((left, top), wide, tall, fill=False, edgecolor="#FFD400", linewidth=1.2))
    axes.set_axis_off()
    for number, (label, frame) in enumerate(named.items()):
        row, column = divmod(number, columns)
        x = _MARGIN + shown_width + _GAP + column * cell
        y = _MARGIN + _TEXT + row * (side + _TEXT)
        one = canvas.add_axes(place(x, y, 2 * wide / DPI, 2 * tall / DPI))
        one.imshow(frame[top : top + tall, left : left + wide], interpolation="nearest", aspect="auto")
        one.set_axis_off()
        canvas.text(*place(x, y - 0.04, 0, 0)[:2], shorten(label, 24), ha="left", va="bottom", fontsize=7)
    return canvas
