"""What all metrics share: identity, availability, refusals, one measurement per sample, and the cost metrics."""
from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.metrics import Metric, MetricUndefined, Sample, metrics
from benchmarks.metrics.__main__ import main
from benchmarks.metrics.base import Measurement
from benchmarks.metrics.cost import FramesPerSecond, PeakDeviceMemory, PeakHostMemory, Seconds
from benchmarks.metrics.lpips import LpipsAlex, TemporalLpips
from benchmarks.metrics.psnr import Consistency, Psnr
from benchmarks.metrics.ssim import Ssim
from benchmarks.metrics.stream import FrameMetric, PairMetric
from patchvsr import weights
from patchvsr.errors import UserError
from tests.fetching import fetched

from .conftest import sample, textured

TARGETED = sorted(name for name in metrics if metrics.get(name)().needs_target)


def test_cost_metrics_read_what_the_run_measured() -> None:
    measured = {"seconds": 4.0, "peak_host_mib": 512.0, "peak_device_mib": 64.0}
    given = sample(textured(2, 16, 16), measured=measured)
    values = [metric.score(given) for metric in (Seconds(), FramesPerSecond(), PeakHostMemory(), PeakDeviceMemory())]
    assert values == [4.0, 0.5, 512.0, 64.0]
    for metric in (Seconds(), FramesPerSecond(), PeakHostMemory(), PeakDeviceMemory()):
        with pytest.raises(MetricUndefined, match="did not measure"):
            metric.score(sample(textured(2, 16, 16)))
    with pytest.raises(MetricUndefined, match="too short"):
        FramesPerSecond().score(sample(textured(1, 16, 16), measured={"seconds": 0.0}))


def test_device_memory_is_unavailable_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device cuda" in str(PeakDeviceMemory().available())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert PeakDeviceMemory().available() is None


def test_which_metrics_need_a_ground_truth() -> None:
    assert TARGETED == sorted(
        "psnr psnr_y ssim ssim_y ms_ssim lpips lpips_vgg dists vmaf tof tlp strred".split()
    )


@pytest.mark.parametrize("name", TARGETED)
def test_sizes_and_counts_that_differ_are_refused(name: str) -> None:
    metric, target = metrics.get(name)(), textured(3, 180, 192)
    for output in (target[:2], target[..., :191], target[..., :179, :]):
        with pytest.raises(UserError, match="3 frames of 192x180") as caught:
            metric.score(sample(output, target))
        assert not isinstance(caught.value, MetricUndefined)
    with pytest.raises(MetricUndefined, match="ground truth"):
        metric.score(sample(target))
    with pytest.raises(UserError, match="8-bit"):
        metric.score(sample(target.float(), target))


@pytest.mark.parametrize("name", ["warp", "flicker", "grid"])
def test_metrics_that_can_do_without_refuse_what_does_not_fit(name: str) -> None:
    metric, output = metrics.get(name)(), textured(2, 256, 260)
    with pytest.raises(UserError, match="260x256"):
        metric.score(sample(output, textured(2, 256, 264)))
    with pytest.raises(UserError, match="260x256"):
        metric.score(sample(output, lq=textured(2, 64, 66)))


def test_crop_leaves_the_border_out() -> None:
    target = textured(1, 40, 48)
    output = target.clone()
    output[..., :2] = 0
    for metric in (Psnr, Ssim):
        perfect = metric().score(sample(target, target))
        assert metric(crop=2).score(sample(output, target)) == pytest.approx(perfect, abs=1e-6)
        assert metric().score(sample(output, target)) < perfect
    with pytest.raises(UserError, match="leaves nothing"):
        Psnr(crop=20).score(sample(output, target))


def cropping() -> list[str]:
    return [name for name in metrics.names() if isinstance(metrics.get(name)(), FrameMetric)]


def test_identities_of_all_metrics_crops_and_selections_differ() -> None:
    class Luma(Psnr):
        colour = "Y BT.601 studio"

    class Second(Psnr):
        version = 2

    identities = [Luma().identity(), Second().identity()]
    identities += [metrics.get(name)().identity() for name in metrics]
    for name in cropping():
        made: type[FrameMetric] = type(metrics.get(name)())  # type: ignore[assignment]
        identities += [made(crop=4).identity(), made(frames=(0, 2)).identity(), made(4, (0, 2)).identity()]
    assert len(identities) > 60
    assert len(set(identities)) == len(identities)
    assert all("\n" not in identity and "," not in identity.split(" | ")[0] for identity in identities)


