"""The paper's own numbers, as it printed them: of its own clips and code, and never ranked with measured ones."""
from __future__ import annotations

import re

from baselines.reported import Reported, reported
from reports.material import Material
from reports.table import Column, Entry, Row, Table

PAPER = "PatchVSR"


def paper(material: Material) -> list[Table]:
    """A table for each table of the paper."""
    rows = reported(paper=PAPER)
    keys = dict.fromkeys((row.table, row.suite, row.setting) for row in rows)
    return [_table([row for row in rows if (row.table, row.suite, row.setting) == key]) for key in keys]


def _table(rows: list[Reported]) -> Table:
    first = rows[0]
    metrics = dict.fromkeys((row.metric, row.unit) for row in rows)
    methods = dict.fromkeys(row.method for row in rows)
    by_place = {(row.method, row.metric): row for row in rows}
    found = {method: {metric: _entry(by_place.get((method, metric))) for metric, _ in metrics} for method in methods}
    return Table(
        name="reported-" + re.sub(r"[^a-z0-9]+", "-", f"{first.table} {first.suite}".lower()).strip("-"),
        title=f"Reported by the paper: {first.table}, {first.suite}",
        caption=f"Reported, not measured here: {first.source}; {first.suite}, {first.setting}. No public clips.",
        columns=[Column(key=name, heading=name.removesuffix("_as_reported"), unit=unit) for name, unit in metrics],
        rows=[Row(label=method, entries=entries, status="reported") for method, entries in found.items()],
        first="method",
    )


def _entry(row: Reported | None) -> Entry:
    return Entry(missing="not reported") if row is None else Entry(value=row.value, printed=row.printed)
