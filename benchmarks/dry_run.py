"""What a run would do, and about what it would take, before anything is run: `python -m benchmarks.run --dry-run`.

Seconds, memory and bytes come from the earlier items of the run directory where it has any. Seconds are those of
upscaling alone: loading models and scoring are not in them, and earlier items are taken to be from this machine.
"""
from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from benchmarks.cost import count_variant
from benchmarks.cost.probe import matmul_peak
from benchmarks.cost.table import render
from benchmarks.item import missing_metrics
from benchmarks.plan import Plan, WorkItem
from benchmarks.store import Result, Store
from patchvsr.chunks import chunk_spans
from patchvsr.devices import dtype_name
from patchvsr.variants import VariantSpec, filled, resolve

UTILISATION = 0.5
"""Share of the peak of matrix products that a variant without earlier items is taken to reach."""
BYTES_PER_PIXEL = 2.2
"""Of PNG frames, where the store has none: a guess."""
PROBE_SECONDS = 0.2
"""For which the peak of matrix products is measured."""
MEASURED = "earlier items"
GUESS = f"{BYTES_PER_PIXEL:g} bytes per pixel, a guess"
NOTHING = {"tflop": 0.0, "seconds": 0.0, "seconds_from": None, "host_mib": None, "device_mib": None, "disk_mib": 0.0,
           "disk_from": None}  # fmt: skip
"""What an item that is not run takes."""

COLUMNS = {
    "variant": "variant",
    "clip": "clip",
    "what": "what",
    "size": "output",
    "frames": "frames",
    "tflop": "TFLOP",
    "seconds": "seconds",
    "seconds_from": "from",
    "host_mib": "host MiB",
    "device_mib": "device MiB",
    "disk_mib": "disk MiB",
}


@dataclass(slots=True)
class _Seen:
    """Sums over earlier items; peaks are their largest."""

    seconds: float = 0.0
    timed_pixels: int = 0
    nbytes: int = 0
    stored_pixels: int = 0
    host_mib: float | None = None
    device_mib: float | None = None


def estimate(
    plan: Plan, store: Store, *, retry_failed: bool = False, reusable: Container[str] = ()
) -> list[dict[str, Any]]:
    """A row for each item of a plan. Nothing is run but, where nothing better is known, a fifth of a second's probe.

    Args:
        plan, store: of the run.
        retry_failed: items that an earlier run has recorded as failed would run again.
        reusable: hashes of items whose frames lie ready in a cache outside of the store.

    Returns:
        Rows with `variant`, `clip`, `size` (of the output), `frames`, and
        `what`: `run`, `reuse`, `rescore` or `kept`; that stored frames are still the recorded ones is only seen when
            they are scored, and they are made again where they are not;
        `tflop` of a PatchVSR variant;
        `seconds` of upscaling, and `seconds_from`, how they are known;
        `host_mib`, `device_mib`: peak memory of the variant's earlier items;
        `disk_mib` of the frames, and `disk_from`; frames that are replaced are not subtracted;
        `free_mib` of the disk that they go to.
        None stands for what is not known. What is not run takes no TFLOP, no seconds and no room.

    Raises:
        UserError: a record in the store is damaged.
    """
    estimator = _Estimator(plan, store)
    free = _free_mib(store.root)
    rows = []
    for item in plan.items:
        what = _what(item, plan, store, retry_failed, reusable)
        height, width = item.clip.size
        rows.append(
            {
                "variant": item.variant.text,
                "clip": item.clip.clip.name,
                "what": what,
                "size": f"{width}x{height}",
                "frames": item.clip.frames,
                "free_mib": free,
                **(estimator.row(item) if what == "run" else NOTHING),
            }
        )
    return rows


def _what(item: WorkItem, plan: Plan, store: Store, retry_failed: bool, reusable: Container[str]) -> str:
    result = store.sound(item.hash)
    if result is not None and result.status != "ok" and not retry_failed:
        return "kept"
    if result is not None and store.has_output(result):
        return "rescore" if missing_metrics(result, plan) else "kept"
    return "reuse" if item.hash in reusable else "run"


