"""Writing lossless folders of images, and the hash of frames."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.video.images import save_png


def frames_sha256(frames: Iterable[Tensor]) -> str:
    """SHA-256 of a size header and the raw RGB bytes of uint8 frames `[3, H, W]`, or `[T, 3, H, W]` in one tensor."""
    digest = FrameHash()
    for frame in frames:
        digest.add(frame)
    return digest.hexdigest()


def write_png_folder(frames: Tensor, folder: Path | str) -> str:
    """Write uint8 frames `[T, 3, H, W]` as `00000000.png` and so on, all or none; returns their `frames_sha256`."""
    with FrameWriter(folder) as writer:
        writer.write(frames)
    return writer.sha256


class FrameWriter:
    """Writes a clip chunk by chunk to a folder of PNG files that appears, complete, when the `with` block ends well.

    Until then the files are in a hidden folder beside it, which is removed if the block raises. A folder of the same
    name is replaced at the end.

    Attributes:
        frames: frames written so far.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.frames = 0
        self._part = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.part")
        self._hash = FrameHash()

    @property
    def sha256(self) -> str:
        """`frames_sha256` of everything written so far."""
        return self._hash.hexdigest()

    def __enter__(self) -> FrameWriter:
        shutil.rmtree(self._part, ignore_errors=True)
        try:
            self._part.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written: {error.strerror}") from error
        return self

    def write(self, chunk: Tensor) -> None:
        """Append uint8 frames `[t, 3, H, W]`, of the size of the first."""
        if chunk.dtype != torch.uint8 or chunk.ndim != 4 or chunk.shape[1] != 3:
            raise ValueError(f"frames must be uint8 [t, 3, H, W], not {chunk.dtype} {tuple(chunk.shape)}")
        for frame in chunk:
            array = _rgb(frame)
            self._hash.update(array)
            save_png(array, self._part / f"{self.frames:08d}.png")
            self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def _commit(self) -> None:
        if self.frames == 0:
            raise UserError(f"no frame was written to {self.folder}")
        old = self._part.with_suffix(".old")
        if self.folder.exists():
            self.folder.rename(old)
        self._part.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)


class FrameHash:
    """SHA-256 over `rgb24 WIDTHxHEIGHT` and the bytes of frames of one size."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._shape: tuple[int, ...] | None = None

    def add(self, frame: Tensor) -> None:
        """Take in the next frame, uint8 `[3, H, W]`."""
        self.update(_rgb(frame))

    def update(self, array: np.ndarray) -> None:
        """Take in the next frame, uint8 `[H, W, 3]`."""
        if self._shape is None:
            self._shape = array.shape
            self._digest.update(f"rgb24 {array.shape[1]}x{array.shape[0]}\n".encode())
        if array.shape != self._shape:
            raise ValueError(f"a frame of {array.shape} follows frames of {self._shape}")
        self._digest.update(array.data)

    def hexdigest(self) -> str:
        """Of all frames so far."""
        return self._digest.hexdigest()


def _rgb(frame: Tensor) -> np.ndarray:
    return np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())
