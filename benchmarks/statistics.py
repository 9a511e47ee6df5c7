"""Paired comparisons of two variants over clips, for tables and claims.

Clips of one source (shots of one film, crops of one picture) are not independent, so they are averaged first and the
source counts once: in means, in intervals (where a bootstrap draws sources, not clips), in tests and in effect sizes.

The interval and the test go together: Student's t for both, or a bootstrap and sign flips, neither of which takes the
differences for normally distributed.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from benchmarks.metrics import Direction

EXACT = 14
"""Up to this many pairs all sign flips are tried; beyond, `DRAWS` random ones."""
DRAWS = 20_000
RESAMPLES = 9_999
"""Draws of a bootstrap."""
LEVEL = 0.95
"""Confidence of intervals; a difference is told apart where its corrected p is at most `1 - LEVEL`."""
ROUNDING = 1e-9
"""Differences that vary by a smaller share of their size than this are all the same but for rounding."""

Interval = Literal["t", "bootstrap"]
INTERVALS: tuple[str, ...] = get_args(Interval)


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean of paired differences `first - second`.

    Attributes:
        n: independent pairs.
        first, second: means over the pairs.
        difference: mean difference.
        low, high: its 95 % interval; NaN with fewer than two pairs.
        p: two-sided test of "no difference": the paired t test with a t interval, sign flips with a bootstrap; 1 with
            fewer than two pairs.
        interval: which of the two.
        d_z: Cohen's, the mean difference in standard deviations of the differences; see `cohens_d_z`.
        rank_biserial: -1 where every first is lower, 1 where every first is higher; see `rank_biserial`.
    """

    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    interval: Interval
    d_z: float
    rank_biserial: float

    @property
    def relative(self) -> float:
        """The difference as a share of the second mean."""
        return self.difference / self.second if self.second else float("nan")

    @property
    def distinguishable(self) -> bool:
        """The interval excludes 0."""
        return self.low > 0 or self.high < 0


