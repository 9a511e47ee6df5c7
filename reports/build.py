"""`python -m reports.build RUN [RUN ...] --out DIR`: tables, figures, a LaTeX document and pages from finished runs.

    report.md                   everything on one page
    tables/NAME.{csv,md,tex}    each table; NAME.records.csv says which record each number comes from
    figures/NAME.{pdf,png,csv}  each figure, and what is plotted
    paper.tex                   inputs them all; compiles with pdflatex
    html/index.html             to look at, without a server
    report.json                 what it was made of

RUN is a run directory, or the folder or study.json of a study (`ablations.run`), whose runs are found from it. Mixed
protocols, untrained weights and gaps are refused unless --allow names them, and then told on every page. Exit code 2:
nothing was written.
"""
from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from patchvsr.errors import UserError

if TYPE_CHECKING:
    from patchvsr.registry import Registry
    from reports.figures import Saved
    from reports.material import Material
    from reports.table import Table

T = TypeVar("T")
MARK = "report.json"
"""Says that a folder is a report, which a newer one may replace."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(
        prog="python -m reports.build", description=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m reports.build runs/bench --out runs/report --label 'full=ours'",
    )  # fmt: skip
    add = made.add_argument
    add("runs", nargs="*", type=Path, metavar="RUN", help="run directories, and folders or study.json of studies")
    add("--out", type=Path, metavar="DIR", help="a new or empty folder, or an earlier report's")
    add("--title", default="PatchVSR: report", help="of the document")
    add("--tables", metavar="LIST", help="only these; none for none (default: all that apply)")
    add("--figures", metavar="LIST", help="only these; none for none (default: all that apply)")
    add("--allow", metavar="LIST", default="", help="show it although it is untrained, incomplete or mixed")
    add("--label", metavar="VARIANT=TEXT", action="append", default=[], help="call a variant something else")
    add("--cost", metavar="FILE", type=Path, action="append", default=[], help="a cost.csv; those in runs are found")
    add("--dpi", type=int, default=200, help="of PNG figures (default: 200)")
    add("--html", action=argparse.BooleanOptionalAction, default=True, help="pages to look at (default: yes)")
    add("--list", action="store_true", help="name the tables and figures, and stop")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parser().parse_args(arguments)
        if options.list:
            from reports.figures import figures
            from reports.tables import tables

            print(f"tables: {' '.join(tables.names())}\nfigures: {' '.join(figures.names())}")
            return 0
        made = build(options, f"python -m reports.build {shlex.join(arguments)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(made)
    return 0


def build(options: argparse.Namespace, command: str) -> str:
    """Make the report; what to tell of it.

    Raises:
        UserError: nothing to report, evidence that is refused, an unknown name, or a folder that cannot be written.
    """
    from reports.evidence import ALLOWANCES
    from reports.material import collect

    if options.out is None:
        raise UserError("give --out DIR, a folder for the report")
    if unknown := [name for name in _names(options.allow) if name not in ALLOWANCES]:
        raise UserError(f"--allow {unknown[0]} is not known; it takes {', '.join(ALLOWANCES)}")
    allowed = [name for name in ALLOWANCES if name in _names(options.allow)]
    out: Path = options.out.resolve()
    _check(out, [*options.runs, *options.cost])
    material = collect(options.runs, allowed, dict(map(_label, options.label)), options.cost)
    unfinished = out.with_name(f".{out.name}.unfinished-{os.getpid()}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        parts = _Parts(material, unfinished, out, command, options.title)
        parts.tables(options.tables)
        parts.figures(options.figures, options.dpi)
        parts.documents()
        if options.html:
            parts.html()
        _publish(unfinished, out)
    except OSError as error:
        raise UserError(f"the report cannot be written to '{error.filename or out}' ({error.strerror})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return parts.told(options.out)


def _publish(unfinished: Path, out: Path) -> None:
    """Put the finished report in its place; an earlier one is gone only when that is done."""
    earlier = out.with_name(f".{out.name}.earlier-{os.getpid()}")
    if out.exists():
        out.rename(earlier)
    unfinished.rename(out)
    shutil.rmtree(earlier, ignore_errors=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _label(text: str) -> tuple[str, str]:
    """VARIANT=TEXT: the last equals sign, since variants have some themselves."""
    variant, equals, label = text.rpartition("=")
    if not equals or not variant or not label:
        raise UserError(f"--label {text} is not VARIANT=TEXT")
    return variant, label


def _check(out: Path, sources: Sequence[Path]) -> None:
    """Refuse a folder that is no report's, and one that would take what it is made of with it."""
    if inside := [path for path in sources if path.resolve().is_relative_to(out)]:
        raise UserError(f"'{inside[0]}' lies in '{out}', which the report would replace; give --out another folder")
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' holds something else than a report; give --out a new or an empty folder")


