"""What outputs took: measured seconds and memory, and counted FLOPs."""
from __future__ import annotations

from reports.marks import COSTS
from reports.material import Material
from reports.table import Column, Entry, Row, Table
from reports.tables import NotHere
from reports.tables.common import measured_table


def efficiency(material: Material) -> list[Table]:
    """Cost metrics of the runs by setting, with the machine; and TFLOP by part of the files of counted cost."""
    evidence = material.evidence
    found = []
    for number, setting in enumerate(evidence.settings, 1):
        metrics = [metric for metric in evidence.metrics(setting) if metric in COSTS]
        if not metrics:
            continue
        machines = dict.fromkeys(run.machine for run in evidence.runs if run.setting == setting)
        name = "efficiency" if len(evidence.settings) == 1 else f"efficiency-{number}"
        notes = [f"Measured on {', '.join(machines)}, once for each clip.", *_reused(material, setting)]
        title = f"Efficiency on {setting}"
        variants = evidence.variants(setting)
        found.append(measured_table(material, setting, variants, metrics, name=name, title=title, notes=notes))
    found += _counted(material)
    if not found:
        raise NotHere("the runs measured no cost, and no file of counted cost was given")
    return found


def _reused(material: Material, setting: str) -> list[str]:
    evidence = material.evidence
    items = [item for variant in evidence.variants(setting) for item in evidence.items(setting, variant).values()]
    reused = sum("made by another run" in (item.note or "") for item in items)
    if not reused:
        return []
    return [f"{reused} of {len(items)} outputs were made by another run, whose seconds and memory these are."]


def _counted(material: Material) -> list[Table]:
    """TFLOP by frame size: a row for each variant, a column for each part and the sum."""
    tables = []
    cases = list(dict.fromkeys((row["frame"], row["frames"]) for row in material.costs))
    for number, (frame, frames) in enumerate(cases, 1):
        rows = [row for row in material.costs if (row["frame"], row["frames"]) == (frame, frames)]
        parts = list(dict.fromkeys(row["part"] for row in rows))
        sums: dict[str, dict[str, float]] = {}
        for row in rows:
            by_part = sums.setdefault(row["variant"], dict.fromkeys([*parts, "all"], 0.0))
            by_part[row["part"]] += float(row["tflop"])
            by_part["all"] += float(row["tflop"])
        tables.append(
            Table(
                name=f"tflop-{number}",
                title=f"Counted TFLOP at {frame}, {frames} frames",
                caption=f"Counted TFLOP at {frame}, {frames} frames, by part (2 for each multiply-add).",
                columns=[Column(key=part, heading=part, unit="TFLOP", digits=2) for part in [*parts, "all"]],
                rows=[
                    Row(label=material.label(variant), entries={part: Entry(value=one) for part, one in found.items()})
                    for variant, found in sums.items()
                ],
            )
        )
    return tables
