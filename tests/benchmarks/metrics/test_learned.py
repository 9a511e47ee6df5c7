"""musiq, maniqa, clipiqa, aesthetics: pyiqa's networks with every weight handed in, and never one fetched."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.metrics import MetricUndefined, metrics
from benchmarks.metrics.learned import Aesthetics, ClipIqa, Maniqa, Musiq, _clip_module, in_place_of
from patchvsr import weights
from patchvsr.errors import UserError

from .conftest import sample, textured

State = dict[str, Tensor]
Place = Callable[..., None]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """Puts made-up weights where the checked ones belong."""

    def put(**states: State) -> None:
        found = {name.replace("_", "-"): state for name, state in states.items()}
        monkeypatch.setattr(weights, "present", lambda name: name in found)
        monkeypatch.setattr(weights, "load", lambda name: {key: value.clone() for key, value in found[name].items()})
        monkeypatch.setattr(weights, "fetch", lambda *_: pytest.fail("a metric fetched weights"))

    return put


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("musiq", "patchvsr weights fetch musiq"),
        ("maniqa", "patchvsr weights fetch maniqa"),
        ("clipiqa", "patchvsr weights fetch clipiqa"),
        ("aesthetics", "patchvsr weights fetch laion-aes-clip laion-aes"),
    ],
)
def test_absent_weights_are_named_with_the_one_command(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    metric = metrics.get(name)()
    assert metric.available() == command
    with pytest.raises(UserError, match="patchvsr weights fetch"):
        metric.score(sample(textured(1, 240, 240)))


def test_musiq_equals_pyiqas_network(place: Place) -> None:
    from pyiqa.archs.musiq_arch import MUSIQ

    torch.manual_seed(0)
    network = MUSIQ(pretrained=False).eval()
    place(musiq=network.state_dict())
    metric, frames = Musiq(), textured(2, 70, 90)
    assert metric.available() is None
    before = torch.get_rng_state()
    each = metric.per_frame(sample(frames))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.inference_mode():
        expected = [float(network(frame[None] / 255.0)) for frame in frames]
    assert each == pytest.approx(expected, rel=1e-5)
    assert expected[0] != expected[1]


def test_weights_of_another_network_are_a_sentence(place: Place) -> None:
    from pyiqa.archs.musiq_arch import MUSIQ

    state = MUSIQ(pretrained=False).state_dict()
    state.pop(next(iter(state)))
    place(musiq=state)
    with pytest.raises(UserError, match="weights 'musiq' do not fit the network of pyiqa"):
        Musiq().prepare()


def small_clip(build: type[nn.Module], vision: Any, width: int, patch: int | None, resolution: int) -> nn.Module:
    """A CLIP of few and narrow layers, with the text encoder's real vocabulary and length, at random."""
    torch.manual_seed(0)
    made = build(
        embed_dim=32, image_resolution=resolution, vision_layers=vision, vision_width=width, vision_patch_size=patch,
        context_length=77, vocab_size=49408, transformer_width=64, transformer_heads=1, transformer_layers=1,
    )  # fmt: skip
    # Stored in half precision, as the published ones are; so loading them through it loses nothing.
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(parameter.half())
    return made.eval()


def test_clipiqa_equals_pyiqas_network_of_the_same_clip(place: Place) -> None:
    clip_model, clipiqa_arch = _clip_module("clip_model"), _clip_module("clipiqa_arch")
    clip = small_clip(clip_model.CLIP, (1, 1, 1, 1), 16, None, 64)
    place(clipiqa=clip.state_dict())
    metric, frames = ClipIqa(), textured(1, 64, 96)
    assert metric.available() is None
    with in_place_of(clipiqa_arch, "load", lambda *_: clip):
        theirs = clipiqa_arch.CLIPIQA(pretrained=False).eval()
    with torch.inference_mode():
        expected = float(theirs(frames / 255.0))
    assert metric.score(sample(frames)) == pytest.approx(expected, rel=1e-4)
    assert 0 < expected < 1 and abs(expected - 0.5) > 1e-6


def test_aesthetics_is_a_tenth_of_pyiqas_predictor_of_the_same_clip(place: Place) -> None:
    laion_aes_arch = _clip_module("laion_aes_arch")
    clip = small_clip(laion_aes_arch.clip.model.CLIP, 1, 64, 16, 64)
    with in_place_of(laion_aes_arch.clip, "load", lambda *_: (clip, None)):
        theirs = laion_aes_arch.LAIONAes(pretrained=False).eval()
    place(laion_aes_clip=clip.state_dict(), laion_aes=theirs.mlp.state_dict())
    metric, frames = Aesthetics(), textured(1, 80, 96)
    assert metric.available() is None
    with torch.inference_mode():
        expected = float(theirs(frames / 255.0))
    assert metric.score(sample(frames)) == pytest.approx(expected / 10, rel=1e-3, abs=1e-6)
    assert expected != 0


@pytest.mark.slow
def test_maniqa_equals_pyiqas_network(place: Place) -> None:
    from pyiqa.archs import maniqa_arch

    create = maniqa_arch.timm.create_model
    torch.manual_seed(0)
    with in_place_of(maniqa_arch.timm, "create_model", lambda name, **_: create(name, pretrained=False)):
        theirs = maniqa_arch.MANIQA(pretrained=False, scale=0.8).eval()
    place(maniqa=theirs.state_dict())
    metric, frames = Maniqa(), textured(1, 224, 224)
    assert metric._loaded().test_sample == theirs.test_sample == 20
    metric._loaded().test_sample = theirs.test_sample = 1  # else minutes
    with torch.inference_mode():
        expected = float(theirs(frames / 255.0))
    assert metric.score(sample(frames)) == pytest.approx(expected, rel=1e-4)


def test_backbones_are_handed_in_only_within_the_block() -> None:
    class Module:
        load = "original"

    with pytest.raises(RuntimeError), in_place_of(Module, "load", "mine"):
        assert Module.load == "mine"
        raise RuntimeError
    assert Module.load == "original"


@pytest.mark.parametrize(("name", "side"), [("musiq", 32), ("clipiqa", 32), ("aesthetics", 32), ("maniqa", 224)])
def test_frames_too_small_are_undefined(name: str, side: int) -> None:
    with pytest.raises(MetricUndefined, match=f"at least {side} pixels"):
        metrics.get(name)().score(sample(textured(1, side - 1, 300)))
