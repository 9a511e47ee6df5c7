"""A suite made of the user's own folders: clips as folders of images or as video files, with or without GT."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks.suites.cache import cached_frame, stacked
from benchmarks.suites.clip import SuiteClip, checked_frames, checked_scale
from patchvsr.degradation import Degradation, low_size, quantise, to_float
from patchvsr.errors import UserError
from patchvsr.video import image_files, is_video, iter_frames, probe, read_frames
from patchvsr.weights import sha256_file

DEFAULT_SCALE = 4.0


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
    if gt is None:
        return [_without_gt(suite, name, path, scale, frames) for name, path in low.items()]
    high, high_single = find_clips(gt)
    if low_single and high_single:
        high = dict(zip(low, high.values(), strict=True))
    for name in sorted(low.keys() ^ high.keys()):
        here, missing = (lq, gt) if name in low else (gt, lq)
        raise UserError(f"clip '{name}' is in {here} but not in {missing}; both need the same clips")
    return [_pair(suite, name, path, high[name], scale, frames) for name, path in low.items()]


def load_ground_truth(
    gt: Path, degradation: Degradation, scale: float, frames: int | None, suite: str
) -> list[SuiteClip]:
    """Clips of a folder of ground truth, their LQ made by a degradation (and cached). Errors as in `load_folders`."""
    clips = []
    for name, path in find_clips(gt)[0].items():
        info = probe(path)
        low = low_size(info.height, info.width, scale)
        checked_scale(name, low, (info.height, info.width), scale)
        count = checked_frames(name, str(path), info.frames, frames)
        clips.append(
            SuiteClip(
                suite=suite,
                name=name,
                scale=scale,
                frames=count,
                degradation=degradation.identity,
                identify=partial(_identity, GT=path),
                load_lq=partial(_degraded, path, degradation, scale, count),
                load_gt=partial(read_frames, path, frames=count),
            )
        )
    return clips


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


def _without_gt(suite: str, name: str, path: Path, scale: float | None, frames: int | None) -> SuiteClip:
    count = checked_frames(name, str(path), probe(path).frames, frames)
    return SuiteClip(
        suite=suite,
        name=name,
        scale=DEFAULT_SCALE if scale is None else scale,
        frames=count,
        identify=partial(_identity, LQ=path),
        load_lq=partial(read_frames, path, frames=count),
    )


def _pair(suite: str, name: str, lq: Path, gt: Path, scale: float | None, frames: int | None) -> SuiteClip:
    low, high = probe(lq), probe(gt)
    if low.frames != high.frames:
        raise UserError(
            f"clip '{name}': LQ has {low.frames} frames of {low.width}x{low.height} and GT {high.frames} of "
            f"{high.width}x{high.height}; both need the same frames"
        )
    count = checked_frames(name, str(lq), low.frames, frames)
    return SuiteClip(
        suite=suite,
        name=name,
        scale=checked_scale(name, (low.height, low.width), (high.height, high.width), scale),
        frames=count,
        identify=partial(_identity, LQ=lq, GT=gt),
        load_lq=partial(read_frames, lq, frames=count),
        load_gt=partial(read_frames, gt, frames=count),
    )


def _degraded(path: Path, degradation: Degradation, scale: float, count: int) -> Tensor:
    recipe = f"{content_sha256(path)} {degradation.identity} x{scale!r}"
    high = iter_frames(path, frames=count)

    def low(index: int) -> Tensor:
        frame = next(high)
        return cached_frame(recipe, index, lambda: quantise(degradation(to_float(frame[None]), scale))[0])

    return stacked(count, low)


def _identity(**paths: Path) -> str:
    return ", ".join(f"{role} {path.name} sha256:{content_sha256(path)}" for role, path in paths.items())


def content_sha256(path: Path) -> str:
    """SHA-256 of a video file, or over the names and bytes of a folder's images."""
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in image_files(path):
        digest.update(f"{file.name} {sha256_file(file)}\n".encode())
    return digest.hexdigest()
