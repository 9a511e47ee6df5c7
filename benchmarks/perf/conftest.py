"""Each benchmark says what its time is relative to, since times in seconds differ between machines.

`@pytest.mark.reference("matmul")` names a workload of `test_reference.py` whose load is of the same kind; where several
marks apply, the closest counts. `benchmarks.perf.ratios` reads the name from `extra_info` in pytest-benchmark's JSON.
"""
from __future__ import annotations

from typing import Any

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    config.addinivalue_line("markers", "reference(name): a benchmark's time is told relative to this workload's")
    config.addinivalue_line("markers", "workload(name): this benchmark is the workload that others refer to")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Note torch's threads, on which the ratios depend."""
    machine_info["torch_threads"] = torch.get_num_threads()


@pytest.fixture
def benchmark(benchmark: Any, request: pytest.FixtureRequest) -> Any:
    """pytest-benchmark's fixture, with the reference that the test is marked with.

    Raises:
        UsageError: the test is marked with neither a reference nor a workload.
    """
    for name in ("workload", "reference"):
        mark = request.node.get_closest_marker(name)
        if mark is not None:
            benchmark.extra_info[name] = mark.args[0]
            return benchmark
    raise pytest.UsageError(
        f"{request.node.nodeid} names no reference; mark it @pytest.mark.reference(NAME), with a workload of "
        "benchmarks/perf/test_reference.py"
    )
