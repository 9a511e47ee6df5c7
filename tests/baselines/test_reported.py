"""Reported numbers are the papers' own to the last digit, have a source, and never look like measured ones."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import product
from pathlib import Path

import pytest

from baselines.recipe import PLACEHOLDERS, recipe_of
from baselines.reported import COLUMNS, Reported, read_reported, reported
from benchmarks.metrics import metrics
from benchmarks.records import status_of
from benchmarks.store import Result, Score
from patchvsr.errors import UserError
from patchvsr.notation import ARGUMENT

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "docs" / "external").glob("*.yaml"))

SYNVIDEO30 = """
RealBasicVSR    | 33.507 | 0.776 | 0.185 | 49.557 | 0.496
Upscale-A-Video | 33.432 | 0.728 | 0.205 | 49.839 | 0.494
VEnhancer       | 28.856 | 0.697 | 0.199 | 43.538 | 0.503
PatchVSR        | 30.857 | 0.732 | 0.183 | 50.695 | 0.520
"""
ABLATION = """
PatchVSR w/o global branch  | 0.502 | 46.074 | 0.589
PatchVSR w/o LoRA           | 0.582 | 50.496 | 0.600
PatchVSR w/o location embed | 0.574 | 50.084 | 0.601
PatchVSR w/o fixed prompt   | 0.562 | 48.133 | 0.597
PatchVSR                    | 0.590 | 50.559 | 0.602
"""
COST = """
LaVie-SR        | 2261 | 68
Upscale-A-Video | 2743 | 47
VEnhancer       | 1562 | 62
PatchVSR        | 680  | 40
"""
PATCHVSR_TABLES = [
    ("synvideo30", SYNVIDEO30, "psnr_as_reported ssim_as_reported lpips_as_reported musiq_as_reported "
                               "aesthetics_as_reported"),
    ("videogen30", ABLATION, "dover_as_reported musiq_as_reported aesthetics_as_reported"),
    ("2k_video", COST, "seconds_as_reported device_memory_as_reported"),
]  # fmt: skip
ANCHORS = {
    "bicubic": "26.14 / 0.7292 | 23.78 / 0.6347 | 21.80 / 0.5246 | 31.32 / 0.8684 | 28.47 / 0.8253",
    "BasicVSR": "31.42 / 0.8909 | 27.24 / 0.8251 | 27.96 / 0.8553 | 37.18 / 0.9450 | 39.96 / 0.9694",
}
ANCHOR_SUITES = ("reds4", "vid4", "vid4_bd", "vimeo_t", "udm10")
EFFICIENCY = {
    "STAR": ("24.9", "682"),
    "DOVE": ("25.4", "72.8"),
    "SeedVR2-3B": ("52.9", "70.6"),
    "FlashVSR-Full": ("18.3", "15.5"),
    "FlashVSR-Tiny": ("11.1", "5.97"),
}

GOOD = 'Paper,1,suite,x4,Method,psnr,30.10,dB,"Paper, arXiv 2509.26025, Table 1"'


def printed(paper: str, suite: str, method: str, metric: str) -> str:
    """The digits of the one row there is."""
    (row,) = reported(paper, suite, method, metric)
    return row.printed


def table(path: Path, *lines: str, header: str = ",".join(COLUMNS)) -> Path:
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize(("suite", "text", "ids"), PATCHVSR_TABLES, ids=[entry[0] for entry in PATCHVSR_TABLES])
def test_the_papers_tables_are_there_to_the_last_digit_and_nothing_else(suite: str, text: str, ids: str) -> None:
    lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    for method, *values in lines:
        assert [printed("PatchVSR", suite, method, metric) for metric in ids.split()] == values
    assert len(reported("PatchVSR", suite)) == len(lines) * len(ids.split())


@pytest.mark.parametrize("method", ANCHORS)
def test_the_published_anchors_are_there_with_their_channels(method: str) -> None:
    for suite, pair in zip(ANCHOR_SUITES, ANCHORS[method].split(" | "), strict=True):
        ids = ("psnr", "ssim") if suite == "reds4" else ("psnr_y", "ssim_y")
        assert [printed("BasicVSR", suite, method, metric) for metric in ids] == pair.split(" / ")
        settings = {row.setting for row in reported("BasicVSR", suite, method)}
        degradation = "BD" if suite in ("vid4_bd", "udm10") else "BI"
        assert settings == {f"x4; {degradation}; {'RGB' if suite == 'reds4' else 'Y'}"}
    assert len(reported("BasicVSR")) == 20


@pytest.mark.parametrize("method", EFFICIENCY)
def test_the_published_costs_round_to_what_the_protocol_says(method: str) -> None:
    memory, seconds = EFFICIENCY[method]
    for metric, expected in (("device_memory_as_reported", memory), ("seconds_as_reported", seconds)):
        (row,) = reported("FlashVSR", method=method, metric=metric)
        places = len(expected.partition(".")[2])
        assert abs(row.value - float(expected)) <= 0.5 * 10**-places + 1e-9
        assert (row.unit, row.setting) == ("GB" if metric.startswith("device") else "s", "101 frames; A100")
    assert len(reported("FlashVSR")) == 2 * len(EFFICIENCY)


def test_every_row_has_a_source_to_look_up_and_the_digits_of_its_value() -> None:
    rows = reported()
    assert len(rows) == 73
    for row in rows:
        assert re.search(r"arXiv \d{4}\.\d{5}, \S", row.source) and row.source.startswith(row.paper)
        assert row.value == float(row.printed)
        assert row.status == "reported"


def test_a_metric_is_named_as_ours_only_where_the_paper_says_what_it_measured() -> None:
    for row in reported():
        assert row.metric.endswith("_as_reported") != (row.metric in metrics.names())
    assert {row.paper for row in reported() if not row.metric.endswith("_as_reported")} == {"BasicVSR"}


def test_filters_agree_with_everything_given_and_may_find_nothing() -> None:
    both = reported(method="VEnhancer", suite="2k_video")
    assert [row.metric for row in both] == ["seconds_as_reported", "device_memory_as_reported"]
    assert {row.paper for row in reported(method="Upscale-A-Video")} == {"PatchVSR"}
    assert reported(paper="PatchVSR", method="bicubic") == []


def test_the_status_cannot_be_given_or_changed() -> None:
    (row, *_) = reported()
    with pytest.raises(AttributeError):
        row.status = "ok"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Reported(**{name: getattr(row, name) for name in (*COLUMNS, "printed", "status")})


def test_no_record_of_a_run_has_the_status_of_a_reported_number() -> None:
    statuses = set()
    scores = ("ok", "undefined", "unavailable", "failed", "oom")
    for status, weights, of in product(("ok", "failed", "oom"), ("trained", "untrained", "none"), (None, *scores)):
        result = Result(
            hash="", key={}, suite="suite", clip="clip", variant="bicubic", seed=0, weights=weights, status=status
        )
        score = None if of is None else Score(metric="psnr", identity="", unit="dB", status=of)
        statuses.add(status_of(result, score))
    assert statuses == {"ok", "untrained", "unavailable", "failed", "oom"}


def test_nothing_that_writes_records_reads_reported_numbers() -> None:
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert "baselines.reported" not in names, path


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (("2509.26025", "tba"), "line 3 of {path} has a source without an arXiv number"),
        (('"Paper, arXiv 2509.26025, Table 1"', ""), "line 3 of {path} has no source"),
        (("Method", ""), "line 3 of {path} has no method"),
        (("30.10", ""), "line 3 of {path} has no value"),
        (("30.10", "nan"), "line 3 of {path} has the value 'nan'"),
        (("30.10", "inf"), "line 3 of {path} has the value 'inf'"),
        (("30.10", "1" * 400), "line 3 of {path} has the value '1111"),
        (("30.10", "30.1 dB"), "line 3 of {path} has the value '30.1 dB'"),
        (("Method", "Method "), "line 3 of {path} has spaces around its method"),
        ((",dB", ""), "line 3 of {path} has 8 fields for 9 columns"),
        ((",dB", ",dB,"), "line 3 of {path} has 10 fields for 9 columns"),
        (("30.10", "31.5"), "line 3 of {path} repeats line 2 (Paper, 1, suite, x4, Method, psnr)"),
    ],
)
def test_a_bad_line_is_named_with_its_file(change: tuple[str, str], wrong: str, tmp_path: Path) -> None:
    bad = GOOD.replace(*change)
    first = GOOD if "repeats" in wrong else GOOD.replace("psnr", "ssim")
    path = table(tmp_path / "reported.csv", first, bad)
    with pytest.raises(UserError) as error:
        read_reported(path)
    assert str(error.value).startswith(wrong.format(path=path))
    assert "; " in str(error.value)


@pytest.mark.parametrize(
    ("header", "wrong"),
    [
        (",".join([*COLUMNS, "note"]), "unknown column 'note'"),
        (",".join(COLUMNS).replace("metric", "metrik"), "unknown column 'metrik'; did you mean 'metric' or 'method'?"),
        (",".join(COLUMNS[:-1]), "lacks the column 'source'"),
        (",".join(reversed(COLUMNS)), "columns in another order"),
        (",".join([*COLUMNS, "unit"]), "or twice"),
        ("", "lacks the column 'paper'"),
    ],
)
def test_a_wrong_header_is_named_with_its_file(header: str, wrong: str, tmp_path: Path) -> None:
    path = table(tmp_path / "reported.csv", GOOD, header=header)
    with pytest.raises(UserError) as error:
        read_reported(path)
    assert str(error.value).startswith(f"line 1 of {path} ") and wrong in str(error.value)


def test_a_file_without_end_of_quotes_or_of_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2 of .* is no CSV"):
        read_reported(table(tmp_path / "quotes.csv", GOOD[:-1]))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        read_reported(tmp_path / "bytes.csv")


def test_a_good_file_is_read_with_quoted_commas(tmp_path: Path) -> None:
    (row,) = read_reported(table(tmp_path / "reported.csv", GOOD))
    assert (row.value, row.printed, row.unit, row.source) == (30.1, "30.10", "dB", "Paper, arXiv 2509.26025, Table 1")


def test_the_file_is_found_in_an_installed_package_even_in_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "installed.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name in ("baselines/__init__.py", "baselines/reported.py", "baselines/reported.csv", "patchvsr/errors.py"):
            made.write(ROOT / name, name)
        made.writestr("patchvsr/__init__.py", "")
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "import baselines.reported as module\n"
        "print(module.__file__, len(module.reported(paper='PatchVSR')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(archive / "baselines" / "reported.py"), "43"]
    packaging = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "**/*.csv" in packaging["tool"]["setuptools"]["package-data"]["*"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_documented_recipe_is_read_and_runs_in_the_checkout_that_it_names(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (variable,) = re.findall(r"^cwd: \$(\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UserError, match=f"export {variable}="):
        recipe_of({ARGUMENT: str(path)})
    monkeypatch.setenv(variable, str(tmp_path))
    recipe = recipe_of({ARGUMENT: str(path)})
    assert (recipe.cwd, recipe.input in ("video", "videos")) == (str(tmp_path), True)
    values = dict.fromkeys(PLACEHOLDERS, "4") | {"input": "/in put/clip.mp4", "output": "/out put"}
    arguments = recipe.arguments(values)
    assert arguments.count("/in put/clip.mp4") == arguments.count("/out put") == 1
    if arguments[:2] == ["bash", "-c"]:
        checked = subprocess.run(["bash", "-n", "-c", arguments[2]], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0, checked.stderr
        assert "/in put" not in arguments[2]  # a path inside the script would be split at its spaces


def test_every_method_of_the_page_has_its_recipe() -> None:
    page = (ROOT / "docs" / "external.md").read_text(encoding="utf-8")
    assert len(RECIPES) == 6
    for path in RECIPES:
        assert f"(external/{path.name})" in page
