"""What a report may say: the values of finished runs, each with the work item that it came from.

Only run directories are read, and only what their last plan asked for. Values that must not stand in one table (two
identities of one metric, two inputs under one clip's name, times of two machines), untrained weights and suites with
gaps are refused; what the reader allows all the same is told in `Evidence.notes`, for every page that shows it.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from pathlib import Path
from statistics import fmean
from typing import Literal

from benchmarks.compare import source_of
from benchmarks.metrics import Direction, metrics
from benchmarks.statistics import Interval, Paired, mean_interval, paired
from patchvsr.errors import UserError
from reports.runs import Item, Run, read_run

Allowance = Literal["untrained", "incomplete", "mixed"]
ALLOWANCES: dict[Allowance, str] = {
    "untrained": "variants whose weights were never trained",
    "incomplete": "suites of which clips or values are missing",
    "mixed": "values that were made by different protocols, inputs or machines",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric of one variant over one setting.

    Attributes:
        mean: over sources (clips of one source count once); None where the setting has gaps or nothing is defined.
        low, high: 95 % interval of the mean over sources (Student's t); None with fewer than two sources.
        sources, clips: how many count.
        missing: why there is no mean, or what it lacks; empty where it lacks nothing.
        undefined: clips for which the metric is not defined, which do not count.
        items: clip to the items whose values count, one for each seed.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    sources: int = 0
    clips: int = 0
    missing: str = ""
    undefined: tuple[str, ...] = ()
    items: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)


class Evidence:
    """The items of one or more runs, by setting (a suite under one protocol), variant and clip.

    Args:
        runs: as `reports.runs.read_run` gives them.
        allowed: what is shown although it is refused without being asked for.

    Raises:
        UserError: nothing to report, or something that is not allowed; the sentence says what allows it.
    """

    def __init__(self, runs: Sequence[Run], allowed: Sequence[Allowance] = ()) -> None:
        self.runs = list(runs)
        self.allowed = tuple(allowed)
        self.notes: list[str] = []
        self._items: dict[str, dict[str, dict[str, dict[int, Item]]]] = {}
        for run in self.runs:
            self._add(run)
        if not self._items:
            raise UserError("the runs hold no item, so there is nothing to report; complete them")
        self._check_trained()
        self._check_inputs()
        self._check_identities()
        self._check_machines()
        self._check_complete()

    @property
    def settings(self) -> list[str]:
        """Names of the settings, in the order of the runs."""
        return list(self._items)

    def variants(self, setting: str) -> list[str]:
        """Variants as typed, in the order of the runs."""
        return list(self._items[setting])

    def clips(self, setting: str) -> list[str]:
        """Names of the setting's clips that a run has, in the order of the suite."""
        order = [clip for run in self._of(setting) for clip in run.suite_clips]
        present = {clip for by_clip in self._items[setting].values() for clip in by_clip}
        return [clip for clip in dict.fromkeys(order) if clip in present]

    def metrics(self, setting: str) -> list[str]:
        """Metrics that some run of the setting asked for, in the order of the runs."""
        return list(dict.fromkeys(name for run in self._of(setting) for name in run.metrics))

    def direction(self, metric: str) -> Direction | None:
        """Which way a metric is better; None for one that is not installed here, of which nobody knows."""
        return metrics.get(metric)().direction if metric in metrics else None

    def unit(self, setting: str, metric: str) -> str:
        """The metric's unit in the records; empty for a plain ratio."""
        scores = (item.scores.get(metric) for item in self._all(setting))
        return next((score.unit for score in scores if score is not None), "")

    def identity(self, setting: str, metric: str) -> str:
        """The protocol behind the metric's values; several, where mixing them was allowed."""
        return " / ".join(self.identities(setting, metric))

    def identities(self, setting: str, metric: str) -> list[str]:
        """The identities that the metric's values have."""
        scores = (item.scores.get(metric) for item in self._all(setting))
        return list(dict.fromkeys(score.identity for score in scores if score is not None))

    def items(self, setting: str, variant: str) -> dict[str, Item]:
        """Clip to its item, that of the lowest seed; clips that were not run are not in it."""
        by_clip = self._items[setting].get(variant, {})
        return {clip: by_clip[clip][min(by_clip[clip])] for clip in self.clips(setting) if clip in by_clip}

    def weights(self, setting: str, variant: str) -> str:
        """`trained`, `untrained`, or what else the items say of the weights."""
        return next(item.weights for item in self.items(setting, variant).values())

    def values(self, setting: str, variant: str, metric: str) -> dict[str, float]:
        """Clip to value, the mean over seeds; only clips with a finite value for each seed."""
        found: dict[str, float] = {}
        for clip, by_seed in self._items[setting].get(variant, {}).items():
            values = [value_of(item, metric) for item in by_seed.values()]
            if all(value is not None for value in values):
                found[clip] = fmean(value for value in values if value is not None)
        return found

    def cell(self, setting: str, variant: str, metric: str) -> Cell:
        """The mean of a metric over the setting's sources, and what it stands on."""
        values = self.values(setting, variant, metric)
        gaps, undefined = self._gaps(setting, variant, metric)
        missing = "; ".join(f"{clip}: {why}" for clip, why in gaps.items())
        items = {clip: tuple(self._items[setting][variant][clip].values()) for clip in values}
        if gaps or not values:
            why = missing or "the metric is not defined for any clip"
            return Cell(mean=None, missing=why, undefined=undefined, clips=len(values), items=items)
        sources: dict[str, list[float]] = {}
        for clip, value in values.items():
            sources.setdefault(source_of(clip), []).append(value)
        means = [fmean(each) for each in sources.values()]
        low, high = mean_interval(means)
        return Cell(
            mean=fmean(means),
            low=low if len(means) > 1 else None,
            high=high if len(means) > 1 else None,
            sources=len(means),
            clips=len(values),
            undefined=undefined,
            items=items,
        )

    def paired(
        self, setting: str, metric: str, first: str | Sequence[str], second: str | Sequence[str],
        interval: Interval = "t",
    ) -> Paired | None:  # fmt: skip
        """Two variants clip by clip; None unless both have the metric without gaps, on the same clips, and on some.

        Several variants in the place of one stand for their mean on each clip, as with several seeds of training.
        Of a metric that is best at 1, the distances |log value| are compared; None where a value is not above 0.
        """
        sides = [[side] if isinstance(side, str) else list(side) for side in (first, second)]
        if any(self._gaps(setting, variant, metric)[0] for side in sides for variant in side):
            return None
        ones, others = (self._mean_values(setting, side, metric) for side in sides)
        if not ones or ones.keys() != others.keys():
            return None
        if self.direction(metric) == "one":
            if min(*ones.values(), *others.values()) <= 0:
                return None
            ones, others = _distances(ones), _distances(others)
        return paired(ones, others, {clip: source_of(clip) for clip in ones}, interval)

    def _mean_values(self, setting: str, variants: Sequence[str], metric: str) -> dict[str, float]:
        each = [self.values(setting, variant, metric) for variant in variants]
        return {clip: fmean(one[clip] for one in each) for clip in each[0] if all(clip in one for one in each)}

    def _all(self, setting: str) -> list[Item]:
        by_variant = self._items[setting].values()
        return [item for by_clip in by_variant for by_seed in by_clip.values() for item in by_seed.values()]

    def _of(self, setting: str) -> list[Run]:
        return [run for run in self.runs if run.setting == setting]

    def _add(self, run: Run) -> None:
        by_variant = self._items.setdefault(run.setting, {}) if run.items else {}
        for item in run.items:
            by_seed = by_variant.setdefault(item.variant, {}).setdefault(item.clip, {})
            known = by_seed.setdefault(item.seed, item)
            if known.hash != item.hash:
                raise UserError(
                    f"'{item.variant}' on '{item.clip}' is in {known.run} and in {run.path}, and not the same item "
                    "(other code, weights or input); give one of the two runs"
                )

    def _refuse(self, allowance: Allowance, what: str) -> None:
        """Raise, or note what is shown all the same."""
        if allowance not in self.allowed:
            raise UserError(f"{what}; mend that, or have it shown and said so with --allow {allowance}")
        self.notes.append(f"{what[0].upper()}{what[1:]}.")

    def _check_trained(self) -> None:
        untrained = {
            item.variant for setting in self.settings for item in self._all(setting) if item.weights == "untrained"
        }
        if untrained:
            self._refuse("untrained", f"the weights of {_listed(sorted(untrained))} were never trained")

    def _check_inputs(self) -> None:
        for setting in self.settings:
            inputs: dict[str, set[str]] = {}
            for item in self._all(setting):
                inputs.setdefault(item.clip, set()).add(item.input)
            if differ := sorted(clip for clip, kinds in inputs.items() if len(kinds) > 1):
                self._refuse("mixed", f"the variants of '{setting}' did not see the same frames of {_listed(differ)}")

    def _check_identities(self) -> None:
        for setting in self.settings:
            for metric in self.metrics(setting):
                if len(found := self.identities(setting, metric)) > 1:
                    protocols = " / ".join(found)
                    self._refuse("mixed", f"'{metric}' in '{setting}' was made by several protocols ({protocols})")

    def _check_machines(self) -> None:
        """Times and memory of different machines or precisions are no comparison."""
        for setting in self.settings:
            machines = list(dict.fromkeys(run.machine for run in self._of(setting)))
            costs = [name for name in self.metrics(setting) if self.unit(setting, name) in ("s", "frames/s", "MiB")]
            if len(machines) > 1 and costs:
                self._refuse("mixed", f"{_listed(costs)} in '{setting}' come from {' and from '.join(machines)}")

    def _check_complete(self) -> None:
        for setting in self.settings:
            lacks: dict[str, list[str]] = {}
            for variant in self.variants(setting):
                for metric in self.metrics(setting):
                    for clip, why in self._gaps(setting, variant, metric)[0].items():
                        lacks.setdefault(f"{variant} on {clip}: {why}", []).append(metric)
            if lacks:
                shown = [f"{', '.join(names)} of {where}" for where, names in lacks.items()]
                more = f", and {len(shown) - 3} more" if len(shown) > 3 else ""
                self._refuse("incomplete", f"'{setting}' has gaps ({'; '.join(shown[:3])}{more})")

    def _gaps(self, setting: str, variant: str, metric: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """Clip to why it has no value though it should, and the clips for which the metric is not defined."""
        gaps: dict[str, str] = {}
        undefined: list[str] = []
        by_clip = self._items[setting].get(variant, {})
        wanted = [clip for run in self._of(setting) for clip in run.suite_clips]
        for clip in dict.fromkeys(wanted):
            for item in by_clip.get(clip, {0: None}).values():
                why = _lack(item, metric)
                if why == "undefined":
                    undefined.append(clip)
                elif why:
                    gaps[clip] = why
        return gaps, tuple(dict.fromkeys(undefined))


def value_of(item: Item, metric: str) -> float | None:
    """The item's value of a metric, None unless there is a finite one."""
    score = item.scores.get(metric)
    return None if score is None or score.value is None or not isfinite(score.value) else score.value


def _distances(values: Mapping[str, float]) -> dict[str, float]:
    return {clip: abs(log(value)) for clip, value in values.items()}


def _lack(item: Item | None, metric: str) -> str:
    """Why an item has no value of a metric; empty if it has one, `undefined` if there is none to be had."""
    if item is None:
        return "not run"
    if item.status != "ok":
        return item.status
    score = item.scores.get(metric)
    if score is None:
        return "not scored"
    if score.value is not None and not isfinite(score.value):
        return f"{score.value} is no finite number"
    return "" if score.value is not None else score.status


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def gather(paths: Sequence[Path], allowed: Sequence[Allowance] = ()) -> Evidence:
    """Read run directories.

    Raises:
        UserError: a folder that is no run, a damaged record, or evidence that is refused; see `Evidence`.
    """
    if len(set(path.resolve() for path in paths)) < len(paths):
        raise UserError("a run directory is given twice; give each once")
    return Evidence([read_run(path) for path in paths], allowed)
