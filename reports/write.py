"""Tables as CSV, Markdown and LaTeX; all print the same digits, which `Entry.text` makes."""
from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.runs import Item
from reports.table import Column, Entry, Row, Table

ARROWS = {"higher": "↑", "lower": "↓", "one": "→1"}
_LATEX_ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "one": r"$\rightarrow$1"}
_LATEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "→": r"$\rightarrow$", "±": r"$\pm$",
    "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "–": "--", "—": "---", "’": "'", "‘": "`", "“": "``", "”": "''",
    "…": r"\ldots{}", "\u00a0": "~", "[": "{[}", "]": "{]}", "*": "{*}",  # after a line's end these mean something
}  # fmt: skip
_WIDE = 7
"""From so many columns on a LaTeX table is set as wide as the text."""


def write_table(table: Table, folder: Path, home: Path) -> None:
    """Write `NAME.csv`, `NAME.records.csv`, `NAME.md` and `NAME.tex` into a folder.

    Args:
        table: what is written.
        folder: exists.
        home: where the folder will lie at last; paths of records are relative to it.
    """
    texts = {
        "csv": to_csv(table),
        "records.csv": records_csv(table, home),
        "md": to_markdown(table),
        "tex": to_latex(table),
    }
    for suffix, text in texts.items():
        (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8")


def groups(table: Table) -> list[tuple[str, list[Row]]]:
    """The rows by status and group, in their order; a heading for each, empty for plain measured rows."""
    found: dict[str, list[Row]] = {}
    for status in ("measured", "reported"):
        for row in table.rows:
            if row.status == status:
                heading = row.group if status == "measured" else ", ".join(filter(None, ["reported", row.group]))
                found.setdefault(heading, []).append(row)
    return list(found.items())


def to_csv(table: Table) -> str:
    """A row for each row: label, group, status, and of each column the value, its interval, and how many sources it
    stands on, unrounded; and the verdict, in columns that have verdicts.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    judged = {column.key for column in table.columns for row in table.rows if _entry(row, column).verdict}
    heads = [table.first, "group", "status"]
    for column in table.columns:
        heads += [column.key, *(f"{column.key}_{part}" for part in ("low", "high", "n"))]
        heads += [f"{column.key}_verdict"] if column.key in judged else []
    writer.writerow(heads)
    for row in table.rows:
        cells = [row.label, row.group, row.status]
        for column in table.columns:
            entry = _entry(row, column)
            cells += ["" if one is None else repr(one) for one in (entry.value, entry.low, entry.high, entry.n)]
            cells += [entry.verdict] if column.key in judged else []
        writer.writerow(cells)
    return text.getvalue()


def _entry(row: Row, column: Column) -> Entry:
    return row.entries.get(column.key, Entry())


def records_csv(table: Table, home: Path) -> str:
    """Where each number comes from: a row for each item behind it, with its variant (`of`), its value and the path of
    its record.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([table.first, "column", "of", "clip", "seed", "value", "item", "record"])
    for row in table.rows:
        for column in table.columns:
            entry = _entry(row, column)
            for item in entry.items:
                value = _value_in(item, entry.metric or column.metric or column.key)
                record = os.path.relpath(item.record.resolve(), home.resolve())
                found = [item.variant, item.clip, item.seed, repr(value), item.hash, record]
                writer.writerow([row.label, column.key, *found])
    return text.getvalue()


def _value_in(item: Item, metric: str) -> float | None:
    score = item.scores.get(metric)
    return None if score is None else score.value


def to_markdown(table: Table) -> str:
    """A table with its caption, its notes and a link to its records."""
    head = [table.first, *(_heading(column, ARROWS) for column in table.columns)]
    lines = [f"**{_cell(table.title)}**", "", _row(head), _row(["---", *("---:" for _ in table.columns)])]
    if not table.columns:
        lines = [f"**{_cell(table.title)}**", "", _row([table.first, ""]), _row(["---", "---"])]
    for heading, rows in groups(table):
        if heading and table.columns:
            lines.append(_row([f"*{_cell(heading)}*", *("" for _ in table.columns)]))
        for row in rows:
            cells = [_marked(row, column, "**{}**", "<u>{}</u>") for column in table.columns] or [_cell(row.group)]
            lines.append(_row([_cell(row.label), *cells]))
    lines += ["", _cell(table.caption), *(f"\n- {_cell(note)}" for note in table.notes)]
    if any(entry.items for row in table.rows for entry in row.entries.values()):
        lines += ["", f"Every number's records: [{table.name}.records.csv]({table.name}.records.csv)"]
    return "\n".join([*lines, ""])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    plain = " ".join(text.split())
    for character in "\\|*_<>`[]":
        plain = plain.replace(character, "\\" + character)
    return plain


def _heading(column: Column, arrows: dict[str, str]) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return " ".join(filter(None, [_cell(column.heading) + unit, arrows.get(column.direction or "")]))


def _marked(row: Row, column: Column, best: str, second: str) -> str:
    entry = _entry(row, column)
    return {"best": best, "second": second, "": "{}"}[entry.mark].format(entry.text(column))


def to_latex(table: Table) -> str:
    """A `table` environment for `\\input`; it needs booktabs and graphicx."""
    lines = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{latex(table.caption)}}}"]
    lines.append(rf"\label{{tab:{table.name}}}")
    lines.append(r"\small" if len(table.columns) < _WIDE else r"\resizebox{\linewidth}{!}{%")
    lines += _tabular(table)
    if len(table.columns) >= _WIDE:
        lines.append("}")
    if table.notes:
        notes = r"\\ ".join(latex(note) for note in table.notes)
        lines.append(rf"\par\smallskip\begin{{minipage}}{{\linewidth}}\footnotesize {notes}\end{{minipage}}")
    return "\n".join([*lines, r"\end{table}", ""])


