"""Clips to and from external programs: lossless files that any of them reads, and whatever they write."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from patchvsr.degradation import quantise
from patchvsr.errors import UserError
from patchvsr.upscaler import Frames
from patchvsr.video import FrameWriter, image_files, is_video
from patchvsr.video.lossless import write_lossless_video

_AT_ONCE = 8


def write_frames(frames: Frames, folder: Path) -> None:
    """Write a clip as `00000000.png` and so on, 8-bit RGB."""
    with FrameWriter(folder) as writer:
        for chunk in _chunks(frames):
            writer.write(chunk)


def write_video(frames: Frames, path: Path, fps: float) -> None:
    """Write a clip as one lossless video; see `patchvsr.video.lossless`."""
    write_lossless_video((frame for chunk in _chunks(frames) for frame in chunk), path, fps)


def _chunks(frames: Frames) -> Iterator[Tensor]:
    for start in range(0, len(frames), _AT_ONCE):
        yield quantise(frames[start : start + _AT_ONCE])


def find_result(folder: Path, named: str = "") -> Path:
    """The clip that a program left in a folder: what is `named`, else the one video or the one folder of images there.

    Raises:
        UserError: there is none, or more than one.
    """
    if named:
        if not (folder / named).exists():
            raise UserError(f"the program wrote no '{named}' into {{output}}; it wrote {_listed(folder)}")
        return folder / named
    inside = [path for path in sorted(folder.rglob("*")) if not _hidden(path, folder)]
    videos = [path for path in inside if path.is_file() and is_video(path)]
    folders = [path for path in [folder, *inside] if path.is_dir() and image_files(path)]
    found = [*videos, *folders]
    if len(found) != 1:
        several = "no frames and no video" if not found else "more than one clip"
        raise UserError(
            f"the program left {several} in {{output}} ({_listed(folder)}); have it write frames or one video there, "
            "or say which it is with result=NAME"
        )
    return found[0]


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _listed(folder: Path) -> str:
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"
