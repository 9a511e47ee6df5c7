"""What tables of measured values share."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.evidence import Evidence
from reports.marks import column_of, entries_of, protocol_id
from reports.material import Material
from reports.table import Row, Table


def measured_table(
    material: Material,
    setting: str,
    variants: Sequence[str],
    metrics: Sequence[str],
    *,
    name: str,
    title: str,
    labels: Mapping[str, str] | None = None,
    first: str = "variant",
    notes: Sequence[str] = (),
) -> Table:
    """Variants by metrics over one setting, with marks and the protocols in the caption."""
    evidence = material.evidence
    columns = [column_of(evidence, setting, metric) for metric in metrics]
    entries = {metric: entries_of(evidence, setting, metric, variants) for metric in metrics}
    rows = [
        Row(
            label=(labels or {}).get(variant) or material.label(variant),
            entries={metric: entries[metric][variant] for metric in metrics},
        )
        for variant in variants
    ]
    protocols = ", ".join(protocol_id(evidence.identity(setting, metric)) for metric in metrics)
    basis, marking = _basis(evidence, setting, variants, metrics), _marking(evidence, setting)
    caption = f"{title}. {basis} {marking} Protocols: {protocols}."
    return Table(
        name=name, title=title, caption=caption, columns=columns, rows=rows, first=first,
        notes=[*_undefined(evidence, setting, variants, metrics), *notes, *evidence.notes],
    )  # fmt: skip


def _basis(evidence: Evidence, setting: str, variants: Sequence[str], metrics: Sequence[str]) -> str:
    clips = evidence.clips(setting)
    cells = [evidence.cell(setting, variant, metric) for variant in variants for metric in metrics]
    sources = max((cell.sources for cell in cells), default=0)
    seeds = {item.seed for cell in cells for items in cell.items.values() for item in items}
    clip_words = "One clip" if len(clips) == 1 else f"{len(clips)} clips"
    over = f"{sources} sources" if sources < len(clips) else "clips"
    means = "" if len(clips) == 1 else f", means over {over}"
    run = next(run for run in evidence.runs if run.setting == setting)
    drawn = ", ".join(map(str, sorted(seeds)))
    return f"{clip_words} of {setting}{means}; {run.description['dtype']}, seed {drawn}."


def _marking(evidence: Evidence, setting: str) -> str:
    if len(evidence.clips(setting)) == 1:
        return "One clip gives no interval, so nothing is marked."
    return (
        "Bold is best and underlined second, only where the paired difference from the next can be told apart (95 %, "
        "Holm)."
    )


def _undefined(evidence: Evidence, setting: str, variants: Sequence[str], metrics: Sequence[str]) -> list[str]:
    notes = []
    for metric in metrics:
        clips = {clip for variant in variants for clip in evidence.cell(setting, variant, metric).undefined}
        if clips:
            whole = len(evidence.clips(setting))
            notes.append(f"{metric} is not defined for {len(clips)} of {whole} clips, which do not count.")
        if evidence.direction(metric) is None:
            notes.append(f"Which way {metric} is better is not known here, so nothing is marked.")
    return notes
