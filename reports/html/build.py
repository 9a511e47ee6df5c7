"""Builds the folder of HTML: `build_html`.

    index.html tables.html provenance.html     what was found, and how
    clips/SETTING.html                         all clips of a setting, beside each other
    clips/SETTING/CLIP.html                    one clip, to be looked at
    records/SETTING/VARIANT.html               every value of a variant, with the files that it comes from
    records/items records/runs                 these files
    media figures assets                       pictures, scripts and styles
"""
from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import get_args

from benchmarks.suites import SuiteClip
from patchvsr.errors import UserError
from reports.evidence import Evidence
from reports.figures import Saved
from reports.html.pages import Clips, Site, by_clip
from reports.html.pictures import Clip, Kind, Limits, make_clip
from reports.html.sources import clips_of
from reports.runs import Run
from reports.table import Table

MARK = "patchvsr-report"
"""A file that says that a folder is a report, which may be replaced by a newer one."""


def build_html(
    evidence: Evidence,
    tables: Sequence[Table],
    figures: Sequence[Saved],
    out: Path,
    command: str,
    limits: Limits | None = None,
    title: str = "PatchVSR: report",
    labels: Mapping[str, str] | None = None,
) -> Path:
    """Write the report as one folder that opens from disk; a report that was there before is replaced when it is whole.

    Args:
        evidence: what the report may say.
        tables: to show; the first one also on the first page.
        figures: saved before, to show on the first page.
        out: the folder.
        command: what was typed to make the report.
        limits: how much of each clip is taken; by default 8 frames, and slices through 32.
        title: of every page.
        labels: variant to what readers see in its place; addresses, tooltips of records and commands keep the variant.

    Returns:
        Path of `index.html`.

    Raises:
        UserError: `out` holds something else than a report, or cannot be written.
    """
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' holds something else than a report; give another folder, or an empty one")
    unfinished = out.with_name(f".{out.name}.unfinished-{os.getpid()}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _write_assets(unfinished)
        names = shown_names(evidence, labels or {})
        clips = _clips(unfinished, evidence, limits or Limits(), names)
        index = Site(unfinished, evidence, clips, command, title, names).write(tables, figures)
        shutil.rmtree(out, ignore_errors=True)
        unfinished.rename(out)
    except OSError as error:
        raise UserError(f"the report cannot be written to '{error.filename or out}' ({error.strerror})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return out / index.name


def shown_names(evidence: Evidence, labels: Mapping[str, str]) -> dict[str, str]:
    """How each variant is called on the pages: by its label, with itself behind that where two would be the same."""
    variants = dict.fromkeys(variant for setting in evidence.settings for variant in evidence.variants(setting))
    named = {variant: labels.get(variant, variant) for variant in variants}
    used = Counter([*named.values(), *get_args(Kind)])
    return {v: name if used[name] == 1 or name == v else f"{name} ({v})" for v, name in named.items()}


def _write_assets(out: Path) -> None:
    """Own scripts and styles, and plotly's library from its package."""
    from plotly.offline import get_plotlyjs

    (out / MARK).write_text("A report of patchvsr; open index.html.\n", encoding="utf-8")
    folder = out / "assets"
    folder.mkdir()
    for asset in (files("reports.html") / "assets").iterdir():
        if asset.name.endswith((".js", ".css")):
            (folder / asset.name).write_bytes(asset.read_bytes())
    (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def _clips(out: Path, evidence: Evidence, limits: Limits, names: Mapping[str, str]) -> Clips:
    """Every clip of the evidence, with its pictures put into the report."""
    made: dict[str, list[Clip]] = {}
    for setting in evidence.settings:
        sources, why = _sources([run for run in evidence.runs if run.setting == setting])
        made[setting] = [
            make_clip(out, setting, items, sources.get(name), why or "the run's options name it no more", limits, names)
            for name, items in by_clip(evidence, setting).items()
        ]
    return made


def _sources(runs: Sequence[Run]) -> tuple[dict[str, SuiteClip], str]:
    """The clips of several runs, found again, and why some were not."""
    found: dict[str, SuiteClip] = {}
    reasons = []
    for run in runs:
        try:
            found = clips_of(run) | found
        except UserError as error:
            reasons.append(str(error))
    return found, "; ".join(dict.fromkeys(reasons))
