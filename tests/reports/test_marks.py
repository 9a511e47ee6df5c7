"""What is best at 1 is compared by its distance from 1."""
from __future__ import annotations

from pathlib import Path

from reports.evidence import Evidence, gather
from reports.marks import marks
from tests.reports.runs import make_run, value_of

SETTING = "made x4 bicubic"
CLIPS = [f"source{index}" for index in range(8)]


def seams(root: Path, a: dict[str, float], b: dict[str, float]) -> Evidence:
    """Variants with these seams on each clip, and a little noise."""
    each = {"a": a, "b": b}
    made = make_run(root, ["a", "b"], CLIPS, ["seam"], value=lambda v, c, m: each[v][c] + 1e-4 * value_of(v, c, m))
    return gather([made])


def test_equally_far_below_and_above_one_is_no_difference(tmp_path: Path) -> None:
    evidence = seams(tmp_path / "run", dict.fromkeys(CLIPS, 0.9), dict.fromkeys(CLIPS, 1 / 0.9))
    found = evidence.paired(SETTING, "seam", "a", "b")
    assert found is not None and abs(found.difference) < 1e-3  # the values themselves differ by 0.2 on every clip


def test_the_mean_and_the_distances_must_agree(tmp_path: Path) -> None:
    around = {clip: 1 + (0.5 if index % 2 else -0.5) for index, clip in enumerate(CLIPS)}  # the mean is 1, no clip is
    evidence = seams(tmp_path / "run", around, dict.fromkeys(CLIPS, 1.01))
    found = evidence.paired(SETTING, "seam", "a", "b")
    assert found is not None and found.distinguishable and found.difference > 0
    assert marks(evidence, SETTING, "seam", ["a", "b"]) == {}


def test_a_value_that_is_not_positive_has_no_distance(tmp_path: Path) -> None:
    evidence = seams(tmp_path / "run", dict.fromkeys(CLIPS, -1.0), dict.fromkeys(CLIPS, 1.0))
    assert evidence.paired(SETTING, "seam", "a", "b") is None and marks(evidence, SETTING, "seam", ["a", "b"]) == {}
