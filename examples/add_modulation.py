"""Add a modulation strategy and compare it with the paper's: `python examples/add_modulation.py runs/triangle`."""
from __future__ import annotations

import os
import subprocess
import sys

import torch

from patchvsr.modulation import Modulation, Window, modulations
from patchvsr.tiling import Axis


@modulations.register("triangle")
class Triangle(Modulation):
    """A tile counts by the distance to its nearest edge; weights are divided by their sum."""

    def weigh(self, axis: Axis) -> list[Window]:
        """One window for each tile."""
        ramp = torch.arange(1, axis.size + 1, dtype=torch.float64)
        window = torch.minimum(ramp, ramp.flip(0))
        total = torch.zeros(axis.length, dtype=torch.float64)
        for start in axis.starts:
            total[start : start + axis.size] += window
        return [(start, window / total[start : start + axis.size]) for start in axis.starts]


def main(out: str) -> None:
    """Run both on two small clips, and show the table; `python -m benchmarks.compare` pairs them clip by clip."""
    # Named here so that the harness finds this file, and makes the items again when it has changed.
    known = os.environ | {"PATCHVSR_PLUGINS": os.path.abspath(__file__)}
    options = ["--suite", "golden", "--frames", "1", "--metrics", "psnr,seam", "--no-mlflow", "--out", out]
    variants = "full:steps=1,full:modulation=triangle,steps=1"
    subprocess.run([sys.executable, "-m", "benchmarks.run", *options, "--variants", variants], env=known, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
