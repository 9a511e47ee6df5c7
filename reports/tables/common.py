"""What tables of measured values share."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.compare import source_of
from reports.evidence import Evidence
from reports.marks import COSTS, column_of, entries_of, protocol_id
from reports.material import Material
from reports.runs import Item
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
    said = [f"{title}.", basis(evidence, setting, variants, metrics), _marking(evidence, setting, metrics)]
    caption = " ".join([*filter(None, said), f"Protocols: {protocols}."])
    return Table(
        name=name, title=title, caption=caption, columns=columns, rows=rows, first=first,
        notes=[*undefined(evidence, setting, variants, metrics), *notes, *evidence.notes],
    )  # fmt: skip


def items_behind(evidence: Evidence, setting: str, variants: Sequence[str], metric: str) -> list[Item]:
    """The items whose values of a metric count, of several variants."""
    cells = [evidence.cell(setting, variant, metric) for variant in variants]
    return [item for cell in cells for items in cell.items.values() for item in items]


def basis(evidence: Evidence, setting: str, variants: Sequence[str], metrics: Sequence[str]) -> str:
    """Clips, sources, precision and seeds behind a table, in a sentence."""
    clips = evidence.clips(setting)
    cells = [evidence.cell(setting, variant, metric) for variant in variants for metric in metrics]
    sources = max((cell.sources for cell in cells), default=0)
    seeds = {item.seed for cell in cells for items in cell.items.values() for item in items}
    clip_words = "One clip" if len(clips) == 1 else f"{len(clips)} clips"
    over = f"{sources} sources" if sources < len(clips) else "clips"
    means = "" if len(clips) == 1 else f", means over {over}"
    precisions = dict.fromkeys(run.description["dtype"] for run in evidence.runs if run.setting == setting)
    drawn = ", ".join(map(str, sorted(seeds)))
    return f"{clip_words} of {setting}{means}; {' and '.join(precisions)}, seed {drawn}."


def _marking(evidence: Evidence, setting: str, metrics: Sequence[str]) -> str:
    """What marks mean in this table, or why it has none."""
    clips = evidence.clips(setting)
    if len({source_of(clip) for clip in clips}) == 1:
        why = "One clip gives" if len(clips) == 1 else "Clips of one source give"
        return f"{why} no interval, so nothing is marked."
    if all(metric in COSTS for metric in metrics):
        return ""
    return (
        "Bold is best and underlined second, only where the paired difference from the next can be told apart (95 %, "
        "Holm)."
    )


def undefined(evidence: Evidence, setting: str, variants: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Notes on clips without a defined value, and on metrics without a known direction."""
    notes = []
    for metric in metrics:
        clips = {clip for variant in variants for clip in evidence.cell(setting, variant, metric).undefined}
        if clips:
            whole = len(evidence.clips(setting))
            notes.append(f"{metric} is not defined for {len(clips)} of {whole} clips, which do not count.")
        if evidence.direction(metric) is None:
            notes.append(f"Which way {metric} is better is not known here, so nothing is marked.")
    return notes
