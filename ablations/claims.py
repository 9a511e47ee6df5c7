"""Claims against paired values: whether the evidence supports them, in a sentence."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ablations.study import Claim
from benchmarks.compare import source_of
from benchmarks.metrics import Direction, metrics
from benchmarks.statistics import LEVEL, Interval, Paired, holm, paired
from patchvsr.errors import UserError

Outcome = Literal["supports", "contradicts", "does not settle"]
ByClip = Mapping[str, float]
Values = Mapping[str, Mapping[str, ByClip]]
"""Metric, label of an arm, clip to value (the mean over seeds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the evidence says of a claim on one set of clips.

    Attributes:
        claim, data: which.
        outcome: what the evidence does.
        found: the comparison; of metrics that are best at 1, of their distances |log value|.
        p: corrected over all claims of the study (Holm); that of `equivalent` and `not_worse` is not used.
        sentence: all of it, in words.
    """

    claim: Claim
    data: str
    outcome: Outcome
    found: Paired
    p: float
    sentence: str


def judge(claims: Sequence[Claim], values: Mapping[str, Values], interval: Interval = "t") -> list[Finding]:
    """Test every claim on every set of clips, but for those that `untestable` names.

    Args:
        claims: of a study.
        values: set of clips to its values.
        interval: as in `benchmarks.statistics.paired`.

    Raises:
        UserError: an arm without values, two arms that do not have them on the same clips, or nothing that can be
            tested.
    """
    asked, without = [(data, claim) for data in values for claim in claims], untestable(claims, values)
    left = [one for one in asked if one not in without] or asked
    pairs = [(data, claim, _pair(claim, values[data], data, interval)) for data, claim in left]
    tested = [index for index, (_, claim, _) in enumerate(pairs) if claim.margin is None]
    corrected = dict(zip(tested, holm([pairs[index][2].p for index in tested]), strict=True))
    return [_finding(*pair, float(corrected.get(index, 1.0))) for index, pair in enumerate(pairs)]


def untestable(claims: Sequence[Claim], values: Mapping[str, Values]) -> list[tuple[str, Claim]]:
    """Sets of clips with the claims whose metric neither side has on any of them, as PSNR without a ground truth."""
    return [
        (data, claim)
        for data, found in values.items()
        for claim in claims
        if not any(found.get(claim.metric, {}).get(label) for label in (claim.arm, claim.against))
    ]


def direction_of(metric: str) -> Direction:
    """Which way a metric is better.

    Raises:
        UserError: nobody knows: it is not installed here.
    """
    if metric not in metrics:
        raise UserError(f"which way '{metric}' is better is not known here: install the package that brings it")
    return metrics.get(metric)().direction


def _pair(claim: Claim, values: Values, data: str, interval: Interval) -> Paired:
    sides = []
    for label in (claim.arm, claim.against):
        by_clip = values.get(claim.metric, {}).get(label, {})
        if not by_clip:
            raise UserError(f"'{claim.metric}' of '{label}' has no value on '{data}'; the claim cannot be tested there")
        sides.append(_distances(claim.metric, label, by_clip) if direction_of(claim.metric) == "one" else by_clip)
    first, second = sides
    if differ := sorted(first.keys() ^ second.keys()):
        raise UserError(
            f"'{claim.arm}' and '{claim.against}' do not have '{claim.metric}' on the same clips of '{data}' "
            f"({differ[0]} is only in one of them); complete the run"
        )
    return paired(first, second, {clip: source_of(clip) for clip in first}, interval)


def _distances(metric: str, label: str, by_clip: ByClip) -> ByClip:
    if wrong := [clip for clip, value in by_clip.items() if value <= 0]:
        raise UserError(f"'{metric}' of '{label}' on '{wrong[0]}' is not positive: it has no distance from 1")
    return {clip: abs(math.log(value)) for clip, value in by_clip.items()}


def _finding(data: str, claim: Claim, found: Paired, p: float) -> Finding:
    outcome = "does not settle" if found.n < 2 else _outcome(claim, found, p)
    sentence = _sentence(claim, data, outcome, found, p)
    return Finding(claim=claim, data=data, outcome=outcome, found=found, p=p, sentence=sentence)


def _outcome(claim: Claim, found: Paired, p: float) -> Outcome:
    # Oriented so that above 0 is better.
    sign = 1 if direction_of(claim.metric) == "higher" else -1
    low, high = sorted((sign * found.low, sign * found.high))
    if claim.margin is not None:
        if low >= -claim.margin and (claim.expect == "not_worse" or high <= claim.margin):
            return "supports"
        beyond = high < -claim.margin or (claim.expect == "equivalent" and low > claim.margin)
        return "contradicts" if beyond else "does not settle"
    if p > 1 - LEVEL or not found.distinguishable:
        return "does not settle"
    if claim.expect == "different":
        return "supports"
    return "supports" if (low > 0) == (claim.expect == "better") else "contradicts"


def _sentence(claim: Claim, data: str, outcome: Outcome, found: Paired, p: float) -> str:
    what = f"|log {claim.metric}|" if direction_of(claim.metric) == "one" else claim.metric
    values = f"{what} {found.first:.4g} against {found.second:.4g}"
    if found.n < 2:
        return (
            f"On {data}, the evidence does not settle that {claim}: {values} on one source, which gives no interval "
            "and no test."
        )
    test = "" if claim.margin is not None else f", p = {p:.2g} after Holm's correction"
    note = " (not distinguishable)" if outcome == "does not settle" and claim.margin is None else ""
    return (
        f"On {data}, the evidence {outcome} that {claim}{note}: {values}, difference {found.difference:+.3g} "
        f"[{found.low:+.3g}, {found.high:+.3g}] over {found.n} sources{test}."
    )


def conclusion(findings: Sequence[Finding]) -> str:
    """All findings in one sentence."""
    if not findings:
        return "The study makes no claim."
    counts = {outcome: sum(one.outcome == outcome for one in findings) for outcome in get_args(Outcome)}
    said = [f"{outcome} {count}" for outcome, count in counts.items() if count]
    claims = "its claim" if len(findings) == 1 else f"its {len(findings)} claims"
    return f"Of {claims}, the evidence {', '.join(said[:-1])}{' and ' if len(said) > 1 else ''}{said[-1]}."
