"""Ranks across metrics: who is first in what, and who cannot be told apart."""
from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure as Canvas

from reports.figures import Figure
from reports.figures.style import WIDTH, shorten
from reports.marks import COSTS, rank_key
from reports.material import Material
from reports.tables import NotHere
from reports.write import ARROWS


def ranks(material: Material) -> list[Figure]:
    """A figure for each setting with two variants and two metrics of known direction."""
    evidence = material.evidence
    found = []
    for number, setting in enumerate(evidence.settings, 1):
        variants = evidence.variants(setting)
        metrics = [m for m in evidence.metrics(setting) if evidence.direction(m) is not None and m not in COSTS]
        by_metric = {metric: ranks_of(material, setting, metric, variants) for metric in metrics}
        by_metric = {metric: places for metric, places in by_metric.items() if len(places) == len(variants)}
        if len(variants) > 1 and len(by_metric) > 1:
            found.append(_figure(material, setting, variants, by_metric, number))
    if not found:
        raise NotHere("no setting has two variants and two metrics with values throughout")
    return found


def ranks_of(material: Material, setting: str, metric: str, variants: list[str]) -> dict[str, int]:
    """Variant to its rank by the mean. One that cannot be told apart from the first of the rank above shares it.

    The paired differences are not corrected for their number: the figure gives an overview and tests no claim.
    """
    evidence = material.evidence
    direction = evidence.direction(metric)
    assert direction is not None
    means = {variant: evidence.cell(setting, variant, metric).mean for variant in variants}
    known = {variant: mean for variant, mean in means.items() if mean is not None}
    ranked = sorted(known, key=lambda variant: rank_key(direction, known[variant]))
    places: dict[str, int] = {}
    first = ""
    for index, variant in enumerate(ranked, 1):
        found = evidence.paired(setting, metric, variant, first) if first else None
        if found is not None and (found.n < 2 or not found.distinguishable):
            places[variant] = places[first]
        else:
            first, places[variant] = variant, index
    return places


def _figure(
    material: Material, setting: str, variants: list[str], by_metric: dict[str, dict[str, int]], number: int
) -> Figure:
    average = {v: float(np.mean([places[v] for places in by_metric.values()])) for v in variants}
    order = sorted(variants, key=lambda variant: average[variant])

    def draw() -> Canvas:
        canvas = Canvas(figsize=(min(WIDTH, 2.9 + 0.55 * len(by_metric)), 0.9 + 0.24 * len(order)))
        axes = canvas.add_subplot()
        grid = np.array([[by_metric[metric][variant] for metric in by_metric] for variant in order])
        axes.imshow(grid, cmap="cividis_r", aspect="auto", vmin=1, vmax=max(len(order), 2))
        for (row, column), rank in np.ndenumerate(grid):
            dark = rank > 0.55 * len(order)
            axes.text(column, row, str(rank), ha="center", va="center", color="white" if dark else "black")
        arrows = [f"{metric} {ARROWS[material.evidence.direction(metric) or 'one']}" for metric in by_metric]
        axes.set_xticks(range(len(by_metric)), arrows, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(order)), [shorten(material.label(variant)) for variant in order])
        axes.grid(False)
        return canvas

    data = [{"variant": v, **{metric: places[v] for metric, places in by_metric.items()}} for v in order]
    return Figure(
        name=f"ranks-{number}", title=f"Ranks across metrics, {setting}", draw=draw, data=data,
        caption=f"{setting}: rank by the mean in each metric, 1 is best. Variants that cannot be told apart from the "
        "best of a rank (paired over sources, 95 %, not corrected) share it. Ordered by the mean rank.",
    )  # fmt: skip
