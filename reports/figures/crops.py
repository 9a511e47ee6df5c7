"""Crops at 1:1 beside each other, with their place marked on the frame."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from PIL import Image

from patchvsr.errors import UserError
from reports.figures import DPI, Figure
from reports.figures.pictures import Pixels, output_frame, pixels, to_show, truth
from reports.figures.style import SMALL, names_of, told
from reports.material import Material
from reports.runs import Item
from reports.tables import NotHere

SIDE = 144
"""Pixels of a crop's side; each is drawn as 2 x 2 dots of a figure's resolution, so that nothing is resampled."""
COLUMNS = 4
"""Crops beside each other, at most."""
MOST = 11
"""Variants that are shown; with the ground truth they fill three rows."""
CLIPS = 12
"""Clips of a setting in which the place is looked for, at most, evenly spaced."""
_GAP, _TEXT, _MARGIN, _OVERVIEW = 0.06, 0.15, 0.05, (3.2, 2.2)
"""Inches between pictures, for a line of text, around, and of the frame at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a crop is taken: the clip, its frame, the left and top of the crop in pixels, and why there."""

    clip: str
    frame: int
    left: int
    top: int
    why: str = ""


def crops(material: Material, place: Place | None = None) -> list[Figure]:
    """A figure for each setting; without a place, from where the variants differ most in the middle of a clip.

    Raises:
        UserError: the place lies outside of a clip.
    """
    evidence = material.evidence
    found = []
    for number, setting in enumerate(evidence.settings, 1):
        shown = {clip: to_show(material, setting, clip, MOST) for clip in evidence.clips(setting)}
        several = [clip for clip, (items, _) in shown.items() if len(items) > 1]
        if place is not None:
            several = [clip for clip in several if clip == place.clip]
        if several:
            here = place or _most_different(several, shown)
            found.append(_figure(material, setting, here, *shown[here.clip], number))
    if not found:
        raise NotHere("no setting has a clip with frames of two variants")
    return found


def _most_different(clips: list[str], shown: Mapping[str, tuple[dict[str, Item], object]]) -> Place:
    best, most = None, -1.0
    looked = clips[:: -(-len(clips) // CLIPS)]
    for clip in looked:
        items = shown[clip][0]
        middle = _length(items) // 2
        value, top, left = _largest_difference({v: output_frame(item, middle) for v, item in items.items()})
        if value > most:
            why = f"The variants differ most there, of the middle frames of {len(looked)} of {len(clips)} clips."
            best, most = Place(clip=clip, frame=middle, left=left, top=top, why=why), value
    assert best is not None
    return best


def _length(items: Mapping[str, Item]) -> int:
    return next(item.output.frames for item in items.values() if item.output is not None)


def _largest_difference(frames: Mapping[str, Pixels]) -> tuple[float, int, int]:
    """How much the variants differ in the square where they do most, and its top and left."""
    count, total, squares = len(frames), np.zeros(()), np.zeros(())
    for frame in frames.values():
        grey = frame.mean(axis=2, dtype=np.float32)
        total, squares = total + grey, squares + grey * grey
    spread = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0)).astype(np.float64)
    height, width = spread.shape
    tall, wide = min(SIDE, height), min(SIDE, width)
    sums = np.pad(spread.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return float(boxes.max()) / (tall * wide), int(top), int(left)


def _figure(
    material: Material, setting: str, place: Place, items: Mapping[str, Item], left_out: Mapping[str, str], number: int
) -> Figure:
    first = next(iter(items.values()))
    box = _box(place, first)
    target, missing = truth(material.evidence, setting, first)
    names = names_of(material, list(items), width=2 * SIDE / DPI)
    frames = {names[variant]: output_frame(item, place.frame) for variant, item in items.items()}
    if target is not None:
        frames = {"ground truth": next(islice(pixels(target), place.frame, None)), **frames}
    left, top, wide, tall = box
    crop = {name: frame[top : top + tall, left : left + wide].copy() for name, frame in frames.items()}
    whole = next(iter(frames.values()))
    size, overview = (whole.shape[1], whole.shape[0]), _small(whole)
    more = f" {place.why}" if place.why else ""
    more += "" if target is not None else f" The ground truth is not shown: {missing}."
    return Figure(
        name=f"crops-{number}", title=f"Crops at 1:1, {setting}, {place.clip}",
        draw=lambda: _draw(overview, size, box, crop),
        caption=f"{setting}, clip {place.clip}, frame {place.frame}: {wide} x {tall} pixels from ({left}, {top}), not "
        f"resampled; left, their place on the frame.{more}{told('Not shown', left_out)}",
    )  # fmt: skip


def _box(place: Place, item: Item) -> tuple[int, int, int, int]:
    """Left, top, width and height of the crop, which lies inside the item's output."""
    assert item.output is not None
    width, height, frames = item.output.width, item.output.height, item.output.frames
    tall, wide = min(SIDE, height), min(SIDE, width)
    inside = 0 <= place.top <= height - tall and 0 <= place.left <= width - wide and 0 <= place.frame < frames
    if not inside:
        raise UserError(
            f"a crop of {wide}x{tall} at ({place.left}, {place.top}) of frame {place.frame} does not lie inside "
            f"'{place.clip}', which is {frames} frames of {width}x{height}"
        )
    return place.left, place.top, wide, tall


