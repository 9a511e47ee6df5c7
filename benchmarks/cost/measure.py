"""Memory and time of a variant, measured in a process of its own, so that no other leaves anything behind."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.cost.request import Case
from patchvsr.errors import UserError
from patchvsr.variants import filled

COLUMNS = (
    "variant", "base", "frame", "frames", "steps", "scale", "weights", "device", "dtype", "hardware", "status",
    "seconds", "fastest", "slowest", "fps", "fps_latents", "reading", "dit", "adapter", "codec", "modulation", "other",
    "writing", "peak_host_mib", "peak_device_mib", "peak_reserved_mib", "tflop", "dit_adapter_tflop",
    "dit_adapter_tflops", "matmul_tflops", "mfu", "joules", "message",
)  # fmt: skip
"""Of throughput.csv. Times are seconds: `seconds` is the median of the repeats, from file to file; the parts are those
of one further run in which the device is waited for at each part's ends. `mfu` is DiT and adapter against
`matmul_tflops`.
"""
HEADS = {
    "variant": "variant", "frame": "frame", "frames": "frames", "weights": "weights", "status": "status",
    "seconds": "s", "fps": "fps", "dit": "DiT", "adapter": "adapter", "codec": "codec", "modulation": "modulation",
    "reading": "reading", "writing": "writing", "other": "other", "peak_host_mib": "host MiB",
    "peak_device_mib": "device MiB", "mfu": "MFU",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How cases are measured.

    Attributes:
        scale: of the clip to the output.
        repeats: timed runs, after one that is not (`warm_up`).
        device, dtype: as typed.
        timeout: seconds after which a case is given up.
    """

    scale: float = 4.0
    repeats: int = 3
    warm_up: bool = True
    device: str = "auto"
    dtype: str = "auto"
    timeout: float = 3600.0

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UserError(f"--repeats {self.repeats} measures nothing; give 1 or more")
        if self.scale < 1:
            raise UserError(f"--scale {self.scale:g} is below 1; PatchVSR only enlarges")


def measure(case: Case, settings: Settings) -> dict[str, Any]:
    """One row, with all of `COLUMNS`. What goes wrong is a status: `oom`, `timeout` or `failed`, with a message.

    Raises:
        UserError: the case itself is refused, so that no other of its kind could be measured either.
    """
    spec = filled(case.spec)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"variant": case.variant, "base": spec.base, "frame": case.size, "frames": case.frames, "steps": spec.steps}
    row |= {"scale": settings.scale}
    asked = {
        "variant": case.text,
        "size": case.frame,
        "frames": case.frames,
        "scale": settings.scale,
        "device": settings.device,
        "dtype": settings.dtype,
        "repeats": settings.repeats,
        "warm_up": settings.warm_up,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.cost.child"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=settings.timeout,
        )
    except subprocess.TimeoutExpired:
        return row | {"status": "timeout", "message": f"not done after {settings.timeout:g} s"}
    row |= _answer(done)
    if row["status"] == "refused":
        raise UserError(str(row["message"]))
    if row["dit_adapter_tflops"] is not None and row["matmul_tflops"]:
        row["mfu"] = row["dit_adapter_tflops"] / row["matmul_tflops"]
    return row


def _answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    if done.returncode == -signal.SIGKILL:
        return {"status": "oom", "message": "killed by the system, as it does when the machine's memory runs out"}
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    last = done.stderr.strip().splitlines()[-1:]
    return {"status": "failed", "message": "".join(last) or f"ended with exit code {done.returncode}"}
