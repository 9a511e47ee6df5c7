"""What outputs took: measured seconds and memory, and counted FLOPs."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from patchvsr.errors import UserError
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
    """TFLOP by base, frame size and number of frames: a row for each variant, a column for each part and the sum."""
    cases: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for row in material.costs:
        cases.setdefault((row["base"], row["frame"], row["frames"]), []).append(row)
    return [_case(material, *case, rows, f"tflop-{number}") for number, (case, rows) in enumerate(cases.items(), 1)]


def _case(
    material: Material, base: str, frame: str, frames: str, rows: Sequence[Mapping[str, str]], name: str
) -> Table:
    parts = list(dict.fromkeys(row["part"] for row in rows))
    by_variant: dict[str, dict[str, float]] = {}
    for row in rows:
        by_part = by_variant.setdefault(row["variant"], {})
        if row["part"] in by_part:
            raise UserError(
                f"the files of cost have '{row['part']}' of '{row['variant']}' on {base} at {frame}, {frames} frames, "
                "twice; give one of them"
            )
        by_part[row["part"]] = float(row["tflop"])
    table_rows = []
    for variant, by_part in by_variant.items():
        numbers = {**by_part, "all": sum(by_part.values())}
        entries = {part: Entry(value=number) for part, number in numbers.items()}
        table_rows.append(Row(label=material.label(variant), entries=entries))
    title = f"Counted TFLOP of {base} at {frame}, {frames} frames"
    return Table(
        name=name,
        title=title,
        caption=f"{title}, by part (2 for each multiply-add); - where a variant has no such part.",
        columns=[Column(key=part, heading=part, unit="TFLOP", digits=2) for part in [*parts, "all"]],
        rows=table_rows,
    )