def _small(frame: Pixels) -> Pixels:
    """The frame, at most as large as it is drawn; its file need not hold a picture of 4K."""
    image = Image.fromarray(frame)
    image.thumbnail((round(_OVERVIEW[0] * DPI), round(_OVERVIEW[1] * DPI)), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _draw(
    overview: Pixels, size: tuple[int, int], box: tuple[int, int, int, int], crop: Mapping[str, Pixels]
) -> Canvas:
    left, top, wide, tall = box
    columns = -(-len(crop) // -(-len(crop) // COLUMNS))
    rows = [list(crop)[start : start + columns] for start in range(0, len(crop), columns)]
    heads = [_TEXT * max(name.count("\n") + 1 for name in row) for row in rows]
    high = sum(heads) + len(rows) * (2 * tall / DPI + _GAP)
    scale = min(_OVERVIEW[0] / size[0], _OVERVIEW[1] / size[1], (high - heads[0]) / size[1])
    across, down = scale * size[0], scale * size[1]
    page = 2 * _MARGIN + across + columns * (2 * SIDE / DPI + _GAP), 2 * _MARGIN + max(high, heads[0] + down)
    canvas = Canvas(figsize=page)
    canvas.set_layout_engine("none")

    def place(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        """Inches from the top left as shares from the bottom left."""
        return x / page[0], 1 - (y + h) / page[1], w / page[0], h / page[1]

    axes = canvas.add_axes(place(_MARGIN, _MARGIN + heads[0], across, down))
    axes.imshow(overview, aspect="auto", extent=(0, size[0], size[1], 0))
    for colour, thick in (("black", 2.4), ("#FFD400", 1.2)):  # to be seen on any picture
        axes.add_patch(Rectangle((left, top), wide, tall, fill=False, edgecolor=colour, linewidth=thick))
    axes.set_axis_off()
    y = _MARGIN
    for row, head in zip(rows, heads, strict=True):
        for column, name in enumerate(row):
            x = _MARGIN + across + _GAP + column * (2 * SIDE / DPI + _GAP)
            one = canvas.add_axes(place(x, y + head, 2 * wide / DPI, 2 * tall / DPI))
            one.imshow(crop[name], interpolation="none", aspect="auto")
            one.set_axis_off()
            canvas.text(*place(x, y + head - 0.04, 0, 0)[:2], name, ha="left", va="bottom", fontsize=SMALL)
        y += head + 2 * tall / DPI + _GAP
    return canvas
