"""RealBasicVSR: it computes what the authors' definition says, from their checkpoints, in little memory."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from baselines import realbasicvsr as baseline
from baselines.realbasicvsr import RealBasicVSR, realbasicvsr
from baselines.realbasicvsr_network import Cleaned, RealBasicVSRNetwork
from baselines.spynet import warp
from patchvsr import weights
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Weights
from patchvsr.weights.realbasicvsr import convert
from patchvsr.weights.user import Brought

CPU = torch.device("cpu")
State = dict[str, Tensor]


def noise(frames: int, height: int = 64, width: int = 64) -> Tensor:
    """Frames that grow brighter, so that no two means of them are the same."""
    random = torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(0))
    return random * torch.linspace(0.3, 1, frames)[:, None, None, None]


def untrained(blocks: int = 1, seed: int = 0) -> RealBasicVSRNetwork:
    """Random parameters, but that cleaning takes about half of a frame away, so that residues shrink."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RealBasicVSRNetwork(blocks, blocks)
    trunk, last = network.image_cleaning
    with torch.no_grad():
        for parameter in network.image_cleaning.parameters():
            parameter *= 0.2
        trunk.main[0].weight[:3, :, 1, 1] = torch.eye(3)
        last.weight[:, :3, 1, 1] = -0.5 * torch.eye(3)
    return network.eval()


def upscaler(segment: int = 0, window: int = 0, refine: float = 255, resize: str = "") -> RealBasicVSR:
    return RealBasicVSR(untrained(), Weights("untrained", {}), window, resize, refine, segment)


def outputs(made: RealBasicVSR, frames: Tensor, first: int = 0, scale: float = 4) -> Tensor:
    return torch.cat(list(made.upscale_from(first, Clip("clip", frames), scale)))


