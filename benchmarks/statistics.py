"""Paired comparisons of two variants over clips, for tables and claims.

Clips of one source (shots of one film, crops of one picture) are not independent, so they are averaged first and the
source counts once.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import stats

EXACT = 14
"""Up to this many pairs all sign flips are tried; beyond, `DRAWS` random ones."""
DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean of paired differences `first - second`.

    Attributes:
        n: independent pairs.
        first, second: means over the pairs.
        difference: mean difference.
        low, high: its 95 % t interval; NaN with fewer than two pairs.
        p: two-sided sign-flip test of "no difference".
    """

    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def relative(self) -> float:
        """The difference as a share of the second mean."""
        return self.difference / self.second if self.second else float("nan")

    @property
    def distinguishable(self) -> bool:
        """The interval excludes 0."""
        return self.low > 0 or self.high < 0


def paired(first: Mapping[str, float], second: Mapping[str, float], cluster: Mapping[str, str]) -> Paired:
    """Compare values by clip.

    Args:
        first, second: clip to value; both of the same clips.
        cluster: clip to the source it comes from.

    Raises:
        ValueError: clips that only one of them has, or none at all.
    """
    if first.keys() != second.keys() or not first:
        raise ValueError(f"clips differ: {sorted(first.keys() ^ second.keys()) or 'there are none'}")
    ones, others = _means(first, cluster), _means(second, cluster)
    differences = ones - others
    n, mean = len(differences), float(differences.mean())
    low = high = float("nan")
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n))
        low, high = mean - half, mean + half
    return Paired(n, float(ones.mean()), float(others.mean()), mean, low, high, sign_flip(differences))


def _means(values: Mapping[str, float], cluster: Mapping[str, str]) -> np.ndarray:
    grouped: dict[str, list[float]] = {}
    for clip, value in values.items():
        grouped.setdefault(cluster[clip], []).append(value)
    return np.array([np.mean(grouped[name]) for name in sorted(grouped)])


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
