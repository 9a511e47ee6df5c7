"""Claims against values whose answer is known."""
from __future__ import annotations

from typing import Any

import pytest

from ablations.claims import conclusion, judge
from ablations.study import Claim
from patchvsr.errors import UserError

CLIPS = [f"source{i}__clip" for i in range(8)]
NOISE = [0.01, -0.02, 0.015, -0.005, 0.02, -0.01, 0.005, -0.015]


def values(metric: str, shift: float, base: float = 0.5) -> dict[str, dict[str, dict[str, float]]]:
    first = {clip: base + shift + noise for clip, noise in zip(CLIPS, NOISE, strict=True)}
    return {metric: {"arm": first, "base": dict.fromkeys(CLIPS, base)}}


def claim(metric: str, expect: Any, margin: float | None = None) -> Claim:
    return Claim(arm="arm", against="base", metric=metric, expect=expect, margin=margin)


@pytest.mark.parametrize(
    "metric, shift, expect, margin, outcome",
    [
        ("lpips", -0.1, "better", None, "supports"),
        ("lpips", -0.1, "worse", None, "contradicts"),
        ("psnr", -0.1, "worse", None, "supports"),
        ("psnr", -0.1, "better", None, "contradicts"),
        ("lpips", 0.0, "better", None, "does not settle"),
        ("lpips", 0.1, "different", None, "supports"),
        ("lpips", 0.0, "different", None, "does not settle"),
        ("lpips", 0.0, "equivalent", 0.05, "supports"),
        ("lpips", 0.1, "equivalent", 0.05, "contradicts"),
        ("lpips", -0.1, "equivalent", 0.05, "contradicts"),
        ("lpips", 0.04, "equivalent", 0.045, "does not settle"),
        ("lpips", -0.1, "not_worse", 0.05, "supports"),
        ("lpips", 0.1, "not_worse", 0.05, "contradicts"),
        ("psnr", -0.1, "not_worse", 0.05, "contradicts"),
        ("psnr", 0.0, "not_worse", 0.05, "supports"),
    ],
)
def test_the_outcome_is_what_the_values_say(metric: str, shift: float, expect: str, margin: float | None, outcome: str):
    (found,) = judge([claim(metric, expect, margin)], {"clips": values(metric, shift)})
    assert found.outcome == outcome and f"the evidence {outcome} that 'arm'" in found.sentence
    assert found.found.n == 8 and "over 8 sources" in found.sentence


def test_metrics_that_are_best_at_1_compare_by_their_distance() -> None:
    both = {"seam": {"arm": {c: 0.8 + n for c, n in zip(CLIPS, NOISE, strict=True)},
                     "base": {c: 1.02 + n for c, n in zip(CLIPS, NOISE, strict=True)}}}  # fmt: skip
    (found,) = judge([claim("seam", "worse")], {"clips": both})
    assert found.outcome == "supports" and "|log seam|" in found.sentence


def test_one_source_gives_no_interval_and_says_so() -> None:
    one = {"lpips": {"arm": {"a__1": 0.1, "a__2": 0.2}, "base": {"a__1": 0.5, "a__2": 0.6}}}
    for made in (claim("lpips", "better"), claim("lpips", "not_worse", 0.1)):
        (found,) = judge([made], {"clips": one})
        assert found.outcome == "does not settle" and "one source, which gives no interval" in found.sentence


def test_p_is_corrected_over_all_claims_that_are_tested() -> None:
    alone = judge([claim("lpips", "better")], {"clips": values("lpips", -0.008)})[0]
    among = judge([claim("lpips", "better"), claim("psnr", "better"), claim("lpips", "equivalent", 0.5)],
                  {"clips": values("lpips", -0.008) | values("psnr", 0.0)})[0]  # fmt: skip
    assert among.p == pytest.approx(2 * alone.p)


def test_gaps_are_refused() -> None:
    broken = values("lpips", 0.1)
    del broken["lpips"]["arm"][CLIPS[0]]
    with pytest.raises(UserError, match=f"not have 'lpips' on the same clips of 'clips' .{CLIPS[0]} is only in one"):
        judge([claim("lpips", "worse")], {"clips": broken})
    with pytest.raises(UserError, match="'psnr' of 'arm' has no value on 'clips'"):
        judge([claim("psnr", "worse")], {"clips": broken})


def test_the_conclusion_counts() -> None:
    claims = [claim("lpips", "better"), claim("lpips", "worse"), claim("lpips", "equivalent", 0.5)]
    found = judge(claims, {"clips": values("lpips", -0.1)})
    assert conclusion(found) == "Of its 3 claims, the evidence supports 2 and contradicts 1."
    assert conclusion([]) == "The study makes no claim."
