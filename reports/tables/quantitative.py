"""Quality of every variant, a table for each setting."""
from __future__ import annotations

from reports.marks import COSTS
from reports.material import Material
from reports.table import Table
from reports.tables import NotHere
from reports.tables.common import measured_table


def quantitative(material: Material) -> list[Table]:
    """Variants by quality metrics. Settings that belong to studies have tables of their own there."""
    evidence = material.evidence
    of_studies = {run.resolve() for study in material.studies for run in study.runs.values()}
    settings = [s for s in evidence.settings
                if any(run.path.resolve() not in of_studies for run in evidence.runs if run.setting == s)]  # fmt: skip
    if not settings:
        raise NotHere("all runs belong to studies")
    found = []
    for number, setting in enumerate(settings, 1):
        metrics = [metric for metric in evidence.metrics(setting) if metric not in COSTS]
        if metrics:
            name = "quantitative" if len(settings) == 1 else f"quantitative-{number}"
            title = f"Quantitative comparison on {setting}"
            found.append(measured_table(material, setting, evidence.variants(setting), metrics, name=name, title=title))
    if not found:
        raise NotHere("the runs scored no quality metric")
    return found
