"""Real-ESRGAN: its networks are those that ncnn runs, tiles lose nothing that they should keep, and it sharpens."""
from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.realesrgan import MODELS, RealESRGAN
from baselines.realesrgan_networks import Released, RRDBNet, SRVGGNetCompact
from baselines.tiles import Tiles
from patchvsr import weights as known_weights
from patchvsr.degradation import degradations, resize_bicubic
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Cuts, Weights, create, upscalers
from tests.clips import bunny
from tests.fetching import fetched

RADIUS = 4
"""How far from an output of `untrained` the input pixels lie that it depends on: it has four convolutions."""


def noise(frames: int, height: int, width: int) -> Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(0))


def random(kind: type[Released], depth: int) -> Released:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(depth).eval()  # type: ignore[call-arg]


def untrained(tile: int = 0, overlap: int = 0, resize: str = "") -> RealESRGAN:
    """Two convolutions between the first and the last: sizes and tiles do not depend on more."""
    return RealESRGAN(random(SRVGGNetCompact, 2), Weights("untrained", {}), Tiles(tile, overlap), resize)


def released(name: str) -> Released:
    model = MODELS[name]
    fetched(model.weights)
    return model.network.load(known_weights.load(model.weights), model.weights)


def outputs(upscaler: RealESRGAN, frames: Tensor, scale: float = 4, first: int = 0) -> Tensor:
    return torch.cat(list(upscaler.upscale_from(first, Clip("clip", frames), scale)))


def tiled(network: Released, frame: Tensor, tile: int, overlap: int) -> Tensor:
    return Tiles(tile, overlap).run(network, frame, 4, lambda share: None)


