"""BasicVSR: its weights fit, its walk keeps little and loses nothing, and it is as good as it should be."""
from __future__ import annotations

import weakref
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.basicvsr import WEIGHTS, BasicVSR
from baselines.basicvsr_network import BasicVSRNetwork
from baselines.basicvsr_recurrence import Recurrence
from baselines.spynet import SPyNet, warp
from benchmarks.metrics.colour import y_studio
from benchmarks.metrics.psnr import psnr_of
from patchvsr import weights as known_weights
from patchvsr.degradation import degradations, quantise, resize_bicubic
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Weights, create, upscalers
from tests.clips import bunny
from tests.fetching import fetched


def noise(frames: int, height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(0))


def textured(height: int, width: int) -> Tensor:
    """A picture `[1, 3, height, width]` with detail at several sizes."""
    generator = torch.Generator().manual_seed(1)
    picture = torch.zeros(1, 3, height, width)
    for cell in (4, 8, 16):
        picture += resize_bicubic(torch.rand(1, 3, height // cell, width // cell, generator=generator), height, width)
    return (picture / 3).clamp(0, 1)


def untrained(segment: int = 0, window: int = 0, resize: str = "") -> BasicVSR:
    """One residual block and random parameters: the walk and the sizes do not depend on more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BasicVSRNetwork(blocks=1).eval()
    return BasicVSR(network, Weights("untrained", {}), window=window, resize=resize, segment=segment)


def released(name: str) -> known_weights.State:
    fetched(name)
    return known_weights.load(name)


def outputs(upscaler: BasicVSR, frames: Tensor, scale: float = 4, first: int = 0) -> Tensor:
    return torch.cat(list(upscaler.upscale_from(first, Clip("clip", frames), scale)))


@torch.no_grad()
def plain(network: BasicVSRNetwork, frames: Tensor) -> Tensor:
    """The recurrence as the paper has it: all features of one direction, then those of the other."""
    single = frames.split(1)
    last = len(single) - 1
    backward: list[Tensor] = []
    forward: list[Tensor] = []
    for index in reversed(range(len(single))):
        after = (None, None) if index == last else (single[index + 1], backward[0])
        backward.insert(0, network.backward_step(single[index], *after))
    for index, frame in enumerate(single):
        before = (None, None) if index == 0 else (single[index - 1], forward[-1])
        forward.append(network.forward_step(frame, *before))
    made = [network.reconstruct(*parts) for parts in zip(single, backward, forward, strict=True)]
    return torch.cat(made).clamp(0, 1)


@cache
def expected(count: int) -> Tensor:
    return plain(untrained().network, noise(count))


@pytest.mark.parametrize(
    ("count", "segment"), [(1, 1), (1, 0), (2, 1), (2, 0), (5, 1), (5, 2), (5, 4), (5, 0), (9, 2), (9, 3), (9, 0)]
)
def test_segments_change_no_bit(count: int, segment: int) -> None:
    assert torch.equal(outputs(untrained(segment), noise(count)), expected(count))


@pytest.mark.parametrize("first", [0, 1, 3, 4, 5])
def test_starting_later_changes_no_bit(first: int) -> None:
    later = list(untrained(segment=2).upscale_from(first, Clip("clip", noise(5)), 4))
    assert [chunk.shape[0] for chunk in later] == [1] * (5 - first)
    assert all(torch.equal(ours, theirs[None]) for ours, theirs in zip(later, expected(5)[first:], strict=True))


def test_frames_come_in_order() -> None:
    """Flat frames of rising brightness; the residual of the random network is small against their steps."""
    frames = torch.linspace(0.1, 0.9, 5)[:, None, None, None].expand(5, 3, 64, 64).contiguous()
    means = outputs(untrained(segment=2), frames).mean(dim=(1, 2, 3))
    assert (means.diff() > 0.1).all()


@pytest.mark.parametrize("changed", [0, 4])
def test_every_frame_sees_the_whole_clip(changed: int) -> None:
    frames = noise(5)
    frames[changed] = 1 - frames[changed]
    assert (outputs(untrained(2), frames) != expected(5)).flatten(1).any(dim=1).all()


def test_a_window_sees_nothing_beyond_itself() -> None:
    frames = noise(5)
    windows = [outputs(untrained(), part) for part in frames.split(2)]
    whole = torch.cat(windows)
    assert torch.equal(outputs(untrained(window=2), frames), whole)
    assert torch.equal(outputs(untrained(window=2), frames, first=3), whole[3:])
    assert not list(untrained(window=2).upscale_from(5, Clip("clip", frames), 4))


@pytest.mark.parametrize(("count", "segment", "most"), [(1, 0, 1), (16, 0, 16), (17, 0, 17), (400, 0, 39), (9, 3, 5)])
def test_features_kept_are_bounded(count: int, segment: int, most: int) -> None:
    upscaler, frames = untrained(), torch.empty(1, 3, 1, 1).expand(count, 3, 64, 64)
    assert Recurrence(upscaler.network, frames, 0, count, 0, segment).kept == most


@pytest.mark.parametrize(("count", "segment"), [(9, 3), (5, 5)])
def test_features_alive_keep_the_bound(count: int, segment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backward feature that the network makes is watched until it is freed."""
    upscaler, alive, most = untrained(segment), weakref.WeakSet[Any](), 0
    step = upscaler.network.backward_step

    def watched(*tensors: Any) -> Tensor:
        nonlocal most
        feature = step(*tensors)
        alive.add(feature)
        most = max(most, len(alive))
        return feature

    monkeypatch.setattr(upscaler.network, "backward_step", watched)
    walk = Recurrence(upscaler.network, noise(count), 0, count, 0, segment)
    assert len(list(walk.run(lambda share: None))) == count
    # While a step runs, the sweep holds the feature that it starts from as well.
    assert most <= walk.kept + 1


def test_frames_are_read_a_segment_at_a_time() -> None:
    class Watched:
        def __init__(self, frames: Tensor) -> None:
            self.frames, self.shape, self.most = frames, frames.shape, 0

        def __len__(self) -> int:
            return len(self.frames)

        def __getitem__(self, index: slice) -> Tensor:
            self.most = max(self.most, index.stop - index.start)
            return self.frames[index]

    watched = Watched(noise(7))
    list(untrained(segment=3).upscale(Clip("clip", watched), 4))
    assert watched.most == 4


@pytest.mark.parametrize(("height", "width"), [(64, 65), (67, 71), (5, 90), (1, 1), (3, 2)])
def test_any_size_comes_out_four_times_as_large(height: int, width: int) -> None:
    output = outputs(untrained(), noise(2, height, width))
    assert output.shape == (2, 3, 4 * height, 4 * width)
    assert output.dtype == torch.float32
    assert 0 <= output.min() and output.max() <= 1


def test_other_scales_are_refused_or_resized() -> None:
    frames = noise(2)
    with pytest.raises(UserError, match="upscales by 4 only, not by 3; .*'basicvsr:resize=bicubic'"):
        untrained().upscale(Clip("clip", frames), 3)
    resized = outputs(untrained(resize="bicubic"), frames, 2.3)
    assert torch.equal(resized, resize_bicubic(outputs(untrained(), frames), 147, 147).clamp(0, 1))
    assert torch.equal(outputs(untrained(resize="bicubic"), frames), outputs(untrained(), frames))


@pytest.mark.parametrize("window", [0, 2])
def test_the_seed_changes_nothing_and_progress_rises_to_one(window: int) -> None:
    seen: list[float] = []
    upscaler, clip = untrained(segment=2, window=window), Clip("clip", noise(5))
    first, second = (torch.cat(list(upscaler.upscale(clip, 4, seed, seen.append))) for seed in (0, 1))
    assert torch.equal(first, second)
    half = seen[: len(seen) // 2]
    assert half == sorted(half) and half[0] > 0 and half[-1] == 1


def test_gradients_are_left_as_they_were_between_frames() -> None:
    for _ in untrained().upscale(Clip("clip", noise(2)), 4):
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("basicvsr:weight=reds4", "no option 'weight'; did you mean 'weights'"),
        ("basicvsr:weights=vimeo", "weights=vimeo of baseline 'basicvsr' is unknown; did you mean"),
        ("basicvsr:window=-1", "window=-1 of baseline 'basicvsr' is no number of frames"),
        ("basicvsr:resize=lanczos", "resize=lanczos of baseline 'basicvsr' is unknown"),
    ],
)
def test_wrong_options_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        create(text)


def test_absent_weights_are_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    with pytest.raises(known_weights.WeightsAbsent, match="run `patchvsr weights fetch basicvsr-reds4`"):
        create("basicvsr")


def test_it_is_registered_and_describes_itself() -> None:
    assert "basicvsr" in upscalers.names()
    described = untrained(window=7).describe()
    assert described["window"] == 7 and described["dtype"] == "float32" and "1 blocks" in described["network"]


def test_a_state_dict_that_lacks_a_block_is_refused() -> None:
    state = BasicVSRNetwork().state_dict()
    assert isinstance(BasicVSRNetwork.load(dict(state), "mine"), BasicVSRNetwork)
    short = {name: value for name, value in state.items() if not name.startswith("backward_trunk.main.2.29.")}
    with pytest.raises(UserError, match=r"weights 'mine' do not fit .*Missing key.*backward_trunk\.main\.2\.29"):
        BasicVSRNetwork.load(short, "mine")
    with pytest.raises(UserError, match="Unexpected key.*extra"):
        BasicVSRNetwork.load({**state, "extra": torch.zeros(1)}, "mine")


@pytest.mark.parametrize("name", WEIGHTS)
def test_released_weights_fit_and_are_named(name: str) -> None:
    released(WEIGHTS[name])
    upscaler = create(f"basicvsr:weights={name}")
    assert upscaler.weights == Weights("trained", {WEIGHTS[name]: known_weights.sha256_of(WEIGHTS[name])})
    assert upscaler.describe()["weights"]["status"] == "trained"


def test_warping_fetches_from_where_the_flow_points() -> None:
    frames = noise(1, 6, 7)
    flow = torch.tensor([2.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 6, 7)
    warped = warp(frames, flow, "zeros")
    assert torch.allclose(warped[..., :5, :5], frames[..., 1:, 2:], atol=1e-5)
    assert torch.allclose(warped[..., 5, :], torch.zeros(3, 7), atol=1e-5)
    assert torch.allclose(warp(frames, flow, "border")[0, :, 5, 6], frames[0, :, 5, 6], atol=1e-5)


@pytest.mark.parametrize(("x", "y"), [(3, 0), (0, 3), (-3, 2)])
def test_flow_of_a_known_translation(x: int, y: int) -> None:
    """Content that moves by (x, y) is found there; the sizes are no multiples of 32."""
    state = released("basicvsr-reds4")
    spynet = SPyNet()
    prefix = "spynet."
    spynet.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    picture = textured(128, 160)
    still, moved = picture[..., 8:108, 8:140], picture[..., 8 - y : 108 - y, 8 - x : 140 - x]
    with torch.no_grad():
        flow = spynet(still, moved)[0, :, 8:-8, 8:-8]
    assert torch.allclose(flow.flatten(1).median(dim=1).values, torch.tensor([x, y]).float(), atol=0.3)


def mean_psnr_y(output: Tensor, target: Tensor) -> float:
    """Mean over frames, in dB, of 8-bit frames."""
    pairs = zip(quantise(output), quantise(target), strict=True)
    values = [psnr_of(y_studio(ours), y_studio(theirs)) for ours, theirs in pairs]
    return sum(values) / len(values)


@pytest.mark.slow
def test_it_beats_bicubic_by_far_on_a_real_clip() -> None:
    released("basicvsr-vimeo-bi")
    pytest.importorskip("pyiqa")
    target = bunny(5, 256, 384)
    clip = Clip("bunny", degradations.get("bicubic")(target, 4))
    scores: dict[str, float] = {}
    for name in ("bicubic", "basicvsr:weights=vimeo_bi"):
        scores[name] = mean_psnr_y(torch.cat(list(create(name).upscale(clip, 4))), target)
    assert scores["basicvsr:weights=vimeo_bi"] > scores["bicubic"] + 1.5


@pytest.mark.slow
def test_segments_change_no_bit_with_released_weights() -> None:
    network = BasicVSRNetwork.load(released("basicvsr-reds4"), "basicvsr-reds4")
    frames = noise(5)
    cut = BasicVSR(network, Weights("trained", {}), segment=2)
    assert torch.equal(outputs(cut, frames), plain(network, frames))
