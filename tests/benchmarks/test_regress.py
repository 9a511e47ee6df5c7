"""The regression gate: what became worse is caught, what is missing is not fine, and what differs is not compared."""
from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.nn import functional as F

from benchmarks import golden
from benchmarks.golden import read_golden
from benchmarks.golden.runs import read_run
from benchmarks.metrics import metrics
from tests.benchmarks.dummies import Dummy, Level, bench
from tests.benchmarks.gating import (
    Ratio,
    accepted,
    clip,
    edited,
    extra,
    gate,
    rewritten,
    several,
    valued,
    variant,
    verdicts,
)

ROOT = Path(__file__).resolve().parents[2]
METRICS = "level,error,ratio,seconds"


@pytest.fixture(autouse=True)
def ratio(parts: None, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metrics._entries, "ratio", Ratio)


@pytest.fixture
def run(data: Path) -> Path:
    """A run of two variants on two clips."""
    assert bench(data, "dummy,dummy:gain=0.5", metrics=METRICS) == 0
    return data / "run"


@pytest.fixture
def file(run: Path) -> Path:
    """The golden file of that run."""
    path = run.parent / "golden.json"
    assert gate(run, "--against", path, "--update") == 0
    return path


def test_the_same_run_passes(run: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert gate(run, "--against", file) == 0
    out = capsys.readouterr().out
    assert verdicts(out) == {} and out.endswith("\nnone of 16 values is worse than golden\n")
    assert out.splitlines()[0].split() == "variant clip metric golden now worse by tolerance verdict".split()


@pytest.mark.parametrize(
    ("metric", "worse", "better"),
    [
        ("level", lambda v: v - 1, lambda v: v + 1),
        ("error", lambda v: v + 1, lambda v: v - 1),
        ("ratio", lambda v: v * 1.2, lambda v: v),
    ],
)
def test_a_planted_regression_is_caught_and_an_improvement_passes(
    run: Path, file: Path, capsys: pytest.CaptureFixture[str], metric: str, worse: Any, better: Any
) -> None:
    capsys.readouterr()
    assert gate(edited(run, valued(metric, worse)), "--against", file) == 1
    out = capsys.readouterr().out
    assert verdicts(out) == {("dummy", "a", metric): "REGRESSED"}
    assert f"- {metric} of dummy on a: " in out and out.endswith("1 of 16 values fail\n")
    assert gate(edited(run, valued(metric, better)), "--against", file) == 0
    out = capsys.readouterr().out
    assert verdicts(out) == ({} if metric == "ratio" else {("dummy", "a", metric): "improved"})
    assert ("--update" in out) == (metric != "ratio")


def test_a_metric_that_is_best_at_one_is_worse_on_either_side(run: Path, file: Path) -> None:
    """The darker variant's ratio is 0.5: nearer to 1 is better, from below and from above; nan is damage."""
    for value, code in ((0.45, 1), (2.2, 1), (1.9, 0), (0.55, 0), (1.0, 0), (0.0, 1), (float("nan"), 2)):
        changed = edited(run, valued("ratio", lambda _, value=value: value), variant="dummy:gain=0.5")
        assert gate(changed, "--against", file) == code, value


def test_what_is_worse_within_the_tolerance_passes(run: Path, file: Path) -> None:
    tolerance = read_golden(file).metrics["level"].tolerance
    assert tolerance.value == tolerance.floor and tolerance.unit == "level" and tolerance.spread == 0
    for share, code in ((0.9, 0), (1.1, 1)):
        change = valued("level", lambda v, share=share: v - share * tolerance.value)
        assert gate(edited(run, change), "--against", file) == code


def test_blurred_output_is_caught(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Nothing is edited: the harness scores what a broken upscaler really wrote."""
    assert bench(data, "dummy", metrics="psnr,consistency") == 0
    file = data / "golden.json"
    assert gate(data / "run", "--against", file, "--update") == 0
    plain = Dummy.upscale

    def blurred(self: Dummy, *arguments: Any) -> Iterator[Tensor]:
        for frames in plain(self, *arguments):
            yield F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), "replicate"), 3, 1)

    monkeypatch.setattr(Dummy, "upscale", blurred)
    shutil.rmtree(data / "run")
    assert bench(data, "dummy", metrics="psnr,consistency") == 0
    capsys.readouterr()
    assert gate(data / "run", "--against", file) == 1
    found = verdicts(capsys.readouterr().out)
    assert found["dummy", "a", "consistency"] == found["dummy", "b", "consistency"] == "REGRESSED"


def test_a_missing_clip_variant_or_metric_fails(data: Path, run: Path, file: Path, capsys: Any) -> None:
    for changes, told in (
        (["--clips", "a"], "clip 'b' is not in the run"),
        (["--metrics", "level,error"], "metric 'ratio' is not in the run"),
    ):
        shutil.rmtree(run)
        assert bench(data, "dummy,dummy:gain=0.5", *changes, metrics=METRICS) == 0
        capsys.readouterr()
        assert gate(run, "--against", file) == 1
        assert told in capsys.readouterr().out
    assert bench(data, "dummy", metrics=METRICS) == 0
    capsys.readouterr()
    assert gate(run, "--against", file) == 1
    out = capsys.readouterr().out
    assert "variant 'dummy:gain=0.5' is not in the run" in out and set(verdicts(out).values()) == {"MISSING"}


def test_items_that_failed_or_were_not_reached_fail(run: Path, file: Path, capsys: Any) -> None:
    def fell(item: dict[str, Any]) -> None:
        item.update(status="oom", message="no more memory", scores={}, output=None)

    def unscored(item: dict[str, Any]) -> None:
        item["scores"]["error"].update(status="failed", value=None, message="no such kernel")
        del item["scores"]["level"]

    capsys.readouterr()
    assert gate(edited(run, fell), "--against", file) == 1
    out = capsys.readouterr().out
    assert verdicts(out) == {("dummy", "a", name): "OOM" for name in ("level", "error", "ratio")}
    assert "- level of dummy on a: oom: no more memory" in out
    assert gate(edited(run, unscored), "--against", file) == 1
    out = capsys.readouterr().out
    assert verdicts(out) == {("dummy", "a", "level"): "MISSING", ("dummy", "a", "error"): "FAILED"}
    copy = edited(run, lambda item: None)
    next((copy / "items").glob("*.json")).unlink()
    assert gate(copy, "--against", file) == 1
    assert "missing: the item has not been run" in capsys.readouterr().out


def test_what_is_new_is_told_and_passes(data: Path, run: Path, file: Path, capsys: Any) -> None:
    assert bench(data, "dummy,dummy:gain=0.5,bicubic", metrics=f"{METRICS},cut") == 0
    capsys.readouterr()
    assert gate(run, "--against", file) == 0
    out = capsys.readouterr().out
    assert "note: variant bicubic: not in the golden file" in out and "note: metric cut: not in" in out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data["metrics"].update(level="level v2"), "metric level is 'level v2', not 'level v1'"),
        (clip, "clip a: lq_sha256 is 000000000000, not "),
        (variant, "variant dummy:gain=0.5: gain is 0.6, not 0.5"),
        (extra, "variant dummy: new.option is 1, not nothing"),
        (accepted, "variant dummy on a: file is ffffffffffff, not nothing"),
        (several, "seed is 1, not 0; device is cuda, not cpu; and 1 more"),
        (lambda data: data["variants"][0]["weights"].update(status="untrained"), "its weights are 'untrained', not"),
    ],
)
def test_other_circumstances_are_refused(
    run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, told: str
) -> None:
    rewritten(run / "run.json", change)
    junit = tmp_path / "junit.xml"
    capsys.readouterr()
    assert gate(run, "--against", file, "--junit", junit, "--markdown", tmp_path / "gate.md") == 2
    shown = capsys.readouterr()
    assert told in shown.err and shown.out == ""
    assert shown.err.startswith(f"error: {run} cannot be compared with {file}: ")
    assert shown.err.count("\n") == 1
    (case,) = ET.parse(junit).iter("testcase")
    assert case.find("error") is not None and "**not compared**" in (tmp_path / "gate.md").read_text()


def test_another_identity_is_refused_where_the_harness_says_so(
    data: Path, run: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(Level, "version", 2)
    assert bench(data, "dummy,dummy:gain=0.5", metrics=METRICS) == 0
    capsys.readouterr()
    assert gate(run, "--against", file) == 2
    assert "metric level is 'level v2', not 'level v1'" in capsys.readouterr().err


def test_other_weights_are_compared_and_told(run: Path, file: Path, capsys: Any) -> None:
    def weights(data: dict[str, Any]) -> None:
        for entry in data["variants"]:
            entry["weights"]["sha256"] = {"model": "cd" * 32}
            entry["describe"]["weights"] = {"model": "cd" * 32}  # as PatchVSR repeats them

    rewritten(run / "run.json", weights)
    rewritten(file, lambda data: data["variants"]["dummy"]["spec"].update(weights={}))
    rewritten(file, lambda data: data["variants"]["dummy:gain=0.5"]["spec"].update(weights={}))
    capsys.readouterr()
    assert gate(run, "--against", file) == 0
    assert "note: other weights: variant dummy: model is cdcdcdcdcdcd, not abababababab" in capsys.readouterr().out


def test_cost_is_gated_only_where_asked(run: Path, file: Path, capsys: Any) -> None:
    slow = edited(run, valued("seconds", lambda v: 3 * v))
    capsys.readouterr()
    assert gate(slow, "--against", file) == 0
    assert capsys.readouterr().out.count("not gated") == 4
    assert gate(slow, "--against", file, "--cost") == 1
    assert verdicts(capsys.readouterr().out) == {("dummy", "a", "seconds"): "REGRESSED"}
    assert gate(edited(run, valued("seconds", lambda v: 1.2 * v)), "--against", file, "--cost") == 0


def test_cost_without_a_cost_metric_is_refused(data: Path, capsys: Any) -> None:
    assert bench(data, "dummy", metrics="level") == 0
    file = data / "golden.json"
    assert gate(data / "run", "--against", file, "--update") == 0
    assert gate(data / "run", "--against", file, "--cost") == 2
    assert "has no cost metric" in capsys.readouterr().err


def test_update_takes_medians_and_tolerances_above_the_spread(run: Path, tmp_path: Path, capsys: Any) -> None:
    runs = [run, *(edited(run, valued("level", lambda v, by=by: v + by)) for by in (2.0, 5.0))]
    base = read_run(run).answer("dummy", "a", "level")[0]
    file = tmp_path / "deep" / "golden.json"
    assert base is not None and gate(*runs, "--against", file, "--update") == 0
    assert f"wrote {file} from 3 runs\n- level: 15 level (floor " in capsys.readouterr().out
    found = read_golden(file)
    assert found.values["dummy"]["a"]["level"] == base + 2
    told = found.metrics["level"].tolerance
    assert (told.spread, told.times, told.at, told.value) == (5, golden.TIMES, "dummy on a", 15)
    assert found.metrics["ratio"].tolerance.value == golden.FLOORS["log"] and len(found.made_of) == 3
    for one in runs:
        assert gate(one, "--against", file) == 0
    assert gate(edited(run, valued("level", lambda v: v - 12.9)), "--against", file) == 0
    assert gate(edited(run, valued("level", lambda v: v - 13.1)), "--against", file) == 1


def test_the_spread_of_a_metric_that_is_best_at_one_counts_across_one(run: Path, tmp_path: Path) -> None:
    """0.9 and 1.11 are equally far from 1, and yet far apart."""
    runs = [edited(run, valued("ratio", lambda _, value=value: value)) for value in (0.9, 1.0, 1 / 0.9)]
    assert gate(*runs, "--against", tmp_path / "golden.json", "--update") == 0
    told = read_golden(tmp_path / "golden.json").metrics["ratio"].tolerance
    assert told.unit == "log" and told.spread == pytest.approx(0.2107, abs=1e-4)


def test_update_refuses_runs_that_make_no_standard(data: Path, run: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "golden.json"
    other = edited(run, lambda item: None)
    rewritten(other / "run.json", lambda data: data.update(seed=1, dtype="float16"))
    failed = edited(run, lambda item: item.update(status="failed", message="oops", scores={}))
    flat = edited(run, valued("ratio", lambda v: 0.0))
    for runs, told in (
        ((run, run), "a run is given twice"),
        ((run, other), "are not of the same seed and dtype"),
        ((failed,), "is failed (oops); a golden file is made of complete runs only"),
        ((flat,), "'ratio' of dummy on a is 0, which has no logarithm"),
        ((data,), "holds no run.json"),
    ):
        capsys.readouterr()
        assert gate(*runs, "--against", file, "--update") == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1 and not file.exists()


def test_metrics_that_are_not_defined_stay_so(data: Path, capsys: Any) -> None:
    assert bench(data, "dummy", "--scale", "2", metrics="level,error", gt=False) == 0
    run, file = data / "run", data / "golden.json"
    assert gate(run, "--against", file, "--update", "--junit", data / "junit.xml") == 0
    assert capsys.readouterr().out.count("not defined") == 2
    assert [case.attrib["name"] for case in ET.parse(data / "junit.xml").iter("testcase") if len(case)] == [
        "error[a]", "error[b]",
    ]  # fmt: skip

    def defined(item: dict[str, Any]) -> None:
        item["scores"]["error"].update(status="ok", value=1.0)

    def undefined(item: dict[str, Any]) -> None:
        item["scores"]["level"].update(status="undefined", value=None, message="it means nothing")

    assert gate(edited(run, defined), "--against", file) == 0
    capsys.readouterr()
    assert gate(edited(run, undefined), "--against", file) == 1
    assert "level of dummy on a: missing: it means nothing" in capsys.readouterr().out


def test_junit_and_markdown_tell_every_case(run: Path, file: Path, tmp_path: Path) -> None:
    def broke(item: dict[str, Any]) -> None:
        item["scores"]["error"].update(status="failed", value=None, message="a < b & \x1b[31m|red|\x00")

    copy = edited(run, broke, variant="dummy:gain=0.5")
    junit, markdown = tmp_path / "made" / "junit.xml", tmp_path / "made" / "gate.md"
    assert gate(copy, "--against", file, "--junit", junit, "--markdown", markdown) == 1
    suite = ET.parse(junit).getroot().find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert len({(case.attrib["classname"], case.attrib["name"]) for case in cases}) == len(cases) == 16
    counts = {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "16", "failures": "1", "errors": "0", "skipped": "4"}
    (failure,) = suite.iter("failure")
    assert failure.attrib["message"] == "error of dummy:gain=0.5 on a: failed: a < b & ?[31m|red|?"
    told = markdown.read_text()
    assert "**FAILED**: 1 of 16 values fail" in told and "a \\< b" in told and "\\|red\\|" in told
    tables = [line for line in told.splitlines() if line.startswith("| ")]
    assert len(tables) == (2 + 1) + (2 + 16) and len({line.replace("\\|", "").count("|") for line in tables}) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\xff", "null"])
def test_damaged_files(run: Path, file: Path, capsys: Any, text: str) -> None:
    for damaged in (file, run / "run.json"):
        damaged.write_text(text, encoding="latin-1")
        capsys.readouterr()
        assert gate(run, "--against", file) == 2
        error = capsys.readouterr().err
        assert str(damaged) in error and error.count("\n") == 1
        gate(run, "--against", file, "--update")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(format=2),
        lambda data: data["values"]["dummy"]["a"].pop("level"),
        lambda data: data["values"]["dummy"].pop("b"),
        lambda data: data["values"].update(ghost=data["values"]["dummy"]),
        lambda data: data["values"]["dummy"]["a"].update(level="12"),
        lambda data: data["values"]["dummy"]["a"].update(ratio=-1.0),
        lambda data: data["metrics"]["level"].update(direction="up"),
        lambda data: data["metrics"]["level"]["tolerance"].update(value=-1),
    ],
)
def test_a_golden_file_that_was_tampered_with_is_damaged(run: Path, file: Path, capsys: Any, change: Any) -> None:
    rewritten(file, change)
    capsys.readouterr()
    assert gate(run, "--against", file) == 2
    error = capsys.readouterr().err
    assert f"{file} is no golden file" in error and error.count("\n") == 1


def test_absent_files_and_too_many_runs(run: Path, file: Path, tmp_path: Path, capsys: Any) -> None:
    for args, told in (
        ((run, "--against", tmp_path / "absent.json"), "make it with --update"),
        ((tmp_path / "absent", "--against", file), "holds no run.json that can be read"),
        ((run, tmp_path, "--against", file), "only --update takes several runs"),
        ((run, "--against", file, "--junit", run), "cannot be written"),
    ):
        capsys.readouterr()
        assert gate(*args) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1


def test_the_golden_file_in_the_repository_is_one() -> None:
    found = read_golden(ROOT / "benchmarks" / "golden" / "nano.json")
    assert found.suite == "golden" and found.dtype == "float32" and len(found.made_of) >= 3
    assert {"full", "shifted", "fast", "no_global", "bicubic"} <= found.values.keys()
    assert all(variant.status in ("trained", "none") for variant in found.variants.values())
    assert all(value is not None for *_, value in found.items())
    for gauge in found.metrics.values():
        told = gauge.tolerance
        assert told.value >= max(told.floor, told.times * told.spread * 0.999) and not gauge.cost
