"""What a training run draws from: a folder of stills and videos, each looked at once before the first step.

`MANIFEST.csv` in the folder names the files (`file`) and may give `sha256`, `caption` and `split`; without one, every
still and video under the folder is taken, without captions.
"""
from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from patchvsr.degradation import quantise
from patchvsr.errors import UserError
from patchvsr.prompt import LENGTH
from patchvsr.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, open_source
from patchvsr.weights import sha256_file

VALIDATION_SHARE = 1 / 12
"""Of the files of a folder whose manifest names no splits."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the manifest, or one file that was found."""

    path: Path
    split: str
    caption: str = ""
    sha256: str = ""


class Footage:
    """One still (1 frame) or video.

    Attributes:
        path, caption: of the file; an empty caption is none.
        shape: frames, height, width.
    """

    def __init__(self, path: Path, caption: str = "", kept: Tensor | None = None) -> None:
        self.path, self.caption, self._kept = path, caption, kept
        if kept is not None:
            self.shape = (len(kept), *kept.shape[-2:])
            return
        with open_source(path) as source:
            self.shape = (source.shape[0], *source.shape[2:])

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int = 0, count: int | None = None) -> Tensor:
        """Frames, uint8 `[T, 3, H, W]`, from memory if they are kept there.

        Raises:
            UserError: they cannot be read.
        """
        stop = len(self) if count is None else first + count
        if self._kept is not None:
            return self._kept[first:stop]
        with open_source(self.path) as source:
            return quantise(source[first:stop])

    def keep(self) -> int:
        """Keep all frames in memory; returns their bytes."""
        self._kept = self.read()
        return self._kept.nbytes

    @property
    def nbytes(self) -> int:
        """What `keep` would take."""
        frames, height, width = self.shape
        return frames * 3 * height * width


@dataclass(frozen=True, slots=True)
class Problem:
    """A listed file that cannot be trained on, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run asks of every file.

    Attributes:
        side: least height and width in pixels.
        frames: least number of frames of a video.
        captions: every file must have one.
        memory_mib: decoded frames that may be kept; what is beyond is read again for every sample.
    """

    side: int
    frames: int
    captions: bool = False
    memory_mib: int = 4096


def listed(folder: Path) -> list[Listed]:
    """The files of a folder.

    Raises:
        UserError: no such folder, nothing in it, or a manifest without a column `file`.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give one with videos, stills, or a MANIFEST.csv that names them")
    manifest = folder / "MANIFEST.csv"
    files = list(_rows(manifest)) if manifest.is_file() else list(_found(folder))
    if not files:
        raise UserError(f"{folder} holds no videos or stills; give a folder that does, or one with a MANIFEST.csv")
    return files


def _rows(manifest: Path) -> Iterator[Listed]:
    with manifest.open(newline="", encoding="utf-8") as rows:
        reader = csv.DictReader(rows)
        if "file" not in (reader.fieldnames or []):
            raise UserError(f"{manifest} has no column 'file'; the others, sha256, caption and split, are optional")
        for row in reader:
            split = row.get("split") or _split(row["file"])
            yield Listed(manifest.parent / row["file"], split, row.get("caption") or "", row.get("sha256") or "")


def _found(folder: Path) -> Iterator[Listed]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            yield Listed(path, _split(path.relative_to(folder).as_posix()))


def _split(name: str) -> str:
    """`val` for a share of all names, always the same."""
    digest = hashlib.sha256(name.encode()).digest()
    return "val" if int.from_bytes(digest[:4], "big") < VALIDATION_SHARE * 2**32 else "train"


def load(files: list[Listed], needs: Needs) -> tuple[list[Footage], list[Problem]]:
    """Open every file, and keep the frames of as many as fit in memory.

    Returns:
        What can be trained on, and what cannot.
    """
    found, problems, room = [], [], needs.memory_mib << 20
    for file in files:
        try:
            footage = _checked(file, needs)
            if footage.nbytes <= room:
                room -= footage.keep()
        except (UserError, OSError) as error:
            problems.append(Problem(file.path, str(error)))
        else:
            found.append(footage)
    return found, problems


def _checked(file: Listed, needs: Needs) -> Footage:
    if not file.path.is_file():
        raise UserError("is missing")
    if file.sha256 and sha256_file(file.path) != file.sha256:
        raise UserError("is not the file that MANIFEST.csv lists: its SHA-256 differs")
    if needs.captions and not file.caption:
        raise UserError("has no caption, and this arm's prompt is the caption; give one in MANIFEST.csv")
    if len(file.caption.encode()) > LENGTH:
        raise UserError(f"has a caption of {len(file.caption.encode())} bytes; the text encoder reads {LENGTH}")
    footage = Footage(file.path, file.caption)
    frames, height, width = footage.shape
    if min(height, width) < needs.side:
        raise UserError(f"is {width}x{height}, below the {needs.side} pixels that a tile and its motion need")
    if 1 < frames < needs.frames:
        raise UserError(f"has {frames} frames, and a clip has {needs.frames}")
    return footage


def refuse(problems: list[Problem], total: int) -> None:
    """Say which files cannot be trained on.

    Raises:
        UserError: there are any.
    """
    if problems:
        named = "; ".join(f"{p.path}: {p.reason}" for p in problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(
            f"{len(problems)} of {total} files cannot be trained on ({named}{more}); mend them, or add "
            "--allow-excluded to train without them, which lists them in excluded.csv"
        )


def write_excluded(problems: list[Problem], path: Path) -> None:
    """The list of what a run goes on without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "reason"])
        writer.writerows([p.path, p.reason] for p in problems)
