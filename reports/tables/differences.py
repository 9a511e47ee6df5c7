"""Ablations: what each arm differs from the base by, and whether that can be told apart."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

import yaml

from ablations.study import find_study
from benchmarks.compare import source_of
from benchmarks.metrics import Direction
from benchmarks.statistics import Paired, holm, verdict
from reports.evidence import Evidence
from reports.marks import COSTS, column_of, protocol_id
from reports.material import Material
from reports.table import Column, Entry, Row, Table
from reports.tables import NotHere
from reports.tables.common import basis, items_behind, undefined
from reports.tables.studies import runs_of

PAPERS = ("components", "modulation")
"""Studies whose arms are looked for in runs that no study made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """Arms to compare with a base, on one setting.

    Attributes:
        name, title: of the table.
        base: label of the base.
        arms: label to variants as typed, several where there are several seeds of training; with the base.
        metrics: of quality, to compare in.
    """

    name: str
    title: str
    setting: str
    base: str
    arms: Mapping[str, Sequence[str]]
    metrics: Sequence[str]


def differences(material: Material) -> list[Table]:
    """A table for each study and set of clips; without studies, for those of the paper whose arms the runs have."""
    found = _of_studies(material) if material.studies else _of_runs(material.evidence)
    if not found:
        raise NotHere(f"no runs have the base and another arm of a study, or of {' or '.join(PAPERS)}")
    return [_table(material, one) for one in found]


def _of_studies(material: Material) -> list[Ablation]:
    found = []
    for study in material.studies:
        for label, run in runs_of(material, study):
            name, title = study.name, study.title
            if len(study.runs) > 1:
                name, title = f"{name}-{label}", f"{title} ({label})"
            made = _ablation(material.evidence, run.setting, name, title, study.base, study.arms, study.metrics)
            found += [made] if made else []
    return found


def _of_runs(evidence: Evidence) -> list[Ablation]:
    found = []
    for study in PAPERS:
        # Not by `read_study`: it resolves every arm, for which it loads the whole method.
        data = yaml.safe_load(find_study(study).read_text(encoding="utf-8"))
        arms = {label: [data["arms"][label]] if isinstance(data["arms"], dict) else [label] for label in data["arms"]}
        for number, setting in enumerate(evidence.settings, 1):
            name, title = study, data["title"]
            if len(evidence.settings) > 1:
                name, title = f"{name}-{number}", f"{title} ({setting})"
            made = _ablation(evidence, setting, name, title, data["base"], arms, data["metrics"])
            found += [made] if made else []
    return found


def _ablation(
    evidence: Evidence, setting: str, name: str, title: str, base: str, arms: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
) -> Ablation | None:  # fmt: skip
    """The arms that the setting has; None unless the base and another are among them."""
    present = evidence.variants(setting)
    here = {label: texts for label, texts in arms.items() if all(text in present for text in texts)}
    scored = [metric for metric in metrics if metric in evidence.metrics(setting) and metric not in COSTS]
    if base not in here or len(here) < 2 or not scored:
        return None
    return Ablation(name=name, title=title, setting=setting, base=base, arms=here, metrics=scored)


def _table(material: Material, one: Ablation) -> Table:
    evidence = material.evidence
    metrics = one.metrics
    entries = _entries(evidence, one, metrics)
    texts = [text for texts in one.arms.values() for text in texts]
    tested = sum(entry.value is not None for entry in entries.values())
    marking = (
        f"A word stands only where a difference can be told apart (95 %, Holm over {tested} comparisons)."
        if len({source_of(clip) for clip in evidence.clips(one.setting)}) > 1
        else "One source gives no interval, so nothing can be told apart."
    )
    protocols = ", ".join(protocol_id(evidence.identity(one.setting, metric)) for metric in metrics)
    return Table(
        name=f"{one.name}-differences",
        title=f"{one.title}: differences from {one.base}",
        caption=f"{one.title}: each arm minus {one.base}, paired. {basis(evidence, one.setting, texts, metrics)} "
        f"{marking} Protocols: {protocols}.",
        columns=[_column(evidence, one.setting, metric) for metric in metrics],
        rows=[
            Row(label=label, entries={metric: entries[label, metric] for metric in metrics})
            for label in one.arms
            if label != one.base
        ],
        first="arm",
        notes=[*undefined(evidence, one.setting, texts, metrics), *evidence.notes],
    )


def _entries(evidence: Evidence, one: Ablation, metrics: Sequence[str]) -> dict[tuple[str, str], Entry]:
    """Arm and metric to the difference, with its verdict."""
    base = one.arms[one.base]
    pairs = {
        (label, metric): evidence.paired(one.setting, metric, texts, base)
        for label, texts in one.arms.items()
        for metric in metrics
        if label != one.base
    }
    tested = {place: found.p for place, found in pairs.items() if found is not None}
    corrected = dict(zip(tested, map(float, holm(list(tested.values()))), strict=True))
    entries = {}
    for (label, metric), found in pairs.items():
        if found is None:
            entries[label, metric] = Entry(missing="the two have not both a value on the same clips")
            continue
        entries[label, metric] = Entry(
            value=found.difference,
            low=_known(found.low),
            high=_known(found.high),
            n=found.n,
            items=items_behind(evidence, one.setting, [*one.arms[label], *base], metric),
            verdict=_words(found, corrected[label, metric], evidence.direction(metric)),
        )
    return entries


def _column(evidence: Evidence, setting: str, metric: str) -> Column:
    """One digit more than the values have; without an arrow, since arrows are about values."""
    column = column_of(evidence, setting, metric)
    heading = f"|log {metric}|" if column.direction == "one" else metric
    return replace(column, heading=heading, direction=None, digits=column.digits + 1, signed=True)


def _words(found: Paired, corrected: float, direction: Direction | None) -> str:
    """`better`, `worse` or `differs`; empty for what cannot be told apart."""
    # What is best at 1 comes as its distance from 1, of which less is better.
    said = verdict(found, corrected, "lower" if direction == "one" else direction).words
    return "" if said == "not distinguishable" else said


def _known(value: float) -> float | None:
    """An end of an interval, if there is one."""
    return None if isnan(value) else value
