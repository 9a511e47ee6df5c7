"""The time of a whole report: 20 variants on 30 clips with 12 metrics, whose frames are no longer there.

`python -m pytest benchmarks/perf/test_reports.py -s`

The command runs in a process of its own, so that starting it counts; this package may not import reports anyway.
"""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.metrics import metrics
from benchmarks.store import Output, Result, Score, Store, to_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.reference("python")]
VARIANTS = ("bicubic", "full", "no_global", "no_pos", "no_lora", *(f"full:steps={steps}" for steps in range(2, 17)))
CLIPS = tuple(f"clip{index}" for index in range(30))
METRICS = "psnr ssim lpips dists niqe seam seam_step grid consistency flicker tlp seconds".split()
SECONDS = 60
"""What a report of this size may take."""


def write_run(root: Path) -> None:
    """A complete run directory with drawn values and without frames."""
    store, drawn = Store(root), np.random.default_rng(0)
    planned: list[dict[str, str]] = []
    known = {name: metrics.get(name)() for name in METRICS}
    identities = {name: metric.identity() for name, metric in known.items()}
    clips = [
        {"name": name, "degradation": "bicubic", "scale": 4.0, "frames": 5, "lq": [64, 64], "output": [256, 256],
         "lq_sha256": name, "gt_sha256": name, "caption": None, "source": "made up"}
        for name in CLIPS
    ]  # fmt: skip
    for variant in VARIANTS:
        for clip in clips:
            scores = {
                name: Score(metric=name, identity=identities[name], unit=known[name].unit, status="ok",
                            value=float(drawn.uniform(0.5, 1.5)))
                for name in METRICS
            }  # fmt: skip
            digest = f"{len(planned):064x}"
            output = Output(path=f"outputs/{digest}", width=256, height=256, frames=5, sha256="0")
            store.save(Result(hash=digest, key={"clip": clip}, suite="made", clip=str(clip["name"]), variant=variant,
                              seed=0, weights="trained", status="ok", output=output, scores=scores,
                              measured={"seconds": 1.0}))  # fmt: skip
            planned.append({"hash": digest, "variant": variant, "clip": str(clip["name"])})
    where = {"python": "3", "platform": "made up", "cpu": "made up", "cores": 1, "device": "cpu", "torch_threads": 1,
             "packages": {}, "commit": None}  # fmt: skip
    run = {"suite": "made", "suite_clips": list(CLIPS), "clips": clips, "items": planned, "metrics": identities,
           "dtype": "float32", "argv": ["--suite", "made"], "environment": where, "config": "suite: made\n", "seed": 0,
           "device": "cpu",
           "variants": [{"variant": variant, "describe": {}, "weights": {"status": "trained", "sha256": {}}}
                        for variant in VARIANTS]}  # fmt: skip
    (root / "run.json").write_text(to_json(run), encoding="utf-8")


@pytest.mark.benchmark(group="reports")
@pytest.mark.parametrize("pages", ["--no-html", "--html"])
def test_report(benchmark: Any, tmp_path: Path, pages: str) -> None:
    """From records to tables, figures and LaTeX, and with the pages to look at."""
    write_run(tmp_path / "run")
    out = tmp_path / "report"

    def build() -> None:
        words = [sys.executable, "-m", "reports.build", str(tmp_path / "run"), "--out", str(out), pages]
        subprocess.run(words, check=True)

    benchmark.pedantic(build, rounds=1)
    made = json.loads((out / "report.json").read_text(encoding="utf-8"))
    size = f"{len(VARIANTS)} variants, {len(CLIPS)} clips, {len(METRICS)} metrics"
    parts = f"{len(made['tables'])} tables, {len(made['figures'])} figures"
    print(f"\n{size}: {benchmark.stats.stats.mean:.1f} s ({parts}, {pages})")
    assert benchmark.stats.stats.mean < SECONDS
