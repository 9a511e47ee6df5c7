"""Seconds of the parts of a run, apart; nothing is measured, and nothing waits for the device, unless asked for."""
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARTS = ("dit", "adapter", "codec", "modulation")


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock:
    """Adds up wall-clock seconds by part. A part that begins inside another counts for itself alone.

    Args:
        device: waited for at both ends of every part, as a GPU works on after a call has returned; None measures
            nothing at all.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner: list[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block for this part, one of `PARTS`."""
        if self.device is None:
            yield
            return
        synchronise(self.device)
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            synchronise(self.device)
            whole = time.perf_counter() - start
            self.seconds[name] += whole - self._inner.pop()
            if self._inner:
                self._inner[-1] += whole
