"""The verdict of the regression gate as aligned text, JUnit XML and Markdown."""
from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.store import write_atomic
from patchvsr.errors import UserError

FAILING = ("regressed", "missing", "failed", "oom")
HEADER = ["variant", "clip", "metric", "golden", "now", "worse by", "tolerance", "verdict"]
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold in any form, as the colour codes of a program's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one variant on one clip.

    Attributes:
        golden, now: values; None where there is none.
        worse: by how much it is worse than golden, in `unit`; negative where it is better, None where unknown.
        tolerance: how much worse it may be, in `unit`.
        unit: the metric's own, or `log`.
        verdict: `ok`, `improved`, `new` (golden has no value), `not defined`, `not gated`, or one of `FAILING`.
        message: why, in a sentence, where there is more to say than the numbers.
    """

    variant: str
    clip: str
    metric: str
    golden: float | None
    now: float | None
    worse: float | None
    tolerance: float
    unit: str
    verdict: str
    message: str = ""

    @property
    def failing(self) -> bool:
        """Whether the gate is closed for it."""
        return self.verdict in FAILING

    def cells(self) -> list[str]:
        """Its columns in a table, as `HEADER` names them."""
        worse = "-" if self.worse is None else f"{self.worse:+.3g} {self.unit}".rstrip()
        return [
            self.variant, self.clip, self.metric, _number(self.golden), _number(self.now), worse,
            f"{self.tolerance:.3g} {self.unit}".rstrip(), self.verdict.upper() if self.failing else self.verdict,
        ]  # fmt: skip

    def sentence(self) -> str:
        """What is wrong, for a list of failures."""
        where = f"{self.metric} of {self.variant} on {self.clip}"
        if self.verdict != "regressed":
            return f"{where}: {self.verdict}: {self.message}"
        _, _, _, golden, now, worse, tolerance, _ = self.cells()
        return f"{where}: {golden} became {now}, worse by {worse} where {tolerance} is allowed"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def verdict(rows: Sequence[Row]) -> str:
    """The outcome in one line."""
    failing = sum(row.failing for row in rows)
    improved = sum(row.verdict == "improved" for row in rows)
    told = f"{failing} of {len(rows)} values fail" if failing else f"none of {len(rows)} values is worse than golden"
    better = f"; {improved} better by more than the tolerance: --update makes them the standard" if improved else ""
    return told + better


def text(rows: Sequence[Row], notes: Sequence[str]) -> str:
    """An aligned table, what there is to know, the failures, and the outcome."""
    cells = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines += ["", *(f"note: {note}" for note in notes)] if notes else []
    lines += ["", *(f"- {row.sentence()}" for row in rows if row.failing)] if any(row.failing for row in rows) else []
    return "\n".join([*lines, "", verdict(rows)])


def markdown(rows: Sequence[Row], notes: Sequence[str], title: str) -> str:
    """The outcome, the notes, and tables of what fails, of what is better, and of all."""
    outcome = "FAILED" if any(row.failing for row in rows) else "passed"
    lines = [f"## {title}", "", f"**{outcome}**: {verdict(rows)}", ""]
    lines += [f"- {_plain(note)}" for note in notes] + [""] * bool(notes)
    for heading, chosen in (
        ("failing", [row for row in rows if row.failing]),
        ("improved", [row for row in rows if row.verdict == "improved"]),
        ("all values", list(rows)),
    ):
        if chosen:
            table = [HEADER, ["---"] * len(HEADER), *(row.cells() for row in chosen)]
            lines += [f"### {heading}", "", *("| " + " | ".join(map(_plain, row)) + " |" for row in table), ""]
            lines += [f"- {_plain(row.sentence())}" for row in chosen if row.failing and row.message]
            lines += [""] * any(row.failing and row.message for row in chosen)
    return "\n".join(lines)


def _plain(cell: str) -> str:
    """Text that a Markdown table shows as it is."""
    escaped = re.sub(r"([\\|*_<>`])", r"\\\1", cell)
    return " ".join(escaped.split()) if cell != "---" else cell


def junit(rows: Sequence[Row], suite: str) -> str:
    """One test case for each variant, metric and clip; metrics that are not defined or not gated are skipped."""
    skipped = ("not defined", "not gated")
    root = _suite(suite, len(rows), failures=sum(row.failing for row in rows),
                  skipped=sum(row.verdict in skipped for row in rows))  # fmt: skip
    for row in rows:
        case = ET.SubElement(root[0], "testcase", classname=_xml(f"{suite}.{row.variant}"),
                             name=_xml(f"{row.metric}[{row.clip}]"))  # fmt: skip
        if row.failing:
            failure = ET.SubElement(case, "failure", type=row.verdict, message=_xml(row.sentence()))
            failure.text = _xml(row.sentence())
        elif row.verdict in skipped:
            ET.SubElement(case, "skipped", message=row.verdict)
    return _serialised(root)


def junit_refusal(suite: str, message: str) -> str:
    """One erroneous test case: nothing could be compared, which must not look like an earlier run's success."""
    root = _suite(suite, 1, errors=1)
    case = ET.SubElement(root[0], "testcase", classname=_xml(suite), name="comparison")
    ET.SubElement(case, "error", type="UserError", message=_xml(message)).text = _xml(message)
    return _serialised(root)


def _suite(name: str, tests: int, **counts: int) -> ET.Element:
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", name=_xml(name), tests=str(tests))
    for key in ("failures", "errors", "skipped"):
        suite.set(key, str(counts.get(key, 0)))
    return root


def _xml(told: str) -> str:
    return _NO_XML.sub("?", told)


def _serialised(root: ET.Element) -> str:
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def write(path: Path, content: str) -> None:
    """Put a report where it was asked for.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