@cache
def reduced(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The middle of a real frame, a quarter as large, and as it is, `[1, 3, H, W]`."""
    target = bunny(1, 4 * height, 4 * width)
    return degradations.get("bicubic")(target, 4), target


@pytest.mark.parametrize(("name", "height", "width"), [("x4plus", 16, 20), ("animevideov3", 48, 64)])
def test_networks_are_those_that_ncnn_runs(name: str, height: int, width: int, tmp_path: Path) -> None:
    """ncnn on a CPU in float32, without any of its short cuts, is the reference."""
    ncnn = pytest.importorskip("ncnn")
    network, frame = released(name), reduced(height, width)[0]
    row = known_weights.KNOWN[MODELS[name].weights]
    numbers = row.download(MODELS[name].weights, tmp_path)
    reference = ncnn.Net()
    for option in dir(reference.opt):
        if option.startswith("use_"):
            setattr(reference.opt, option, False)
    reference.opt.num_threads = 1
    assert reference.load_param(str(numbers.with_suffix(".param"))) == 0
    assert reference.load_model(str(numbers)) == 0
    extractor = reference.create_extractor()
    extractor.input("data", ncnn.Mat(frame[0].contiguous().numpy()))
    _, expected = extractor.extract("output")
    with torch.no_grad():
        found = network(frame)[0]
    assert found.shape == (3, 4 * height, 4 * width)
    difference = float((found - torch.tensor(expected.numpy())).abs().max())
    print(f"{name}, {width}x{height}: {difference:.1e} from ncnn")
    assert difference < 1e-4


@pytest.mark.parametrize(
    ("kind", "depth", "radius", "tile"), [(SRVGGNetCompact, 2, RADIUS, 16), (SRVGGNetCompact, 16, 18, 16),
                                          (RRDBNet, 1, 19, 24)]
)  # fmt: skip
def test_tiles_change_nothing_where_their_context_is_enough(
    kind: type[Released], depth: int, radius: int, tile: int
) -> None:
    """At the frame's border too, where the network pads with zeros and a tile has no context."""
    network, frame = random(kind, depth), noise(1, 53, 71)
    whole = tiled(network, frame, 0, 0)
    assert torch.allclose(tiled(network, frame, tile, radius), whole, atol=1e-5, rtol=0)
    assert not torch.allclose(tiled(network, frame, tile, 0), whole, atol=1e-3, rtol=0)


@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_less_context_shows_near_the_cuts_only(overlap: int) -> None:
    network, frame = random(SRVGGNetCompact, 2), noise(1, 8, 40)
    change = (tiled(network, frame, 20, overlap) - tiled(network, frame, 0, 0)).abs().amax(dim=(0, 1, 2))
    reach = 4 * (RADIUS - overlap)
    assert change[80 - reach : 80 + reach].max() > 1e-4
    assert change[: 80 - reach].max() < 1e-5 and change[80 + reach :].max() < 1e-5


def test_animevideov3_s_context_is_enough() -> None:
    network, (frame, _) = released("animevideov3"), reduced(48, 64)
    whole = tiled(network, frame, 0, 0)
    assert torch.allclose(tiled(network, frame, 32, MODELS["animevideov3"].overlap), whole, atol=1e-5, rtol=0)
    assert (tiled(network, frame, 32, 8) - whole).abs().max() > 1e-3


@pytest.mark.slow
def test_x4plus_s_context_is_enough_for_eight_bits() -> None:
    network, (frame, _) = released("x4plus").to(memory_format=torch.channels_last), reduced(48, 240)
    whole = tiled(network, frame, 0, 0)
    steps = {}
    for overlap in (16, 32, 64, MODELS["x4plus"].overlap):
        steps[overlap] = 255 * float((tiled(network, frame, 120, overlap) - whole).abs().max())
        print(f"overlap {overlap}: {steps[overlap]:.2f} steps of 8 bits")
    assert steps[MODELS["x4plus"].overlap] < 0.5 < steps[32]


def test_tiles_are_small_and_frames_are_read_one_at_a_time() -> None:
    class Watched:
        def __init__(self, frames: Tensor) -> None:
            self.frames, self.shape, self.read = frames, frames.shape, [0, 0]

        def __len__(self) -> int:
            return len(self.frames)

        def __getitem__(self, index: slice) -> Tensor:
            self.read = [index.start, index.stop]
            return self.frames[index]

    upscaler, frames, seen = untrained(tile=16, overlap=3), Watched(noise(3, 40, 33)), []
    upscaler.network.register_forward_pre_hook(lambda network, inputs: seen.append(inputs[0].shape))
    for index, frame in enumerate(upscaler.upscale_from(1, Clip("clip", frames), 4), 1):
        assert frames.read == [index, index + 1] and frame.shape == (1, 3, 160, 132)
    assert len(seen) == 2 * 3 * 3
    assert max(max(shape[-2:]) for shape in seen) <= 16 + 2 * 3


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_starting_later_changes_no_bit(first: int) -> None:
    frames = noise(3, 20, 20)
    later = list(untrained(tile=12, overlap=2).upscale_from(first, Clip("clip", frames), 4))
    assert [chunk.shape[0] for chunk in later] == [1] * (3 - first)
    whole = outputs(untrained(tile=12, overlap=2), frames)
    assert all(torch.equal(ours, theirs[None]) for ours, theirs in zip(later, whole[first:], strict=True))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (3, 2), (33, 17)])
@pytest.mark.parametrize("tile", [0, 16, 1])
def test_any_size_comes_out_four_times_as_large(height: int, width: int, tile: int) -> None:
    output = outputs(untrained(tile, overlap=RADIUS), noise(1, height, width))
    assert output.shape == (1, 3, 4 * height, 4 * width)
    assert output.dtype == torch.float32
    assert 0 <= output.min() and output.max() <= 1
    assert torch.allclose(output, outputs(untrained(), noise(1, height, width)), atol=1e-5, rtol=0)


