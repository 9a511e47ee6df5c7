"""lpips, lpips_vgg and tlp against the forward of the lpips package's own networks with the same weights."""
from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.metrics import MetricUndefined, Sample, vgg
from benchmarks.metrics.lpips import LpipsAlex, LpipsVgg, TemporalLpips, distance, features, load_lpips
from patchvsr import weights
from patchvsr.errors import UserError
from tests.fetching import fetched

from .conftest import blurred, noisy, real, sample, textured


@pytest.fixture(scope="module")
def alex() -> LpipsAlex:
    """LPIPS with the published weights, fetched if the cache lacks them."""
    fetched("lpips-alex")
    return LpipsAlex()


@pytest.fixture(scope="module")
def vgg_net() -> nn.Module:
    """The lpips package's VGG16 with the published weights."""
    fetched("lpips-vgg")
    return load_lpips("lpips-vgg")


def forward(net: nn.Module, first: Tensor, second: Tensor) -> float:
    """The lpips package's own distance of two uint8 frames `[3, H, W]`."""
    with torch.inference_mode():
        return float(net(first[None] / 255.0, second[None] / 255.0, normalize=True))


def test_lpips_is_zero_for_equal_frames_and_grows_with_blur(alex: LpipsAlex) -> None:
    target = textured(1, 64, 64)
    slight, strong = (alex.score(sample(blurred(target, size), target)) for size in (3, 7))
    assert alex.score(sample(target, target)) == 0
    assert 0.002 < slight < strong < 1


def test_lpips_equals_the_forward_of_the_lpips_package(alex: LpipsAlex) -> None:
    net = load_lpips("lpips-alex")
    first, second = textured(1, 70, 90), textured(1, 70, 90, seed=1)
    expected = forward(net, first[0], second[0])
    with torch.inference_mode():
        assert distance(net, features(net, first[0]), features(net, second[0])) == pytest.approx(expected, rel=1e-5)
    assert alex.score(sample(first, second)) == pytest.approx(expected, rel=1e-5)


def test_lpips_heads_are_those_the_lpips_package_publishes(alex: LpipsAlex) -> None:
    import lpips

    fetched("lpips-vgg")
    for name in ("alex", "vgg"):
        published = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{name}.pth"
        heads = torch.load(published, map_location="cpu", weights_only=True)
        state = weights.load(f"lpips-{name}")
        assert len(heads) == 5
        assert all(torch.equal(state[key], value) for key, value in heads.items())


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
    load_lpips("lpips-alex")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["lpips-alex", "lpips-vgg"])
def test_weights_that_do_not_fit_the_network_are_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "load", lambda name: {"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)})
    with pytest.raises(UserError, match=f"'{name}' do not fit"):
        load_lpips(name)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (133, 61), (301, 40)])
@pytest.mark.parametrize("strips", [False, True])
def test_lpips_vgg_by_strips_equals_the_whole_frame(
    height: int, width: int, strips: bool, vgg_net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    if strips:
        monkeypatch.setattr(vgg, "BUDGET", 0)  # strips of 64 rows, the fewest
    target = textured(1, height, width, grain=3)
    output = noisy(blurred(target, 3), 6)
    assert vgg.strip_rows(width) < height if strips and height > 64 else True
    value = LpipsVgg().score(sample(output, target))
    assert value == pytest.approx(forward(vgg_net, output[0], target[0]), rel=1e-5)
    assert value > 0.01


def test_every_feature_is_handed_out_once_and_equals_that_of_the_whole_frame(
    vgg_net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = torch.randn(1, 3, 309, 47, generator=torch.Generator().manual_seed(0))
    stages = [getattr(vgg_net.net, f"slice{index + 1}") for index in range(5)]  # type: ignore[union-attr]

    def run() -> list[Tensor]:
        parts: list[list[Tensor]] = [[] for _ in stages]
        vgg.over_strips(stages, picture, lambda stage, maps: parts[stage].append(maps.clone()))
        return [torch.cat(part, dim=-2) for part in parts]

    with torch.inference_mode():
        expected = run()
        monkeypatch.setattr(vgg, "BUDGET", 0)
        found = run()
    for ours, whole in zip(found, expected, strict=True):
        assert ours.shape == whole.shape
        assert torch.allclose(ours, whole, atol=1e-4)


def test_lpips_vgg_is_zero_for_equal_frames_and_grows_with_blur(vgg_net: nn.Module) -> None:
    target = textured(1, 64, 64)
    slight, strong = (LpipsVgg().score(sample(blurred(target, size), target)) for size in (3, 7))
    assert LpipsVgg().score(sample(target, target)) == 0
    assert 0.01 < slight < strong < 1


def test_tlp_by_its_definition(alex: LpipsAlex) -> None:
    net = load_lpips("lpips-alex")
    target = real("carphone_pristine", 0, 4)
    output = noisy(target, 8)
    expected = [
        100 * abs(forward(net, output[t], output[t - 1]) - forward(net, target[t], target[t - 1])) for t in (1, 2, 3)
    ]
    metric, pair = TemporalLpips(), sample(output, target)
    assert metric.per_frame(pair) == pytest.approx(expected, abs=1e-3)
    assert metric.score(pair) == pytest.approx(sum(expected) / 3, abs=1e-3)
    assert min(expected) > 0.1


def test_tlp_of_equal_clips_and_of_clips_that_stand_still_is_zero(alex: LpipsAlex) -> None:
    moving = textured(3, 48, 48)
    assert TemporalLpips().score(sample(moving, moving)) == 0
    still = textured(1, 48, 48, seed=5).repeat(3, 1, 1, 1)
    assert TemporalLpips().score(sample(still, moving[:1].repeat(3, 1, 1, 1))) == 0
    assert TemporalLpips().score(sample(still, moving)) > 1


def test_tlp_is_undefined_for_one_frame(alex: LpipsAlex) -> None:
    with pytest.raises(MetricUndefined, match="two frames"):
        TemporalLpips().score(sample(textured(1, 48, 48), textured(1, 48, 48)))


@pytest.mark.parametrize("metric", [LpipsAlex, LpipsVgg, TemporalLpips])
def test_frames_too_small_for_the_last_layer_are_undefined(metric: type[LpipsAlex]) -> None:
    target = textured(2, 30, 60)
    with pytest.raises(MetricUndefined, match="31 pixels"):
        metric().score(sample(target, target))
    with pytest.raises(MetricUndefined, match="crop of 4"):
        metric(crop=4).score(sample(textured(2, 38, 60), textured(2, 38, 60)))


def test_absent_weights_are_named_with_the_command_and_never_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "fetch", lambda *_: pytest.fail("a metric fetched weights"))
    assert LpipsAlex().available() == TemporalLpips().available() == "patchvsr weights fetch lpips-alex"
    with pytest.raises(UserError, match="patchvsr weights fetch lpips-vgg"):
        load_lpips("lpips-vgg")


def test_a_scored_sample_is_not_kept_alive(alex: LpipsAlex) -> None:
    target = textured(1, 48, 48)
    pair: Sample | None = sample(target.clone(), target)
    alex.score(pair)  # type: ignore[arg-type]
    alive = weakref.ref(pair)  # type: ignore[arg-type]
    pair = None
    assert alive() is None
