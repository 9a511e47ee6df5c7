"""Metrics over time: how a clip's frames differ."""
from __future__ import annotations

from math import isfinite

from matplotlib.figure import Figure as Canvas

from reports.figures import Figure
from reports.figures.style import looks, page, shorten
from reports.material import Material
from reports.tables import NotHere
from reports.write import ARROWS

SHOWN = ("psnr", "lpips", "niqe", "flicker")
"""Of these, those with a value for each frame."""


def frames(material: Material) -> list[Figure]:
    """A figure for each setting: metrics by frame on the clip with the most frames, which has three at least."""
    found = []
    for number, setting in enumerate(material.evidence.settings, 1):
        clip, rows = _rows(material, setting)
        if rows:
            found.append(_figure(material, setting, clip, rows, number))
    if not found:
        raise NotHere("no clip has three frames with values of their own in one of " + ", ".join(SHOWN))
    return found


def _rows(material: Material, setting: str) -> tuple[str, list[dict[str, object]]]:
    evidence = material.evidence
    best: tuple[str, list[dict[str, object]]] = ("", [])
    most = 2
    for clip in evidence.clips(setting):
        rows: list[dict[str, object]] = []
        longest = 0
        for variant in evidence.variants(setting):
            item = evidence.items(setting, variant).get(clip)
            for metric in SHOWN:
                score = None if item is None else item.scores.get(metric)
                values = [] if score is None or score.per_frame is None else score.per_frame
                longest = max(longest, len(values))
                rows += [{"variant": variant, "metric": metric, "frame": i, "value": v} for i, v in enumerate(values)]
        if longest > most:
            best, most = (clip, rows), longest
    return best


def _figure(material: Material, setting: str, clip: str, rows: list[dict[str, object]], number: int) -> Figure:
    def draw() -> Canvas:
        metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
        variants = list(dict.fromkeys(str(row["variant"]) for row in rows))
        look = looks(variants)
        canvas = page(len(variants), height=1.6 * len(metrics) + 0.4)
        all_axes = canvas.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(all_axes, metrics, strict=True):
            for variant in variants:
                own = [row for row in rows if row["variant"] == variant and row["metric"] == metric]
                values = [float(str(row["value"])) for row in own]
                shown = [value if isfinite(value) else float("nan") for value in values]
                label = shorten(material.label(variant)) if axes is all_axes[0] else None
                axes.plot([int(str(row["frame"])) for row in own], shown, markersize=3, label=label, **look[variant])
            axes.set_ylabel(f"{metric} {ARROWS.get(material.evidence.direction(metric) or '', '')}")
            axes.xaxis.get_major_locator().set_params(integer=True)
        all_axes[-1].set_xlabel("frame")
        canvas.legend(loc="outside right upper")
        return canvas

    return Figure(
        name=f"frames-{number}", title=f"Metrics by frame, {setting}, {clip}", draw=draw, data=rows,
        caption=f"{setting}, clip {clip}: values of single frames (between a frame and the one before, where a metric "
        "compares neighbours).",
    )  # fmt: skip
