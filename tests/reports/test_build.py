"""`python -m reports.build`: one folder from finished runs, whole or not at all, and open to tables of others."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports.build import main
from tests.reports.runs import make_run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reports.md"


def build(*words: object) -> int:
    return main([*map(str, words), "--no-html"])


def test_a_report_has_everything_and_says_what_it_was_made_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run, out = make_run(tmp_path / "run", frames=6), tmp_path / "out"
    assert build(run, "--out", out, "--figures", "pareto,ranks") == 0
    said = capsys.readouterr().out
    assert "2 figures" in said and "left out: table studies: no folder of a study was given" in said
    described = json.loads((out / "report.json").read_text())
    assert described["tables"][:2] == ["quantitative", "efficiency"] and described["figures"] == ["pareto-1", "ranks-1"]
    assert list(described["runs"]) == ["../run"] and described["command"].startswith("python -m reports.build")
    for name in described["tables"]:
        assert all((out / "tables" / f"{name}.{suffix}").is_file() for suffix in ("csv", "records.csv", "md", "tex"))
        assert rf"\input{{tables/{name}.tex}}" in (out / "paper.tex").read_text()
    for name in described["figures"]:
        assert all((out / "figures" / f"{name}.{suffix}").stat().st_size for suffix in ("pdf", "png", "csv"))
    page = (out / "report.md").read_text()
    assert "(tables/quantitative.records.csv)" in page and "](figures/pareto-1.png)" in page
    assert "python -m benchmarks.run --suite made" in page


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "out"
    assert build(run, "--out", out, "--figures", "none") == 0
    (out / "tables" / "stale.md").write_text("old")
    assert build(run, "--out", out, "--figures", "none") == 0
    assert not (out / "tables" / "stale.md").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years")
    assert build(run, "--out", mine) == 2
    assert "holds something else than a report" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out", "run"]


def test_what_a_report_is_made_of_is_not_replaced_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert build(make_run(tmp_path / "run"), "--out", out, "--tables", "protocols", "--figures", "none") == 0
    inside = make_run(out / "runs" / "mine")
    assert build(inside, "--out", out) == 2
    assert "which the report would replace" in capsys.readouterr().err and (inside / "run.json").is_file()


def test_the_folder_may_be_the_one_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert build(run, "--out", ".", "--tables", "protocols", "--figures", "none") == 0
    assert (tmp_path / "here" / "report.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "run"]


def test_an_earlier_report_stays_where_a_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "out"
    assert build(run, "--out", out, "--tables", "protocols", "--figures", "none") == 0
    before = (out / "paper.tex").read_bytes()

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reports.write.to_latex", full)
    assert build(run, "--out", out, "--figures", "none") == 2
    assert (out / "paper.tex").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_commands_in_the_paper_can_be_copied(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert build(run, "--out", tmp_path / "out", "--label", "full=our's", "--figures", "none") == 0
    paper = (tmp_path / "out" / "paper.tex").read_text()
    assert r"-{}-{}suite" in paper and "--" not in paper  # two hyphens would be set as a dash
    assert r"\textquotesingle{}" in paper


def test_equal_evidence_gives_equal_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", frames=6)
    kept = []
    for _ in range(2):
        assert build(run, "--out", tmp_path / "out", "--figures", "pareto,crops") == 0
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        kept.append({path.relative_to(tmp_path): path.read_bytes() for path in files})
    assert kept[0] == kept[1]


def test_allowances_are_said_on_every_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_run(tmp_path / "run", weights={"full": "untrained"}), tmp_path / "out"
    assert build(run, "--out", out) == 2
    said = capsys.readouterr().err
    assert "were never trained; mend that, or have it shown and said so with --allow untrained" in said
    assert not out.exists()
    assert build(run, "--out", out, "--allow", "untrained", "--figures", "none") == 0
    for name in ("report.md", "paper.tex", "tables/quantitative.md", "tables/quantitative.tex"):
        assert "were never trained" in (out / name).read_text().replace("\n", " ")


@pytest.mark.parametrize(
    "more, expected",
    [
        (["--out", "{out}"], "nothing to report on"),
        (["{run}"], "give --out DIR"),
        (["{run}", "--out", "{out}", "--allow", "all"], "--allow all is not known; it takes untrained"),
        (["{run}", "--out", "{out}", "--tables", "quantitativ"], "unknown tables 'quantitativ'; did you mean"),
        (["{run}", "--out", "{out}", "--figures", "x"], "unknown figures 'x'"),
        (["{run}", "--out", "{out}", "--label", "full"], "--label full is not VARIANT=TEXT"),
        (["{run}", "--out", "{run}/run.json"], "holds something else than a report"),
        (["{out}", "--out", "{out}2"], "has no run.json"),
        (["--nonsense"], "see --help"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "out"
    assert main([word.format(run=run, out=out) for word in more]) == 2
    said = capsys.readouterr().err
    assert expected in said and len(said.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_examples_of_the_page_add_a_table_and_a_figure_from_files_outside(tmp_path: Path) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "out"
    examples = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in examples] == ["counts.py", "bars.py"]
    for name, text in examples:
        (tmp_path / name).write_text(text)
    plugins = os.pathsep.join(str(tmp_path / name) for name, _ in examples)
    words = [sys.executable, "-m", "reports.build", str(run), "--out", str(out), "--no-html", "--figures", "bars"]
    done = subprocess.run(words, env=os.environ | {"PATCHVSR_PLUGINS": plugins}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| made x4 bicubic | 3 |" in (out / "tables" / "counts.md").read_text()
    paper = (out / "paper.tex").read_text()
    assert (out / "figures" / "bars.pdf").is_file() and "counts" in paper and "bars" in paper


def test_twenty_variants_on_thirty_clips_are_all_there(tmp_path: Path) -> None:
    variants = [f"full:steps={step}" for step in range(1, 21)]
    names = "psnr ssim lpips dists niqe seam seam_step grid consistency flicker tlp seconds".split()
    run = make_run(tmp_path / "run", variants, [f"s{index}" for index in range(30)], names)
    assert build(run, "--out", tmp_path / "out", "--figures", "none") == 0
    rows = (tmp_path / "out" / "tables" / "quantitative.csv").read_text().splitlines()
    records = (tmp_path / "out" / "tables" / "quantitative.records.csv").read_text().splitlines()
    assert len(rows) == 21 and len(records) == 1 + 20 * 30 * 11


@pytest.mark.slow
def test_the_paper_compiles(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    hostile = ["full", "no_global:steps=2", "folder:a_b & c#1 $x$ {y} ~z^ 50%", "漢"]
    run = make_run(tmp_path / "run", hostile, frames=6, weights={"full": "untrained"})
    assert build(run, "--out", tmp_path / "out", "--allow", "untrained", "--title", "A & B_C") == 0
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(words, cwd=tmp_path / "out", capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "out" / "paper.pdf").stat().st_size > 20_000
