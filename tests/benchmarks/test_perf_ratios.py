"""The gate on performance: what is slower is caught, and what cannot be compared is never taken for fine."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.perf import ratios

TIMES = {"matmul": 0.002, "python": 0.004}
BENCHMARKS = {"test_a.py::test_encode[wan]": ("matmul", 0.02), "test_b.py::test_plan[x/y]": ("python", 0.001)}


def run_file(path: Path, speed: float = 1.0, without: str = "", **medians: float) -> Path:
    """A run on a machine `speed` times as fast; `medians` in seconds, by the name without `test_` and parameters."""
    given = {f"test_reference.py::test_{name}": (time, {"workload": name}) for name, time in TIMES.items()}
    given |= {name: (median, {"reference": reference}) for name, (reference, median) in BENCHMARKS.items()}
    entries = []
    for name, (median, extra) in given.items():
        short = name.partition("::test_")[2].partition("[")[0]
        if not without or without not in name:
            entries.append(entry(name, medians.get(short, median) / speed, **extra))
    machine = {"cpu": {"brand_raw": "A CPU"}, "torch_threads": 2}
    path.write_text(json.dumps({"machine_info": machine, "benchmarks": entries}))
    return path


def entry(name: str, median: float, **extra: str) -> dict[str, Any]:
    return {"fullname": name, "stats": {"median": median}, "extra_info": extra}


def gate(*args: object) -> int:
    return ratios.main([str(arg) for arg in args])


def edited(path: Path, change: Any) -> Path:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    assert gate(run_file(tmp_path / "first.json"), "--against", path, "--update") == 0
    return path


def test_the_same_ratios_on_a_faster_machine_pass(tmp_path: Path, baseline: Path, capsys: Any) -> None:
    assert gate(run_file(tmp_path / "run.json", speed=3), "--against", baseline) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["test_a.py::test_encode[wan]", "matmul", "10", "10", "x1.00", "x1.25"] in lines


def test_a_planted_slowdown_is_caught_and_named(tmp_path: Path, baseline: Path, capsys: Any) -> None:
    run = run_file(tmp_path / "run.json", speed=3, encode=0.026)
    assert gate(run, "--against", baseline) == 1
    slower = [line for line in capsys.readouterr().out.splitlines() if line.endswith("SLOWER")]
    assert [line.split()[0] for line in slower] == ["test_a.py::test_encode[wan]"] and "x1.30" in slower[0]
    assert gate(run, "--against", baseline, "--tolerance", 1.5) == 0


def test_each_benchmark_is_told_by_its_own_reference(tmp_path: Path, baseline: Path) -> None:
    """A machine that is half as fast at arithmetic, and only at that."""
    assert gate(run_file(tmp_path / "run.json", matmul=0.004, encode=0.04), "--against", baseline) == 0
    assert gate(run_file(tmp_path / "run.json", matmul=0.004, encode=0.04, plan=0.002), "--against", baseline) == 1


def test_faster_passes(tmp_path: Path, baseline: Path, capsys: Any) -> None:
    assert gate(run_file(tmp_path / "run.json", encode=0.01), "--against", baseline) == 0
    assert "x0.50" in capsys.readouterr().out


def test_a_new_benchmark_is_told_and_passes(tmp_path: Path, baseline: Path, capsys: Any) -> None:
    new = entry("test_c.py::test_new", 0.1, reference="matmul")
    run = edited(run_file(tmp_path / "run.json"), lambda data: data["benchmarks"].append(new))
    assert gate(run, "--against", baseline) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["test_c.py::test_new", "matmul", "50", "-", "-", "-", "new"] in lines


def test_of_several_runs_the_median_counts(tmp_path: Path, baseline: Path) -> None:
    runs = [run_file(tmp_path / f"{i}.json", encode=time) for i, time in enumerate((0.02, 0.09, 0.021))]
    assert gate(*runs, "--against", baseline) == 0
    assert gate(runs[1], "--against", baseline) == 1


def test_update_writes_medians_and_tolerances_above_the_spread(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    runs = [run_file(tmp_path / f"{i}.json", encode=time) for i, time in enumerate((0.02, 0.04, 0.024))]
    assert gate(*runs, "--against", baseline, "--update", "--tolerance", 1.5) == 0
    found = ratios.read_baseline(baseline).benchmarks
    assert found["test_a.py::test_encode[wan]"] == ratios.Expected(reference="matmul", ratio=12, tolerance=2.5)
    assert found["test_b.py::test_plan[x/y]"] == ratios.Expected(reference="python", ratio=0.25, tolerance=1.5)
    for run in runs:
        assert gate(run, "--against", baseline) == 0


def test_another_machine_is_told(tmp_path: Path, baseline: Path, capsys: Any) -> None:
    run = edited(run_file(tmp_path / "run.json"), lambda data: data["machine_info"].update(torch_threads=8))
    assert gate(run, "--against", baseline) == 0
    assert "note: the baseline is of A CPU, threads: 2; this is A CPU, threads: 8" in capsys.readouterr().out


def renamed(data: Any) -> None:
    data["benchmarks"][-1]["extra_info"]["reference"] = "pyton"


def unmarked(data: Any) -> None:
    data["benchmarks"][-1]["extra_info"] = {}


def other_kind(data: Any) -> None:
    data["benchmarks"][-1]["extra_info"]["reference"] = "matmul"


def broken(data: Any) -> None:
    data["benchmarks"][-1]["stats"]["median"] = float("nan")


def emptied(data: Any) -> None:
    del data["benchmarks"][len(TIMES) :]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (renamed, "test_b.py::test_plan[x/y] in {run} refers to workload 'pyton', which did not run; did you mean"),
        (other_kind, "refers to 'matmul' in {run} and to 'python' in {baseline}; make the baseline again"),
        (unmarked, "{run} is not what benchmarks/perf writes with --benchmark-json (KeyError: 'reference')"),
        (broken, "(ValueError: nan is no positive number); run `make perf` again"),
        (emptied, "{run} holds no benchmark but the references"),
    ],
)
def test_runs_that_cannot_be_compared(tmp_path: Path, baseline: Path, capsys: Any, change: Any, told: str) -> None:
    run = edited(run_file(tmp_path / "run.json"), change)
    assert gate(run, "--against", baseline) == 2
    assert told.format(run=run, baseline=baseline) in capsys.readouterr().err


@pytest.mark.parametrize("without", ["test_plan", "test_python"])
def test_what_is_missing_is_not_fine(tmp_path: Path, baseline: Path, capsys: Any, without: str) -> None:
    assert gate(run_file(tmp_path / "run.json", without=without), "--against", baseline) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: test_b.py::test_plan[x/y]") and error.count("\n") == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"benchmarks": {"a": {"ratio": 1}}}', "\xff"])
def test_damaged_files(tmp_path: Path, baseline: Path, capsys: Any, text: str) -> None:
    run, damaged = run_file(tmp_path / "run.json"), tmp_path / "damaged.json"
    damaged.write_text(text, encoding="latin-1")
    for args in ((damaged, "--against", baseline), (run, "--against", damaged)):
        assert gate(*args) == 2
        error = capsys.readouterr().err
        assert str(damaged) in error and error.count("\n") == 1


def test_absent_files_and_bad_settings(tmp_path: Path, baseline: Path, capsys: Any) -> None:
    run = run_file(tmp_path / "run.json")
    assert gate(tmp_path / "absent.json", "--against", baseline) == 2
    assert "absent.json cannot be read: No such file or directory; run `make perf` first" in capsys.readouterr().err
    assert gate(run, "--against", tmp_path / "absent.json") == 2
    assert "give one with --against, or make it with --update" in capsys.readouterr().err
    assert gate(run, "--against", baseline, "--tolerance", 0.5) == 2
    assert "--tolerance 0.5 must be a factor of at least 1" in capsys.readouterr().err


def test_runs_of_different_sets_make_no_baseline(tmp_path: Path, capsys: Any) -> None:
    runs = [run_file(tmp_path / "a.json"), run_file(tmp_path / "b.json", without="test_plan")]
    assert gate(*runs, "--against", tmp_path / "baseline.json", "--update") == 2
    assert f"is not in {runs[1]}, but in another run" in capsys.readouterr().err
    assert not (tmp_path / "baseline.json").exists()


def test_the_baseline_in_the_repository_is_one() -> None:
    found = ratios.read_baseline(ratios.BASELINE).benchmarks
    assert found and min(expected.tolerance for expected in found.values()) >= ratios.LEAST_TOLERANCE
