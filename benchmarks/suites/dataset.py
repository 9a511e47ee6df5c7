"""A suite's clips in a data root: found in its own layout or an official archive's, and checked against the suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.suites.clip import SuiteClip
from benchmarks.suites.definition import Definition, Entry, Layout
from benchmarks.suites.folders import Facts, find_clips, from_gt, pair, without_gt
from patchvsr.degradation import degradations
from patchvsr.errors import UserError
from patchvsr.video import image_files, probe
from patchvsr.video.clips import find_clip

OWN = Layout(gt="{suite}/GT/{clip}", lq="{suite}/LQ/{clip}")
"""The layout that every suite knows: `<data root>/<suite>/GT/<clip>` and `LQ/<clip>`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a data root keeps one of a suite's two sides: a path with `{clip}` for a clip's name."""

    template: Path

    @property
    def folder(self) -> Path:
        """The folder that holds the clips."""
        parts = self.template.parts
        return Path(*parts[: next(i for i, part in enumerate(parts) if "{clip}" in part)])

    def clip(self, name: str) -> Path:
        """The path of a clip; it may still lack a video's suffix."""
        return Path(str(self.template).replace("{clip}", name))

    def names(self) -> list[str]:
        """Clips that are there, sorted."""
        return [name for name in find_clips(self.folder)[0] if find_clip(self.clip(name)) is not None]


@dataclass(frozen=True, slots=True)
class Located:
    """A suite in a data root; a side that is not there is None."""

    gt: Place | None
    lq: Place | None

    def sides(self) -> Iterator[tuple[str, Place]]:
        """`GT` and `LQ` with their places, where there are any."""
        for side, place in (("GT", self.gt), ("LQ", self.lq)):
            if place is not None:
                yield side, place


def locate(suite: Definition, data_root: Path) -> Located:
    """Find a suite in a data root: each side in the first of the suite's layouts that is there.

    Raises:
        UserError: it is not there, or the side that the suite cannot do without.
    """
    layouts = (OWN, *suite.layouts)
    gt = _first(suite, data_root, [layout.gt for layout in layouts]) if suite.gt else None
    lq = _first(suite, data_root, [layout.lq for layout in layouts]) if suite.own_lq else None
    needs_gt = suite.gt and not suite.embedded  # of embedded suites users may bring clips without ground truth
    if (gt is None and lq is None) or (needs_gt and gt is None) or (lq is None and suite.degradation is None):
        side = "GT" if needs_gt and gt is None else "LQ"
        tried = [str(data_root / _filled(path, suite)) for layout in layouts if (path := getattr(layout, side.lower()))]
        if suite.embedded:
            tried = [str(data_root / suite.suite / kind) for kind in ("GT", "LQ")]
            raise UserError(
                f"suite '{suite.suite}': {data_root / suite.suite} has neither a GT nor an LQ folder; put clips in one "
                f"of {', '.join(tried)}, or leave out --data-root"
            )
        raise UserError(
            f"suite '{suite.suite}' is not in {data_root}: no {side} in any of {', '.join(tried)}; "
            f"`python -m benchmarks.data list {suite.suite}` says where it is from"
        )
    return Located(gt, lq)


def _filled(path: str, suite: Definition) -> str:
    return path.replace("{suite}", suite.suite)


def _first(suite: Definition, data_root: Path, paths: list[str | None]) -> Place | None:
    """The first place that is there; of official layouts, the first that holds any of the suite's clips.

    One archive's folder of clips can be the folder above another's: `VideoLQ/<clip>` and `VideoLQ/Input/<clip>`. Where
    none holds a clip, a folder that should is the answer, so that what it lacks can be named.
    """
    there = [place for path in paths if path is not None
             if (place := Place(data_root / _filled(path, suite))).folder.is_dir()]  # fmt: skip
    own = Place(data_root / _filled(str(paths[0]), suite))
    for place in there:
        if place == own or _any_clip(suite, place):
            return place
    return next((place for place in there if place.template.name == "{clip}"), None)


def _any_clip(suite: Definition, place: Place) -> bool:
    named = [entry.name for entry in suite.clips if entry.kind == "dataset"]
    return any(find_clip(place.clip(name)) is not None for name in named) if named else bool(place.names())


