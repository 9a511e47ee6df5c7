"""A run's results as text for the terminal."""
from __future__ import annotations

from benchmarks.plan import Plan
from benchmarks.records import Results
from benchmarks.store import Result, Score, Store

MANY = 4
"""Of one remark, so many lines at most."""
ARROWS = {"higher": "↑", "lower": "↓", "one": "→1"}


def render(plan: Plan, results: Results) -> str:
    """One table per clip: a row per variant, a column per metric with the direction that is better."""
    return "\n\n".join(_clip_table(plan, results, clip.clip.name) for clip in plan.clips)


def _clip_table(plan: Plan, results: Results, clip: str) -> str:
    planned = next(entry for entry in plan.clips if entry.clip.name == clip)
    height, width = planned.size
    title = f"{plan.suite} / {clip}: {planned.width}x{planned.height} to {width}x{height}, {planned.frames} frames"
    header = ["variant", *(f"{name} {ARROWS[metric.direction]}" for name, metric in plan.metrics.items())]
    rows = []
    for item in plan.items:
        result = results.get(item.hash)
        if item.clip.clip.name == clip and result is not None:
            rows.append([_label(result), *(_cell(result, result.scores.get(name)) for name in plan.metrics)])
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(_pad(cell, width, column) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
             for row in [header, ["-" * width for width in widths], *rows]]  # fmt: skip
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _label(result: Result) -> str:
    return f"{result.variant} (untrained)" if result.weights == "untrained" else result.variant


def _cell(result: Result, score: Score | None) -> str:
    if score is None:
        return result.status
    if score.value is None:
        return "-" if score.status in ("undefined", "unavailable") else score.status
    return f"{score.value:.4g}" if abs(score.value) < 1000 else f"{score.value:.0f}"


def notes(plan: Plan, results: Results) -> list[str]:
    """Why values are missing, one line for each reason, without the failures."""
    reasons: dict[str, set[str]] = {}
    for item in plan.items:
        result = results.get(item.hash)
        for name in plan.metrics:
            score = None if result is None else result.scores.get(name)
            if score is not None and score.status in ("undefined", "unavailable"):
                reasons.setdefault(f"{item.clip.clip.name}: {score.message}", set()).add(name)
    return [f"- {' '.join(name for name in plan.metrics if name in names)}: {why}" for why, names in reasons.items()]


def remarks(plan: Plan, results: Results) -> list[str]:
    """What upscalers told of clips, before or after their work, that a reader of the table should know."""
    told: dict[str, list[str]] = {}
    for item in plan.items:
        variant, clip, result = item.variant, item.clip.clip.name, results.get(item.hash)
        for note in (variant.accepted[clip].get("note"), None if result is None else result.note):
            if note:
                told.setdefault(note, []).append(f"{variant.text} on {clip}")
    return [f"- {where}: {note}" for note, places in told.items() for where in _shown(places)]


def _shown(places: list[str]) -> list[str]:
    """What a remark is about: each by name, or how many where they are many."""
    return places if len(places) <= MANY else [f"{len(places)} outputs, the first {places[0]}"]


def damaged(plan: Plan, store: Store) -> list[str]:
    """Records of this run's items that were damaged."""
    known = [item.hash for item in plan.items]
    return [f"- {path} is a damaged record that was moved aside for its item to be made again; delete it to hear no "
            "more of it" for path in store.aside(known)]  # fmt: skip


def failures(plan: Plan, results: Results) -> list[str]:
    """One line for each failed item, and for each failed metric of the others."""
    lines: list[str] = []
    for item in plan.items:
        result = results.get(item.hash)
        if result is None:
            continue
        where = f"{result.variant} on {result.clip}"
        if result.status != "ok":
            lines.append(f"{where}: {result.status}: {result.message}")
        for score in result.scores.values():
            if score.metric in plan.metrics and score.status in ("failed", "oom"):
                lines.append(f"{where}, metric {score.metric}: {score.status}: {score.message}")
    return lines
