"""`folder:PATH`: outputs that another method wrote, so that they are scored beside everything else."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.options import Options
from patchvsr.errors import UserError, nearest
from patchvsr.notation import ARGUMENT
from patchvsr.upscaler import Clip, Progress, Upscaler
from patchvsr.video import iter_frames, probe
from patchvsr.video.clips import clips_named, content_sha256, frame_numbers, gaps, lossy


def checked_output(path: Path, clip: Clip, scale: float) -> dict[str, Any]:
    """Whether a clip on disk can be the upscaled `clip`: its size, its number of frames, their names.

    Returns:
        The `sha256` of the files and, where their format is lossy, a `note` that says so.

    Raises:
        UserError: it cannot be; or it is damaged.
    """
    count, _, height, width = clip.frames.shape
    wanted = (round(height * scale), round(width * scale))
    found = probe(path)
    if (found.height, found.width) != wanted:
        raise UserError(
            f"{path} is {found.width}x{found.height}, and clip '{clip.name}' of {width}x{height} at scale {scale:g} "
            f"comes out at {wanted[1]}x{wanted[0]}; have the method write that size, for nothing is resized or cut here"
        )
    if found.frames != count:
        raise UserError(
            f"{path} has {found.frames} frames and clip '{clip.name}' has {count}; have the method write every frame, "
            "or run on the same frames (--frames)"
        )
    if path.is_dir() and (absent := gaps(frame_numbers(path))):
        raise UserError(
            f"the numbering of the frames in {path} leaves out {', '.join(map(str, absent))}, so frames of clip "
            f"'{clip.name}' would be scored against others; write them again"
        )
    told = {"sha256": content_sha256(path)}
    if kind := lossy(path):
        told["note"] = f"scored from {kind}: what the encoder may have lost counts against the method"
    return told


def read_output(path: Path, first: int, progress: Progress | None) -> Iterator[Tensor]:
    """The frames of a clip on disk from `first` on, float32 `[1, 3, H, W]`, 0..1; 8-bit values come back exactly.

    Raises:
        UserError: one cannot be read.
    """
    count = probe(path).frames
    if first >= count:
        return
    for index, frame in enumerate(iter_frames(path, first), first + 1):
        yield frame.to(torch.float32).div_(255)[None]
        if progress is not None:
            progress(index / count)


class Folder(Upscaler):
    """Reads the outputs of another method. What their making took is not known here.

    Args:
        path: the folder that holds an output for each clip.
        pattern: where in it the output of a clip lies, with `{clip}` for the clip's name: a folder of frames or a
            video, whose suffix may be left out.
    """

    name = "folder"

    def __init__(self, path: Path, pattern: str) -> None:
        self.path, self.pattern = path, pattern

    def describe(self) -> dict[str, Any]:
        """Where outputs are looked for; their content is told clip by clip, by `accept`."""
        return {"name": self.name, "outputs": "made by another program", "pattern": self.pattern}

    def accept(self, clip: Clip, scale: float) -> dict[str, Any]:
        """The hash of this clip's output, after its size, its number of frames and their names were checked.

        Raises:
            UserError: there is no output for this clip, or two, or it does not fit.
        """
        path = self._output(clip.name)
        return {"output": path.relative_to(self.path).as_posix(), **checked_output(path, clip, scale)}

    @property
    def measured(self) -> dict[str, float]:
        """Nothing: the outputs were made elsewhere."""
        return {}

    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        """One frame `[1, 3, round(H * scale), round(W * scale)]` at a time; `seed` has no effect.

        Raises:
            UserError: see `accept`.
        """
        return self.upscale_from(0, clip, scale, seed, progress)

    def upscale_from(
        self, first: int, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """As `upscale`; earlier frames are left unread."""
        return read_output(self._output(clip.name), first, progress)

    def _output(self, clip: str) -> Path:
        named = self.path / self.pattern.replace("{clip}", clip)
        found = [named] if named.is_file() else clips_named(named)
        if not found:
            there = [entry.name for entry in named.parent.iterdir()] if named.parent.is_dir() else []
            raise UserError(
                f"baseline 'folder' finds no output for clip '{clip}': neither a folder of frames nor a video {named}"
                f"{nearest(named.name, there) if there else ''}; name it so, or say how outputs are named, as in "
                "folder:PATH,pattern={clip}_x4.mp4"
            )
        if len(found) > 1:
            raise UserError(
                f"baseline 'folder' finds several outputs for clip '{clip}': {', '.join(map(str, found))}; leave one "
                "of them there, or say which is meant, as in folder:PATH,pattern={clip}.mp4"
            )
        return found[0]


def folder(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `folder:PATH`; device and dtype have no effect.

    Args:
        overrides: the argument PATH, and `pattern`; see `Folder`.

    Raises:
        UserError: no path, one that is no folder, a pattern without `{clip}`, or an unknown option.
    """
    options = Options("folder", overrides, (ARGUMENT, "pattern"))
    text = options.text(ARGUMENT)
    if not text:
        raise UserError("baseline 'folder' needs the folder that holds the outputs: folder:PATH")
    path = Path(text).expanduser()
    if not path.is_dir():
        reason = "is a file" if path.exists() else "does not exist"
        raise UserError(f"{path} of baseline 'folder' {reason}; give the folder that holds an output for each clip")
    pattern = options.text("pattern", "{clip}")
    if "{clip}" not in pattern:
        raise UserError(
            f"pattern={pattern} of baseline 'folder' would give every clip the same output; put {{clip}} where the "
            "clip's name goes"
        )
    return Folder(path, pattern)
