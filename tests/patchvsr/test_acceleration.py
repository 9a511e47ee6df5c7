"""Options for speed: what they change stays the method, and what cannot be had is one sentence."""
from __future__ import annotations

import importlib.util
import shutil

import pytest
import torch

from patchvsr.acceleration import accelerate
from patchvsr.base import Base, define
from patchvsr.errors import UserError
from patchvsr.loading import load_model
from patchvsr.method import PatchVSR
from patchvsr.model import PatchVSRModel
from patchvsr.upscaler import Clip
from patchvsr.variants import resolve

CPU = torch.device("cpu")
SMALL = "full:tile=32,steps=2"


def upscaled(upscaler: PatchVSR) -> torch.Tensor:
    clip = Clip("c", torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0)))
    return torch.cat(list(upscaler.upscale(clip, 4)))


@pytest.mark.parametrize("how", ["blocks", "full", "graphs"])
def test_compiled_code_does_the_same(how: str) -> None:
    plain, changed = (PatchVSR.load(resolve(SMALL), CPU, torch.float32) for _ in range(2))
    accelerate(changed.model, CPU, compile=how, backend="eager")  # traced and taken apart, but not translated
    torch.testing.assert_close(upscaled(changed), upscaled(plain), atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["blocks", "full"])
def test_code_compiled_for_this_machine_does_the_same(how: str) -> None:
    plain = upscaled(PatchVSR.load(resolve(SMALL), CPU, torch.float32))
    fast = upscaled(PatchVSR.load(resolve(f"{SMALL},compile={how}"), CPU, torch.float32))
    torch.testing.assert_close(fast, plain, atol=1e-3, rtol=0)


def test_the_attention_backend_reaches_every_block() -> None:
    model, _, _ = load_model(resolve(f"{SMALL},attention=_native_math"), CPU, torch.float32)
    for block in model.base.dit.blocks:
        for attention in (block.attn1, block.attn2):
            assert attention.processor._attention_backend.value == "_native_math"
    plain = upscaled(PatchVSR.load(resolve(SMALL), CPU, torch.float32))
    changed = upscaled(PatchVSR.load(resolve(f"{SMALL},attention=_native_math"), CPU, torch.float32))
    torch.testing.assert_close(changed, plain, atol=1e-4, rtol=0)


def test_options_are_part_of_what_records_say() -> None:
    one, other = (PatchVSR.load(resolve(text), CPU, torch.float32).describe() for text in (SMALL, f"{SMALL},cache=off"))
    assert one == other  # the cache changes no byte
    assert one["spec"]["compile"] == "off" and one["spec"]["quantize"] == "off" and one["spec"]["attention"] == "native"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("full:compile=yes", "unknown compile 'yes'"),
        ("full:quantize=int4", "unknown quantize 'int4'"),
        ("full:cache=always", "unknown cache 'always'"),
    ],
)
def test_unknown_options_are_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        resolve(text)


def test_what_this_machine_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, words in {
        "full:attention=magic": "attention=magic cannot be used here",
        "full:quantize=fp8": "quantize=fp8 needs a GPU",
    }.items():
        with pytest.raises(UserError, match=words):
            load_model(resolve(text), CPU, torch.float32)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        load_model(resolve("full:compile=blocks"), CPU, torch.float32)


@pytest.mark.skipif(importlib.util.find_spec("torchao") is not None, reason="torchao is installed")
def test_quantising_without_torchao_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"pip install 'patchvsr\[quantize\]'"):
        load_model(resolve("full:quantize=int8"), CPU, torch.float32)


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
def test_products_of_int8_stay_near_those_of_floats() -> None:
    from diffusers import WanTransformer3DModel

    definition = define("wan-tiny")
    torch.manual_seed(0)
    config = definition.config | {"num_attention_heads": 4, "attention_head_dim": 128, "ffn_dim": 1024, "num_layers": 2}
    base = Base(definition, WanTransformer3DModel(**config))
    model = PatchVSRModel.fresh(base, resolve("no_global:base=wan-tiny,lora=0").adapter_config()).eval()
    latents, t = torch.randn(1, 48, 2, 8, 8), torch.full((1,), 0.5)
    with torch.inference_mode():
        from patchvsr.wan import TileFeatures

        text = base.encode_text(torch.randn(1, 8, 16))
        exact = base.velocity(latents, t, text, TileFeatures())
        accelerate(model, CPU, quantize="int8")
        found = base.velocity(latents, t, text, TileFeatures())
    assert not torch.equal(found, exact)
    assert (found - exact).std() < 0.1 * exact.std()
    with pytest.raises(UserError, match="no linear layer of this base is as wide as 512"):
        load_model(resolve("full:quantize=int8"), CPU, torch.float32)