def paired(
    first: Mapping[str, float], second: Mapping[str, float], cluster: Mapping[str, str], interval: Interval = "t"
) -> Paired:
    """Compare values by clip.

    Args:
        first, second: clip to value; both of the same clips.
        cluster: clip to the source it comes from.
        interval: `t` for Student's interval and test, `bootstrap` for one over sources and sign flips.

    Raises:
        ValueError: clips that only one of them has, or none at all.
    """
    if first.keys() != second.keys() or not first:
        raise ValueError(f"clips differ: {sorted(first.keys() ^ second.keys()) or 'there are none'}")
    ones, others = _means(first, cluster), _means(second, cluster)
    differences = ones - others
    if interval == "t":
        low, high, p = _student(differences)
    else:
        (low, high), p = _bootstrap(differences), sign_flip(differences)
    return Paired(
        n=len(differences),
        first=float(ones.mean()),
        second=float(others.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        p=p,
        interval=interval,
        d_z=cohens_d_z(differences),
        rank_biserial=rank_biserial(differences),
    )


def _means(values: Mapping[str, float], cluster: Mapping[str, str]) -> np.ndarray:
    grouped: dict[str, list[float]] = {}
    for clip in sorted(values):
        grouped.setdefault(cluster[clip], []).append(values[clip])
    return np.array([np.mean(grouped[name]) for name in sorted(grouped)])


def _same(differences: np.ndarray) -> bool:
    return bool(np.ptp(differences) <= ROUNDING * np.abs(differences).max())


def _student(differences: np.ndarray) -> tuple[float, float, float]:
    """Low and high end of the t interval, and the p of the t test."""
    if len(differences) < 2:
        return float("nan"), float("nan"), 1.0
    mean = float(differences.mean())
    if _same(differences):  # scipy warns of lost precision and answers NaN
        return mean, mean, float(mean == 0)
    test = stats.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(LEVEL)
    return float(low), float(high), float(test.pvalue)


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of independent values (Student's t); NaN with fewer than two."""
    return _student(np.asarray(values, dtype=float))[:2]


def sign_flip(differences: Sequence[float] | np.ndarray, seed: int = 0) -> float:
    """Share of sign flips whose mean is at least as far from 0 as the differences' own (two-sided, with itself)."""
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n <= EXACT:
        signs = np.array(list(product((1, -1), repeat=n)))
    else:
        signs = np.random.default_rng(seed).choice((1, -1), (DRAWS, n))
        signs[0] = 1
    means = np.abs((signs * values).mean(axis=1))
    return float((means >= abs(values.mean()) - 1e-12).mean())


def bootstrap_interval(
    values: Mapping[str, float], cluster: Mapping[str, str], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean over sources, from sources drawn with replacement (BCa, Efron 1987).

    With few sources (below about ten) it is too narrow, as every bootstrap of a mean is: prefer the t interval there.

    Args:
        values: clip to value, or to the difference of a pair.
        cluster: clip to the source it comes from; a source is drawn with all of its clips.
        resamples: draws.
        seed: of the draws; the same values and seed give the same interval, in whatever order the clips are.

    Returns:
        Low and high end, in the unit of the values; NaN with fewer than two sources.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("there are no values to draw from")
    return _bootstrap(_means(values, cluster), resamples, seed)


def _bootstrap(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    if _same(values):  # scipy's correction of the bias is not defined for draws that are all the same
        return float(values.mean()), float(values.mean())
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, vectorized=True, confidence_level=LEVEL, method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def cohens_d_z(differences: Sequence[float] | np.ndarray) -> float:
    """Cohen's d_z: the mean of paired differences over their standard deviation (Lakens 2013, eq. 6).

    NaN with fewer than two pairs; 0 where all differences are 0, infinite where they are all the same otherwise.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return float("nan")
    mean = float(values.mean())
    if _same(values):
        return float(np.copysign(np.inf, mean)) if mean else 0.0
    return mean / float(values.std(ddof=1))


def rank_biserial(differences: Sequence[float] | np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation: the share of ranks above 0 minus that below (Kerby 2014).

    The differences are ranked by their size, without those that are 0 (as Wilcoxon's test does); 0 if all are.
    """
    values = np.asarray(differences, dtype=float)
    values = values[values != 0]
    if not len(values):
        return 0.0
    ranks = stats.rankdata(np.abs(values))
    return float((np.sign(values) * ranks).sum() / ranks.sum())


def holm(ps: Sequence[float] | np.ndarray) -> np.ndarray:
    """Corrected p of each test, in the order given, so that the chance of any false claim among them stays (Holm 1979).

    Raises:
        ValueError: a p that is not within 0..1.
    """
    values = np.asarray(ps, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"not within 0..1: {[float(p) for p in values if not 0 <= p <= 1]}")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be said of a difference: `words`, on the ground of the corrected `p`. As text, both."""

    words: str
    p: float

    def __str__(self) -> str:
        return f"{self.words} (corrected p = {self.p:.2g})"


def verdict(found: Paired, corrected: float, direction: Direction | None) -> Verdict:
    """Whether the first is "better", "worse" or "not distinguishable" from the second.

    A difference counts if its interval excludes 0 and its corrected p is at most 0.05.

    Args:
        found: the comparison.
        corrected: its p, corrected for all comparisons made beside it; see `holm`.
        direction: which way the metric is better. Those that are best at 1 give "nearer to 1" or "farther from 1"; None
            (nobody knows) gives "differs".
    """
    if not found.distinguishable or corrected > 1 - LEVEL + 1e-12:
        words = "not distinguishable"
    elif direction is None:
        words = "differs"
    elif direction == "one":
        words = "nearer to 1" if abs(found.first - 1) < abs(found.second - 1) else "farther from 1"
    else:
        words = "better" if (found.difference > 0) == (direction == "higher") else "worse"
    return Verdict(words, corrected)
