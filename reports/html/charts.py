"""The numbers behind the interactive figures, as JSON that the pages carry; plotly draws them in the browser."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.evidence import Evidence, value_of
from reports.runs import Item

COSTS = ("seconds", "s", "MiB", "frames/s")
"""Units of what a variant costs; the first metric with one is the first choice for the axis of costs."""


def _metric(evidence: Evidence, setting: str, name: str) -> dict[str, Any]:
    return {"name": name, "unit": evidence.unit(setting, name), "direction": evidence.direction(name)}


def means(evidence: Evidence, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of each setting: its variants' means with their intervals, for quality against cost.

    `names` says how each variant is called.
    """
    return [_means(evidence, setting, names) for setting in evidence.settings]


def _means(evidence: Evidence, setting: str, names: Mapping[str, str]) -> dict[str, Any]:
    described = [_metric(evidence, setting, name) for name in evidence.metrics(setting)]
    values: dict[str, dict[str, Any]] = {}
    for variant in evidence.variants(setting):
        cells = {metric["name"]: evidence.cell(setting, variant, metric["name"]) for metric in described}
        values[names[variant]] = {
            name: {"mean": cell.mean, "low": cell.low, "high": cell.high} for name, cell in cells.items()
        }
    costs = [metric["name"] for metric in described if metric["unit"] in COSTS]
    qualities = [metric["name"] for metric in described if metric["unit"] not in COSTS and metric["direction"]]
    return {
        "setting": setting,
        "metrics": described,
        "values": values,
        "x": (costs or [""])[0],
        "y": next((name for name in ("lpips", "psnr") if name in qualities), (qualities or [""])[0]),
    }


def per_clip(evidence: Evidence, setting: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Each metric of each variant on each clip: `values[metric][variant][clip]`, None where there is none."""
    clips = evidence.clips(setting)
    values: dict[str, list[list[float | None]]] = {}
    for name in evidence.metrics(setting):
        of_variants = (evidence.values(setting, variant, name) for variant in evidence.variants(setting))
        values[name] = [[_short(found.get(clip)) for clip in clips] for found in of_variants]
    return {
        "clips": clips,
        "variants": [names[variant] for variant in evidence.variants(setting)],
        "metrics": [_metric(evidence, setting, name) for name in values],
        "values": values,
    }


def _short(value: float | None) -> float | None:
    """Six digits, more than a figure shows."""
    return None if value is None else float(f"{value:.6g}")


def per_frame(
    evidence: Evidence, setting: str, items: Mapping[str, Item], names: Mapping[str, str]
) -> dict[str, Any]:
    """Each metric that has values of single frames, by variant."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for variant, item in items.items():
        for name, score in item.scores.items():
            if score.per_frame and value_of(item, name) is not None:
                found.setdefault(name, {})[names[variant]] = [_short(value) for value in score.per_frame]
    described = [_metric(evidence, setting, name) for name in evidence.metrics(setting) if name in found]
    return {"metrics": described, "values": found}
