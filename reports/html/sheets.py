"""Tables as pages show them: every number with what it stands on and where its records are."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks.metrics import Direction
from benchmarks.plan import slug
from reports.evidence import Evidence, value_of
from reports.runs import Item
from reports.table import Column, Entry, Row, Table

ARROWS: dict[Direction | None, str] = {"higher": "↑", "lower": "↓", "one": "→ 1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A number on a page.

    Attributes:
        text: as printed.
        sort: the number to sort by; None sorts last.
        title: what it stands on, in a sentence.
        href: its records, relative to the report's folder; empty where it has none.
        mark: `best`, `second` or empty.
        interval: its 95 % interval, printed.
    """

    text: str
    sort: float | None = None
    title: str = ""
    href: str = ""
    mark: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A column's heading, and in `title` what the column is."""

    text: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row: its label, where that leads (or nowhere), and its numbers."""

    label: str
    cells: Sequence[Cell]
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table on a page; lines of a group stay together when it is sorted."""

    name: str
    title: str
    caption: str
    first: str
    heads: Sequence[Head]
    groups: Sequence[tuple[str, Sequence[Line]]]
    notes: Sequence[str] = ()

    @property
    def has_intervals(self) -> bool:
        """Whether there is an interval to show."""
        return any(cell.interval for _, lines in self.groups for line in lines for cell in line.cells)


def number(value: float | None) -> str:
    """Four digits; the pages' scripts print likewise."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def headed(evidence: Evidence, setting: str, metric: str) -> Head:
    """The heading of a metric: name, unit, direction; its identity is the title."""
    unit = evidence.unit(setting, metric)
    words = [metric, f"({unit})" if unit else "", ARROWS.get(evidence.direction(metric), "")]
    return Head(text=" ".join(filter(None, words)), title=evidence.identity(setting, metric))


class Records:
    """Addresses of records: a page for each variant of a setting, and a file for each item."""

    def __init__(self, evidence: Evidence) -> None:
        self._setting = {item.hash: run.setting for run in evidence.runs for item in run.items}

    def page(self, setting: str, variant: str) -> str:
        """Of all items of a variant."""
        return f"records/{slug(setting)}/{slug(variant)}.html"

    def file(self, item: Item) -> str:
        """Of one item."""
        return f"records/items/{item.hash}.json"

    def of(self, items: Sequence[Item]) -> str:
        """Where the records of a number are; the first variant's page where several went into it."""
        if not items:
            return ""
        first = items[0]
        if len(items) == 1 or first.hash not in self._setting:
            return self.file(first)
        return self.page(self._setting[first.hash], first.variant)


def sheet_of(table: Table, records: Records) -> Sheet:
    """A report's table, with rows of other papers set apart."""
    heads = [
        Head(text=" ".join(filter(None, [c.heading, f"({c.unit})" if c.unit else "", ARROWS.get(c.direction, "")])))
        for c in table.columns
    ]

    def line(row: Row) -> Line:
        return Line(label=row.label, cells=[_cell(row, column, records) for column in table.columns])

    grouped = groupby(table.rows, key=lambda row: (row.group, row.status))
    groups = [(_group(*key), [line(row) for row in rows]) for key, rows in grouped]
    return Sheet(
        name=slug(table.name),
        title=table.title,
        caption=table.caption.removeprefix(f"{table.title}. "),  # the title stands above it
        first=table.first,
        heads=heads,
        groups=groups,
        notes=table.notes,
    )


def _group(group: str, status: str) -> str:
    reported = "reported by their authors, not measured here" if status == "reported" else ""
    return " – ".join(filter(None, [group, reported]))


def _cell(row: Row, column: Column, records: Records) -> Cell:
    entry = row.entries.get(column.key, Entry())
    interval = ""
    if entry.low is not None and entry.high is not None:
        interval = f"[{column.text(entry.low)}, {column.text(entry.high)}]"
    return Cell(
        text=entry.text(column),
        sort=entry.value,
        title=_title(entry, interval),
        href=records.of(entry.items),
        mark=entry.mark,
        interval=interval,
    )


def _title(entry: Entry, interval: str) -> str:
    said = [entry.missing] if entry.missing else []
    if interval:
        said.append(f"95 % interval {interval}")
    if entry.items:
        variants = dict.fromkeys(item.variant for item in entry.items)
        said.append(f"{counted(len(entry.items), 'record')} of {', '.join(variants)}")
    return "; ".join(said)


def counted(count: int, what: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def of_clip(
    evidence: Evidence, records: Records, setting: str, items: Mapping[str, Item], called: Mapping[str, str]
) -> Sheet:
    """Every metric of every variant on one clip; `called` says how each variant is called."""
    names = evidence.metrics(setting)
    lines = [
        Line(label=called[variant], href=records.page(setting, variant), cells=_scores(item, names, records))
        for variant, item in items.items()
    ]
    heads = [headed(evidence, setting, name) for name in names]
    return Sheet(name="values", title="", caption="", first="variant", heads=heads, groups=[("", lines)])


def of_variant(
    evidence: Evidence, records: Records, setting: str, items: Iterable[Item], pages: Mapping[str, str]
) -> Sheet:
    """Every metric of every item of one variant; `pages` leads from a clip to its page."""
    names = evidence.metrics(setting)
    listed = list(items)
    several = len({item.seed for item in listed}) > 1
    lines = [
        Line(
            label=f"{item.clip}, seed {item.seed}" if several else item.clip,
            href=pages.get(item.clip, ""),
            cells=_scores(item, names, records),
        )
        for item in listed
    ]
    heads = [headed(evidence, setting, name) for name in names]
    return Sheet(name="records", title="", caption="", first="clip", heads=heads, groups=[("", lines)])


def _scores(item: Item, names: Sequence[str], records: Records) -> list[Cell]:
    cells = []
    for name in names:
        value, score = value_of(item, name), item.scores.get(name)
        if value is not None:
            why = "the record of this item"
        elif score is None:
            why = item.message or ("not scored" if item.status == "ok" else item.status)
        else:
            why = score.message or score.status
        cells.append(Cell(text=number(value), sort=value, title=why, href=records.file(item)))
    return cells
