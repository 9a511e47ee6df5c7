"""A clip read once before it is run: it is whole, its sides belong together, and their hashes are known."""
from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from benchmarks.frames import Frames
from benchmarks.suites.clip import SuiteClip
from patchvsr.errors import UserError
from patchvsr.video import FrameHash, frames_sha256
from patchvsr.weights import cache_dir

THUMBNAIL = 32
"""Pixels along the longer side of the pictures that are compared."""
ALIKE = 0.5
"""Correlation of thumbnails below which two pictures do not show the same; degraded frames stay above 0.9."""
FLAT = 2.0
"""Deviation (8-bit steps) below which a thumbnail shows too little to be compared."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What reading a clip once has found; `height` and `width` are the input's."""

    frames: int
    height: int
    width: int
    lq_sha256: str
    gt_sha256: str | None


def examine(clip: SuiteClip, remember: bool = True) -> Examined:
    """Read every frame of a clip once, unless the same files have been read before.

    Args:
        clip: the clip.
        remember: whether the cache is to keep what was found.

    Raises:
        UserError: a frame cannot be read, sizes do not fit the scale, or input and ground truth show something else.
    """
    lq, gt = clip.lq(), clip.gt()
    _check_fit(clip, lq, gt)
    path = cache_dir() / "clips" / f"{_key(clip, lq)}.json"
    try:
        return Examined(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = _named(clip, lq, gt)
        if remember:
            _remember(path, found)
        return found


def _named(clip: SuiteClip, lq: Frames, gt: Frames | None) -> Examined:
    """As `_read`, with the clip's name in every message."""
    try:
        return _read(clip, lq, gt)
    except UserError as error:
        own = f"clip '{clip.name}'"
        if str(error).startswith(own):
            raise
        raise UserError(f"{own}: {error}") from error


def _key(clip: SuiteClip, lq: Frames) -> str:
    """Equal for equal bytes of the source, read in the same way, and for equal input that was made of it."""
    told = f"{clip.source} | {clip.name} | {clip.frames} | {clip.degradation} | {clip.scale!r} | v2"
    if clip.degradation is not None:  # a random one may come out otherwise on another machine
        told += f" | {frames_sha256(lq)}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _remember(path: Path, found: Examined) -> None:
    """Keep what was found; that it cannot be kept is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as file:
            json.dump(asdict(found), file)
        os.replace(file.name, path)
    except OSError:
        pass


def _check_fit(clip: SuiteClip, lq: Frames, gt: Frames | None) -> None:
    if gt is None:
        return
    count, _, height, width = lq.shape
    size = round(height * clip.scale), round(width * clip.scale)
    if (gt.shape[0], *gt.shape[-2:]) != (count, *size):
        raise UserError(
            f"clip '{clip.name}': {count} frames of {width}x{height} at scale {clip.scale:g} do not give the ground "
            f"truth's {gt.shape[0]} frames of {gt.shape[3]}x{gt.shape[2]}; give the LQ and GT folders and the --scale "
            "that belong together"
        )


def _read(clip: SuiteClip, lq: Frames, gt: Frames | None) -> Examined:
    count, _, height, width = lq.shape
    low_hash, high_hash = FrameHash(), FrameHash()
    looked_at = {0, count // 2, count - 1} if clip.degradation is None else set()
    correlations = []
    for index, (low, high) in enumerate(_together(lq, gt)):
        low_hash.add(low)
        if high is not None:
            high_hash.add(high)
            if index in looked_at and (found := correlation(low, high)) is not None:
                correlations.append(found)
    if correlations and max(correlations) < ALIKE:
        raise UserError(
            f"clip '{clip.name}': the ground truth does not show what the input shows (their thumbnails correlate by "
            f"{max(correlations):.2f} at most); is it the ground truth of another clip or set? Source: {clip.source}"
        )
    return Examined(count, height, width, low_hash.hexdigest(), None if gt is None else high_hash.hexdigest())


def _together(lq: Frames, gt: Frames | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    if gt is None:
        yield from ((low, None) for low in lq)
    else:
        yield from zip(lq, gt, strict=True)


def correlation(low: Tensor, high: Tensor) -> float | None:
    """Correlation of the luma thumbnails of two frames `[3, H, W]`, uint8; None where one of them shows too little."""
    shape = low.shape[-2:]
    height, width = (max(round(side * THUMBNAIL / max(shape)), 2) for side in shape)
    small = []
    for frame in (low, high):
        thumbnail = F.adaptive_avg_pool2d(frame.float().mean(dim=0, keepdim=True), (height, width)).flatten()
        small.append(thumbnail - thumbnail.mean())
    if min(float(thumbnail.std()) for thumbnail in small) < FLAT:
        return None
    return float(F.cosine_similarity(small[0], small[1], dim=0))
