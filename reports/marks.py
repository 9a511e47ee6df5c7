"""Columns of measured values: how they are headed, and which entry is best where that can be told."""
from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from benchmarks.metrics import Direction
from benchmarks.statistics import LEVEL, Paired, holm
from reports.evidence import Evidence
from reports.table import Column, Entry, Mark

COSTS = ("seconds", "fps", "peak_host_mib", "peak_device_mib", "program_seconds", "program_peak_mib")
"""Metrics that say what an output took, not how good it is."""
_DIGITS = {"dB": 2, "s": 2, "frames/s": 2, "MiB": 0}
_FINER = {"niqe": 2, "brisque": 2, "musiq": 2, "vmaf": 2, "flicker": 2, "tlp": 2, "grid": 2}


def column_of(evidence: Evidence, setting: str, metric: str) -> Column:
    """How a metric stands at the top of a column."""
    unit = evidence.unit(setting, metric)
    digits = _FINER.get(metric, _DIGITS.get(unit, 3))
    return Column(key=metric, heading=metric, unit=unit, direction=evidence.direction(metric), digits=digits)


def entries_of(evidence: Evidence, setting: str, metric: str, variants: Sequence[str]) -> dict[str, Entry]:
    """Variant to its entry in a metric's column, with marks."""
    cells = {variant: evidence.cell(setting, variant, metric) for variant in variants}
    marked = marks(evidence, setting, metric, variants)
    return {
        variant: Entry(
            value=cell.mean,
            low=cell.low,
            high=cell.high,
            mark=marked.get(variant, ""),
            missing=cell.missing,
            n=cell.sources or None,
            items=[item for items in cell.items.values() for item in items],
        )
        for variant, cell in cells.items()
    }


def marks(evidence: Evidence, setting: str, metric: str, variants: Sequence[str]) -> Mapping[str, Mark]:
    """The best and the second of a column: each only where its paired difference from the next can be told apart.

    The two comparisons (best with second, second with third) are corrected together (Holm). Nothing is marked in a
    column of cost, of a metric whose direction nobody knows, or over a single source. Of metrics that are best at 1 the
    mean alone decides the rank, so the distances from 1 must agree with it: a mean of 1.00 may stand for 0.8 and 1.2.
    """
    direction = evidence.direction(metric)
    means = {variant: evidence.cell(setting, variant, metric).mean for variant in variants}
    known = {variant: mean for variant, mean in means.items() if mean is not None}
    if direction is None or metric in COSTS or len(known) < 2:
        return {}
    ranked = sorted(known, key=lambda variant: rank_key(direction, known[variant]))
    places: list[tuple[Mark, str, str]] = [("best", ranked[0], ranked[1])]
    if len(ranked) > 2:
        places.append(("second", ranked[1], ranked[2]))
    found = [evidence.paired(setting, metric, first, next_) for _, first, next_ in places]
    corrected = holm([1.0 if one is None else one.p for one in found])
    return {
        place[1]: place[0]
        for place, one, p in zip(places, found, corrected, strict=True)
        if one is not None and p <= 1 - LEVEL and _better(one, direction)
    }


def _better(found: Paired, direction: Direction) -> bool:
    """The first of a pair, beyond doubt."""
    return found.distinguishable and (found.difference > 0) == (direction == "higher")


def rank_key(direction: Direction, value: float) -> float:
    """Lower is better."""
    if direction == "one":
        return abs(math.log(value)) if value > 0 else math.inf
    return -value if direction == "higher" else value


def protocol_id(identity: str) -> str:
    """The first words of a metric's identity and a checksum of all of it, short enough for a caption."""
    return f"{identity.partition(' | ')[0]} [{hashlib.sha256(identity.encode()).hexdigest()[:8]}]"
