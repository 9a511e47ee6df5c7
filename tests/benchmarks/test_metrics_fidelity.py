"""psnr, ssim, consistency, lpips, cost, and what all metrics share."""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics import Metric, MetricUndefined, Sample, metrics
from benchmarks.metrics.base import Measurement
from benchmarks.metrics.cost import FramesPerSecond, PeakDeviceMemory, PeakHostMemory, Seconds
from benchmarks.metrics.lpips_alex import LpipsAlex, load_lpips, lpips_distance
from benchmarks.metrics.psnr import Consistency, Psnr
from benchmarks.metrics.ssim import Ssim
from patchvsr import weights
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts


def textured(frames: int, height: int, width: int, seed: int = 0, grain: int = 4) -> Tensor:
    """Smooth random frames with shapes of about `grain` pixels, uint8 `[T, 3, height, width]`."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(frames, 3, height // grain + 2, width // grain + 2, generator=generator)
    fine = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0.1, 0.9)
    return (fine * 255).round().to(torch.uint8)


def sample(output: Tensor, target: Tensor | None = None, scale: float = 4, **values: object) -> Sample:
    height, width = (round(side / scale) for side in output.shape[-2:])
    lq = torch.zeros(output.shape[0], 3, height, width, dtype=torch.uint8)
    return replace(Sample(output, target, lq, scale, Cuts((), ())), **values)


@pytest.fixture(scope="module")
def alex() -> LpipsAlex:
    """LPIPS with the published weights, fetched if the cache lacks them."""
    try:
        weights.ensure("lpips-alex")
    except UserError as error:
        if "cannot be downloaded" in str(error):
            pytest.skip(str(error))
        raise
    return LpipsAlex()


@pytest.mark.parametrize("offset", [1, 5, 16])
def test_psnr_of_a_constant_offset(offset: int) -> None:
    target = textured(2, 24, 30)
    value = Psnr().score(sample(target + offset, target))
    assert value == pytest.approx(20 * math.log10(255 / offset), abs=1e-4)


def test_psnr_of_one_wrong_value_is_not_capped_below_the_stated_ceiling() -> None:
    target = textured(1, 64, 64)
    output = target.clone()
    output[0, 0, 0, 0] += 1
    assert Psnr().score(sample(output, target)) == pytest.approx(10 * math.log10(255**2 * 3 * 64 * 64), abs=1e-3)
    assert Psnr().score(sample(target, target)) == 100
    assert "at most 100 dB" in Psnr().identity()


def test_psnr_is_the_mean_over_frames_not_of_the_pooled_error() -> None:
    target = textured(2, 24, 30)
    output = target.clone()
    output[0] += 1
    output[1] += 10
    metric, pair = Psnr(), sample(output, target)
    expected = [20 * math.log10(255), 20 * math.log10(25.5)]
    assert metric.per_frame(pair) == pytest.approx(expected, abs=1e-4)
    assert metric.score(pair) == pytest.approx(sum(expected) / 2, abs=1e-4)


def reference_ssim(first: Tensor, second: Tensor) -> float:
    """The published algorithm word for word, on one channel at a time, in float64 with a two-dimensional window."""
    x = np.arange(11) - 5
    window = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for a, b in zip(first.double().numpy(), second.double().numpy(), strict=True):
        a, b = (np.lib.stride_tricks.sliding_window_view(plane, (11, 11)) for plane in (a, b))
        mean_a, mean_b = (a * window).sum((2, 3)), (b * window).sum((2, 3))
        variance_a = (a * a * window).sum((2, 3)) - mean_a**2
        variance_b = (b * b * window).sum((2, 3)) - mean_b**2
        covariance = (a * b * window).sum((2, 3)) - mean_a * mean_b
        top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        values.append((top / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())
    return float(np.mean(values))


def test_ssim_is_one_for_equal_frames() -> None:
    target = textured(1, 40, 50)
    assert Ssim().score(sample(target, target)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ["noise", "blur", "bright and flat", "inverted"])
def test_ssim_agrees_with_the_reference_algorithm(kind: str) -> None:
    target = textured(1, 75, 41)  # more rows than one strip, and not a multiple of it
    if kind == "noise":
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
        output = (target + 20 * noise).clamp(0, 255).to(torch.uint8)
    elif kind == "blur":
        output = F.avg_pool2d(target.float(), 5, 1, 2, count_include_pad=False).round().to(torch.uint8)
    elif kind == "bright and flat":
        target = 250 + target // 64
        output = target.flip(-1)
    else:
        output = 255 - target  # negative structure, which pyiqa sets to 0 and the reference keeps
    value = Ssim().score(sample(output, target))
    assert value == pytest.approx(reference_ssim(output[0], target[0]), abs=2e-5)
    assert (value < 0) == (kind == "inverted")


def test_ssim_agrees_with_pyiqa_where_structure_is_positive() -> None:
    from pyiqa.archs.ssim_arch import SSIM

    target = textured(1, 60, 70)
    output = F.avg_pool2d(target.float(), 3, 1, 1, count_include_pad=False).round().to(torch.uint8)
    theirs = SSIM(test_y_channel=False)(output / 255.0, target / 255.0)
    assert Ssim().score(sample(output, target)) == pytest.approx(float(theirs), abs=2e-5)


def test_consistency_is_high_for_a_bicubic_enlargement_and_low_for_another_picture() -> None:
    from patchvsr.degradation import degradations, quantise, resize_bicubic, to_float

    high = to_float(textured(2, 96, 128, grain=24))
    lq = quantise(degradations.get("bicubic")(high, 4))
    output = quantise(resize_bicubic(to_float(lq), 96, 128))
    assert Consistency().score(sample(output, lq=lq)) > 40
    brighter = sample((output.float() + 8).clamp(0, 255).to(torch.uint8), lq=lq)
    assert Consistency().score(brighter) == pytest.approx(20 * math.log10(255 / 8), abs=0.5)
    assert Consistency().score(sample(textured(2, 96, 128, seed=9), lq=lq)) < 25


def test_lpips_is_zero_for_equal_frames_and_grows_with_blur(alex: LpipsAlex) -> None:
    target = textured(1, 64, 64)
    blurred = [
        F.avg_pool2d(target.float(), size, 1, size // 2, count_include_pad=False).round().to(torch.uint8)
        for size in (3, 7)
    ]
    slight, strong = (alex.score(sample(output, target)) for output in blurred)
    assert alex.score(sample(target, target)) == 0
    assert 0.002 < slight < strong < 1


def test_lpips_equals_the_forward_of_the_lpips_package(alex: LpipsAlex) -> None:
    net = load_lpips()
    first, second = textured(1, 70, 90), textured(1, 70, 90, seed=1)
    with torch.inference_mode():
        expected = float(net(first / 255.0, second / 255.0, normalize=True))
        assert lpips_distance(net, first[0], second[0]) == pytest.approx(expected, rel=1e-5)
    assert alex.score(sample(first, second)) == pytest.approx(expected, rel=1e-5)


def test_lpips_heads_are_those_the_lpips_package_publishes(alex: LpipsAlex) -> None:
    from pathlib import Path

    import lpips

    published = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
    heads = torch.load(published, map_location="cpu", weights_only=True)
    state = weights.load("lpips-alex")
    assert len(heads) == 5
    assert all(torch.equal(state[name], value) for name, value in heads.items())


def test_lpips_of_a_known_pair(alex: LpipsAlex) -> None:
    """Pinned: the value that an independent numpy computation from the packaged arrays gives for this pair."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    first = torch.stack([(x * 3 + y) % 256, (x * y) % 256, (y * 5) % 256]).to(torch.uint8)[None]
    second = torch.stack([(x * 2 + y) % 256, (x * y // 2) % 256, (y * 4) % 256]).to(torch.uint8)[None]
    assert alex.score(sample(second, first)) == pytest.approx(0.322696, abs=2e-5)


def test_loading_lpips_leaves_the_random_numbers_alone(alex: LpipsAlex) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_lpips()
    assert torch.equal(torch.rand(1), expected)


def test_weights_that_do_not_fit_the_network_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "load", lambda name: {"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)})
    with pytest.raises(UserError, match="'lpips-alex' do not fit"):
        load_lpips()


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


@pytest.mark.parametrize("name", ["psnr", "ssim", "lpips"])
def test_sizes_and_counts_that_differ_are_refused(name: str) -> None:
    metric, target = metrics.get(name)(), textured(3, 40, 48)
    for output in (target[:2], target[..., :47], target[..., :39, :]):
        with pytest.raises(UserError, match="3 frames of 48x40") as caught:
            metric.score(sample(output, target))
        assert not isinstance(caught.value, MetricUndefined)
    with pytest.raises(MetricUndefined, match="ground truth"):
        metric.score(sample(target))
    with pytest.raises(UserError, match="8-bit"):
        metric.score(sample(target.float(), target))


def test_consistency_refuses_an_input_that_does_not_fit() -> None:
    output = textured(2, 40, 48)
    for lq in (textured(1, 10, 12), textured(2, 10, 13)):
        with pytest.raises(UserError, match="2 frames of 48x40"):
            Consistency().score(sample(output, lq=lq))


def test_crop_leaves_the_border_out() -> None:
    target = textured(1, 40, 48)
    output = target.clone()
    output[..., :2] = 0
    for metric in (Psnr, Ssim):
        perfect = metric().score(sample(target, target))
        assert metric(crop=2).score(sample(output, target)) == pytest.approx(perfect, abs=1e-6) if metric is Psnr else 1
        assert metric().score(sample(output, target)) < perfect
    with pytest.raises(UserError, match="leaves nothing"):
        Psnr(crop=20).score(sample(output, target))


def test_identity_tells_protocols_apart() -> None:
    class Luma(Psnr):
        colour = "Y BT.601 studio"

    class Second(Psnr):
        version = 2

    class Kept(Psnr):
        frames = "0 50 99"

    identities = [metric.identity() for metric in (Psnr(), Psnr(crop=4), Luma(), Second(), Kept())]
    identities += [metrics.get(name)().identity() for name in metrics if name != "psnr"]
    assert len(set(identities)) == len(identities)
    assert all("\n" not in identity and "," not in identity.split(" | ")[0] for identity in identities)


def test_identity_names_the_backend_version_and_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LpipsAlex().identity()
    source = weights.KNOWN["lpips-alex"]
    monkeypatch.setitem(weights.KNOWN, "lpips-alex", replace(source, sha256="f" * 64))
    assert LpipsAlex().identity() != before
    monkeypatch.setattr("benchmarks.metrics.base.version", lambda package: "99.0")
    assert "pyiqa 99.0" in Psnr().identity()


@pytest.mark.parametrize("name", sorted(metrics))
def test_every_metric_states_its_protocol(name: str) -> None:
    metric = metrics.get(name)()
    assert metric.id == name
    assert metric.direction in ("higher", "lower", "one")
    assert metric.higher_is_better == {"higher": True, "lower": False, "one": None}[metric.direction]
    assert metric.source and metric.aggregation and metric.backend


def test_score_and_per_frame_of_a_sample_measure_once_and_never_mix_samples() -> None:
    class Counting(Metric):
        id = "counting"
        calls = 0

        def measure(self, sample: Sample) -> Measurement:
            self.calls += 1
            return Measurement(float(sample.output[0, 0, 0, 0]), [1.0])

    metric = Counting()
    first, second = (sample(torch.full((1, 3, 8, 8), value, dtype=torch.uint8)) for value in (1, 2))
    assert (metric.score(first), metric.per_frame(first), metric.calls) == (1.0, [1.0], 1)
    assert (metric.score(second), metric.calls) == (2.0, 2)
    assert metric.score(first) == 1.0


def test_nan_is_never_a_score() -> None:
    class Broken(Metric):
        id = "broken"

        def measure(self, sample: Sample) -> Measurement:
            return Measurement(math.nan)

    with pytest.raises(MetricUndefined, match="broken"):
        Broken().score(sample(textured(1, 8, 8)))


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'psnr'"):
        metrics.get("psnrr")


def test_list_says_what_can_run_and_what_makes_the_rest_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    from benchmarks.metrics.__main__ import main

    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert sorted(lines) == metrics.names()
    assert lines["psnr"].endswith("ready")
    assert "patchvsr weights fetch lpips-alex" in lines["lpips"]
    assert "--device cuda" in lines["peak_device_mib"]


def test_a_missing_package_makes_its_metrics_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("benchmarks.metrics.base.version", absent)
    for name in ("psnr", "lpips", "consistency"):
        assert "pip install" in str(metrics.get(name)().available())
    assert metrics.get("ssim")().available() is None
