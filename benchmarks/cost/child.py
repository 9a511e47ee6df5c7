"""One measurement in a process of its own: `python -m benchmarks.cost.child`, a JSON request in, a JSON answer out."""
from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.cost.flops import count_variant
from benchmarks.cost.materials import make_clip, ready
from benchmarks.cost.probe import Energy, hardware, matmul_peak
from benchmarks.memory import PeakMemory, release_memory
from patchvsr.chunks import chunk_spans
from patchvsr.clock import PARTS, synchronise
from patchvsr.devices import device_of, dtype_name, dtype_of
from patchvsr.errors import UserError
from patchvsr.method import PatchVSR
from patchvsr.request import Request
from patchvsr.upscale import Done, upscale
from patchvsr.variants import resolve


def measure_here(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Upscale a made-up clip, file to file, and say what it took.

    Args:
        asked: `variant` with its base, `size`, `frames`, `scale`, `device`, `dtype`, `repeats` and `warm_up`.

    Returns:
        The values of a row; `status` is `ok` or `oom`.

    Raises:
        UserError: bad input.
    """
    device = device_of(asked["device"])
    dtype = dtype_of(asked["dtype"], device)
    row: dict[str, Any] = {"device": device.type, "dtype": dtype_name(dtype), "hardware": hardware(device)}
    row["matmul_tflops"] = matmul_peak(device, dtype)
    release_memory()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return row | {"status": "ok"} | _run(asked, device, dtype, Path(folder))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return row | {"status": "oom", "message": str(error).partition("\n")[0] or "memory ran out"}


def _run(asked: Mapping[str, Any], device: torch.device, dtype: torch.dtype, folder: Path) -> dict[str, Any]:
    size, frames, scale = tuple(asked["size"]), int(asked["frames"]), float(asked["scale"])
    memory = PeakMemory(device.type)
    upscaler = ready(resolve(asked["variant"]), device, dtype)
    make_clip(folder / "in", frames, size, scale)
    request = Request(
        source=folder / "in", out=folder / "out.mp4", scale=scale, fps=Fraction(25), overwrite=True, device=str(device)
    )

    def once() -> tuple[float, Done]:
        synchronise(device)
        start = time.perf_counter()
        done = upscale(request, lambda started: None, lambda finished: None, upscaler)
        synchronise(device)
        return time.perf_counter() - start, done

    if asked["warm_up"]:
        once()
    energy = Energy(device)
    times = [once()[0] for _ in range(asked["repeats"])]
    joules = energy.joules()
    clock = upscaler.measure()
    whole, done = once()
    row: dict[str, Any] = {
        "weights": "trained" if upscaler.weights.status == "trained" else "random",
        "seconds": median(times),
        "fastest": min(times),
        "slowest": max(times),
        "fps": frames / median(times),
        "joules": None if joules is None else joules / len(times),
    }
    row |= {part: clock.seconds[part] for part in PARTS}
    row |= {"reading": done.reading, "writing": done.waiting + done.joining}
    row["other"] = whole - sum(row[name] for name in (*PARTS, "reading", "writing"))
    if device.type == "cuda":
        row["peak_reserved_mib"] = torch.cuda.max_memory_reserved(device) / 2**20
    return row | memory.read() | _work(upscaler, size, frames, scale, clock.seconds)


def _work(
    upscaler: PatchVSR, size: tuple[int, int], frames: int, scale: float, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """FLOPs of the run, chunk by chunk, and how fast its DiT and adapter were, and all from noise to latents."""
    if not upscaler.spec.diffusion:
        return {}
    lengths = [stop - start for start, stop in chunk_spans(frames, upscaler.spec.frames, upscaler.spec.frame_overlap)]
    counts = {length: count_variant(upscaler.spec, *size, length, scale) for length in set(lengths)}
    both = sum(counts[length].group("dit") + counts[length].group("adapter") for length in lengths) / 1e12
    sampling = seconds["dit"] + seconds["adapter"]
    latents = sampling + seconds["modulation"]
    return {
        "tflop": sum(counts[length].total for length in lengths) / 1e12,
        "dit_adapter_tflop": both,
        "dit_adapter_tflops": both / sampling,
        "fps_latents": frames / latents,
    }


def main() -> int:
    """Read the request from standard input; the last line of standard output is the answer."""
    try:
        answer = measure_here(json.load(sys.stdin))
    except UserError as error:
        answer = {"status": "refused", "message": str(error)}
    print("\n" + json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
