"""Statistics against textbooks, hand-computed values and simulations whose truth is known."""
from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import (
    bootstrap_interval,
    cohens_d_z,
    holm,
    paired,
    rank_biserial,
    sign_flip,
    verdict,
)


def alone(values):
    return {name: name for name in values}


def clips(values):
    return {f"c{i:02}": float(value) for i, value in enumerate(values)}


# Bootstrap


def covered(by_source, simulations=150, sources=25, shots=4):
    """Share of simulations whose interval holds the true mean, 2, of clips that have most of their spread in common."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(simulations):
        drawn = 2 + rng.normal(size=(sources, 1)) + 0.3 * rng.normal(size=(sources, shots))
        values = {f"{i}__{j}": float(drawn[i, j]) for i in range(sources) for j in range(shots)}
        cluster = {clip: clip.partition("__")[0] if by_source else clip for clip in values}
        low, high = bootstrap_interval(values, cluster, resamples=1000)
        hits += low <= 2 <= high
    return hits / simulations


def test_bootstrap_intervals_by_source_hold_the_truth_as_often_as_they_say():
    assert 0.88 <= covered(by_source=True) <= 0.99


def test_clips_taken_as_independent_would_claim_too_much():
    assert covered(by_source=False) < 0.75


def test_bootstrap_is_near_the_t_interval_where_that_is_right_and_the_same_each_time():
    values = clips(np.random.default_rng(1).normal(size=60))
    found = bootstrap_interval(values, alone(values))
    expected = stats.ttest_1samp(list(values.values()), 0).confidence_interval(0.95)
    assert found == pytest.approx((expected.low, expected.high), abs=0.03)
    assert found == bootstrap_interval(dict(reversed(values.items())), alone(values))
    assert found != bootstrap_interval(values, alone(values), seed=1)


def test_bootstrap_of_skewed_values_is_not_symmetric():
    values = clips(np.random.default_rng(2).lognormal(sigma=1.2, size=30))
    low, high = bootstrap_interval(values, alone(values))
    mean = np.mean(list(values.values()))
    assert high - mean > 1.3 * (mean - low) > 0


@pytest.mark.parametrize("interval", ["t", "bootstrap"])
def test_one_source_has_no_interval_however_many_clips(interval):
    first, second = {"s__a": 1.0, "s__b": 3.0}, {"s__a": 0.0, "s__b": 0.0}
    found = paired(first, second, {"s__a": "s", "s__b": "s"}, interval)
    assert found.n == 1 and math.isnan(found.low) and math.isnan(found.high) and math.isnan(found.d_z)
    assert found.p == 1 and not found.distinguishable
    assert verdict(found, found.p, "lower").words == "not distinguishable"
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval({}, {})


def test_the_test_goes_with_the_interval():
    first, second = clips([0.2, 0.4, 0.3, 0.6]), clips([0.3, 0.6, 0.35, 0.9])
    expected = stats.ttest_rel(list(first.values()), list(second.values())).pvalue
    assert paired(first, second, alone(first)).p == pytest.approx(expected)
    found = paired(first, second, alone(first), "bootstrap")
    assert found.p == 2 / 16  # all of one sign: only it and its mirror image are as far from 0
    assert found.low < found.difference < found.high < 0


# Effect sizes


def test_d_z_is_the_mean_in_standard_deviations():
    assert cohens_d_z([1, 2, 3, 6]) == pytest.approx(3 / math.sqrt(14 / 3))
    assert cohens_d_z([-1, 1]) == 0
    assert cohens_d_z([0, 0, 0]) == 0 and cohens_d_z([-2, -2]) == -math.inf
    assert cohens_d_z([0.21 - 0.41, 0.22 - 0.42, 0.2 - 0.4]) == -math.inf  # the same but for rounding
    assert math.isnan(cohens_d_z([3]))


def test_rank_biserial_is_a_difference_of_shares_of_ranks():
    # |d| ranks: 1 -> 1, -2 and 2 -> 2.5 each, 5 -> 4; without the 0.
    assert rank_biserial([1, -2, 0, 2, 5]) == pytest.approx((1 + 2.5 + 4 - 2.5) / 10)
    assert rank_biserial([3, 1]) == 1 and rank_biserial([-3, -1]) == -1 and rank_biserial([0, 0]) == 0
    differences = np.random.default_rng(0).normal(0.3, size=20)
    wilcoxon = stats.wilcoxon(differences).statistic  # the smaller sum of ranks
    assert rank_biserial(differences) == pytest.approx(1 - 2 * wilcoxon / (20 * 21 / 2))


# Correction and words


def test_holm_is_the_textbook_one():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.02]) == pytest.approx([1, 1, 0.06])
    assert holm([0.2]) == pytest.approx([0.2]) and len(holm([])) == 0
    for wrong in (math.nan, 1.1, -0.1):
        with pytest.raises(ValueError, match="not within 0..1"):
            holm([0.1, wrong])


def test_holm_keeps_the_chance_of_any_false_claim():
    ps = np.random.default_rng(3).uniform(size=(2000, 10))
    assert (ps.min(axis=1) <= 0.05).mean() > 0.35
    assert (np.array([holm(row).min() for row in ps]) <= 0.05).mean() < 0.065


@pytest.mark.parametrize(
    ("corrected", "direction", "words"),
    [
        (0.01, "lower", "better"),
        (0.01, "higher", "worse"),
        (0.01, "one", "nearer to 1"),
        (0.01, None, "differs"),
        (0.05, "lower", "better"),
        (0.06, "lower", "not distinguishable"),
    ],
)
def test_words_need_the_interval_and_the_corrected_p(corrected, direction, words):
    first, second = clips([1.0, 1.1, 1.2, 1.0]), clips([1.5, 1.7, 1.6, 1.6])
    found = paired(first, second, alone(first))
    assert verdict(found, corrected, direction).words == words
    assert str(verdict(found, corrected, direction)) == f"{words} (corrected p = {corrected:.2g})"
    assert verdict(paired(second, first, alone(first)), 0.01, "one").words == "farther from 1"
    unsure = paired(clips([1, 2, 3]), clips([2, 1, 3]), alone(clips([1, 2, 3])))
    assert verdict(unsure, corrected, direction).words == "not distinguishable"


@pytest.mark.parametrize("interval", ["t", "bootstrap"])
def test_identical_values_are_not_distinguishable(interval, recwarn):
    values = clips(np.random.default_rng(4).normal(size=12))
    found = paired(values, dict(values), alone(values), interval)
    assert (found.low, found.high, found.p, found.d_z, found.rank_biserial) == (0, 0, 1, 0, 0)
    assert verdict(found, found.p, "higher").words == "not distinguishable"
    assert not recwarn.list


@pytest.mark.parametrize("interval", ["t", "bootstrap"])
def test_a_constant_difference_is_its_own_interval(interval, recwarn):
    first = clips(range(8))
    found = paired(first, {clip: value + 0.25 for clip, value in first.items()}, alone(first), interval)
    assert found.low == found.high == -0.25 and found.d_z == -math.inf and found.rank_biserial == -1
    assert found.p == (0 if interval == "t" else 2 / 2**8) and not recwarn.list


def test_sign_flips_are_sampled_beyond_a_number():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=40)
    assert sign_flip(noise - noise.mean()) > 0.9
    assert sign_flip(noise + 5) < 1e-3
    assert sign_flip(noise) == sign_flip(noise)
