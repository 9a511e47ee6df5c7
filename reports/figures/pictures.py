"""Frames for figures: outputs of a run, and the ground truth where it can be found again and is the same."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from benchmarks.frames import Frames
from patchvsr.errors import UserError
from reports.evidence import Evidence
from reports.html.media import read_png
from reports.html.sources import check_same, clips_of
from reports.material import Material
from reports.runs import Item

Pixels = np.ndarray
"""A frame, uint8 `[H, W, 3]`."""


def output_frame(item: Item, index: int) -> Pixels:
    """One frame of an output.

    Raises:
        UserError: it is no longer in the run's folder, or damaged.
    """
    paths = [] if item.frames is None else sorted(item.frames.glob("*.png"))
    if index >= len(paths):
        raise UserError(f"frame {index} of '{item.variant}' on '{item.clip}' is no longer in {item.run}")
    return read_png(paths[index])


def has_frames(item: Item | None) -> bool:
    """Whether all frames of an output are there."""
    return item is not None and not _lack(item)


def _lack(item: Item) -> str:
    """Why an output has no frames to show; empty if it has."""
    if item.output is None:
        return item.status
    count, wanted = 0 if item.frames is None else len(list(item.frames.glob("*.png"))), item.output.frames
    return "" if count == wanted else f"{count} of {wanted} frames are there"


def to_show(material: Material, setting: str, clip: str, most: int) -> tuple[dict[str, Item], dict[str, str]]:
    """What can be shown of a clip beside each other.

    Returns:
        Variant to its item, of one size and length and at most so many; and why the others are not shown.
    """
    found: dict[str, Item] = {}
    left: dict[str, str] = {}
    size = None
    for variant in material.evidence.variants(setting):
        item = material.evidence.items(setting, variant).get(clip)
        why = "not run" if item is None else _lack(item)
        if item is not None and item.output is not None and not why:
            own = item.output.width, item.output.height, item.output.frames
            size = size or own
            why = "of another size" if own != size else "no room" if len(found) == most else ""
            if not why:
                found[variant] = item
        if why:
            left[material.label(variant)] = why
    return found, left


def truth(evidence: Evidence, setting: str, item: Item) -> tuple[Frames | None, str]:
    """The ground truth of an item's clip, or None and why there is none to show."""
    run = next(run for run in evidence.runs if run.setting == setting and run.path == item.run)
    if item.key["clip"]["gt_sha256"] is None:
        return None, "the clip has none"
    try:
        clip = clips_of(run).get(item.clip)
        if clip is None:
            return None, f"clip '{item.clip}' is no longer where the run found it"
        check_same(clip, item)
        frames = clip.gt()
        return (None, "the clip has none") if frames is None else (frames, "")
    except UserError as error:
        return None, str(error)


def pixels(frames: Frames) -> Iterator[Pixels]:
    """The frames one after the other."""
    return (_pixels(frame) for frame in frames)


def _pixels(frame: Tensor) -> Pixels:
    found: Pixels = frame.permute(1, 2, 0).numpy()
    return found
