"""Paired comparisons: known answers of the statistics, and the command on records with everything that can be wrong."""
from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy import stats

from benchmarks import compare
from benchmarks.statistics import paired


def alone(values):
    return {name: name for name in values}


def test_interval_and_test_are_the_textbook_ones():
    first = {f"c{i}": value for i, value in enumerate([0.2, 0.4, 0.3, 0.6])}
    second = {f"c{i}": value for i, value in enumerate([0.3, 0.6, 0.35, 0.9])}
    found = paired(first, second, alone(first))
    expected = stats.ttest_rel(list(first.values()), list(second.values())).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.n == 4 and found.difference == pytest.approx(-0.1625)
    assert found.relative == pytest.approx(-0.1625 / 0.5375)
    assert found.p == pytest.approx(stats.ttest_rel(list(first.values()), list(second.values())).pvalue)


def test_one_clip_has_no_interval():
    found = paired({"a": 1.0}, {"a": 2.0}, {"a": "a"})
    assert np.isnan(found.low) and not found.distinguishable and found.p == 1


def test_clips_of_one_source_count_once():
    first, second = {"s__a": 1.0, "s__b": 3.0, "t__a": 5.0}, {"s__a": 0.0, "s__b": 0.0, "t__a": 1.0}
    found = paired(first, second, {clip: compare.source_of(clip) for clip in first})
    assert found.n == 2 and found.first == 3.5 and found.difference == 3.0


def test_different_clips_are_never_compared():
    with pytest.raises(ValueError, match="clips differ"):
        paired({"a": 1.0}, {"b": 1.0}, {"a": "a", "b": "b"})


@pytest.fixture
def run(tmp_path):
    """A run's records: three clips, two variants, of which one is better in LPIPS and alike in PSNR."""
    rows = []
    for index, clip in enumerate(("a__1", "b__1", "c__1")):
        for variant, lpips, psnr in (("full", 0.2, 30.0 + index % 2), ("bicubic", 0.4, 30.5)):
            for metric, value in (("lpips", lpips + index / 100), ("psnr", psnr), ("seam", 1.0)):
                rows.append({"clip": clip, "variant": variant, "metric": metric, "value": value, "status": "ok"})
    with (tmp_path / "records.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def command(*args):
    return compare.main([str(arg) for arg in args])


def test_the_table_says_what_is_better_and_what_cannot_be_told(run, capsys):
    table = run / "table.csv"
    assert command(run, "--variants", "full", "--against", "bicubic", "--csv", table) == 0
    rows = {row["metric"]: row for row in csv.DictReader(table.open())}
    assert rows["lpips"]["so"] == "better" and rows["lpips"]["n"] == "3"
    assert rows["psnr"]["so"] == rows["seam"]["so"] == "not distinguishable"
    assert "-48.8 %" in rows["lpips"]["relative"] and "-48.8 %" in capsys.readouterr().out
    assert command(run, "--variants", "bicubic", "--against", "full", "--csv", table, "--metrics", "lpips") == 0
    assert [row["so"] for row in csv.DictReader(table.open())] == ["worse"]


def test_words_follow_the_p_that_is_corrected_for_all_rows(run, capsys):
    """One metric alone is better; beside two others that say nothing, the same difference no longer counts."""
    path, table = run / "records.csv", run / "table.csv"
    for clip, value in (("a__1", 0.20), ("b__1", 0.26), ("c__1", 0.31)):
        lines = path.read_text().splitlines()
        lines = [f"{clip},full,lpips,{value},ok" if line.startswith(f"{clip},full,lpips") else line for line in lines]
        path.write_text("\n".join(lines) + "\n")
    said = {}
    for chosen in ("lpips", "lpips,psnr,seam"):
        assert command(run, "--variants", "full", "--against", "bicubic", "--metrics", chosen, "--csv", table) == 0
        said[chosen] = next(csv.DictReader(table.open()))
    one, three = said["lpips"], said["lpips,psnr,seam"]
    assert one["p"] == one["p Holm"] == three["p"] and one["so"] == "better"
    assert float(three["p Holm"]) == pytest.approx(3 * float(one["p"]), rel=0.05)
    assert three["so"] == "not distinguishable"
    expected = np.array([-0.2, -0.15, -0.11])
    assert one["d_z"] == f"{expected.mean() / expected.std(ddof=1):+.2f}" and one["r_rb"] == "-1.00"


def test_the_bootstrap_says_where_there_are_too_few_sources_to_tell(run, capsys):
    args = ("--variants", "full", "--against", "bicubic", "--metrics", "lpips", "--interval", "bootstrap")
    assert command(run, *args) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[-4:] == ["0.25", "3", "not", "distinguishable"]
    assert "- of 3 sources no sign flips give a p of 0.05: nothing can be told apart there" in out
    path = run / "records.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *lines, *(line.replace("__", "2__", 1) for line in lines)]) + "\n")
    assert command(run, *args) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[-3:] == ["0.031", "6", "better"] and "sources" not in out


def test_within_a_margin_one_sided_questions_get_one_sided_answers(run, capsys):
    table = run / "table.csv"
    command(run, "--variants", "bicubic", "--against", "full", "--margin", "0.15", "--csv", table)
    rows = {row["metric"]: row["so"] for row in csv.DictReader(table.open())}
    assert rows["lpips"] == "may be inferior by more than 0.15"  # it is worse by 0.2
    assert rows["|log seam|"] == "not inferior by more than 0.15"
    command(run, "--variants", "full", "--against", "bicubic", "--margin", "0.15", "--csv", table)
    rows = {row["metric"]: row["so"] for row in csv.DictReader(table.open())}
    assert rows["lpips"] == "not inferior by more than 0.15"  # better is not inferior
    assert rows["psnr"] == "may be inferior by more than 0.15"  # of three clips one is 0.5 dB worse
    path = run / "records.csv"
    path.write_text(path.read_text().replace("seam,1.0", "seam,0.5"))
    command(run, "--variants", "full", "--against", "bicubic", "--margin", "0.15", "--metrics", "seam", "--csv", table)
    assert [row["mean"] for row in csv.DictReader(table.open())] == ["0.6931"]
    for margin, words in (("0", "is not a positive number"), ("0.1", "is not positive: it has no distance")):
        path.write_text(path.read_text().replace("seam,0.5", "seam,0.0"))
        assert command(run, "--variants", "full", "--against", "bicubic", "--margin", margin) == 2
        assert words in capsys.readouterr().err


def test_runs_are_pooled(run, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("other")
    (other / "records.csv").write_text((run / "records.csv").read_text().replace("a__1", "d__1"))
    assert command(run, other, "--variants", "full", "--against", "bicubic", "--metrics", "lpips") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-2:] == ["4", "better"]
    assert command(run, run, "--variants", "full", "--against", "bicubic") == 2
    assert "give each run once" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["failed", "oom", "untrained"])
