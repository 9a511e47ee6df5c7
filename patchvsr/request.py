"""What a user asks of `patchvsr upscale`, and what of it can be refused before anything is read."""
from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from patchvsr.errors import UserError
from patchvsr.sizes import Size

VIDEO_OUT = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Suffixes of videos that can be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One upscaling as asked for; None leaves the choice to the defaults.

    Attributes:
        source, out: files, or folders of images.
        scale, size: the factor, or width and height of the output as displayed; one of them at most.
        variant: a variant or baseline as typed.
        frames: first and one past the last frame.
        codec, crf, preset, depth: of the encoded video.
        fps: frames per second of a video that is made of images.
        audio, subtitles: carry these over.
        resume: go on from an interrupted run, and keep what there is when this one is interrupted.
        overwrite: replace an output that is there.
    """

    source: Path
    out: Path
    scale: float | None = None
    size: Size | None = None
    variant: str = "full"
    frames: tuple[int | None, int | None] = (None, None)
    caption: str | None = None
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    depth: int | None = None
    fps: Fraction | None = None
    audio: bool = True
    subtitles: bool = True
    resume: bool = False
    overwrite: bool = False


def check_paths(request: Request) -> None:
    """Refuse, before anything is read, an output that could not be given its name.

    Raises:
        UserError: it is there and not to be replaced, it is the input, or its folder is not there.
    """
    source, out = request.source, request.out
    if not source.exists():
        raise UserError(f"{source} does not exist")
    if out.exists() and out.resolve() == source.resolve():
        raise UserError(f"{out} is the input itself; write to another name")
    if not out.parent.is_dir():
        raise UserError(f"{out} cannot be written: the folder {out.parent} does not exist")
    if out.is_dir() and _is_file(out):
        raise UserError(f"{out} is a folder; give the output another name")
    if out.exists() and not request.overwrite:
        raise UserError(f"{out} is there already; give --overwrite to replace it")
    if out.is_dir() and not _only_images(out):
        raise UserError(f"{out} holds more than numbered PNG images and is not replaced; write to another folder")
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"{out} cannot be written: no permission to write to {out.parent}")


def _is_file(out: Path) -> bool:
    return out.suffix.lower() in {".png", *VIDEO_OUT}


def _only_images(folder: Path) -> bool:
    return all(entry.suffix == ".png" and entry.stem.isdigit() for entry in folder.iterdir())
