"""What a table is before it is CSV, Markdown, LaTeX or HTML: rows of entries that know where they come from."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from benchmarks.metrics import Direction
from reports.runs import Item

Mark = Literal["best", "second", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of numbers.

    Attributes:
        key: of the row's entries; the column's name in CSV.
        heading: as readers see it, without arrow and unit.
        unit: empty for a plain ratio.
        direction: which way is better; None where nothing is.
        digits: after the point, in every format.
        metric: whose records its entries come from, where that is not the key.
        signed: whether a value above 0 is printed with its sign, as differences are.
    """

    key: str
    heading: str
    unit: str = ""
    direction: Direction | None = None
    digits: int = 3
    metric: str = ""
    signed: bool = False

    def text(self, value: float) -> str:
        """The number as every format prints it; nothing that rounds to zero has a sign."""
        text = f"{value:{'+' if self.signed else ''}.{self.digits}f}"
        return text if float(text) else text.lstrip("+-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One number of a table.

    Attributes:
        value: None where there is none.
        low, high: its 95 % interval, where there is one.
        mark: whether it is the best or second best of its column, given only where that can be told.
        missing: why there is no value, in a few words.
        n: independent sources that the value stands on, where they are known.
        items: the records that it comes from; none for reported numbers.
        metric: whose values in the records these are, where neither the column's key nor its metric says so.
        verdict: what may be said of a difference, in a word or two, printed after it.
        printed: a reported number digit by digit, in place of `Column.text`.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    mark: Mark = ""
    missing: str = ""
    n: int | None = None
    items: Sequence[Item] = ()
    metric: str = ""
    verdict: str = ""
    printed: str | None = None

    def text(self, column: Column) -> str:
        """As every format prints it; `-` where there is no value."""
        if self.printed is not None:
            return self.printed
        if self.value is None or not isfinite(self.value):
            return "-"
        return f"{column.text(self.value)} {self.verdict}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: a method or variant, and whether its numbers were `measured` here or `reported` by a paper."""

    label: str
    entries: Mapping[str, Entry]
    status: Literal["measured", "reported"] = "measured"
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, ready to be written.

    Attributes:
        name: of its files and its LaTeX label.
        title: one line.
        caption: what is shown, on what, with the protocols' identities.
        columns, rows: numbers; rows with `status="reported"` are set apart.
        first: heading of the column of labels.
        notes: what readers must know, a sentence each.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    first: str = "variant"
    notes: Sequence[str] = field(default_factory=tuple)
