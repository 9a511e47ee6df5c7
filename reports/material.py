"""What a report is made of: evidence, studies, counted cost, and how things are called."""
from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from ablations.result import NAME, StudyResult, read_study_result
from patchvsr.errors import UserError
from reports.evidence import Allowance, Evidence, gather

_COST_FILE = "cost.csv"
_COSTS = ("variant", "base", "frame", "frames", "part", "tflop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What tables and figures are made of.

    Attributes:
        evidence: of all runs.
        studies: whose runs are among them.
        labels: variant as typed to what readers see; others are shown as typed.
        costs: rows of `cost.csv` files (`benchmarks.cost`): variant, frame, frames, part, tflop and more, as text.
    """

    evidence: Evidence
    studies: Sequence[StudyResult] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    costs: Sequence[Mapping[str, str]] = ()

    def label(self, variant: str) -> str:
        """How a variant is called."""
        return self.labels.get(variant, variant)


def collect(
    paths: Sequence[Path],
    allowed: Sequence[Allowance] = (),
    labels: Mapping[str, str] | None = None,
    costs: Sequence[Path] = (),
) -> Material:
    """Read run directories and folders of studies (whose runs are found from them).

    A `cost.csv` that lies in a run directory is read like one of `costs`.

    Raises:
        UserError: nothing to read, a folder that is neither, a damaged file, evidence that is refused, a label of a
            variant that the runs have not, or a file of costs that is none.
    """
    if not paths:
        raise UserError("nothing to report on; name run directories, or folders of studies")
    studies = [read_study_result(path) for path in paths if _is_study(path)]
    runs = [path for path in paths if not _is_study(path)]
    runs += [run for study in studies for run in study.runs.values()]
    evidence = gather(runs, allowed)
    present = {variant for setting in evidence.settings for variant in evidence.variants(setting)}
    if unknown := [variant for variant in labels or {} if variant not in present]:
        raise UserError(f"--label names '{unknown[0]}', which no run has; they have {', '.join(sorted(present))}")
    beside = [run / _COST_FILE for run in runs if (run / _COST_FILE).is_file()]
    rows = [row for path in _unique([*costs, *beside]) for row in _read_costs(path)]
    named = {**_arms(studies), **(labels or {})}
    return Material(evidence=evidence, studies=studies, labels=named, costs=rows)


def _is_study(path: Path) -> bool:
    return path.name == NAME or (path / NAME).is_file()


def _unique(paths: Sequence[Path]) -> list[Path]:
    """Each file or folder once, however it is spelt."""
    return list({path.resolve(): path for path in paths}.values())


def _arms(studies: Sequence[StudyResult]) -> dict[str, str]:
    """What the studies call their arms, where they agree and no seed has to be told apart."""
    found: dict[str, set[str]] = {}
    for study in studies:
        for label, texts in study.arms.items():
            for number, text in enumerate(texts):
                found.setdefault(text, set()).add(label if len(texts) == 1 else f"{label} (seed {number})")
    return {text: names.pop() for text, names in found.items() if len(names) == 1}


def _read_costs(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read ({error}); give the cost.csv of a benchmarks.cost") from error
    if not rows or not set(_COSTS) <= set(rows[0]):
        raise UserError(f"'{path}' has not the columns {', '.join(_COSTS)} of a cost.csv")
    if wrong := [row for row in rows if not _is_number(row["tflop"])]:
        what = f"tflop '{wrong[0]['tflop']}' of '{wrong[0]['variant']}'"
        raise UserError(f"'{path}' says {what}, which is no number; count it again with benchmarks.cost")
    return rows


def _is_number(text: str | None) -> bool:
    try:
        return isfinite(float(text or ""))
    except ValueError:
        return False
