"""Numbers that papers report, kept apart from everything that is measured here."""
from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from patchvsr.errors import UserError, nearest

COLUMNS = ("paper", "table", "suite", "setting", "method", "metric", "value", "unit", "source")
"""Columns of reported.csv, in their order."""

_KEY = ("paper", "table", "suite", "setting", "method", "metric")
_MAY_BE_EMPTY = ("unit",)
_CITED = re.compile(r"\barXiv \d{4}\.\d{4,5}\b")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One number as a paper printed it; never to be put in a table or a mean beside measured ones.

    It was made on the paper's own input, with its own crop and its own code for the metric, and nothing here can tell
    whether these agree with this package's.

    Attributes:
        paper: the paper that reports it, which need not be the method's own.
        table: number of the table in the paper, or what the table is about.
        suite: the test set; one that this package has is named as here.
        setting: scale, degradation, colours, size or device, as far as the paper says.
        method: the method as the paper calls it.
        metric: id of a metric of this package where the paper states what it measured; else an id that ends in
            `_as_reported`.
        value: the number.
        printed: the number digit by digit, as `0.520`.
        unit: of the number; empty where it has none.
        source: where it can be looked up: paper, arXiv number, table.
        status: always `reported`; no record of a run has it.
    """

    paper: str
    table: str
    suite: str
    setting: str
    method: str
    metric: str
    value: float
    printed: str
    unit: str
    source: str
    status: str = field(default="reported", init=False)


def reported(
    paper: str | None = None, suite: str | None = None, method: str | None = None, metric: str | None = None
) -> list[Reported]:
    """The reported numbers that agree with all that is given, in the order of the file; none may be a list of none.

    They are for reading beside a run, never for mixing with it: see `Reported`.

    Raises:
        UserError: the file of this package is damaged; see `read_reported`.
    """
    wanted = {"paper": paper, "suite": suite, "method": method, "metric": metric}
    given = {name: value for name, value in wanted.items() if value is not None}
    return [row for row in _packaged() if all(getattr(row, name) == value for name, value in given.items())]


def read_reported(path: Traversable) -> list[Reported]:
    """Read a file with the columns `COLUMNS`.

    Raises:
        UserError: it cannot be read, its columns are not those, or a line has too few or too many fields, an empty one,
            no source with an arXiv number, no finite number, or repeats an earlier line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"reported numbers in {path} cannot be read: {error}; install the package again") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Reported] = []
    seen: dict[tuple[str, ...], int] = {}
    try:
        _check_header(path, next(lines, []))
        for fields in lines:
            where = f"line {lines.line_num} of {path}"
            row = _row(where, fields)
            key = tuple(getattr(row, name) for name in _KEY)
            if key in seen:
                raise UserError(f"{where} repeats line {seen[key]} ({', '.join(key)}); remove one of them")
            seen[key] = lines.line_num
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"line {lines.line_num} of {path} is no CSV: {error}; close its quotes") from error
    return rows


@cache
def _packaged() -> tuple[Reported, ...]:
    return tuple(read_reported(resources.files("baselines") / "reported.csv"))


def _check_header(path: Traversable, found: list[str]) -> None:
    for name in found:
        if name not in COLUMNS:
            raise UserError(f"line 1 of {path} has the unknown column '{name}'{nearest(name, COLUMNS)}")
    for name in COLUMNS:
        if name not in found:
            raise UserError(f"line 1 of {path} lacks the column '{name}'; write {','.join(COLUMNS)}")
    if tuple(found) != COLUMNS:
        raise UserError(f"line 1 of {path} has its columns in another order, or twice; write {','.join(COLUMNS)}")


def _row(where: str, fields: list[str]) -> Reported:
    if len(fields) != len(COLUMNS):
        raise UserError(f"{where} has {len(fields)} fields for {len(COLUMNS)} columns; quote what holds commas")
    texts = dict(zip(COLUMNS, fields, strict=True))
    for name, text in texts.items():
        if text != text.strip():
            raise UserError(f"{where} has spaces around its {name} '{text}'; remove them")
        if not text and name not in _MAY_BE_EMPTY:
            raise UserError(f"{where} has no {name}; fill it in")
    if not _CITED.search(texts["source"]):
        raise UserError(
            f"{where} has a source without an arXiv number, '{texts['source']}'; add one, as in arXiv 2509.26025"
        )
    printed = texts.pop("value")
    if not _NUMBER.fullmatch(printed) or not math.isfinite(float(printed)):
        raise UserError(f"{where} has the value '{printed}', which is no plain decimal number; write it as printed")
    return Reported(value=float(printed), printed=printed, **texts)