class _Parts:
    """The report as it is made, in a folder that becomes `home`."""

    def __init__(self, material: Material, folder: Path, home: Path, command: str, title: str) -> None:
        self.material, self.folder, self.home = material, folder, home
        self.command, self.title = command, title
        self.made_tables: list[Table] = []
        self.made_figures: list[Saved] = []
        self.left_out: list[str] = []

    def tables(self, chosen: str | None) -> None:
        """Make and write the tables."""
        from reports.tables import ORDER, tables
        from reports.write import write_table

        place = {name: index for index, name in enumerate(ORDER)}
        names = sorted(tables.names(), key=lambda name: place.get(name, place["efficiency"] + 0.5))
        self.made_tables = self._made(tables, names, chosen, "table")
        folder = self.folder / "tables"
        folder.mkdir()
        for table in self.made_tables:
            write_table(table, folder, self.home / "tables")

    def figures(self, chosen: str | None, dpi: int) -> None:
        """Draw and write the figures."""
        from reports.figures import figures, save

        folder = self.folder / "figures"
        folder.mkdir()
        drawn = self._made(figures, list(figures), chosen, "figure")
        self.made_figures = [save(figure, folder, dpi) for figure in drawn]

    def _made(self, registry: Registry[Callable[[Material], list[T]]], known: Sequence[str], chosen: str | None,
              kind: str) -> list[T]:  # fmt: skip
        """What the makers give; what does not apply is told of at the end."""
        from reports.tables import NotHere

        names = known if chosen is None else [] if chosen == "none" else _names(chosen)
        found: list[T] = []
        for name in names:
            try:
                made = registry.get(name)(self.material)
                why = "" if made else "it has nothing to show"
                found += made
            except NotHere as error:
                why = str(error)
            if why:
                self.left_out.append(f"{kind} {name}: {why}")
        used = [str(getattr(one, "name", "")) for one in found]
        if twice := {name for name in used if used.count(name) > 1}:
            raise UserError(f"two {kind}s are named '{twice.pop()}'; give one report for each of the runs or studies")
        return found

    def documents(self) -> None:
        """Write `report.md`, `paper.tex` and `report.json`."""
        from benchmarks.environment import package_versions
        from benchmarks.store import to_json
        from reports.paper import paper_tex
        from reports.write import index_markdown

        evidence = self.material.evidence
        pictures = [(figure.caption, f"figures/{figure.png.name}") for figure in self.made_figures]
        page = index_markdown(self.title, self.made_tables, pictures, evidence.notes)
        commands = "\n".join([*dict.fromkeys(_commands(self.material)), self.command])
        (self.folder / "report.md").write_text(f"{page}\n```sh\n{commands}\n```\n", encoding="utf-8")
        paper = paper_tex(self.title, self.material, self.made_tables, self.made_figures, self.command)
        (self.folder / "paper.tex").write_text(paper, encoding="utf-8")
        described = {
            "command": self.command,
            "packages": package_versions(["patchvsr", "matplotlib"]),
            "allowed": list(evidence.allowed),
            "notes": evidence.notes,
            "runs": {
                os.path.relpath(run.path, self.home): hashlib.sha256((run.path / "run.json").read_bytes()).hexdigest()
                for run in evidence.runs
            },
            "tables": [table.name for table in self.made_tables],
            "figures": [figure.name for figure in self.made_figures],
            "left_out": self.left_out,
        }
        (self.folder / MARK).write_text(to_json(described), encoding="utf-8")

    def html(self) -> None:
        """Write the pages."""
        from reports.html import build_html

        build_html(self.material.evidence, self.made_tables, self.made_figures, self.folder / "html", self.command,
                   title=self.title, labels=self.material.labels)  # fmt: skip

    def told(self, out: Path) -> str:
        """What was made, in the folder as it was typed, and what was not and why."""
        shown = "html/index.html, " if (self.home / "html").is_dir() else ""
        made = f"{len(self.made_tables)} tables and {len(self.made_figures)} figures"
        lines = [f"{out}: {shown}report.md, paper.tex, {made}"]
        lines += [f"- left out: {why}" for why in self.left_out]
        return "\n".join([*lines, *(f"- {note}" for note in self.material.evidence.notes)])


def _commands(material: Material) -> Iterable[str]:
    """What was typed to make the runs: the study's command for those of a study."""
    of_studies = {path.resolve(): study.command for study in material.studies for path in study.runs.values()}
    return (of_studies.get(run.path.resolve(), run.command) for run in material.evidence.runs)


if __name__ == "__main__":
    sys.exit(main())
