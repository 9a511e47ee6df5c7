"""Ranks across metrics: who is first in what, and who cannot be told apart."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from reports.figures import Figure
from reports.figures.style import SMALL, WIDTH, heading, names_of, told
from reports.marks import COSTS
from reports.material import Material
from reports.tables import NotHere

Ranks = Mapping[str, Mapping[str, int]]
"""Metric to variant to rank."""


def ranks(material: Material) -> list[Figure]:
    """A figure for each setting with two variants, two sources and two metrics of known direction."""
    evidence = material.evidence
    found = []
    for number, setting in enumerate(evidence.settings, 1):
        variants = evidence.variants(setting)
        left: dict[str, str] = {}
        by_metric: dict[str, dict[str, int]] = {}
        for metric in evidence.metrics(setting):
            if metric in COSTS:
                continue
            if why := _lack(material, setting, metric):
                left[metric] = why
            else:
                by_metric[metric] = ranks_of(material, setting, metric, variants)
        if len(variants) > 1 and len(by_metric) > 1:
            found.append(_figure(material, setting, by_metric, told("Not shown", left), number))
    if not found:
        raise NotHere("no setting has two variants and two metrics of known direction with values from two sources")
    return found


def _lack(material: Material, setting: str, metric: str) -> str:
    """Why a metric ranks nothing; empty if it does."""
    evidence = material.evidence
    if evidence.direction(metric) is None:
        return "nobody knows which way is better"
    cells = {variant: evidence.cell(setting, variant, metric) for variant in evidence.variants(setting)}
    lacking = [v for v, cell in cells.items() if cell.mean is None or _level(material, setting, metric, v) is None]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        return f"no mean of {material.label(lacking[0])}{more}"
    return "a single source" if min(cell.sources for cell in cells.values()) < 2 else ""


def _level(material: Material, setting: str, metric: str, variant: str) -> float | None:
    """What is compared in pairs, lower is better: the mean, or the mean distance from 1 where that is best."""
    found = material.evidence.paired(setting, metric, variant, variant)
    if found is None:
        return None
    return -found.first if material.evidence.direction(metric) == "higher" else found.first


def ranks_of(material: Material, setting: str, metric: str, variants: Sequence[str]) -> dict[str, int]:
    """Variant to its rank. One that cannot be told apart from the first of the rank above shares that.

    The paired differences are not corrected for their number: the figure gives an overview and tests no claim.
    """
    levels = {variant: _level(material, setting, metric, variant) for variant in variants}
    known = {variant: level for variant, level in levels.items() if level is not None}
    places: dict[str, int] = {}
    first = ""
    for index, variant in enumerate(sorted(known, key=lambda name: known[name]), 1):
        found = material.evidence.paired(setting, metric, variant, first) if first else None
        if first and (found is None or not found.distinguishable):  # None: not defined for the same clips
            places[variant] = places[first]
        else:
            first, places[variant] = variant, index
    return places


def _figure(material: Material, setting: str, by_metric: Ranks, left: str, number: int) -> Figure:
    variants = material.evidence.variants(setting)
    average = {v: float(np.mean([places[v] for places in by_metric.values()])) for v in variants}
    order = sorted(variants, key=lambda variant: average[variant])
    names = names_of(material, order)

    def draw() -> Canvas:
        lines = max(name.count("\n") + 1 for name in names.values())
        canvas = Canvas(figsize=(min(WIDTH, 2.9 + 0.55 * len(by_metric)), 1.2 + max(0.24, 0.14 * lines) * len(order)))
        axes = canvas.add_subplot()
        grid = np.array([[by_metric[metric][variant] for metric in by_metric] for variant in order])
        axes.pcolormesh(grid, cmap="cividis_r", vmin=1, vmax=max(len(order), 2), edgecolor="white", linewidth=0.5)
        for (row, column), rank in np.ndenumerate(grid):
            colour = "white" if rank > 0.55 * len(order) else "black"
            axes.text(column + 0.5, row + 0.5, str(rank), ha="center", va="center", color=colour)
        heads = [heading(material, metric) for metric in by_metric]
        axes.set_xticks(np.arange(len(heads)) + 0.5, heads, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(np.arange(len(order)) + 0.5, [names[variant] for variant in order], fontsize=SMALL)
        axes.tick_params(length=0)
        axes.invert_yaxis()
        axes.grid(False)
        axes.spines[:].set_visible(False)
        return canvas

    data = [{"variant": v, **{metric: places[v] for metric, places in by_metric.items()}} for v in order]
    return Figure(
        name=f"ranks-{number}", title=f"Ranks across metrics, {setting}", draw=draw, data=data,
        caption=f"{setting}: rank in each metric, 1 is best: by the mean, or by the mean |log value| where 1 is the "
        "best value. Variants that cannot be told apart from the best of a rank (paired over sources, 95 %, not "
        f"corrected) share it. Ordered by the mean rank.{left}",
    )  # fmt: skip