def test_selected_frames_alone_count_and_are_named() -> None:
    target = textured(4, 40, 48)
    output = target.clone()
    for index in range(4):
        output[index] += index + 1
    whole = Psnr().per_frame(sample(output, target))
    assert whole is not None
    chosen = Psnr(frames=(0, 2))
    assert chosen.per_frame(sample(output, target)) == [whole[0], whole[2]]
    assert chosen.score(sample(output, target)) == pytest.approx((whole[0] + whole[2]) / 2)
    assert "frames 0 2" in chosen.identity()
    with pytest.raises(UserError, match="scores frames 0 2 .* the clip has 2") as caught:
        chosen.score(sample(output[:2], target[:2]))
    assert not isinstance(caught.value, MetricUndefined)


def test_a_pair_metric_with_selected_frames_compares_each_with_the_one_before() -> None:
    target = textured(4, 40, 48)
    output = target.clone()
    output[2] += 7
    chosen = metrics.get("flicker")
    made: type[PairMetric] = type(chosen())  # type: ignore[assignment]
    assert made(frames=(2,)).per_frame(sample(output, target)) == [7.0]
    assert made(frames=(1,)).per_frame(sample(output, target)) == [0.0]
    assert "frames 1 2, each with the one before" in made(frames=(1, 2)).identity()


@pytest.mark.parametrize("frames", [(0,), (0, 2)])
def test_a_pair_metric_refuses_a_selection_that_it_cannot_score_in_full(frames: tuple[int, ...]) -> None:
    target = textured(3, 40, 48)
    made: type[PairMetric] = type(metrics.get("flicker")())  # type: ignore[assignment]
    with pytest.raises(UserError, match="which frame 0 has not"):
        made(frames=frames).score(sample(target, target))


def test_identity_names_the_backend_version_and_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LpipsAlex().identity()
    source = weights.KNOWN["lpips-alex"]
    monkeypatch.setitem(weights.KNOWN, "lpips-alex", replace(source, sha256="f" * 64))  # type: ignore[type-var]
    assert LpipsAlex().identity() != before
    assert "lpips-alex ffffffffffff" in TemporalLpips().identity()
    monkeypatch.setattr("benchmarks.metrics.base.version", lambda package: "99.0")
    assert "pyiqa 99.0" in Psnr().identity()


@pytest.mark.parametrize("name", sorted(metrics))
def test_every_metric_states_its_protocol(name: str) -> None:
    metric = metrics.get(name)()
    assert metric.id == name
    assert metric.direction in ("higher", "lower", "one")
    assert metric.higher_is_better == {"higher": True, "lower": False, "one": None}[metric.direction]
    assert metric.source and metric.aggregation and metric.backend
    assert all(name in weights.KNOWN for name in metric.fetches)


def test_score_and_per_frame_of_a_sample_measure_once_and_never_mix_samples() -> None:
    class Counting(Metric):
        id = "counting"
        calls = 0

        def measure(self, sample: Sample) -> Measurement:
            self.calls += 1
            return Measurement(float(next(iter(sample.output))[0, 0, 0]), [1.0])

    metric = Counting()
    first, second = (sample(torch.full((1, 3, 8, 8), value, dtype=torch.uint8)) for value in (1, 2))
    assert (metric.score(first), metric.per_frame(first), metric.calls) == (1.0, [1.0], 1)
    assert (metric.score(second), metric.calls) == (2.0, 2)
    assert metric.score(first) == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_never_a_score(value: float) -> None:
    class Broken(Metric):
        id = "broken"

        def measure(self, sample: Sample) -> Measurement:
            return Measurement(value)

    with pytest.raises(MetricUndefined, match="broken"):
        Broken().score(sample(textured(1, 8, 8)))


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'psnr'"):
        metrics.get("psnrr")


def test_list_says_what_can_run_and_what_makes_the_rest_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    monkeypatch.delenv("PATCHVSR_DOVER", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert sorted(lines) == metrics.names()
    for name, line in lines.items():
        commands = [start for start in ("patchvsr weights fetch", "export PATCHVSR_DOVER=", "--device cuda",
                                        "pip install") if start in line]  # fmt: skip
        assert line.endswith("ready") != (len(commands) == 1), line
        assert ("cannot run; needs: " in line) != line.endswith("ready"), line
        fetches = metrics.get(name)().fetches
        assert all(weight in line.split() for weight in fetches) and ("fetch" in line) == bool(fetches)
    assert lines["psnr"].endswith("ready") and lines["vmaf"].endswith("ready")
    assert "--device cuda" in lines["peak_device_mib"]


def test_list_calls_a_metric_ready_once_its_weights_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    fetched("lpips-alex")
    assert main(["list", "--identity"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("lpips "))
    assert lines[at].endswith("ready")
    assert lines[at + 1].strip() == LpipsAlex().identity()


def test_a_missing_package_makes_its_metrics_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("benchmarks.metrics.base.version", absent)
    for name in ("psnr", "lpips", "consistency", "vmaf", "strred", "tof", "niqe", "musiq"):
        assert "pip install" in str(metrics.get(name)().available())
    assert metrics.get("ssim")().available() is None
    assert "not installed" in Consistency().identity()
