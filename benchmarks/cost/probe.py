"""What the hardware can do, measured in the run that needs to know it: the peak of matrix products."""
from __future__ import annotations

import time

import torch

from benchmarks.environment import cpu_model
from patchvsr.clock import synchronise


def hardware(device: torch.device) -> str:
    """Name of the GPU, or of the processor with the threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_model()}, {torch.get_num_threads()} threads"


def matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """TFLOP/s of square matrix products (8192 on a GPU, 2048 on a CPU): the best of a second's tries."""
    side = 8192 if device.type == "cuda" else 2048
    first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    count = 8 if device.type == "cuda" else 1
    best, begun = float("inf"), time.perf_counter()
    for attempt in range(1000):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(count):
            first @ second
        synchronise(device)
        took = time.perf_counter() - start
        best = min(best, took / count) if attempt else best
        if attempt >= 3 and time.perf_counter() - begun > seconds:
            break
    return 2 * side**3 / best / 1e12


class Energy:
    """Joules that a GPU has used, by NVML's counter; nothing where there is none (or no `nvidia-ml-py`)."""

    def __init__(self, device: torch.device) -> None:
        self._handle = None
        if device.type != "cuda":
            return
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = str(torch.cuda.get_device_properties(device).uuid)
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
            self._nvml = pynvml
            self._before = self._read()
        except Exception as error:  # of many kinds, none of which must stop a measurement
            self._handle, self.reason = None, f"{type(error).__name__}: {error}"

    def _read(self) -> float:
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000

    def joules(self) -> float | None:
        """Since this object was made."""
        return None if self._handle is None else self._read() - self._before
