"""Frames that are costly to make, kept losslessly between runs, one file per frame."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.weights import cache_dir


def cached_frame(recipe: str, index: int, make: Callable[[], Tensor]) -> Tensor:
    """Frame `index` of what `recipe` makes, from the cache or, the first time, from `make`.

    Args:
        recipe: everything that decides the frames, in words and numbers; it is hashed to the folder's name.
        index: of the frame.
        make: gives the frame, uint8 `[3, H, W]`.

    Raises:
        UserError: the cache cannot be written.
    """
    path = frame_path(recipe, index)
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except FileNotFoundError:
        pass
    except (ValueError, EOFError):
        path.unlink(missing_ok=True)  # cut short by a full disk or a crash: made again
    frame = make()
    try:
        _write(path, frame.numpy())
    except OSError as error:
        raise UserError(f"the cache {path.parent} cannot be written ({error.strerror}); set PATCHVSR_CACHE") from error
    return frame


def frame_path(recipe: str, index: int) -> Path:
    """Where a frame is kept."""
    return cache_dir() / "frames" / hashlib.sha256(recipe.encode()).hexdigest()[:20] / f"{index:06d}.npy"


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, array)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
