"""What a report may say, and what it refuses."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from patchvsr.errors import UserError
from reports.evidence import Evidence, gather
from reports.runs import read_run
from tests.reports.runs import change, make_run, value_of


def test_means_are_over_sources_with_their_interval_and_their_items(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", clips=("x__1", "x__2", "y__1", "z__1"))
    evidence = gather([run])
    assert evidence.settings == ["made x4 bicubic"] and evidence.variants("made x4 bicubic") == ["bicubic", "full"]
    cell = evidence.cell("made x4 bicubic", "full", "lpips")
    each = {clip: value_of("full", clip, "lpips") for clip in ("x__1", "x__2", "y__1", "z__1")}
    means = [fmean([each["x__1"], each["x__2"]]), each["y__1"], each["z__1"]]
    assert cell.mean == pytest.approx(fmean(means)) and (cell.sources, cell.clips) == (3, 4)
    assert cell.low is not None and cell.high is not None and cell.low < cell.mean < cell.high
    assert all(item.record.is_file() for items in cell.items.values() for item in items) and len(cell.items) == 4


def test_one_source_gives_no_interval(tmp_path: Path) -> None:
    evidence = gather([make_run(tmp_path / "run", clips=("a",))])
    cell = evidence.cell("made x4 bicubic", "full", "lpips")
    assert cell.mean is not None and cell.low is None and cell.high is None


def test_clips_without_a_defined_value_do_not_count_and_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", value=lambda v, c, m: None if (c, m) == ("b", "seam") else value_of(v, c, m))
    cell = gather([run]).cell("made x4 bicubic", "full", "seam")
    assert cell.clips == 2 and cell.undefined == ("b",)


@pytest.mark.parametrize(
    "broken, allowance, expected",
    [
        ({"weights": {"full": "untrained"}}, "untrained", "the weights of 'full' were never trained"),
        ({"skip": [("full", "b")]}, "incomplete", "full on b: not run"),
    ],
)
def test_what_would_mislead_is_refused_and_told_where_it_is_allowed(
    tmp_path: Path, broken: dict, allowance: str, expected: str
) -> None:
    run = make_run(tmp_path / "run", **broken)
    with pytest.raises(UserError, match=expected) as error:
        gather([run])
    assert f"--allow {allowance}" in str(error.value)
    notes = gather([run], [allowance]).notes
    assert len(notes) == 1 and expected in notes[0][0].lower() + notes[0][1:] and notes[0].endswith(".")


def test_mixtures_are_refused(tmp_path: Path) -> None:
    first = make_run(tmp_path / "1", variants=["bicubic"])
    for number, (changes, expected) in enumerate(
        [
            ({"identity": {"psnr": "psnr v2"}}, "'psnr' in 'made x4 bicubic' was made by several protocols"),
            ({"lq": "other"}, "did not see the same frames of 'a', 'b' and 'c'"),
            ({"cpu": "another"}, "'seconds' in 'made x4 bicubic' come from a processor"),
        ]
    ):
        second = make_run(tmp_path / f"2{number}", variants=["full"], **changes)
        with pytest.raises(UserError, match=expected):
            gather([first, second])
        assert expected in gather([first, second], ["mixed"]).notes[0].replace("The variants", "the variants")
    other = make_run(tmp_path / "3", variants=["bicubic"], lq="other")
    with pytest.raises(UserError, match="and not the same item"):
        gather([first, other])
    with pytest.raises(UserError, match="given twice"):
        gather([first, first])
    assert gather([first, make_run(tmp_path / "4", variants=["full"], scale=2)]).settings == [
        "made x4 bicubic", "made x2 bicubic"
    ]  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_a_gap(tmp_path: Path, value: float) -> None:
    run = read_run(make_run(tmp_path / "run"))
    item = run.items[0]
    wrong = replace(item, scores={**item.scores, "psnr": replace(item.scores["psnr"], value=value)})
    runs = [replace(run, items=[wrong, *run.items[1:]])]
    with pytest.raises(UserError, match="is no finite number"):
        Evidence(runs)
    evidence = Evidence(runs, ["incomplete"])
    assert evidence.cell("made x4 bicubic", item.variant, "psnr").mean is None  # not averaged over the rest
    assert evidence.cell("made x4 bicubic", "full", "psnr").mean is not None


def test_failed_items_are_gaps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    change(run, status="oom")
    with pytest.raises(UserError, match="psnr, lpips, seam, seconds of .*: oom"):
        gather([run])


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no run.json"):
        gather([tmp_path])
    run = make_run(tmp_path / "run")
    for path in (run / "items").glob("*.json"):
        path.unlink()
    with pytest.raises(UserError, match="has no finished item"):
        gather([run])
    (run / "run.json").write_text("{")
    with pytest.raises(UserError, match="run the same command again"):
        gather([run])


def test_damaged_records_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = sorted((run / "items").glob("*.json"))[0]
    path.write_text("{")
    with pytest.raises(UserError, match=path.name):
        gather([run])


def test_nobody_knows_the_direction_of_a_metric_that_is_not_here(tmp_path: Path) -> None:
    evidence = gather([make_run(tmp_path / "run", names=("psnr", "unheard_of"))])
    assert evidence.direction("unheard_of") is None and evidence.direction("psnr") == "higher"
