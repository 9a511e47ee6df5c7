"""What a dry run says, on tiny clips: what would happen is what happens, and figures are those of earlier items."""
from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import dry_run
from benchmarks.cost import count_variant
from benchmarks.dry_run import BYTES_PER_PIXEL, GUESS, MEASURED, estimate, render_estimate, totals
from benchmarks.execute import execute
from benchmarks.plan import Plan, Request, make_plan
from benchmarks.store import Store
from patchvsr.variants import resolve
from tests.benchmarks.dummies import Dummy, bench

pytestmark = pytest.mark.usefixtures("parts", "cache")

PIXELS = 24 * 16 * 3
"""Of the output of each clip."""


@pytest.fixture(autouse=True)
def probes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Two TFLOP/s, without measuring; the calls."""
    calls: list[object] = []

    def peak(*given: object) -> float:
        calls.append(given)
        return 2.0

    monkeypatch.setattr(dry_run, "matmul_peak", peak)
    return calls


def planned(data: Path, *variants: str, **changes: Any) -> Plan:
    request: dict[str, Any] = {"lq": data / "lq", "gt": data / "gt", "metrics": ["level", "error"]}
    return make_plan(Request(variants=variants, **(request | changes)))


def rows_of(data: Path, *variants: str, **changes: Any) -> list[dict[str, Any]]:
    return estimate(planned(data, *variants, **changes), Store(data / "run"))


def remember(data: Path, variant: str, **measured: float) -> None:
    """Overwrite what the records of a variant have measured."""
    for path in (data / "run" / "items").glob("*.json"):
        item = json.loads(path.read_text())
        if item["variant"] == variant:
            path.write_text(json.dumps(item | {"measured": measured}))


def test_nothing_is_known_of_a_baseline_in_an_empty_store(data: Path, probes: list[object]) -> None:
    rows = rows_of(data, "dummy")
    assert [(row["variant"], row["clip"], row["what"]) for row in rows] == [("dummy", clip, "run") for clip in "ab"]
    for row in rows:
        assert (row["size"], row["frames"]) == ("24x16", 3)
        assert row["tflop"] is row["seconds"] is row["host_mib"] is row["seconds_from"] is None
        assert row["disk_mib"] == pytest.approx(BYTES_PER_PIXEL * PIXELS / 2**20) and row["disk_from"] == GUESS
    assert not (data / "run").exists() and Dummy.calls == [] and probes == []


def test_what_is_done_takes_nothing(data: Path) -> None:
    assert bench(data, "dummy") == 0
    for row in rows_of(data, "dummy"):
        assert (row["what"], row["tflop"], row["seconds"], row["disk_mib"]) == ("kept", 0, 0, 0)


def test_earlier_items_tell_seconds_memory_and_bytes(data: Path) -> None:
    assert bench(data, "dummy,bicubic", "--clips", "a") == 0
    remember(data, "dummy", seconds=6.0, peak_host_mib=100.0)
    remember(data, "bicubic", program_seconds=3.0, program_peak_mib=50.0)
    rows = {(row["variant"], row["clip"]): row for row in rows_of(data, "dummy", "bicubic", "lanczos")}
    assert rows["dummy", "a"]["what"] == "kept"
    dummy, bicubic, lanczos = (rows[variant, "b"] for variant in ("dummy", "bicubic", "lanczos"))
    assert (dummy["seconds"], dummy["host_mib"], dummy["seconds_from"]) == (pytest.approx(6.0), 100.0, MEASURED)
    assert (bicubic["seconds"], bicubic["host_mib"]) == (pytest.approx(3.0), 50.0)
    assert lanczos["seconds"] is None and lanczos["host_mib"] is None
    sizes = {name: sum(path.stat().st_size for path in (data / "run" / "outputs" / name / "a").glob("*.png"))
             for name in ("dummy", "bicubic")}  # fmt: skip
    assert dummy["disk_mib"] == pytest.approx(sizes["dummy"] / 2**20)
    assert bicubic["disk_mib"] == pytest.approx(sizes["bicubic"] / 2**20)
    assert lanczos["disk_mib"] == pytest.approx(sum(sizes.values()) / 2 / 2**20) and lanczos["disk_from"] == MEASURED


def test_seconds_of_another_precision_tell_nothing(data: Path) -> None:
    assert bench(data, "dummy", "--dtype", "float16") == 0
    row = rows_of(data, "dummy", dtype="float32")[0]
    assert row["what"] == "run" and row["seconds"] is row["host_mib"] is None and row["disk_from"] == MEASURED


def test_a_variant_is_counted_chunk_by_chunk_and_timed_by_a_probe(data: Path, probes: list[object]) -> None:
    text = "no_global:steps=1,frames=2,frame_overlap=1"
    rows = rows_of(data, text)
    chunk = count_variant(resolve(text), 24, 16, 2, 2.0).total / 1e12  # three frames are two chunks of two
    assert [row["tflop"] for row in rows] == [pytest.approx(2 * chunk)] * 2
    assert [row["seconds"] for row in rows] == [pytest.approx(2 * chunk / (0.5 * 2.0))] * 2
    assert {row["seconds_from"] for row in rows} == {"0.5 of 2 TFLOP/s"} and len(probes) == 1


def test_a_variant_without_diffusion_is_not_counted(data: Path) -> None:
    assert rows_of(data, "no_diffusion")[0]["tflop"] is None


def told_and_done(data: Path, *variants: str, **changes: Any) -> list[tuple[str, str]]:
    """What the estimate says of each item, and what then becomes of it."""
    plan, store = planned(data, *variants, **changes), Store(data / "run")
    told = {(row["variant"], row["clip"]): row["what"] for row in estimate(plan, store)}
    done = {(item.variant.text, item.clip.clip.name): how for item, _, how in execute(plan, store, lambda *_: None)}
    return [(told[key], done[key]) for key in told]


def test_what_is_said_is_what_is_done(data: Path) -> None:
    assert bench(data, "dummy,bicubic", metrics="level") == 0
    assert bench(data, "dummy:fault=bug,on=a", metrics="level,cut") == 1
    next((data / "run" / "outputs" / "bicubic" / "a").glob("*.png")).unlink()
    variants = ("dummy", "bicubic", "dummy:fault=bug,on=a")
    assert told_and_done(data, *variants, metrics=["level", "cut"]) == [
        ("rescore", "rescored"),
        ("rescore", "rescored"),
        ("run", "run"),
        ("rescore", "rescored"),
        ("kept", "kept"),
        ("kept", "kept"),
    ]
    assert told_and_done(data, *variants, metrics=["level", "cut"]) == [("kept", "kept")] * 6


def test_metrics_that_cannot_run_here_are_no_reason_to_score_again(data: Path) -> None:
    assert bench(data, "dummy", metrics="level,absent") == 0
    assert told_and_done(data, "dummy", metrics=["level", "absent"]) == [("kept", "kept")] * 2


def test_failed_items_run_again_where_that_is_asked_for(data: Path) -> None:
    assert bench(data, "dummy:fault=bug,on=a") == 1
    plan, store = planned(data, "dummy:fault=bug,on=a"), Store(data / "run")
    assert [row["what"] for row in estimate(plan, store)] == ["kept", "kept"]
    assert [row["what"] for row in estimate(plan, store, retry_failed=True)] == ["run", "kept"]


def test_frames_that_lie_ready_elsewhere_are_used_again(data: Path) -> None:
    plan = planned(data, "dummy")
    rows = estimate(plan, Store(data / "run"), reusable={plan.items[1].hash})
    assert [row["what"] for row in rows] == ["run", "reuse"] and rows[1]["disk_mib"] == 0


def test_totals_are_of_what_is_known_and_say_what_is_not(data: Path) -> None:
    assert bench(data, "dummy", "--clips", "a") == 0
    remember(data, "dummy", seconds=90.0, peak_host_mib=100.0)
    rows = rows_of(data, "dummy", "bicubic")
    total = totals(rows)
    assert total["seconds"] == pytest.approx(90) and total["host_mib"] == 100 and total["device_mib"] is None
    assert total["disk_mib"] == pytest.approx(sum(row["disk_mib"] for row in rows))
    shown = render_estimate(rows)
    assert re.search(r"^total .* 90 ", shown, re.M) and "device" not in shown
    assert "4 items: 1 kept, 3 run; upscaling takes about 0:01:30" in shown
    assert "seconds unknown, and not in the total, for want of an earlier item: bicubic\n" in shown
    assert "memory unknown, and not in the total, for want of an earlier item: bicubic\n" in shown
    assert "a guess" not in shown and "warning" not in shown


def test_a_guess_is_called_one(data: Path) -> None:
    assert "disk: 2.2 bytes per pixel, a guess" in render_estimate(rows_of(data, "dummy"))


@pytest.mark.parametrize(("free", "warned"), [(0, True), (2**30, False)])
def test_a_full_disk_is_warned_of(data: Path, monkeypatch: pytest.MonkeyPatch, free: int, warned: bool) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=free)

    monkeypatch.setattr("benchmarks.dry_run.shutil.disk_usage", usage)
    shown = render_estimate(rows_of(data, "dummy", "bicubic"))
    assert ("warning: the frames need about 0 MiB and 0 MiB are free" in shown) == warned
    assert ("make room" in shown) == warned and asked == [data], "the run's folder is not there yet"
