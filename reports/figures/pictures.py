"""Frames for figures: outputs of a run, and the ground truth where it can be found again and is the same."""
from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks.frames import whole
from patchvsr.errors import UserError
from reports.evidence import Evidence
from reports.html.sources import check_same, clips_of
from reports.runs import Item


def output_frame(item: Item, index: int) -> np.ndarray:
    """One frame of an output, uint8 `[H, W, 3]`.

    Raises:
        UserError: it is no longer in the run's folder.
    """
    paths = [] if item.frames is None else sorted(item.frames.glob("*.png"))
    if index >= len(paths):
        raise UserError(f"frame {index} of '{item.variant}' on '{item.clip}' is no longer in {item.run}")
    with Image.open(paths[index]) as image:
        return np.asarray(image.convert("RGB"))


def has_frames(item: Item | None) -> bool:
    """Whether all frames of an output are there."""
    if item is None or item.output is None or item.frames is None:
        return False
    return len(list(item.frames.glob("*.png"))) == item.output.frames


def truth(evidence: Evidence, setting: str, item: Item) -> tuple[np.ndarray | None, str]:
    """The ground truth of an item's clip, uint8 `[T, H, W, 3]`, or None and why there is none to show."""
    run = next(run for run in evidence.runs if run.setting == setting and run.path == item.run)
    if item.key["clip"]["gt_sha256"] is None:
        return None, "the clip has no ground truth"
    try:
        clip = clips_of(run).get(item.clip)
        if clip is None:
            return None, f"clip '{item.clip}' is no longer where the run found it"
        check_same(clip, item)
        frames = clip.gt()
        return (None, "the clip has no ground truth") if frames is None else (_array(frames), "")
    except UserError as error:
        return None, str(error)


def _array(frames: object) -> np.ndarray:
    found: np.ndarray = whole(frames).permute(0, 2, 3, 1).numpy()  # type: ignore[arg-type]
    return found
