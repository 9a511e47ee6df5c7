"""A suite made of the user's own folders: clips as folders of images or as video files, with or without GT."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.frames import stored
from benchmarks.suites.clip import SuiteClip, checked_frames, checked_scale
from benchmarks.suites.derived import degraded
from patchvsr.degradation import Degradation
from patchvsr.errors import UserError
from patchvsr.video import FrameInfo, image_files, is_video, probe
from patchvsr.video.clips import content_sha256

DEFAULT_SCALE = 4.0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a suite knows of a clip beside its files."""

    suite: str = "folder"
    caption: str | None = None
    licence: str | None = None


def load_folders(
    lq: Path, gt: Path | None = None, scale: float | None = None, frames: int | None = None, suite: str = "folder"
) -> list[SuiteClip]:
    """Clips of a folder, of the same names in LQ and GT.

    Args:
        lq: a folder of clips (subfolders of images, or video files), or one clip (a folder of images or a video).
        gt: likewise; one clip goes with one clip whatever its name.
        scale: upscaling factor; inferred from the sizes where there is GT, else `DEFAULT_SCALE`.
        frames: use the first so many; None for all.
        suite: name that the records bear.

    Raises:
        UserError: a path is missing or holds no clip, a clip is in one folder only, or counts or sizes do not fit.
    """
    low, low_single = find_clips(lq)
    facts = _facts(suite, low, [lq] if gt is None else [lq, gt])
    if gt is None:
        return [without_gt(name, path, scale, frames, facts[name]) for name, path in low.items()]
    high, high_single = find_clips(gt)
    if low_single and high_single:
        high = dict(zip(low, high.values(), strict=True))
    check_same_names(low, high, lq, gt)
    return [pair(name, path, high[name], scale, frames, facts[name]) for name, path in low.items()]


def load_ground_truth(
    gt: Path, degradation: Degradation, scale: float | None, frames: int | None, suite: str = "folder"
) -> list[SuiteClip]:
    """Clips of a folder of ground truth, their LQ made by a degradation. Errors as in `load_folders`."""
    clips, scale = find_clips(gt)[0], DEFAULT_SCALE if scale is None else scale
    facts = _facts(suite, clips, [gt])
    return [from_gt(name, path, degradation, scale, frames, facts[name]) for name, path in clips.items()]


def _facts(suite: str, clips: Iterable[str], folders: list[Path]) -> dict[str, Facts]:
    """What is known of each clip: its caption, where one of the folders has a `captions.csv` (clip, caption).

    Raises:
        UserError: captions without these columns, or of a clip that is not there.
    """
    captions: dict[str, str] = {}
    for path in (folder / "captions.csv" for folder in folders):
        captions |= read_captions(path)
        if unknown := sorted(captions.keys() - set(clips)):
            raise UserError(f"{path} has a caption of '{unknown[0]}', and there is no such clip beside it")
    return {name: Facts(suite=suite, caption=captions.get(name) or None) for name in clips}


def read_captions(path: Path) -> dict[str, str]:
    """Captions by clip from a CSV file; none where there is no such file.

    Raises:
        UserError: it lacks the columns clip and caption.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"clip", "caption"} <= set(reader.fieldnames or []):
            raise UserError(f"{path} must have the columns clip and caption")
        return {row["clip"]: row["caption"] for row in reader}


def check_same_names(low: dict[str, Path], high: dict[str, Path], lq: Path, gt: Path) -> None:
    """Raise UserError, naming every clip that is in one of the two folders only."""
    lonely = [
        f"clip '{name}' is in {here} but not in {there}"
        for mine, other, here, there in ((low, high, lq, gt), (high, low, gt, lq))
        for name in mine.keys() - other.keys()
    ]
    if lonely:
        raise UserError(f"{'; '.join(sorted(lonely))}; both need the same clips")


def find_clips(folder: Path) -> tuple[dict[str, Path], bool]:
    """Clips by name, sorted, and whether the path is itself one clip.

    Raises:
        UserError: the path is missing, holds no clip, mixes loose images with clips, or has two clips of one name.
    """
    if not folder.exists():
        raise UserError(f"{folder} does not exist")
    if folder.is_file():
        return {folder.stem: folder}, True
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and (p.is_dir() or is_video(p)))
    loose = image_files(folder)
    if loose and inside:
        raise UserError(f"{folder} holds both loose images and clips ({inside[0].name}); keep them apart")
    if loose:
        return {folder.resolve().name: folder}, True
    clips: dict[str, Path] = {}
    for path in inside:
        name = path.name if path.is_dir() else path.stem
        if name in clips:
            raise UserError(f"{folder} holds two clips named '{name}'; rename one")
        clips[name] = path
    if not clips:
        raise UserError(f"{folder} holds no clip: neither images, nor folders of images, nor videos")
    return clips, False


def without_gt(name: str, path: Path, scale: float | None, frames: int | None, facts: Facts) -> SuiteClip:
    """A clip with no ground truth.

    Raises:
        UserError: it cannot be read or has fewer frames than wanted.
    """
    info = probe(path)
    count = checked_frames(name, str(path), info.frames, frames)
    return SuiteClip(
        suite=facts.suite,
        name=name,
        scale=DEFAULT_SCALE if scale is None else scale,
        frames=count,
        caption=facts.caption,
        licence=facts.licence,
        identify=partial(_identity, LQ=path),
        open_lq=partial(stored, path, 0, count),
    )


def pair(
    name: str, lq: Path, gt: Path, scale: float | None, frames: int | None, facts: Facts,
    degradation: str | None = None,
) -> SuiteClip:  # fmt: skip
    """A clip with its ground truth, both as they lie on disk.

    Raises:
        UserError: one cannot be read, or counts or sizes do not fit.
    """
    low, high = probe(lq), probe(gt)
    if low.frames != high.frames:
        raise UserError(
            f"clip '{name}': LQ has {low.frames} frames of {low.width}x{low.height} and GT {high.frames} of "
            f"{high.width}x{high.height}; both need the same frames"
        )
    count = checked_frames(name, str(lq), low.frames, frames)
    return SuiteClip(
        suite=facts.suite,
        name=name,
        scale=checked_scale(name, (low.height, low.width), (high.height, high.width), scale),
        frames=count,
        caption=facts.caption,
        degradation=degradation,
        licence=facts.licence,
        identify=partial(_identity, LQ=lq, GT=gt),
        open_lq=partial(stored, lq, 0, count),
        open_gt=partial(stored, gt, 0, count),
    )


def from_gt(
    name: str, gt: Path, degradation: Degradation, scale: float, frames: int | None, facts: Facts
) -> SuiteClip:
    """A clip of ground truth, its LQ made by a degradation when it is first asked for, and kept in the cache.

    Raises:
        UserError: the clip cannot be read, or its size does not fit scale and degradation.
    """
    info: FrameInfo = probe(gt)
    low = degradation.low_size(info.height, info.width, scale)
    checked_scale(name, low, (info.height, info.width), scale)
    count = checked_frames(name, str(gt), info.frames, frames)
    clip = SuiteClip(
        suite=facts.suite,
        name=name,
        scale=scale,
        frames=count,
        caption=facts.caption,
        degradation=degradation.identity,
        licence=facts.licence,
        identify=partial(_identity, GT=gt),
        open_lq=lambda: degraded(stored(gt, 0, count), clip.source, name, degradation, scale),
        open_gt=partial(stored, gt, 0, count),
    )
    return clip


def _identity(**paths: Path) -> str:
    return ", ".join(f"{role} {path.name} sha256:{content_sha256(path)}" for role, path in paths.items())