def expected(suite: Definition, found: Located) -> list[Entry]:
    """The clips that a data root must hold: the suite's own or, where it names none, all that are there.

    Raises:
        UserError: the suite states another number of clips than are there.
    """
    named = [entry for entry in suite.clips if entry.kind == "dataset"]
    if named:
        return named
    names = sorted({name for _, place in found.sides() for name in place.names()})
    if not names or (suite.count is not None and len(names) != suite.count):
        where = ", ".join(str(place.folder) for _, place in found.sides())
        wanted = suite.count or "at least one"
        raise UserError(f"suite '{suite.suite}' has {wanted} clips and {where} holds {len(names)}; get the whole set")
    return [Entry(name=name, **suite.each) for name in names]  # type: ignore[arg-type]


def problems(suite: Definition, found: Located, entries: list[Entry]) -> list[str]:
    """Everything that makes the data another than the suite's: clips that miss, frames that miss, sizes that differ.

    Reads folders and headers only. A sentence each, empty where all is well.
    """
    listed = []
    for entry in entries:
        for side, place in found.sides():
            path = find_clip(place.clip(entry.name))
            if path is None:
                listed.append(f"clip '{entry.name}' is missing: {place.clip(entry.name)} ({side}) is not there")
            else:
                listed += _wrong(suite, entry, side, path, side == "GT" or found.gt is None)
    return listed


def _wrong(suite: Definition, entry: Entry, side: str, path: Path, sized: bool) -> Iterator[str]:
    """What is wrong with one side of a clip; `sized` where the suite's size is that of this side."""
    try:
        info = probe(path)
    except UserError as error:
        yield f"clip '{entry.name}': {side}: {error}"
        return
    if entry.frames is not None and info.frames != entry.frames:
        gaps = _gaps(path, entry.frames)
        yield f"clip '{entry.name}': {path} ({side}) has {info.frames} frames of {entry.frames}{gaps}"
    if entry.width is None or entry.height is None:
        return
    width, height = entry.width, entry.height
    if not sized:
        width, height = round(width / suite.scale), round(height / suite.scale)
    if (info.width, info.height) != (width, height):
        yield f"clip '{entry.name}': {path} ({side}) is {info.width}x{info.height}, not {width}x{height}"


def _gaps(path: Path, count: int) -> str:
    """Which numbers miss in a folder of numbered images."""
    if not path.is_dir():
        return ""
    stems = [file.stem for file in image_files(path)]
    tails = [stem[len(stem.rstrip("0123456789")) :] for stem in stems]
    if not all(tails):
        return ""
    numbers = {int(tail) for tail in tails}
    first = min(numbers) if min(numbers) <= 1 else 0
    absent = [str(number).zfill(len(tails[0])) for number in range(first, first + count) if number not in numbers]
    return f": {', '.join(absent[:10])}{' and more' if len(absent) > 10 else ''} missing" if absent else ""


def load_dataset(
    suite: Definition, data_root: Path, frames: int | None, scale: float | None
) -> list[SuiteClip]:
    """The clips of a suite in a data root.

    Raises:
        UserError: the suite is not there or not as it should be; every problem is named.
    """
    found = locate(suite, data_root)
    entries = expected(suite, found)
    if wrong := problems(suite, found, entries):
        raise UserError(
            f"suite '{suite.suite}' in {data_root} is not the one of the protocol: {'; '.join(wrong)}; mend that, or "
            "run on folders of your own with --lq and --gt"
        )
    return [_clip(suite, found, entry, frames, scale) for entry in entries]


def _clip(suite: Definition, found: Located, entry: Entry, frames: int | None, scale: float | None) -> SuiteClip:
    facts = Facts(suite=suite.suite, caption=entry.caption, licence=entry.licence or suite.licence or None)
    gt, lq = (None if place is None else find_clip(place.clip(entry.name)) for place in (found.gt, found.lq))
    if lq is None:
        assert gt is not None and suite.degradation is not None  # `locate` and `problems` have seen to it
        wanted = suite.scale if scale is None else scale
        return from_gt(entry.name, gt, degradations.get(suite.degradation), wanted, frames, facts)
    if gt is None:
        return without_gt(entry.name, lq, _scale_of(suite, lq) if scale is None else scale, frames, facts)
    own = None if suite.embedded else suite.scale
    return pair(entry.name, lq, gt, own if scale is None else scale, frames, facts)


def _scale_of(suite: Definition, lq: Path) -> float:
    """The suite's scale or, where the suite states an output size, the one that gives it."""
    if suite.output is None:
        return suite.scale
    info, (width, height) = probe(lq), suite.output
    scale = width / info.width
    if round(info.height * scale) != height or scale < 1:
        raise UserError(
            f"clip {lq} of {info.width}x{info.height} does not come out at {width}x{height}, which suite "
            f"'{suite.suite}' is about; give clips of its aspect, or --scale"
        )
    return float(round(scale)) if round(scale) == scale else scale
