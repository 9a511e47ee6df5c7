"""The harness itself: what it adds to the calls it makes, and how it copes with very many items.

`python -m pytest benchmarks/perf/test_harness.py -s`
"""
from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import execute as execution
from benchmarks import item
from benchmarks.execute import execute
from benchmarks.metrics import metrics
from benchmarks.plan import Plan, PlannedClip, PlannedVariant, Request, _item, make_plan
from benchmarks.records import Results, Tables
from benchmarks.store import Output, Result, Score, Store
from benchmarks.stress import make_clips
from benchmarks.suites import SuiteClip
from patchvsr.upscaler import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.reference("python")]
ITEMS = 10_000


@pytest.mark.benchmark(group="harness")
def test_overhead(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share of a run's time that is not in loading models, upscaling or metrics: 50 items of 5 frames, 512x512."""
    make_clips(tmp_path / "clips", 25, frames=5, side=512)
    plan = make_plan(
        Request(variants=["fast", "bicubic"], gt=tmp_path / "clips", degradation="bicubic", scale=4.0,
                metrics=["psnr", "ssim", "consistency"], device="cpu")
    )  # fmt: skip
    inside = {"seconds": 0.0}

    def timed(run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            start = time.perf_counter()
            try:
                return run(*given)
            finally:
                inside["seconds"] += time.perf_counter() - start

        return call

    monkeypatch.setattr(item, "_score_all", timed(item._score_all))
    monkeypatch.setattr(item, "_write_all", timed(item._write_all))
    monkeypatch.setattr(execution, "create", timed(execution.create))
    monkeypatch.setattr(item, "warm_up", lambda chosen: None)

    def run() -> None:
        store = Store(tmp_path / "run")
        results: Results = {}
        tables = Tables(store.root, plan, results)
        for one, result, _ in execute(plan, store, lambda one, share: None):
            results[one.hash] = result.in_short()
            tables.write_now_and_then()
        tables.write()

    benchmark.pedantic(run, rounds=1)
    whole = benchmark.stats.stats.mean
    own = whole - inside["seconds"]
    print(f"\n{len(plan.items)} items: {whole:.2f} s, of which the harness's own are {own:.2f} s, "
          f"{own / inside['seconds']:.1%} of the calls")  # fmt: skip


def many(root: Path) -> Plan:
    """A plan of 100 variants on 100 clips, and a store in which all of it is done."""
    variants = [
        PlannedVariant(f"v{i}", {"kind": "made up", "spec": {str(k): k for k in range(30)}}, Weights("none", {}), {})
        for i in range(100)
    ]
    clips, frames = [], torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    for i in range(100):
        clip = SuiteClip(
            suite="made", name=f"c{i}", scale=4.0, frames=1, identify=lambda: "made", open_lq=lambda: frames
        )
        clips.append(PlannedClip(clip, 10, 64, 64, "0" * 64, "0" * 64))
    variants = [
        PlannedVariant(v.text, v.description, v.weights, {c.clip.name: {} for c in clips}) for v in variants
    ]
    chosen = {name: metrics.get(name)() for name in ("psnr", "ssim", "consistency", "seam")}
    return Plan([], variants, clips, [c.clip.name for c in clips], chosen, 0, torch.device("cpu"), torch.float32)


def plan_items(plan: Plan) -> list[Any]:
    """The items, hashed."""
    return [_item(v, c, 0, plan.device, plan.dtype) for v in plan.variants for c in plan.clips]


@pytest.mark.benchmark(group="harness")
def test_ten_thousand_items(benchmark: Any, tmp_path: Path) -> None:
    """Planning and going through a complete run directory of 10,000 items."""
    plan = many(tmp_path)
    store = Store(tmp_path)
    (tmp_path / "items").mkdir()
    for one in plan_items(plan):
        folder = tmp_path / one.output
        folder.mkdir(parents=True)
        (folder / "00000000.png").touch()
        output = Output(path=one.output.as_posix(), width=256, height=256, frames=1, sha256="")
        scores = {
            name: Score(metric=name, identity=metric.identity(), unit="", status="ok", value=1.0, per_frame=[1.0] * 10)
            for name, metric in plan.metrics.items()
        }
        result = Result(hash=one.hash, key=one.key, suite="made", clip=one.clip.clip.name, variant=one.variant.text,
                        seed=0, weights="none", status="ok", output=output, scores=scores)  # fmt: skip
        (tmp_path / "items" / f"{one.hash}.json").write_text(json.dumps(asdict(result)))

    def scan() -> int:
        fresh = Plan(plan_items(plan), plan.variants, plan.clips, plan.suite_clips, plan.metrics, 0, plan.device,
                     plan.dtype)  # fmt: skip
        return sum(how == "kept" for _, _, how in execute(fresh, store, lambda one, share: None))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert benchmark.pedantic(scan, rounds=1) == ITEMS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\n{ITEMS} items: {benchmark.stats.stats.mean:.2f} s, {grown:.0f} MiB more at the peak")