def as_published(state: State) -> State:
    """Our names as those of MMEditing."""
    renamed = {}
    for name, value in state.items():
        words = name.replace("_trunk.", "_resblocks.").split(".")
        if words[1] in ("upconv1", "upconv2"):
            words[1:2] = [f"upsample{words[1][-1]}", "upsample_conv"]
        if len(words) == 7 and words[1] == "spynet":
            words[5:6] = [str(int(words[5]) // 2), "conv"]
        renamed[".".join(words)] = value
    return renamed


class Published:
    """The forward pass as the authors define it, written with plain functions over a published state dict.

    All frames are in one batch and all features are kept; `means` are the residues' that decided on the passes.
    """

    def __init__(self, state: State) -> None:
        self.state, self.means = state, list[float]()

    @torch.no_grad()
    def __call__(self, frames: Tensor, refine: float) -> Tensor:
        frames = self.cleaned(frames, refine)
        height, width = frames.shape[-2:]
        padded = F.pad(frames, (0, max(64 - width, 0), 0, max(64 - height, 0)), mode="replicate")
        return self.basicvsr(padded)[..., : 4 * height, : 4 * width].clamp(0, 1)

    def cleaned(self, frames: Tensor, refine: float) -> Tensor:
        for _ in range(3):
            residues = self.conv("image_cleaning.1", self.trunk("image_cleaning.0", frames))
            frames = frames + residues
            self.means.append(float(residues.abs().mean()))
            if self.means[-1] < refine / 255:
                break
        return frames

    def basicvsr(self, frames: Tensor) -> Tensor:
        single = frames.split(1)
        backward = self.direction("backward", single[::-1])[::-1]
        forward = self.direction("forward", single)
        made = []
        for frame, *features in zip(single, backward, forward, strict=True):
            feature = self.leaky("basicvsr.fusion", torch.cat(features, dim=1))
            for name in ("basicvsr.upsample1.upsample_conv", "basicvsr.upsample2.upsample_conv"):
                feature = F.leaky_relu(F.pixel_shuffle(self.conv(name, feature), 2), 0.1)
            base = F.interpolate(frame, scale_factor=4, mode="bilinear", align_corners=False)
            made.append(base + self.conv("basicvsr.conv_last", self.leaky("basicvsr.conv_hr", feature)))
        return torch.cat(made)

    def direction(self, name: str, frames: tuple[Tensor, ...]) -> list[Tensor]:
        features: list[Tensor] = []
        for index, frame in enumerate(frames):
            feature = frame.new_zeros(1, 64, *frame.shape[-2:])
            if index:
                feature = warp(features[-1], self.flow(frame, frames[index - 1]), "zeros")
            features.append(self.trunk(f"basicvsr.{name}_resblocks", torch.cat([frame, feature], dim=1)))
        return features

    def flow(self, reference: Tensor, other: Tensor) -> Tensor:
        """At sides that are multiples of 32."""
        mean, std = self.state["basicvsr.spynet.mean"], self.state["basicvsr.spynet.std"]
        reference, other = (reference - mean) / std, (other - mean) / std
        flow = reference.new_zeros(1, 2, *(side // 32 for side in reference.shape[-2:]))
        for level in range(6):
            if level:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            near, far = (F.avg_pool2d(frame, 2 ** (5 - level)) for frame in (reference, other))
            correction = torch.cat([near, warp(far, flow, "border"), flow], dim=1)
            for layer in range(5):
                name = f"basicvsr.spynet.basic_module.{level}.basic_module.{layer}.conv"
                correction = self.conv(name, correction if layer == 0 else F.relu(correction))
            flow = flow + correction
        return flow

    def trunk(self, name: str, feature: Tensor) -> Tensor:
        feature = self.leaky(f"{name}.main.0", feature)
        block = 0
        while f"{name}.main.2.{block}.conv1.weight" in self.state:
            inner = F.relu(self.conv(f"{name}.main.2.{block}.conv1", feature))
            feature = feature + self.conv(f"{name}.main.2.{block}.conv2", inner)
            block += 1
        return feature

    def leaky(self, name: str, feature: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(name, feature), 0.1)

    def conv(self, name: str, feature: Tensor) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(feature, weight, self.state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def published() -> Published:
    return Published(as_published(untrained().state_dict()))


def thresholds(frames: Tensor) -> dict[int, float]:
    """Values of `refine` by the passes that they lead to."""
    reference = published()
    reference.cleaned(frames, 0)
    first, second, third = reference.means
    assert first > 1.5 * second > 2 * third > 0
    return {1: 255 * 1.01 * first, 2: 255 * 1.01 * second, 3: 255 * 0.99 * second}


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_outputs_are_those_of_the_definition(passes: int) -> None:
    frames, reference = noise(3), published()
    refine = thresholds(frames)[passes]
    expected = reference(frames, refine)
    assert len(reference.means) == passes
    assert torch.allclose(outputs(upscaler(refine=refine), frames), expected, atol=1e-6)
    # The passes differ by far more than that.
    for number in {1, 2, 3} - {passes}:
        other = outputs(upscaler(refine=thresholds(frames)[number]), frames)
        assert float((other - expected).abs().mean()) > 1e-3


def test_by_default_frames_are_cleaned_once_and_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, made = noise(3), upscaler()
    cleanings = counted(made, monkeypatch)
    assert torch.allclose(outputs(made, frames), published()(frames, 255), atol=1e-6)
    assert cleanings() == 3


def test_the_mean_is_that_of_all_frames_of_the_walk() -> None:
    """A dark frame alone is done after one pass, a bright one alone needs three; together they have two."""
    frames = torch.stack([torch.full((3, 64, 64), 0.1), torch.full((3, 64, 64), 1.0)])
    dark, bright, both = thresholds(frames[:1]), thresholds(frames[1:]), thresholds(frames)
    refine = both[2]
    assert dark[1] < refine < bright[3]
    assert Cleaned(untrained(), frames[:1], refine=refine).passes(0) == 1
    assert Cleaned(untrained(), frames[1:], refine=refine).passes(0) == 3
    assert Cleaned(untrained(), frames, refine=refine).passes(0) == 2
    windows = Cleaned(untrained(), frames, window=1, refine=refine)
    assert [windows.passes(index) for index in range(2)] == [1, 3]


@pytest.mark.parametrize(("count", "segment"), [(1, 0), (2, 1), (5, 1), (5, 2), (5, 4), (5, 0), (9, 3)])
def test_segments_change_no_bit(count: int, segment: int) -> None:
    frames = noise(count)
    refine = thresholds(frames)[2]
    assert torch.equal(outputs(upscaler(segment, refine=refine), frames), outputs(upscaler(99, refine=refine), frames))


@pytest.mark.parametrize("first", [0, 1, 3, 4, 5])
def test_starting_later_changes_no_bit(first: int) -> None:
    """Nor does it change the passes: the frames left out are the dark ones."""
    frames = noise(5)
    refine = thresholds(frames)[2]
    whole = outputs(upscaler(2, refine=refine), frames)
    later = list(upscaler(2, refine=refine).upscale_from(first, Clip("clip", frames), 4))
    assert [chunk.shape[0] for chunk in later] == [1] * (5 - first)
    assert all(torch.equal(ours, theirs[None]) for ours, theirs in zip(later, whole[first:], strict=True))


def test_each_window_is_cleaned_as_a_clip_of_its_own() -> None:
    frames = noise(5)
    refine = thresholds(frames)[2]
    assert {Cleaned(untrained(), frames, 2, refine).passes(index) for index in range(5)} != {2}
    whole = torch.cat([outputs(upscaler(refine=refine), part) for part in frames.split(2)])
    assert torch.equal(outputs(upscaler(window=2, refine=refine), frames), whole)
    assert torch.equal(outputs(upscaler(window=2, refine=refine), frames, first=3), whole[3:])


@pytest.mark.parametrize(("height", "width"), [(5, 96), (64, 32), (1, 1)])
def test_small_frames_are_cleaned_before_they_are_padded(height: int, width: int) -> None:
    frames = noise(2, height, width)
    made = outputs(upscaler(refine=0.01), frames)
    assert made.shape == (2, 3, 4 * height, 4 * width)
    assert torch.allclose(made, published()(frames, 0.01), atol=1e-6)


def counted(made: RealBasicVSR, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many frames were cleaned, each pass by itself."""
    count, residue = 0, made.generator.residue

    def watched(frame: Tensor) -> Tensor:
        nonlocal count
        count += len(frame)
        assert len(frame) == 1 and not torch.is_grad_enabled()
        return residue(frame)

    monkeypatch.setattr(made.generator, "residue", watched)
    return lambda: count


class Watched:
    def __init__(self, frames: Tensor) -> None:
        self.frames, self.shape, self.most, self.read = frames, frames.shape, 0, 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: slice) -> Tensor:
        self.most = max(self.most, index.stop - index.start)
        self.read += index.stop - index.start
        return self.frames[index]


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_frames_stream_and_are_cleaned_no_more_often_than_need_be(
    passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = noise(9)
    made, watched = upscaler(3, refine=thresholds(frames)[passes]), Watched(frames)
    cleanings = counted(made, monkeypatch)
    for _ in made.upscale(Clip("clip", watched), 4):
        pass
    assert watched.most == 3
    # The walk: all frames in both directions, but that the first segment is walked backward only when it is due.
    walked = 6 + 9
    measured = {1: 9, 2: 9 + 2 * 9, 3: 9 + 2 * 9}[passes]
    assert cleanings() <= passes * (walked + 2) + measured
    assert watched.read <= walked + 2 + 9 * min(passes, 2)


def test_no_more_than_a_segment_of_cleaned_frames_is_kept() -> None:
    cleaned = Cleaned(untrained(), noise(9))
    for start in (6, 3, 0):
        read = cleaned[start : min(start + 4, 9)]
        assert len(cleaned._kept) == len(read)
    again = cleaned[0:4]
    assert torch.equal(again, Cleaned(untrained(), noise(9))[0:4])
    assert cleaned[2:2].shape == (0, 3, 64, 64)


@pytest.mark.parametrize(("window", "refine"), [(0, 255), (0, 20), (2, 20)])
def test_the_seed_changes_nothing_and_progress_rises_to_one(window: int, refine: float) -> None:
    seen: list[float] = []
    made, clip = upscaler(2, window, refine), Clip("clip", noise(5))
    first, second = (torch.cat(list(made.upscale(clip, 4, seed, seen.append))) for seed in (0, 1))
    assert torch.equal(first, second)
    half = seen[: len(seen) // 2]
    assert half == sorted(half) and half[0] > 0 and half[-1] == pytest.approx(1)


def test_other_scales_are_refused_or_resized() -> None:
    frames = noise(2)
    with pytest.raises(UserError, match="upscales by 4 only, not by 3; .*'realbasicvsr:resize=bicubic'"):
        upscaler().upscale(Clip("clip", frames), 3)
    resized = outputs(upscaler(resize="bicubic"), frames, scale=2.3)
    assert torch.equal(resized, resize_bicubic(outputs(upscaler(), frames), 147, 147).clamp(0, 1))


def test_it_describes_all_that_decides_the_output() -> None:
    described = upscaler(window=7, refine=5).describe()
    assert described["window"] == 7 and described["name"] == "realbasicvsr"
    assert "RealBasicVSR" in described["network"] and "below 5/255, 3 times" in described["cleaning"]
    assert upscaler().describe()["cleaning"] == "once"
    assert upscaler(refine=5).describe() != upscaler(refine=6).describe()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weight": "x.pth"}, "no option 'weight'; did you mean 'weights'"),
        ({"window": "-1"}, "window=-1 of baseline 'realbasicvsr' is no number of frames"),
        ({"resize": "lanczos"}, "resize=lanczos of baseline 'realbasicvsr' is unknown"),
        ({"refine": "often"}, "refine=often of baseline 'realbasicvsr' is no number above 0"),
        ({"refine": "0"}, "refine=0 of baseline 'realbasicvsr' is no number above 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        realbasicvsr(options, CPU, torch.float32)


# Checkpoints: the generator twice, what it was trained with, and what was noted of the training.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def averaged() -> State:
    """The generator's moving average, under our names."""
    return untrained(blocks=20, seed=1).state_dict()


@pytest.fixture(scope="module")
def checkpoint(averaged: State) -> dict[str, Any]:
    """What MMEditing saves."""
    state = {f"generator.{name}": value + 1 for name, value in as_published(averaged).items()}
    state |= {f"generator_ema.{name}": value for name, value in as_published(averaged).items()}
    state |= {"step_counter": torch.ones(1), "discriminator.conv_0.weight": torch.ones(64, 3, 3, 3)}
    state |= {"perceptual_loss.vgg.mean": torch.zeros(1, 3, 1, 1)}
    meta = {"env_info": "Linux", "config": "model = dict()", "iter": 150000, "hook_msgs": {}, "seed": None}
    moments = {"state": {0: {"step": 1, "exp_avg": torch.ones(2)}}, "param_groups": [{"betas": (0.9, 0.99)}]}
    return {"meta": meta, "state_dict": state, "optimizer": {"generator": moments}}


@pytest.fixture
def file(checkpoint: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "mine.pth"
    torch.save(checkpoint, path)
    return path


def same(found: State, expected: State) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("legacy", [False, True])
def test_the_moving_average_is_taken_and_gets_our_names(
    checkpoint: dict[str, Any], averaged: State, tmp_path: Path, legacy: bool
) -> None:
    torch.save(checkpoint, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    assert len(averaged) == 320  # as counted in the released file by others who load it strictly
    assert same(convert(tmp_path / "a.pth"), averaged)


def test_other_forms_of_a_checkpoint_give_the_same_tensors(averaged: State, tmp_path: Path) -> None:
    theirs = {name: value.contiguous() for name, value in as_published(averaged).items()}
    prefixed = {f"generator.{name}": value for name, value in theirs.items()}
    parallel = {f"module.{name}": value for name, value in prefixed.items()}
    for content in (prefixed, {"state_dict": prefixed}, parallel, theirs, {"state_dict": theirs}, averaged):
        torch.save(content, tmp_path / "a.pth")
        assert same(convert(tmp_path / "a.pth"), averaged)
    for tensors in (theirs, {name: value.contiguous() for name, value in averaged.items()}, prefixed):
        save_file(tensors, tmp_path / "a.safetensors")
        assert same(convert(tmp_path / "a.safetensors"), averaged)


def test_logs_of_mmengine_are_stepped_over(
    checkpoint: dict[str, Any], averaged: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffers hold arrays and, by `getattr`, references to their own methods."""
    module = ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self) -> None:
            raise AssertionError("was made")

        def mean(self) -> None:
            """A method to refer to."""

    for named, name in ((HistoryBuffer, "HistoryBuffer"), (HistoryBuffer.mean, "HistoryBuffer.mean")):
        named.__module__, named.__qualname__ = module.__name__, name
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    buffer = HistoryBuffer.__new__(HistoryBuffer)
    buffer.__dict__ |= {"_log_history": np.arange(3.0), "_statistics_methods": {"mean": HistoryBuffer.mean}}
    logs = {"log_scalars": {"loss": buffer}, "runtime_info": {"loss": np.float64(0.5), "iter": np.int64(3)}}
    torch.save(checkpoint | {"message_hub": logs}, tmp_path / "logs.pth")
    monkeypatch.undo()
    kept = (tmp_path / "logs.pth").read_bytes()
    assert all(name in kept for name in (b"HistoryBuffer", b"getattr", b"_reconstruct", b"scalar"))
    assert same(convert(tmp_path / "logs.pth"), averaged)


def test_a_file_of_the_user_s_upscales_as_defined_and_is_quoted_by_its_hash(
    file: Path, averaged: State, cache: Path
) -> None:
    made = realbasicvsr({"weights": str(file), "refine": "20"}, CPU, torch.bfloat16)
    assert made.weights == Weights("trained", {"mine.pth": weights.sha256_file(file)})
    assert made.describe()["weights"] == {"status": "trained", "mine.pth": weights.sha256_file(file)}
    assert "20 blocks for cleaning, 20 per direction" in made.describe()["network"]
    frames = noise(2)
    reference = Published(as_published(averaged))
    expected = reference(frames, 20)
    assert len(reference.means) > 1
    assert isinstance(made, RealBasicVSR)
    assert torch.allclose(outputs(made, frames), expected, atol=1e-5)


def test_a_file_is_converted_once(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = realbasicvsr({"weights": str(file)}, CPU, torch.float32)

    def read(path: Path) -> State:
        raise AssertionError(f"{path} was read again")

    with monkeypatch.context() as patch:
        patch.setattr(baseline, "convert", read)
        elsewhere = file.rename(file.with_name("renamed.pth"))  # the same file, wherever it lies
        second = realbasicvsr({"weights": str(elsewhere)}, CPU, torch.float32)
        assert isinstance(first, RealBasicVSR) and isinstance(second, RealBasicVSR)
        assert same(first.generator.state_dict(), second.generator.state_dict())
        elsewhere.write_bytes(elsewhere.read_bytes() + b"\0")
        with pytest.raises(AssertionError, match="read again"):
            realbasicvsr({"weights": str(elsewhere)}, CPU, torch.float32)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_that_asks_for_code_is_refused_and_not_run(
    checkpoint: dict[str, Any], tmp_path: Path, cache: Path
) -> None:
    torch.save(checkpoint | {"meta": Evil(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"^evil\.pth .* more than tensors \(it asks for \w+\.system\); not loaded"):
        realbasicvsr({"weights": str(tmp_path / "evil.pth")}, CPU, torch.float32)
    assert not (tmp_path / "ran").exists() and not list(cache.rglob("*.safetensors"))


def deeper(averaged: State) -> State:
    name = "basicvsr.forward_trunk.main.2.{}.conv1.weight"
    return averaged | {name.format(20): averaged[name.format(19)]}


def without(averaged: State, part: str) -> State:
    return {name: value for name, value in averaged.items() if not name.startswith(part)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (deeper, r"20 residual blocks for cleaning and 20 per direction: they have 21 in basicvsr\.forward_trunk$"),
        (lambda state: without(state, "image_cleaning."), r"they have 0 in image_cleaning\.0$"),
        (lambda state: without(state, "basicvsr.fusion.bias"), r"'a\.pth' do not fit .*Missing key.*fusion\.bias"),
        (lambda state: without(state, "basicvsr.spynet."), r"do not fit RealBasicVSR: .*Missing key.*spynet"),
        (lambda state: state | {"extra": torch.ones(1)}, r"do not fit RealBasicVSR: .*Unexpected key.*extra"),
        (lambda state: state | {"basicvsr.conv_hr.bias": torch.ones(1)}, r"size mismatch for basicvsr\.conv_hr"),
        (lambda state: {"fusion.bias": torch.ones(64)}, r"'a\.pth' are not those of RealBasicVSR"),
        (lambda state: {"generator.x": "text"}, r"a\.pth holds no state dict of a generator"),
        (lambda state: {"epoch": 3}, r"a\.pth holds no state dict of a generator"),
        (lambda state: [torch.ones(1)], r"a\.pth holds no state dict"),
        (lambda state: {3: torch.ones(1)}, r"a\.pth holds no state dict"),
        (
            lambda state: state | {"basicvsr.upsample1.upsample_conv.bias": torch.ones(256)},
            r"holds the same tensor under two names",
        ),
    ],
)
def test_checkpoints_of_other_networks_are_refused_and_not_kept(
    averaged: State, tmp_path: Path, cache: Path, change: Callable[[State], Any], sentence: str
) -> None:
    torch.save(change(averaged), tmp_path / "a.pth")
    with pytest.raises(UserError, match=sentence):
        realbasicvsr({"weights": str(tmp_path / "a.pth")}, CPU, torch.float32)
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.png"])
def test_files_that_are_no_checkpoints_are_one_sentence(tmp_path: Path, cache: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n, a picture")
    with pytest.raises(UserError, match=f"{name} is (no safetensors file or is )?damaged") as caught:
        realbasicvsr({"weights": str(tmp_path / name)}, CPU, torch.float32)
    assert "\n" not in str(caught.value)


def test_the_released_file_is_checked_kept_and_the_default(
    file: Path, averaged: State, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Brought(
        file=file.name,
        file_sha256=weights.sha256_file(file),
        convert=convert,
        sha256=None,
        licence="Apache-2.0",
        purpose="tests",
        published="https://example.org/mine.pth",
    )
    monkeypatch.setitem(weights.KNOWN, "realbasicvsr", row)
    with pytest.raises(weights.WeightsAbsent, match="run `patchvsr weights fetch realbasicvsr`"):
        realbasicvsr({}, CPU, torch.float32)
    weights.fetch("realbasicvsr", file)
    file.unlink()
    made = realbasicvsr({}, CPU, torch.float32)
    assert isinstance(made, RealBasicVSR) and same(made.generator.state_dict(), averaged)
    assert made.weights == Weights("trained", {"realbasicvsr": weights.tensors_sha256(averaged)})
    monkeypatch.setitem(weights.KNOWN, "realbasicvsr", replace(row, file_sha256="0" * 64))
    with pytest.raises(UserError, match="damaged or not those of 'realbasicvsr'"):
        realbasicvsr({}, CPU, torch.float32)
