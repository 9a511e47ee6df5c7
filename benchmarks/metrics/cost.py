"""Cost as the run measured it; these metrics only read `Sample.measured`."""
from __future__ import annotations

from typing import ClassVar

from benchmarks.metrics.base import Direction, Measurement, Metric, MetricUndefined, Sample


class _Cost(Metric):
    direction: ClassVar[Direction] = "lower"
    colour = ""
    aggregation = "one value per clip"
    key: ClassVar[str]

    def measure(self, sample: Sample) -> Measurement:
        """Read the measured value."""
        return Measurement(self._read(sample))

    def _read(self, sample: Sample) -> float:
        if self.key not in sample.measured:
            raise MetricUndefined(f"{self.id}: the run did not measure '{self.key}' for this clip")
        return float(sample.measured[self.key])


class Seconds(_Cost):
    """Wall-clock seconds that upscaling the clip took."""

    id = "seconds"
    unit = "s"
    key = "seconds"
    source = "wall clock around upscaling alone: loading the model, writing frames and scoring are not in it"


class FramesPerSecond(_Cost):
    """Output frames per wall-clock second of upscaling."""

    id = "fps"
    direction = "higher"
    unit = "frames/s"
    key = "seconds"
    source = "frames / seconds, with seconds as in the metric of that name"

    def measure(self, sample: Sample) -> Measurement:
        """Divide the frame count by the measured seconds."""
        seconds = self._read(sample)
        if seconds <= 0:
            raise MetricUndefined(f"fps: the clip took {seconds:g} s, too short to be measured")
        return Measurement(sample.output.shape[0] / seconds)


class PeakHostMemory(_Cost):
    """Largest resident memory of the process while it upscaled the clip."""

    id = "peak_host_mib"
    unit = "MiB"
    key = "peak_host_mib"
    source = "peak resident set of the process during upscaling, model and frames included"


class PeakDeviceMemory(_Cost):
    """Largest memory held on the GPU while the clip was upscaled."""

    id = "peak_device_mib"
    unit = "MiB"
    key = "peak_device_mib"
    source = "peak memory allocated by torch on the GPU during upscaling, model included"

    def available(self) -> str | None:
        """None with a GPU; without one, the command to give on a machine that has one."""
        import torch

        if torch.cuda.is_available():
            return None
        return "python -m benchmarks.run --device cuda (on a machine with a CUDA GPU; none is seen here)"


class ProgramSeconds(_Cost):
    """Wall-clock seconds that an external program took for the clip."""

    id = "program_seconds"
    unit = "s"
    key = "program_seconds"
    source = "wall clock of the whole program: its start, loading the model, reading and writing files are in it"


class ProgramPeakMemory(_Cost):
    """Largest resident memory of an external program with its child processes."""

    id = "program_peak_mib"
    unit = "MiB"
    key = "program_peak_mib"
    source = "peak of the resident sets of the program and its child processes together, sampled every 0.1 s"
