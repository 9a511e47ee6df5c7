"""Renders the pages of a report from templates; what is on them is made by the modules beside this one."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.plan import slug
from reports.evidence import Evidence
from reports.figures import Saved
from reports.html import charts
from reports.html.media import link_or_copy
from reports.html.pictures import Clip
from reports.html.sheets import Records, counted, number, of_clip, of_variant, sheet_of
from reports.runs import Item, Run
from reports.table import Table

Clips = Mapping[str, Sequence[Clip]]
"""The clips of each setting, in the order of the suite."""


class Site:
    """The pages of one report.

    Args:
        out: the report's folder.
        evidence: what it may say.
        clips: with their pictures, already in the folder.
        command: what was typed to make the report.
        title: of every page.
        names: how each variant is called.
    """

    def __init__(
        self, out: Path, evidence: Evidence, clips: Clips, command: str, title: str, names: Mapping[str, str]
    ) -> None:
        self.out, self.evidence, self.clips, self.command = out, evidence, clips, command
        self.title, self.names = title, names
        self.records = Records(evidence)
        self._templates = Environment(
            loader=PackageLoader("reports.html"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.policies["json.dumps_kwargs"] = {"sort_keys": False}  # variants keep their order and colours
        self._templates.filters.update(number=number, counted=counted, slug=slug)

    def write(self, tables: Sequence[Table], figures: Sequence[Saved]) -> Path:
        """Write every page; gives the first one."""
        self._write_tables(tables)
        for setting in self.evidence.settings:
            self._write_clips(setting)
            self._write_records(setting)
        self._write_provenance()
        return self._write_summary(tables, figures)

    def _render(self, template: str, path: str, **context: Any) -> Path:
        """Render a page; in templates `root` leads from the page to the report's folder."""
        root = "../" * path.count("/")
        text = self._templates.get_template(template).render(
            root=root, page=path, title=self.title, names=self.names, evidence=self.evidence, overview=_overview,
            **context,
        )  # fmt: skip
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def _write_summary(self, tables: Sequence[Table], figures: Sequence[Saved]) -> Path:
        shown = []
        for figure in figures:
            png, pdf = (f"figures/{path.name}" for path in (figure.png, figure.pdf))
            link_or_copy(figure.png, self.out / png)
            link_or_copy(figure.pdf, self.out / pdf)
            shown.append({"title": figure.title, "caption": figure.caption, "png": png, "pdf": pdf})
        return self._render(
            "index.html.j2",
            "index.html",
            sheet=sheet_of(tables[0], self.records) if tables else None,
            more=max(len(tables) - 1, 0),
            figures=shown,
            means=charts.means(self.evidence, self.names),
            clips=self.clips,
            command=self.command,
        )

    def _write_tables(self, tables: Sequence[Table]) -> None:
        sheets = [sheet_of(table, self.records) for table in tables]
        entries = (entry for table in tables for row in table.rows for entry in row.entries.values())
        for item in {item.hash: item for entry in entries for item in entry.items}.values():
            self._write_record(item)
        self._render("tables.html.j2", "tables.html", sheets=sheets)

    def _write_clips(self, setting: str) -> None:
        clips = self.clips[setting]
        self._render(
            "clips.html.j2",
            _overview(setting),
            setting=setting,
            clips=clips,
            values=charts.per_clip(self.evidence, setting, self.names),
        )
        items_of = by_clip(self.evidence, setting)
        for at, clip in enumerate(clips):
            items = items_of[clip.name]
            self._render(
                "clip.html.j2",
                clip.page,
                clip=clip,
                before=clips[at - 1] if at else None,
                after=clips[at + 1] if at + 1 < len(clips) else None,
                seeds=sorted({item.seed for item in items.values()}),
                sheet=of_clip(self.evidence, self.records, setting, items, self.names),
                frames=charts.per_frame(self.evidence, setting, items, self.names),
            )

    def _write_records(self, setting: str) -> None:
        pages = {clip.name: clip.page for clip in self.clips[setting]}
        for variant in self.evidence.variants(setting):
            items = [
                item
                for run in self.evidence.runs
                if run.setting == setting
                for item in run.items
                if item.variant == variant
            ]
            for item in items:
                self._write_record(item)
            self._render(
                "records.html.j2",
                self.records.page(setting, variant),
                setting=setting,
                variant=variant,
                sheet=of_variant(self.evidence, self.records, setting, items, pages),
            )

    def _write_record(self, item: Item) -> None:
        if not (target := self.out / self.records.file(item)).exists():
            link_or_copy(item.record, target)

    def _write_provenance(self) -> None:
        runs = []
        for at, run in enumerate(self.evidence.runs):
            address = f"records/runs/{at + 1}.json"
            link_or_copy(run.path / "run.json", self.out / address)
            runs.append({"run": run, "file": address, "variants": _variants(run), "options": _options(run)})
        self._render("provenance.html.j2", "provenance.html", runs=runs, command=self.command)


def by_clip(evidence: Evidence, setting: str) -> dict[str, dict[str, Item]]:
    """Clip to variant to item, that of the lowest seed."""
    found: dict[str, dict[str, Item]] = {clip: {} for clip in evidence.clips(setting)}
    for variant in evidence.variants(setting):
        for clip, item in evidence.items(setting, variant).items():
            found[clip][variant] = item
    return found


def _overview(setting: str) -> str:
    """Address of the page that lists a setting's clips."""
    return f"clips/{slug(setting)}.html"


def _variants(run: Run) -> list[dict[str, Any]]:
    """Each variant's resolved specification as YAML, and the hashes of its weights."""
    return [
        {
            "name": variant["variant"],
            "spec": yaml.safe_dump(variant["describe"], sort_keys=False, allow_unicode=True),
            "status": variant["weights"]["status"],
            "weights": variant["weights"]["sha256"],
        }
        for variant in run.description.get("variants", [])
    ]


def _options(run: Run) -> str:
    """The run's resolved options; runs of older versions have none."""
    options = run.description.get("config", "")
    return options if isinstance(options, str) else json.dumps(options, indent=1)
