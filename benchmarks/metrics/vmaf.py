"""VMAF by ffmpeg's libvmaf, fed through one pipe."""
from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from benchmarks.metrics.base import (
    Measurement,
    MetricUndefined,
    Sample,
    installed,
    mean_over_frames,
    need_target,
)
from benchmarks.metrics.colour import Y_STUDIO, shared_y
from benchmarks.metrics.stream import Instant, Scoring, StreamedMetric
from patchvsr.errors import UserError

MODEL = "vmaf_v0.6.1"
SMALLEST = 32


class _VmafScoring(Scoring):
    """Each frame goes to ffmpeg as one picture, the output above the ground truth, which it cuts apart again.

    So one pipe does, and neither clip is ever on disk. Chroma, which VMAF does not look at, is grey.
    """

    def __init__(self, height: int, width: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="patchvsr-vmaf-")
        self._log = Path(self._folder.name) / "vmaf.json"
        self._errors = open(Path(self._folder.name) / "stderr", "w+", encoding="utf-8", errors="replace")
        self._even = height + height % 2, width + width % 2
        self._process = subprocess.Popen(
            self._command(height, width), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors,
            cwd=self._folder.name,
        )  # fmt: skip
        self._stacked = np.zeros((2, *self._even), np.uint8)
        self._grey = bytes([128]) * (self._even[0] * self._even[1])  # both halves' U and V

    def _command(self, height: int, width: int) -> list[str]:
        import imageio_ffmpeg

        high, wide = self._even
        crops = [f"[{name}]crop={width}:{height}:0:{top}:exact=1" for name, top in (("a", 0), ("b", high))]
        graph = f"split[a][b];{crops[0]}[out];{crops[1]}[gt];[out][gt]libvmaf=log_fmt=json:log_path={self._log.name}"
        return [
            imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt",
            "yuv420p", "-video_size", f"{wide}x{2 * high}", "-framerate", "25", "-i", "pipe:0", "-filter_complex",
            f"{graph}:n_threads=2:model=version={MODEL}", "-f", "null", "-",
        ]  # fmt: skip

    def add(self, instant: Instant) -> None:
        height, width = instant.output.shape[-2:]
        for half, side in zip(self._stacked, ("output", "target"), strict=True):
            half[:height, :width] = shared_y(instant, side)[0].round().numpy()  # type: ignore[arg-type]
        pipe: IO[bytes] | None = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(self._stacked.tobytes())
            pipe.write(self._grey)
        except BrokenPipeError:
            raise self._failure() from None

    def result(self) -> Measurement:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            raise self._failure() from None
        if self._process.wait() != 0 or not self._log.is_file():
            raise self._failure()
        frames = json.loads(self._log.read_text())["frames"]
        return mean_over_frames([float(frame["metrics"]["vmaf"]) for frame in frames])

    def _failure(self) -> UserError:
        self._process.wait()
        self._errors.seek(0)
        said = " ".join(self._errors.read().split()) or "nothing"
        return UserError(f"vmaf: ffmpeg ended with code {self._process.returncode} and said: {said[-300:]}")

    def close(self) -> None:
        if self._process.poll() is None:  # the clip could not be read to its end
            self._process.kill()
            self._process.wait()
        if not self._errors.closed:
            self._errors.close()
            self._folder.cleanup()

    def __del__(self) -> None:
        if hasattr(self, "_process"):  # else ffmpeg could not be started
            self.close()


class Vmaf(StreamedMetric):
    """Video multimethod assessment fusion, of luma, with the default model at every size."""

    id = "vmaf"
    colour = f"{Y_STUDIO}, then rounded (as ffmpeg makes of RGB files)"
    source = f"Li et al. 2016, libvmaf with model {MODEL}, mean pooling; the same model at every size"
    needs_target = True
    packages = ("imageio-ffmpeg",)

    @property
    def backend(self) -> str:
        """The package whose ffmpeg runs libvmaf."""
        return f"{installed('imageio-ffmpeg')} libvmaf"

    def begin(self, sample: Sample) -> Scoring:
        """Start ffmpeg.

        Raises:
            UserError: counts or sizes that do not fit; later, ffmpeg fails.
            MetricUndefined: there is no ground truth, or frames are too small.
        """
        need_target(sample, self.id)
        height, width = sample.output.shape[-2:]
        if min(height, width) < SMALLEST:
            raise MetricUndefined(f"vmaf needs frames of at least {SMALLEST} pixels a side, got {width}x{height}")
        return _VmafScoring(height, width)
