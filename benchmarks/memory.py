"""Peak memory of one piece of work inside a long-lived process."""
from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Measures what happens between its making and `read()`.

    On Linux the kernel's own high-water mark of the resident set is reset first, so the peak is that of the work. Where
    it cannot be reset, the process's lifetime peak is used, which tells the work's peak only if the work raised it.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        release_memory()
        self._before = _lifetime_peak_mib()
        self._reset = _reset_high_water_mark()
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()

    def read(self) -> dict[str, float]:
        """`peak_host_mib` (left out where it is unknown) and, on a GPU, `peak_device_mib`."""
        peaks: dict[str, float] = {}
        if self._reset:
            peaks["peak_host_mib"] = _high_water_mark_mib()
        elif (peak := _lifetime_peak_mib()) > self._before:
            peaks["peak_host_mib"] = peak
        if self._device == "cuda":
            import torch

            peaks["peak_device_mib"] = torch.cuda.max_memory_allocated() / 2**20
        return peaks


def release_memory() -> None:
    """Collect garbage and give freed memory back to the system: one item's leftovers must not count for the next."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, other C libraries do not
        if trim is not None:
            trim(0)


def _reset_high_water_mark() -> bool:
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _high_water_mark_mib() -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no VmHWM in {_STATUS}")


def _lifetime_peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
