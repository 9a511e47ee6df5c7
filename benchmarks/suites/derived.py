"""Low-resolution frames that a protocol makes from the ground truth: made once, lossless, hashed, in the cache."""
from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from benchmarks.frames import ClipFrames, Frames, stored
from patchvsr.degradation import Degradation
from patchvsr.errors import UserError
from patchvsr.video import FrameWriter, frames_sha256
from patchvsr.weights import cache_dir


def degraded(high: Frames, source: str, clip: str, degradation: Degradation, scale: float) -> ClipFrames:
    """Low-resolution frames of `high`, from the cache or, the first time, made and put there.

    Frames in the cache are checked against their hash once in every process; damaged ones are made again.

    Args:
        high: the ground truth.
        source: identity of `high`; the same identity must mean the same frames.
        clip: its name, which seeds a random degradation.
        degradation, scale: what is done to it.

    Raises:
        UserError: the scale and sizes do not fit the degradation, or the cache cannot be written.
    """
    height, width = degradation.low_size(high.shape[2], high.shape[3], scale)
    recipe = f"{source} | clip {clip} | {len(high)} frames | {degradation.identity} | x{scale!r} to {width}x{height}"
    folder = cache_dir() / "lq" / hashlib.sha256(recipe.encode()).hexdigest()[:20]
    if not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, recipe, high, clip, degradation, scale)
    return stored(folder / "frames")


@functools.cache
def _is_whole(folder: Path) -> bool:
    try:
        known = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        return frames_sha256(stored(folder / "frames")) == known["sha256"]
    except (OSError, ValueError, KeyError):  # UserError is a ValueError
        return False


def _make(folder: Path, recipe: str, high: Frames, clip: str, degradation: Degradation, scale: float) -> None:
    """Write the frames and their hash, then give the folder its name in one step."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Nothing is left of it to clean up when all goes well.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".made-", ignore_cleanup_errors=True) as made:
            with FrameWriter(Path(made) / "frames") as writer:
                for frame in degradation.stream(iter(high), scale, clip):
                    writer.write(frame[None])
            if writer.frames != len(high):
                raise UserError(f"'{degradation.name}' made {writer.frames} frames of {len(high)} of clip '{clip}'")
            known = {"recipe": recipe, "frames": writer.frames, "sha256": writer.sha256}
            (Path(made) / "recipe.json").write_text(json.dumps(known, indent=1), encoding="utf-8")
            try:
                os.rename(made, folder)
            except OSError:
                if not (folder / "recipe.json").is_file():  # else another process was quicker, with the same frames
                    raise
    except OSError as error:
        raise UserError(
            f"the cache {folder.parent} cannot be written ({error.strerror}); set PATCHVSR_CACHE to another folder"
        ) from error
    _is_whole.cache_clear()
