"""Tables of ablation studies: their arms side by side, and their claims with what the evidence says."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablations.result import StudyResult
from reports.material import Material
from reports.runs import Item, Run
from reports.table import Column, Entry, Row, Table
from reports.tables import NotHere
from reports.tables.common import items_behind, measured_table

_DECIMALS = 4


def studies(material: Material) -> list[Table]:
    """Arms and baselines by metrics: one table for each study and set of clips, named after the study."""
    if not material.studies:
        raise NotHere("no folder of a study was given")
    return [_arms(material, study, label, run) for study in material.studies for label, run in runs_of(material, study)]


def runs_of(material: Material, study: StudyResult) -> list[tuple[str, Run]]:
    """The study's sets of clips, each with its run."""
    by_path = {run.path.resolve(): run for run in material.evidence.runs}
    return [(label, by_path[path.resolve()]) for label, path in study.runs.items()]


def _arms(material: Material, study: StudyResult, label: str, run: Run) -> Table:
    present = material.evidence.variants(run.setting)
    variants = [text for texts in study.arms.values() for text in texts if text in present]
    variants += [name for name in study.baselines if name in present]
    names = dict(study.labels)
    if any(len(texts) > 1 for texts in study.arms.values()):
        names = {text: f"{arm} (seed {n})" for arm, texts in study.arms.items() for n, text in enumerate(texts)}
    wanted = [metric for metric in study.metrics if metric in material.evidence.metrics(run.setting)]
    notes = [f"Left out: {arm}." for arm in study.left_out]
    notes += [f"Claims are compared with {study.base}.", *study.notes]
    return measured_table(
        material, run.setting, variants, wanted, labels=names, first="arm", notes=notes,
        name=study.name if len(study.runs) == 1 else f"{study.name}-{label}",
        title=study.title if len(study.runs) == 1 else f"{study.title} ({label})",
    )  # fmt: skip


def claims(material: Material) -> list[Table]:
    """What each study claimed: the difference, its interval, and the verdict, by which the rows are grouped."""
    if not material.studies:
        raise NotHere("no folder of a study was given")
    return [_claims(material, study) for study in material.studies if study.findings]


def _claims(material: Material, study: StudyResult) -> Table:
    columns = [
        Column(key="first", heading="arm", digits=_DECIMALS),
        Column(key="second", heading="against", digits=_DECIMALS),
        Column(key="difference", heading="difference", digits=_DECIMALS),
        Column(key="low", heading="low", digits=_DECIMALS),
        Column(key="high", heading="high", digits=_DECIMALS),
        Column(key="p", heading="p (Holm)", digits=_DECIMALS),
        Column(key="n", heading="sources", digits=0),
    ]
    runs = dict(runs_of(material, study))
    rows = []
    for one in study.findings:
        found, claim = one["found"], one["claim"]
        values = {**found, "p": None if claim["margin"] is not None else one["p"]}
        items = _behind(material, study, runs[one["data"]], claim)
        rows.append(
            Row(
                label=_claim_text(claim),
                group=one["outcome"] if len(study.runs) == 1 else f"{one['outcome']} ({one['data']})",
                entries={
                    column.key: _entry(column, values[column.key], claim["metric"], items.get(column.key, ()))
                    for column in columns
                },
            )
        )
    return Table(
        name=f"{study.name}-claims",
        title=f"{study.title}: claims",
        caption=f"{study.question} {study.conclusion} Paired over sources, 95 % intervals; seams as |log|.",
        columns=columns,
        rows=rows,
        first="claim",
    )


def _entry(column: Column, value: float | None, metric: str, items: Sequence[Item]) -> Entry:
    small = column.key == "p" and value is not None and value < 10**-column.digits
    printed = f"<{10**-column.digits:.{column.digits}f}" if small else None
    return Entry(value=value, printed=printed, metric=metric, items=items)


def _behind(material: Material, study: StudyResult, run: Run, claim: Mapping[str, str]) -> dict[str, list[Item]]:
    """The items of both sides of a claim."""
    sides = {"first": claim["arm"], "second": claim["against"]}
    found = {
        key: items_behind(material.evidence, run.setting, study.arms.get(label, [label]), claim["metric"])
        for key, label in sides.items()
    }
    return {**found, "difference": [*found["first"], *found["second"]]}


def _claim_text(claim: dict[str, object]) -> str:
    words = {
        "better": "better than",
        "worse": "worse than",
        "different": "different from",
        "equivalent": f"within {claim['margin']} of",
        "not_worse": f"worse by {claim['margin']} at most than",
    }
    return f"{claim['arm']} {words[str(claim['expect'])]} {claim['against']} in {claim['metric']}"
