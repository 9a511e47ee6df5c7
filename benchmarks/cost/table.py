"""Rows of costs as CSV and as text."""
from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cost.flops import PARTS, Cost
from benchmarks.cost.request import Case
from benchmarks.cost.slopes import Slope
from benchmarks.store import write_atomic
from patchvsr.errors import UserError
from patchvsr.variants import filled

COLUMNS = ("variant", "base", "frame", "frames", "steps", "part", "tiles", "tflop")
GROUPS = ("dit", "adapter", "codec", "other")


def part_rows(case: Case, cost: Cost) -> list[dict[str, Any]]:
    """The rows of cost.csv: one for each part that the variant has."""
    spec = filled(case.spec)
    common = {"variant": case.variant, "base": spec.base, "frame": case.size, "frames": case.frames}
    return [
        common | {"steps": spec.steps, "part": part, "tiles": cost.tiles[part], "tflop": cost.flops[part] / 1e12}
        for part in PARTS
        if cost.tiles[part] or cost.flops[part]
    ]


def total_row(case: Case, cost: Cost) -> dict[str, Any]:
    """One row of sums: TFLOP by group, of DiT with adapter, and of everything."""
    groups = {name: cost.group(name) / 1e12 for name in GROUPS}
    both = {"dit_adapter": groups["dit"] + groups["adapter"], "total": cost.total / 1e12}
    steps = {"steps": filled(case.spec).steps, "tiles": cost.tiles["dit"], "cache_mib": cost.peak_cache / 2**20}
    return {"variant": case.variant, "frame": case.size, "frames": case.frames} | steps | groups | both


def render(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table of text.

    Args:
        rows: dictionaries.
        columns: key to heading; numbers are aligned to the right.
    """
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    heads = list(columns.values())
    widths = [max(len(line[index]) for line in [heads, *cells]) for index in range(len(heads))]
    numeric = [any(isinstance(row.get(key), (int, float)) for row in rows) for key in columns]

    def line(parts: Sequence[str]) -> str:
        aligned = zip(parts, widths, numeric, strict=True)
        return "  ".join(part.rjust(width) if right else part.ljust(width) for part, width, right in aligned).rstrip()

    return "\n".join([line(heads), line(["-" * width for width in widths]), *map(line, cells)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def ratios(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each size and length, how many times the cheapest variant's DiT and adapter the others cost."""
    found = []
    for frame, frames in dict.fromkeys((row["frame"], row["frames"]) for row in rows):
        here = [row for row in rows if (row["frame"], row["frames"]) == (frame, frames)]
        least = min(here, key=lambda row: row["dit_adapter"])
        rest = ((row["variant"], row["dit_adapter"] / least["dit_adapter"]) for row in here if row is not least)
        others = [f"{variant} {ratio:.2f}x" for variant, ratio in rest]
        if others:
            found.append(f"{frame}, {frames} frames: DiT and adapter of {least['variant']}: {', '.join(others)}")
    return found


def slope_lines(found: Sequence[Slope]) -> list[str]:
    """Slopes in words."""
    lines = []
    for one in found:
        error = "" if one.error is None else f" +- {one.error:.3f}"
        grows = f"{one.value} grows with {one.against}^{one.slope:.3f}{error}"
        lines.append(f"{one.variant}: {grows} ({one.at}, {one.points} points)")
    return lines


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows, whole or not at all.

    Raises:
        UserError: the folder cannot be written to.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        write_atomic(path, text.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); give --out another folder") from error
