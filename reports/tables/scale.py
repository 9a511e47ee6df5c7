"""One metric over several settings: scales and frame sizes side by side."""
from __future__ import annotations

from dataclasses import replace

from reports.marks import COSTS, column_of, entries_of, protocol_id
from reports.material import Material
from reports.table import Row, Table
from reports.tables import NotHere

FIRST = ("psnr", "ssim", "lpips", "seam", "seconds", "peak_host_mib")
"""Metrics that have such a table, where all settings scored them."""


def scale(material: Material) -> list[Table]:
    """Variants by settings, a table for each metric; only variants and metrics that every setting has."""
    evidence = material.evidence
    settings = evidence.settings
    if len(settings) < 2:
        raise NotHere("there is only one setting")
    variants = [v for v in evidence.variants(settings[0]) if all(v in evidence.variants(s) for s in settings)]
    metrics = [m for m in FIRST if all(m in evidence.metrics(s) for s in settings)]
    if not variants or not metrics:
        raise NotHere("the settings share no variant, or no metric of " + ", ".join(FIRST))
    found = []
    for metric in metrics:
        one = column_of(evidence, settings[0], metric)
        columns = [replace(one, key=setting, heading=setting, metric=metric) for setting in settings]
        entries = {s: entries_of(evidence, s, metric, variants) for s in settings}
        protocols = dict.fromkeys(protocol_id(evidence.identity(s, metric)) for s in settings)
        marking = "" if metric in COSTS else " Bold and underlined only where the next can be told apart."
        found.append(
            Table(
                name=f"scale-{metric}",
                title=f"{metric} over settings",
                caption=f"{metric} over settings.{marking} Protocol: {', '.join(protocols)}.",
                columns=columns,
                rows=[Row(label=material.label(v), entries={s: entries[s][v] for s in settings}) for v in variants],
                notes=evidence.notes,
            )
        )
    return found
