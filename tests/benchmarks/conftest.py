"""Fixtures of the tests of suites and runs; the parts themselves are in `dummies` and `replicas`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import stress
from benchmarks.metrics import metrics
from benchmarks.suites import derived
from patchvsr.upscaler import upscalers
from patchvsr.video import write_png_folder
from tests.benchmarks.dummies import METRICS, Dummy, Level
from tests.benchmarks.replicas import lowered, picture


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own, which does not exist yet."""
    folder = tmp_path_factory.mktemp("home") / "cache"
    monkeypatch.setenv("PATCHVSR_CACHE", str(folder))
    derived._is_whole.cache_clear()
    return folder


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dummy upscaler and metrics are registered for one test each."""
    upscalers.names(), metrics.names()
    monkeypatch.setitem(upscalers._entries, "dummy", lambda overrides, device, dtype: Dummy(overrides))
    for metric in METRICS:
        monkeypatch.setitem(metrics._entries, metric.id, metric)
    monkeypatch.setattr(Dummy, "calls", [])
    monkeypatch.setattr(Level, "calls", 0)
    # Collecting garbage takes 0.15 s once torch is loaded, and dozens of tiny items leave none.
    for module in ("execute", "memory"):
        monkeypatch.setattr(f"benchmarks.{module}.release_memory", lambda: None)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two tiny clips, as ground truth."""
    stress.make_clips(tmp_path / "clips", 2)
    return tmp_path / "clips"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clips of 3 frames, 12x8, with ground truth twice as large."""
    for seed, name in enumerate("ab"):
        high = picture(3, 16, 24, seed)
        write_png_folder(high, tmp_path / "gt" / name)
        write_png_folder(lowered(high, 2), tmp_path / "lq" / name)
    return tmp_path