def test_other_scales_are_refused_or_resized() -> None:
    frames = noise(1, 20, 30)
    with pytest.raises(UserError, match="upscales by 4 only, not by 3; .*'realesrgan:resize=bicubic'"):
        untrained().upscale(Clip("clip", frames), 3)
    resized = outputs(untrained(resize="bicubic"), frames, 2.3)
    assert torch.equal(resized, resize_bicubic(outputs(untrained(), frames), 46, 69).clamp(0, 1))
    assert torch.equal(outputs(untrained(resize="bicubic"), frames), outputs(untrained(), frames))


def test_cuts_are_where_cores_meet() -> None:
    upscaler = untrained(tile=16, overlap=3, resize="bicubic")
    assert upscaler.cuts(160, 200, 1) == Cuts((52, 104), (48, 100, 148))  # 40 in three, 50 in four
    assert upscaler.cuts(64, 64, 1) is None
    assert untrained(tile=0).cuts(4000, 4000, 1) is None
    assert upscaler.cuts(64, 68, 1) == Cuts((), (32,))
    # A smaller output of the same frames has them in proportion.
    outputs(upscaler, noise(1, 40, 50), 2)
    assert upscaler.cuts(80, 100, 1) == Cuts((26, 52), (24, 50, 74))
    assert upscaler.cuts(160, 200, 1) == Cuts((52, 104), (48, 100, 148))


def test_a_step_appears_at_the_cuts_alone() -> None:
    """A network whose output is the size of its tile shows where one tile hands over to the next."""

    class Sized(SRVGGNetCompact):
        def forward(self, frame: Tensor) -> Tensor:
            height, width = frame.shape[-2:]
            return torch.full((1, 3, 4 * height, 4 * width), width / 1000) + torch.arange(4 * width) * 0

    upscaler = untrained(tile=20, overlap=5)
    upscaler.network = Sized(0)
    frame = outputs(upscaler, noise(1, 10, 60))
    steps = (frame[0, 0, 0].diff().abs() > 1e-6).nonzero().flatten() + 1
    found = upscaler.cuts(40, 240, 1)
    assert found is not None and tuple(steps.tolist()) == found.columns == (80, 160)


@pytest.mark.parametrize("tile", [0, 12])
def test_the_seed_changes_nothing_and_progress_rises_to_one(tile: int) -> None:
    seen: list[float] = []
    upscaler, clip = untrained(tile), Clip("clip", noise(2, 20, 30))
    first, second = (torch.cat(list(upscaler.upscale(clip, 4, seed, seen.append))) for seed in (0, 1))
    assert torch.equal(first, second)
    half = seen[: len(seen) // 2]
    assert half == sorted(half) and half[0] > 0 and half[-1] == 1


def test_gradients_are_left_as_they_were_between_frames() -> None:
    for _ in untrained().upscale(Clip("clip", noise(2, 8, 8)), 4):
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("realesrgan:weight=x4plus", "no option 'weight'; did you mean 'weights'"),
        ("realesrgan:weights=x4", "weights=x4 of baseline 'realesrgan' is unknown; did you mean 'x4plus'"),
        ("realesrgan:tile=-1", "tile=-1 of baseline 'realesrgan' is no number of pixels"),
        ("realesrgan:overlap=half", "overlap=half of baseline 'realesrgan' is no number of pixels"),
        ("realesrgan:resize=lanczos", "resize=lanczos of baseline 'realesrgan' is unknown"),
        ("realesrgan:precision=int8", "precision=int8 of baseline 'realesrgan' is unknown"),
    ],
)
def test_wrong_options_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        create(text)