def _tabular(table: Table) -> list[str]:
    if not table.columns:  # labels with a text each, such as protocols
        body = [rf"{latex(row.label)} & {latex(row.group)} \\" for row in table.rows]
        begin = r"\begin{tabular}{@{}p{0.22\linewidth}p{0.72\linewidth}@{}}"
        return [begin, r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]
    heads = [latex(table.first)]
    for column in table.columns:
        unit = f" ({latex(column.unit)})" if column.unit else ""
        heads.append(" ".join(filter(None, [latex(column.heading) + unit, _LATEX_ARROWS.get(column.direction or "")])))
    lines = [rf"\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}", r"\toprule", " & ".join(heads) + r" \\"]
    for heading, rows in groups(table):
        lines.append(r"\midrule")
        if heading:
            lines.append(rf"\multicolumn{{{len(heads)}}}{{@{{}}l}}{{\emph{{{latex(heading)}}}}} \\")
        for row in rows:
            cells = [_marked(row, column, r"\textbf{{{}}}", r"\underline{{{}}}") for column in table.columns]
            lines.append(" & ".join([latex(row.label), *cells]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def latex(text: str) -> str:
    """Text with every character that LaTeX reads as a command, or cannot set, written in another way."""
    return "".join(_LATEX.get(character) or _plain(character) for character in " ".join(text.split()))


def _plain(character: str) -> str:
    if ord(character) < 256:
        return character
    simple = "".join(part for part in unicodedata.normalize("NFKD", character) if ord(part) < 128)
    return simple or f"(U+{ord(character):04X})"


def index_markdown(
    title: str, tables: Sequence[Table], figures: Sequence[tuple[str, str]], notes: Sequence[str]
) -> str:
    """A page with every table and figure.

    Args:
        title: of the page.
        tables: in their order, from the folder `tables` beside it.
        figures: caption and path of each picture.
        notes: sentences for its top.
    """
    lines = [f"# {title}", "", *(f"> {note}\n" for note in notes)]
    for table in tables:
        body = to_markdown(table).replace(f"({table.name}.records.csv)", f"(tables/{table.name}.records.csv)")
        lines += ["", f"## {_cell(table.title)}", "", body.partition("\n\n")[2]]
    for caption, path in figures:
        lines += ["", f"![{_cell(caption)}]({path})", "", _cell(caption)]
    return "\n".join([*lines, ""])