class _Estimator:
    """What items would take, from the store's earlier ones and from counting."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan = plan
        self.seen: dict[str, _Seen] = defaultdict(_Seen)
        self.all = _Seen()
        for path in sorted((store.root / "items").glob("*.json")):
            result = store.sound(path.stem)
            if result is not None and result.status == "ok" and result.output is not None:
                self._add(result, store)

    def _add(self, result: Result, store: Store) -> None:
        assert result.output is not None
        output, seen, measured = result.output, self.seen[result.variant], result.measured
        pixels = output.width * output.height * output.frames
        if store.has_output(result):
            nbytes = sum(path.stat().st_size for path in (store.root / output.path).glob("*.png"))
            for one in (seen, self.all):
                one.nbytes += nbytes
                one.stored_pixels += pixels
        if (result.key.get("device"), result.key.get("dtype")) != (self.plan.device.type, dtype_name(self.plan.dtype)):
            return
        seconds = measured.get("seconds", measured.get("program_seconds"))
        if seconds is not None:
            seen.seconds += seconds
            seen.timed_pixels += pixels
        host = measured.get("peak_host_mib", measured.get("program_peak_mib"))
        seen.host_mib = _largest([seen.host_mib, host])
        seen.device_mib = _largest([seen.device_mib, measured.get("peak_device_mib")])

    def row(self, item: WorkItem) -> dict[str, Any]:
        """What running an item would take."""
        height, width = item.clip.size
        pixels = width * height * item.clip.frames
        seen = self.seen[item.variant.text]
        tflop = _tflop(item)
        seconds, seconds_from = self._seconds(seen, pixels, tflop)
        stored = seen if seen.stored_pixels else self.all
        rate = stored.nbytes / stored.stored_pixels if stored.stored_pixels else BYTES_PER_PIXEL
        return {
            "tflop": tflop,
            "seconds": seconds,
            "seconds_from": seconds_from,
            "host_mib": seen.host_mib,
            "device_mib": seen.device_mib,
            "disk_mib": rate * pixels / 2**20,
            "disk_from": MEASURED if stored.stored_pixels else GUESS,
        }

    def _seconds(self, seen: _Seen, pixels: int, tflop: float | None) -> tuple[float | None, str | None]:
        if seen.timed_pixels:
            return seen.seconds / seen.timed_pixels * pixels, MEASURED
        if tflop is None:
            return None, None
        return tflop / (UTILISATION * self._peak), f"{UTILISATION:g} of {self._peak:.3g} TFLOP/s"

    @cached_property
    def _peak(self) -> float:
        return matmul_peak(self.plan.device, self.plan.dtype, PROBE_SECONDS)


def _tflop(item: WorkItem) -> float | None:
    """All chunks of an item; None for a baseline, and for a variant without diffusion."""
    if item.variant.description.get("kind") != "patchvsr":
        return None
    spec = filled(resolve(item.variant.text))
    if not spec.diffusion:
        return None
    height, width = item.clip.size
    spans = chunk_spans(item.clip.frames, spec.frames, spec.frame_overlap)
    return sum(_chunk_tflop(spec, width, height, stop - start, item.clip.clip.scale) for start, stop in spans)


@cache
def _chunk_tflop(spec: VariantSpec, width: int, height: int, frames: int, scale: float) -> float:
    return count_variant(spec, width, height, frames, scale).total / 1e12


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _free_mib(root: Path) -> float:
    """Of the disk that `root` is on, or will be."""
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free / 2**20


def totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Sums of TFLOP, seconds and MiB on disk, and the largest memory, of the rows in which they are known.

    None where no row has a value.
    """
    found: dict[str, float | None] = {}
    for key in ("tflop", "seconds", "disk_mib"):
        known = [row[key] for row in rows if row[key] is not None]
        found[key] = sum(known) if known else None
    return found | {key: _largest([row[key] for row in rows]) for key in ("host_mib", "device_mib")}


def render_estimate(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with totals, and sentences: what is not known, what is guessed, and whether the disk has room."""
    total = totals(rows)
    columns = {key: head for key, head in COLUMNS.items() if key != "device_mib" or total[key] is not None}
    shown = [{**row, "seconds_from": row["seconds_from"] or ""} for row in rows]
    table = render([*shown, {**dict.fromkeys(columns, ""), "variant": "total", **total}], columns)
    return "\n".join([table, "", *_sentences(rows, total)])


def _sentences(rows: Sequence[Mapping[str, Any]], total: Mapping[str, float | None]) -> list[str]:
    running = [row for row in rows if row["what"] == "run"]
    counts = Counter(row["what"] for row in rows)
    lines = [f"{len(rows)} items: " + ", ".join(f"{count} {what}" for what, count in counts.items())]
    if total["seconds"] is not None:
        took = timedelta(seconds=round(total["seconds"]))
        lines[0] += f"; upscaling takes about {took}, loading and scoring not in it"
    for key, word in {"seconds": "seconds", "host_mib": "memory"}.items():
        if names := list(dict.fromkeys(row["variant"] for row in running if row[key] is None)):
            lines.append(f"{word} unknown, and not in the total, for want of an earlier item: {', '.join(names)}")
    if any(row["disk_from"] == GUESS for row in running):
        lines.append(f"disk: {GUESS}, as no earlier output is there")
    need, free = total["disk_mib"] or 0.0, min(row["free_mib"] for row in rows)
    needs = f"the frames need about {need:.0f} MiB and {free:.0f} MiB are free"
    lines.append(f"warning: {needs}; make room, or give --out a folder on another disk" if need > free else needs)
    return lines
