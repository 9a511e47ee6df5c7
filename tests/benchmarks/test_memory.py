"""Peak memory belongs to the work that was measured."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.memory import PeakMemory


def allocate(mebibytes: int) -> None:
    np.ones(mebibytes * 2**20, dtype=np.uint8)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel's mark can be reset on Linux only")
def test_the_peak_is_that_of_the_work_and_not_of_earlier_work() -> None:
    idle = PeakMemory().read()["peak_host_mib"]
    first = PeakMemory()
    allocate(300)
    large = first.read()["peak_host_mib"]
    second = PeakMemory()
    allocate(100)
    small = second.read()["peak_host_mib"]
    assert large - idle == pytest.approx(300, abs=40)
    assert small - idle == pytest.approx(100, abs=40)


def test_without_a_reset_an_unknown_peak_is_not_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_reset_high_water_mark", lambda: False)
    monkeypatch.setattr(memory, "_lifetime_peak_mib", lambda: 500.0)
    quiet = PeakMemory()
    assert quiet.read() == {}
    monkeypatch.setattr(memory, "_lifetime_peak_mib", lambda: 700.0)
    assert quiet.read() == {"peak_host_mib": 700.0}
