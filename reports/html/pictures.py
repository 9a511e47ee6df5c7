"""What can be looked at of a clip: its input, its ground truth and every variant's output, put into the report."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from benchmarks.frames import Frames
from benchmarks.plan import slug
from benchmarks.suites import SuiteClip
from patchvsr.errors import UserError
from reports.html.media import (
    Pixels,
    Slices,
    evenly,
    link_or_copy,
    positions,
    read_png,
    take,
    write_png,
    write_preview,
)
from reports.html.sources import check_same
from reports.runs import Item

Kind = Literal["input", "ground truth", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of each clip goes into the report.

    Attributes:
        frames: at most so many frames of a clip, evenly spaced.
        slices: its first so many frames go into the pictures of position and time; 0 makes none.
    """

    frames: int = 8
    slices: int = 32

    def __post_init__(self) -> None:
        if self.frames < 1 or self.slices < 0:
            raise UserError(f"{self.frames} frames and slices of {self.slices} cannot be shown; give at least 1 and 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One thing to look at. Addresses are relative to the report's folder.

    Attributes:
        name: how the variant is called, or what it is.
        frames: addresses of the frames shown, in the order of `Clip.shown`; empty where there are none.
        preview, preview_size: a small lossy picture of the first frame, its width and height.
        rows, columns: the pictures of position and time, where there is more than one frame.
        cuts: rows, columns and frames at which tiles end.
        absent: why there are no frames; empty where there are.
    """

    name: str
    kind: Kind
    frames: Sequence[str] = ()
    preview: str = ""
    preview_size: tuple[int, int] = (0, 0)
    rows: str = ""
    columns: str = ""
    cuts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    absent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A clip of a setting and its pictures.

    Attributes:
        width, height: of the outputs.
        count: frames of the clip.
        shown: indices of those in the report.
        span: frames in the pictures of position and time.
        facts: as the plan described the clip.
        notes: what readers must know of its pictures.
    """

    setting: str
    name: str
    width: int
    height: int
    count: int
    shown: Sequence[int]
    span: int
    facts: Mapping[str, Any]
    pictures: Sequence[Picture]
    notes: Sequence[str] = ()

    @property
    def page(self) -> str:
        """Address of its page."""
        return f"clips/{slug(self.setting)}/{slug(self.name)}.html"

    @property
    def at(self) -> dict[str, list[int]]:
        """Rows and columns that the pictures of position and time show."""
        return {"rows": positions(self.height), "columns": positions(self.width)}

    @property
    def face(self) -> Picture | None:
        """The picture that stands for the clip in lists: of the first kind that there is."""
        return next((picture for picture in self.pictures if picture.preview), None)


def make_clip(
    out: Path, setting: str, items: Mapping[str, Item], source: SuiteClip | None, why: str, limits: Limits,
    names: Mapping[str, str],
) -> Clip:  # fmt: skip
    """Put all pictures of a clip below `out/media`.

    Args:
        out: the report's folder.
        setting: the clip's.
        items: variant to its item of this clip, at least one.
        source: the clip found again; None where it was not.
        why: why it was not.
        limits: how much is taken.
        names: how each variant is called.
    """
    first = next(iter(items.values()))
    facts = first.key["clip"]
    (height, width), count = facts["output"], int(facts["frames"])
    shown, span = evenly(count, limits.frames), min(count, limits.slices) if count > 1 else 0
    folder = PurePosixPath("media", slug(setting), slug(first.clip))
    maker = _Maker(out, folder, (height, width), shown, span)
    pictures, notes = [], []
    try:
        if source is None:
            raise UserError(why)
        check_same(source, first)
        pictures += [maker.of_source("input", source.lq()), maker.of_source("ground truth", source.gt())]
    except UserError as error:
        notes.append(f"Input and ground truth are not shown: {error}.")
    pictures += [maker.of_item(item, names[variant]) for variant, item in items.items()]
    return Clip(
        setting=setting,
        name=first.clip,
        width=width,
        height=height,
        count=count,
        shown=shown,
        span=span,
        facts=facts,
        pictures=[picture for picture in pictures if picture is not None],
        notes=notes,
    )


class _Maker:
    """Makes the pictures of one clip.

    Args:
        out: the report's folder.
        folder: the clip's, relative to it.
        size: height and width of the outputs.
        shown: frames to take.
        span: frames to slice.
    """

    def __init__(
        self, out: Path, folder: PurePosixPath, size: tuple[int, int], shown: Sequence[int], span: int
    ) -> None:
        self.out, self.folder, self.size, self.shown, self.span = out, folder, size, shown, span

    def of_source(self, kind: Kind, frames: Frames | None) -> Picture | None:
        """The clip's own frames, written anew; None where there are none."""
        if frames is None:
            return None
        folder = self.folder / slug(f"_{kind}")
        slices = self._slices()
        pixels = (frame.permute(1, 2, 0).numpy() for frame in frames)
        addresses: list[str] = []
        size = (0, 0)
        for index, frame in zip(self.shown, take(pixels, self.shown, slices, self.span), strict=True):
            addresses.append(f"{folder}/{index:08}.png")
            write_png(frame, self.out / addresses[-1])
            if index == self.shown[0]:
                size = write_preview(frame, self.out / folder / "preview.jpg")
        rows, columns = self._write(slices, folder)
        return Picture(
            name=kind, kind=kind, frames=addresses, rows=rows, columns=columns, preview=f"{folder}/preview.jpg",
            preview_size=size,
        )  # fmt: skip

    def of_item(self, item: Item, name: str) -> Picture:
        """A variant's output, linked to the run's own files where that is possible."""
        cuts = item.cuts or {}
        try:
            paths = _paths(item)
            folder = self.folder / slug(item.variant)
            slices = self._slices()
            (first,) = take(self._checked(paths), self.shown[:1], slices, self.span)
            size = write_preview(first, self.out / folder / "preview.jpg")
            rows, columns = self._write(slices, folder)
            addresses = [f"{folder}/{index:08}.png" for index in self.shown]
            for index, address in zip(self.shown, addresses, strict=True):
                link_or_copy(paths[index], self.out / address)
        except UserError as error:
            return Picture(name=name, kind="output", cuts=cuts, absent=str(error))
        return Picture(
            name=name, kind="output", frames=addresses, rows=rows, columns=columns, cuts=cuts,
            preview=f"{folder}/preview.jpg", preview_size=size,
        )  # fmt: skip

    def _slices(self) -> Slices | None:
        return Slices(*self.size) if self.span else None

    def _checked(self, paths: Sequence[Path]) -> Iterator[Pixels]:
        for path in paths:
            frame = read_png(path)
            if frame.shape[:2] != self.size:
                raise UserError(f"{path.name} is {frame.shape[1]}x{frame.shape[0]}, not {self.size[1]}x{self.size[0]}")
            yield frame

    def _write(self, slices: Slices | None, folder: PurePosixPath) -> tuple[str, str]:
        if slices is None:
            return "", ""
        rows, columns = f"{folder}/rows.png", f"{folder}/columns.png"
        slices.write(self.out / rows, self.out / columns)
        return rows, columns


def _paths(item: Item) -> list[Path]:
    """The output's frames on disk.

    Raises:
        UserError: there is no output, or not all of it.
    """
    if item.output is None:
        raise UserError(f"{item.status}: {item.message or 'there is no output'}")
    if item.frames is None:
        raise UserError("its frames are no longer in the run directory")
    paths = sorted(item.frames.glob("*.png"))
    if len(paths) != item.output.frames:
        raise UserError(f"{len(paths)} of its {item.output.frames} frames are in the run directory")
    return paths
