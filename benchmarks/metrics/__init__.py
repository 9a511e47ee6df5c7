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
        "psnr_y": "benchmarks.metrics.psnr:PsnrY",
        "ssim": "benchmarks.metrics.ssim:Ssim",
        "ssim_y": "benchmarks.metrics.ssim:SsimY",
        "ms_ssim": "benchmarks.metrics.ssim:MsSsim",
        "lpips": "benchmarks.metrics.lpips:LpipsAlex",
        "lpips_vgg": "benchmarks.metrics.lpips:LpipsVgg",
        "dists": "benchmarks.metrics.dists:Dists",
        "vmaf": "benchmarks.metrics.vmaf:Vmaf",
        "niqe": "benchmarks.metrics.niqe:Niqe",
        "brisque": "benchmarks.metrics.brisque:Brisque",
        "musiq": "benchmarks.metrics.learned:Musiq",
        "clipiqa": "benchmarks.metrics.learned:ClipIqa",
        "maniqa": "benchmarks.metrics.learned:Maniqa",
        "aesthetics": "benchmarks.metrics.learned:Aesthetics",
        "dover_fused": "benchmarks.metrics.dover:DoverFused",
        "dover_technical": "benchmarks.metrics.dover:DoverTechnical",
        "dover_aesthetic": "benchmarks.metrics.dover:DoverAesthetic",
        "tof": "benchmarks.metrics.tof:OpticalFlowError",
        "tlp": "benchmarks.metrics.lpips:TemporalLpips",
        "warp": "benchmarks.metrics.warp:WarpingError",
        "strred": "benchmarks.metrics.strred:StRred",
        "viideo": "benchmarks.metrics.viideo:Viideo",
        "flicker": "benchmarks.metrics.flicker:Flicker",
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
        "program_seconds": "benchmarks.metrics.cost:ProgramSeconds",
        "program_peak_mib": "benchmarks.metrics.cost:ProgramPeakMemory",
    },
)
