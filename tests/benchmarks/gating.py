"""Tools of the gate's tests: a metric that is best at 1, and runs and golden files changed on the disk."""
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import regress
from benchmarks.metrics import Measurement, Sample
from tests.benchmarks.dummies import Level


class Ratio(Level):
    """Best at 1: brightness relative to the ground truth's."""

    id, direction, unit, needs_target = "ratio", "one", "", True

    def measure(self, sample: Sample) -> Measurement:
        assert sample.target is not None
        means = [torch.stack([f.float().mean() for f in frames]).mean() for frames in (sample.output, sample.target)]
        return Measurement(float(means[0] / means[1]))


def gate(*args: object) -> int:
    return regress.main([str(arg) for arg in args])


def edited(run: Path, change: Callable[[dict[str, Any]], None], clip: str = "a", variant: str = "dummy") -> Path:
    """A copy of the run with one item's JSON changed."""
    copy = run.parent / f"copy-{len(list(run.parent.iterdir()))}"
    shutil.copytree(run, copy)
    for path in (copy / "items").glob("*.json"):
        item = json.loads(path.read_text())
        if (item["variant"], item["clip"]) == (variant, clip):
            change(item)
            path.write_text(json.dumps(item))
    return copy


def valued(metric: str, change: Callable[[float], float]) -> Callable[[dict[str, Any]], None]:
    def apply(item: dict[str, Any]) -> None:
        score = item["scores"][metric]
        score["value"] = change(score["value"])

    return apply


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def verdicts(out: str) -> dict[tuple[str, str, str], str]:
    """The last column of every row that is not `ok` or `not gated`."""
    rows = [line.split() for line in out.partition("\n\n")[0].splitlines()[1:]]
    return {(row[0], row[1], row[2]): row[-1] for row in rows if row[-1] not in ("ok", "gated")}


def clip(data: dict[str, Any]) -> None:
    data["clips"][0]["lq_sha256"] = "0" * 64


def variant(data: dict[str, Any]) -> None:
    data["variants"][1]["describe"]["gain"] = "0.6"


def extra(data: dict[str, Any]) -> None:
    data["variants"][0]["describe"]["new"] = {"option": 1}


def accepted(data: dict[str, Any]) -> None:
    data["variants"][0]["accepted"] = {"a": {"note": "a remark", "file": "f" * 64}}


def several(data: dict[str, Any]) -> None:
    data.update(seed=1, device="cuda:0", dtype="float16", suite="other")
