"""Metrics: each one file (or close family), found by name, loaded when asked for.

`python -m benchmarks.metrics list` says which can run here. A package of yours adds one with an entry point in the
group `patchvsr.metrics` that names a `Metric` class (anything that gives a `Metric` when called).
"""
from __future__ import annotations

from collections.abc import Callable

from benchmarks.metrics.base import Direction, Measurement, Metric, MetricUndefined, Sample
from patchvsr.registry import Registry

__all__ = ["Direction", "Measurement", "Metric", "MetricUndefined", "Sample", "metrics"]

metrics: Registry[Callable[[], Metric]] = Registry(
    "metrics",
    {
        "psnr": "benchmarks.metrics.psnr:Psnr",
        "ssim": "benchmarks.metrics.ssim:Ssim",
        "lpips": "benchmarks.metrics.lpips_alex:LpipsAlex",
        "consistency": "benchmarks.metrics.psnr:Consistency",
        "seam": "benchmarks.metrics.seam:Seam",
        "seam_step": "benchmarks.metrics.seam:SeamStep",
        "seam_t": "benchmarks.metrics.seam:SeamTemporal",
        "seam_chunk": "benchmarks.metrics.seam_chunk:SeamChunk",
        "grid": "benchmarks.metrics.grid:Grid",
        "seconds": "benchmarks.metrics.cost:Seconds",
        "fps": "benchmarks.metrics.cost:FramesPerSecond",
        "peak_host_mib": "benchmarks.metrics.cost:PeakHostMemory",
        "peak_device_mib": "benchmarks.metrics.cost:PeakDeviceMemory",
    },
)