def test_nothing_is_averaged_over_what_is_left(run, capsys, status):
    path = run / "records.csv"
    path.write_text(path.read_text().replace("c__1,full,lpips,0.22,ok", f"c__1,full,lpips,,{status}"))
    assert command(run, "--variants", "full", "--against", "bicubic") == 2
    assert f"'lpips' of 'full' on 'c__1' in {path} is {status}; nothing is averaged" in capsys.readouterr().err


def test_clips_without_a_defined_value_are_named(run, capsys):
    path = run / "records.csv"
    lines = [line if not line.startswith("c__1") or "lpips" not in line else line.rpartition(",")[0].rpartition(",")[0]
             + ",,unavailable" for line in path.read_text().splitlines()]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    assert command(run, "--variants", "full", "--against", "bicubic") == 0
    out = capsys.readouterr().out
    assert "- lpips: not defined for 1 clips, which do not count: c__1" in out
    assert next(line for line in out.splitlines() if line.startswith("lpips")).split()[-2:] == ["2", "better"]


def test_an_unknown_metric_is_neither_better_nor_worse(run, capsys):
    path = run / "records.csv"
    path.write_text(path.read_text().replace(",lpips,", ",mine,"))
    assert command(run, "--variants", "full", "--against", "bicubic", "--metrics", "mine") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "differs"


@pytest.mark.parametrize(
    ("change", "args", "told"),
    [
        (None, ["--metrics", "niqe"], "have no value of metric 'niqe'; they have lpips, psnr, seam"),
        (None, ["--variants", "fll", "--metrics", "psnr"], "have no 'psnr' of 'fll'; they have full, bicubic"),
        ("c__1,full,lpips", [], "do not have 'lpips' on the same clips"),
    ],
)
def test_what_cannot_be_compared_gets_a_sentence(run, capsys, change, args, told):
    if change:
        lines = [line for line in (run / "records.csv").read_text().splitlines() if not line.startswith(change)]
        (run / "records.csv").write_text("\n".join(lines) + "\n")
    args = args if "--variants" in args else ["--variants", "full", *args]
    assert command(run, "--against", "bicubic", *args) == 2
    assert told in capsys.readouterr().err
    assert command(run / "absent", "--against", "bicubic", "--variants", "full") == 2