@pytest.mark.parametrize(
    ("text", "name"), [("realesrgan", "realesrgan-x4plus"), ("realesrgan:weights=animevideov3", "realesr-animevideov3")]
)
def test_absent_weights_are_named_with_the_command(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    with pytest.raises(known_weights.WeightsAbsent, match=f"run `patchvsr weights fetch {name}`"):
        create(text)


def test_it_is_registered_and_describes_itself() -> None:
    assert "realesrgan" in upscalers.names()
    described = untrained(tile=100, overlap=7, resize="bicubic").describe()
    assert described == {
        "name": "realesrgan",
        "network": "SRVGGNetCompact, 64 channels, 2 convolutions",
        "weights": {"status": "untrained"},
        "tile": 100,
        "overlap": 7,
        "scale": "4, then resized (bicubic)",
        "dtype": "float32",
        "device": "cpu",
    }
    # Context has no meaning without tiles.
    assert untrained(tile=0, overlap=7).describe() == untrained().describe()


@pytest.mark.parametrize(
    ("kind", "lacking"), [(RRDBNet, "body.22.rdb3."), (SRVGGNetCompact, "body.34."), (SRVGGNetCompact, "body.33.")]
)
def test_a_state_dict_that_lacks_a_part_is_refused(kind: type[Released], lacking: str) -> None:
    state = kind().state_dict()
    assert isinstance(kind.load(dict(state), "mine"), kind)
    short = {name: value for name, value in state.items() if not name.startswith(lacking)}
    sentence = f"weights 'mine' do not fit {kind.__name__}, 64 channels.*Missing key.*{lacking}"
    with pytest.raises(UserError, match=sentence):
        kind.load(short, "mine")
    with pytest.raises(UserError, match="Unexpected key.*extra"):
        kind.load({**state, "extra": torch.zeros(1)}, "mine")
    with pytest.raises(UserError, match="size mismatch"):
        kind.load({name: value[:1] for name, value in state.items()}, "mine")


@pytest.mark.parametrize("name", MODELS)
def test_released_weights_fit_and_are_named(name: str) -> None:
    known = MODELS[name].weights
    fetched(known)
    upscaler = create(f"realesrgan:weights={name}")
    assert upscaler.weights == Weights("trained", {known: known_weights.sha256_of(known)})
    described = upscaler.describe()
    assert described["weights"] == {"status": "trained", known: known_weights.sha256_of(known)}
    assert described["overlap"] == MODELS[name].overlap and described["dtype"] == "float32"


def test_the_precision_is_its_own_option() -> None:
    fetched("realesr-animevideov3")
    clip = Clip("clip", reduced(48, 64)[0])
    made = {}
    for dtype in ("float32", "bfloat16", "float16"):
        upscaler = create(f"realesrgan:weights=animevideov3,precision={dtype}", "cpu", torch.bfloat16)
        assert upscaler.describe()["dtype"] == dtype
        made[dtype] = torch.cat(list(upscaler.upscale(clip, 4)))
        assert made[dtype].dtype == torch.float32
    changes = {dtype: float((frame - made["float32"]).abs().mean()) for dtype, frame in made.items()}
    assert 0 < 3 * changes["float16"] < changes["bfloat16"] < 0.01


def sharpness(frame: Tensor) -> float:
    """Mean absolute difference of neighbours."""
    return float(frame.diff(dim=-1).abs().mean() + frame.diff(dim=-2).abs().mean())


def psnr(output: Tensor, target: Tensor) -> float:
    return float(-10 * (output - target).square().mean().log10())


@pytest.mark.parametrize(("name", "loss"), [("x4plus", 6), ("animevideov3", 3)])
def test_it_sharpens_a_real_frame_and_stays_near_it(name: str, loss: float) -> None:
    """Trained for looks, it loses PSNR against bicubic: 4.6 and 1.3 dB here. Reduced, it is the input again."""
    fetched(MODELS[name].weights)
    frame, target = reduced(64, 96)
    clip = Clip("bunny", frame)
    texts = ("bicubic", f"realesrgan:weights={name}")
    bicubic, ours = (torch.cat(list(create(text).upscale(clip, 4))) for text in texts)
    assert psnr(bicubic, target) - loss < psnr(ours, target) < psnr(bicubic, target)
    assert psnr(degradations.get("bicubic")(ours, 4), frame) > 27
    assert sharpness(ours) > 1.2 * sharpness(bicubic)
