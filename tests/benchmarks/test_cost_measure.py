"""Measured cost: each case in a process of its own, what goes wrong is recorded, nothing unknown gets a figure."""
from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.cost import child, gpu, since
from benchmarks.cost import measure as measuring
from benchmarks.cost.__main__ import main
from benchmarks.cost.materials import make_clip, ready
from benchmarks.cost.measure import COLUMNS, Settings, _answer, measure
from benchmarks.cost.probe import Energy, matmul_peak
from benchmarks.cost.request import cases
from patchvsr.clock import PARTS, Clock
from patchvsr.errors import UserError
from patchvsr.variants import resolve

CPU = torch.device("cpu")
ONCE = Settings(repeats=1, warm_up=False, dtype="float32")


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in this process: to start another takes most of a small case's time."""

    def run(command: list[str], *, input: str, **named: Any) -> subprocess.CompletedProcess[str]:
        try:
            answer = child.measure_here(json.loads(input))
        except UserError as error:
            answer = {"status": "refused", "message": str(error)}
        return subprocess.CompletedProcess(command, 0, json.dumps(answer), "")

    monkeypatch.setattr(measuring, "subprocess", SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired))


def test_a_measurement_has_every_column_and_its_parts_add_up() -> None:
    case = cases("full:tile=64,steps=2", "nano", "128x128", "7")[0]
    row = measure(case, ONCE)
    assert row["status"] == "ok" and set(row) == set(COLUMNS)
    assert (row["weights"], row["device"], row["steps"], row["frames"]) == ("trained", "cpu", 2, 7)
    assert all(row[part] > 0 for part in (*PARTS, "seconds", "reading", "peak_host_mib", "matmul_tflops"))
    assert row["fps"] == pytest.approx(7 / row["seconds"])
    assert row["mfu"] == pytest.approx(row["dit_adapter_tflop"] / (row["dit"] + row["adapter"]) / row["matmul_tflops"])
    assert row["peak_device_mib"] is None and row["joules"] is None  # unknown here, so no figure
    # Two chunks of five and three frames: the tile of each is counted.
    assert row["tflop"] > 0 and row["other"] > 0


def test_what_has_no_weights_runs_with_random_ones_and_says_so(inside: None) -> None:
    row = measure(cases("shifted:tile=32", "wan-tiny", "64x64", "5")[0], ONCE)
    assert (row["status"], row["weights"]) == ("ok", "random")
    made = ready(resolve("no_global:base=wan-tiny"), CPU, torch.float32)
    assert made.weights.status == "untrained" and made.model.fixed_prompt.shape[1] == 8


def test_out_of_memory_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> dict[str, Any]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    monkeypatch.setattr(child, "_run", fail)
    monkeypatch.setattr(child, "matmul_peak", lambda *given: 1.0)
    row = child.measure_here({"device": "cpu", "dtype": "float32"})
    assert row["status"] == "oom" and row["message"] == "CUDA out of memory. Tried to allocate 2 GiB."
    killed = subprocess.CompletedProcess([], -9, "", "")
    assert _answer(killed)["status"] == "oom"
    failed = _answer(subprocess.CompletedProcess([], 1, "", "Traceback\nValueError: no"))
    assert failed == {"status": "failed", "message": "ValueError: no"}


def test_a_case_that_takes_too_long_is_given_up() -> None:
    row = measure(cases("full", "nano", "64x64", "1")[0], Settings(timeout=0.05))
    assert row["status"] == "timeout" and "0.05 s" in row["message"] and row["seconds"] is None


def test_the_command_measures_and_fits_slopes(
    inside: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--variants", "fast:tile=32", "--frame", "32x32,64x64", "--frames", "2", "--repeats", "1"]
    command += ["--measure", "memory,throughput", "--no-warm-up", "--dtype", "float32", "--out", str(tmp_path)]
    assert main(command) == 0
    with open(tmp_path / "throughput.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["32x32", "64x64"] and {row["status"] for row in rows} == {"ok"}
    assert "seconds grows with pixels^" in capsys.readouterr().out and (tmp_path / "throughput.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frame", "63x64"], "no clip becomes 63x64 at scale 4"),
        (["--repeats", "0"], "--repeats 0 measures nothing"),
        (["--device", "tpu3000"], "unknown device 'tpu3000'"),
        (["--variants", "fast:quantize=fp8"], "quantize=fp8 needs a GPU"),
        (["--variants", "fast:attention=fast"], "attention=fast cannot be used here"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    inside: None, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--frame" not in arguments:
        arguments = ["--frame", "64x64", *arguments]
    if "--variants" not in arguments:
        arguments = ["--variants", "fast", *arguments]
    assert main(["--measure", "throughput", "--frames", "1", "--no-warm-up", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and error.count("\n") == 0


def test_the_peak_is_measured_and_unknown_energy_is_none(tmp_path: Path) -> None:
    assert matmul_peak(CPU, torch.float32, seconds=0) > 1e-3
    assert Energy(CPU).joules() is None
    assert make_clip(tmp_path / "in", 2, (96, 64), 2) == (48, 32)


def test_a_part_inside_another_counts_for_itself_alone() -> None:
    clock = Clock(CPU)
    with clock.part("adapter"):
        with clock.part("codec"):
            torch.randn(300, 300) @ torch.randn(300, 300)
        inner = clock.seconds["codec"]
    assert inner > 0 and 0 < clock.seconds["adapter"]
    off = Clock()
    with off.part("dit"):
        pass
    assert off.seconds["dit"] == 0


def test_plans_can_be_read_and_the_gpu_one_needs_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    for plan in gpu.PLANS.values():
        for line in plan:
            assert cases(line.variants, line.base, line.frame, str(line.frames))
    assert gpu.main(["--device", "cpu"]) == 2
    assert "no GPU is seen here" in capsys.readouterr().err


def test_a_machine_s_table_is_named_after_it_and_leaves_out_what_was_not_measured(
    inside: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = gpu.Line(variants="fast:tile=32", frame="32x32", frames=1, base="nano", repeats=1, why="a test")
    monkeypatch.setitem(gpu.PLANS, "cpu", (line,))
    arguments = ["--plan", "cpu", "--device", "cpu", "--dtype", "float32", "--out", str(tmp_path)]
    assert gpu.main(arguments) == 0
    (table,) = tmp_path.iterdir()
    assert table.name.endswith("-float32.csv") and gpu.slug("NVIDIA H200, 2 x") == "nvidia-h200-2-x"
    table.unlink()
    assert gpu.main([*arguments, "--minutes", "0"]) == 1
    assert "no time was left for: fast:tile=32 (a test)" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_earlier_and_present_code_run_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[str, str]] = []

    def run(root: Path, variant: str, frames: int, out: Path, metrics: Any) -> dict[str, float]:
        order.append(("now" if root == since.ROOT else "then", variant))
        return {"seconds": 30.0 if root != since.ROOT else 10.0, "lpips": 0.2}

    monkeypatch.setattr(since, "run", run)
    rows = since.compare("HEAD", "full", ["fast"], 5, 2)
    assert order == [("then", "full"), ("now", "fast")] * 2
    assert [row["times as fast"] for row in rows] == [1.0, 3.0] and rows[1]["s a frame"] == 2.0
    with pytest.raises(UserError, match="git cannot check out 'nonsense'"):
        since.compare("nonsense", "full", ["fast"], 5, 1)
