"""Quality against cost: which variants nothing is better than at their price."""
from __future__ import annotations

from matplotlib.figure import Figure as Canvas

from reports.figures import Figure
from reports.figures.style import looks, page, shorten
from reports.marks import rank_key
from reports.material import Material
from reports.tables import NotHere
from reports.write import ARROWS

QUALITY = ("lpips", "dists", "niqe", "psnr")
"""The first of these that a setting has is drawn."""


def pareto(material: Material) -> list[Figure]:
    """A figure for each setting: a quality metric against seconds for a frame of the output."""
    found = []
    for number, setting in enumerate(material.evidence.settings, 1):
        quality = next((name for name in QUALITY if name in material.evidence.metrics(setting)), None)
        rows = [] if quality is None else _rows(material, setting, quality)
        if len(rows) > 1 and quality is not None:
            found.append(_figure(material, setting, quality, rows, number))
    if not found:
        raise NotHere("no setting has two variants with seconds and one of " + ", ".join(QUALITY))
    return found


def _rows(material: Material, setting: str, quality: str) -> list[dict[str, object]]:
    evidence = material.evidence
    rows: list[dict[str, object]] = []
    for variant in evidence.variants(setting):
        cell = evidence.cell(setting, variant, quality)
        items = evidence.items(setting, variant).values()
        seconds = [item.measured["seconds"] / item.output.frames for item in items
                   if item.output is not None and "seconds" in item.measured]  # fmt: skip
        if cell.mean is not None and len(seconds) == len(items) and min(seconds) > 0:
            mean = sum(seconds) / len(seconds)
            row = {"variant": variant, "seconds_per_frame": mean, quality: cell.mean}
            rows.append(row | {"low": cell.low, "high": cell.high})
    return rows


def _figure(material: Material, setting: str, quality: str, rows: list[dict[str, object]], number: int) -> Figure:
    direction = material.evidence.direction(quality)

    def draw() -> Canvas:
        canvas = page(len(rows))
        axes = canvas.add_subplot()
        look = looks([str(row["variant"]) for row in rows])
        points = {str(row["variant"]): (float(str(row["seconds_per_frame"])), float(str(row[quality]))) for row in rows}
        for variant, (x, y) in points.items():
            style = {**look[variant], "linestyle": "none"}
            axes.plot(x, y, label=shorten(material.label(variant)), markersize=6, **style)
        if direction is not None:
            front = _front([(x, rank_key(direction, y), y) for x, y in points.values()])
            axes.step(*zip(*front, strict=True), where="post", color="#999999", linewidth=0.8, zorder=0)
        axes.set_xscale("log")
        axes.set_xlabel("seconds for a frame ↓")
        axes.set_ylabel(f"{quality} {ARROWS.get(direction or '', '')}")
        canvas.legend(loc="outside right upper")
        return canvas

    runs = [run for run in material.evidence.runs if run.setting == setting]
    machines = ", ".join(dict.fromkeys(run.machine for run in runs))
    return Figure(
        name=f"pareto-{number}", title=f"{quality} against seconds for a frame, {setting}", draw=draw, data=rows,
        caption=f"{setting}: mean {quality} over sources against mean seconds for an output frame ({machines}). The "
        "line joins the variants that no other is better and faster than.",
    )  # fmt: skip


def _front(points: list[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Of (cost, rank key, value): those that no cheaper one equals in quality, by cost."""
    front: list[tuple[float, float]] = []
    best = float("inf")
    for cost, key, value in sorted(points):
        if key < best:
            best = key
            front.append((cost, value))
    return front
