"""Quality against cost: which variants nothing is better than at their price."""
from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas

from reports.figures import Figure
from reports.figures.style import heading, legend, logarithmic, looks_of, names_of, page, told
from reports.marks import COSTS, rank_key
from reports.material import Material
from reports.tables import NotHere

SEEN = ("lpips", "dists", "musiq", "niqe")
FAITHFUL = ("psnr", "psnr_y", "ssim", "ssim_y")
"""Of each of these the first that a setting has is drawn; what looks good and what is faithful are not the same."""
Row = dict[str, object]


def pareto(material: Material) -> list[Figure]:
    """A figure for each setting: quality against seconds for a frame of the output."""
    found = []
    for number, setting in enumerate(material.evidence.settings, 1):
        metrics = _metrics(material, setting)
        rows, left = _rows(material, setting, metrics)
        if metrics and len(rows) > 1:
            found.append(_figure(material, setting, metrics, rows, told("Not shown", left), number))
    if not found:
        raise NotHere("no setting has two variants with seconds and with a metric of known direction on every clip")
    return found


def _metrics(material: Material, setting: str) -> list[str]:
    present = material.evidence.metrics(setting)
    firsts = [next((name for name in names if name in present), None) for names in (SEEN, FAITHFUL)]
    others = [name for name in present if name not in COSTS and material.evidence.direction(name) is not None]
    return [name for name in firsts if name is not None] or others[:1]


def _rows(material: Material, setting: str, metrics: Sequence[str]) -> tuple[list[Row], dict[str, str]]:
    """What is plotted; and why variants are not."""
    evidence = material.evidence
    rows: list[Row] = []
    left: dict[str, str] = {}
    for variant in evidence.variants(setting):
        cells = {metric: evidence.cell(setting, variant, metric) for metric in metrics}
        items = evidence.items(setting, variant).values()
        seconds = [item.measured["seconds"] / item.output.frames for item in items
                   if item.output is not None and item.measured.get("seconds", 0) > 0]  # fmt: skip
        lacks = [f"{metric} of {cell.missing}" for metric, cell in cells.items() if cell.mean is None]
        if lacks or len(seconds) < len(items):
            left[material.label(variant)] = lacks[0] if lacks else "no seconds for every clip"
            continue
        row: Row = {"variant": variant, "seconds_per_frame": sum(seconds) / len(seconds)}
        for metric, cell in cells.items():
            row |= {metric: cell.mean, f"{metric}_low": cell.low, f"{metric}_high": cell.high}
        rows.append(row)
    return rows, left


def _figure(
    material: Material, setting: str, metrics: Sequence[str], rows: Sequence[Row], left: str, number: int
) -> Figure:
    evidence = material.evidence
    variants = [str(row["variant"]) for row in rows]
    names, seconds = names_of(material, variants), [float(str(row["seconds_per_frame"])) for row in rows]

    def draw() -> Canvas:
        canvas, look, handles = page(names, height=1.1 + 2.1 * len(metrics)), looks_of(material), {}
        panels = canvas.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            values = [float(str(row[metric])) for row in rows]
            for variant, x, y in zip(variants, seconds, values, strict=True):
                (handles[variant],) = axes.plot(x, y, markersize=6, **look[variant] | {"linestyle": "none"})
            if (direction := evidence.direction(metric)) is not None:
                keys = [rank_key(direction, value) for value in values]
                front = _front(list(zip(seconds, keys, values, strict=True)))
                axes.step(*zip(*front, strict=True), where="post", color="#999999", linewidth=0.8, zorder=0)
            axes.set_ylabel(heading(material, metric, setting))
        logarithmic(panels[-1].xaxis, seconds)
        panels[-1].set_xlabel("seconds for a frame ↓")
        canvas.align_ylabels()
        legend(canvas, names, handles)
        return canvas

    machines = ", ".join(dict.fromkeys(run.machine for run in evidence.runs if run.setting == setting))
    return Figure(
        name=f"pareto-{number}", title=f"Quality against seconds for a frame, {setting}", draw=draw, data=rows,
        caption=f"{setting}: mean {' and '.join(metrics)} over sources against mean seconds for an output frame "
        f"({machines}). The line joins the variants than which no other is both faster and, by its mean, better; it "
        f"tests nothing.{left}",
    )  # fmt: skip


def _front(points: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Of (cost, rank key, value): those that no cheaper one equals in quality, by cost."""
    front: list[tuple[float, float]] = []
    best = float("inf")
    for cost, key, value in sorted(points):
        if key < best:
            best = key
            front.append((cost, value))
    return front
