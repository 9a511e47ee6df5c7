"""The adapter on diffusers' own transformer: exact where it is untrained, complete where it is saved."""
from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import WanTransformer3DModel

from patchvsr.adapter import AdapterConfig, TileInput
from patchvsr.base import Base, define
from patchvsr.errors import UserError
from patchvsr.model import PatchVSRModel, merge_lora, save_weights
from patchvsr.position import Place
from patchvsr.wan import TileFeatures
from patchvsr.weights import load_safetensors

COMBINATIONS = [
    (context, position)
    for context, position in itertools.product(
        ["none", "global", "neighbourhood"], ["none", "crop", "mask", "box", "rope_offset"]
    )
    if not (context == "none" and position in ("mask", "box")) and (context, position) != ("neighbourhood", "mask")
]


def tiles(count: int = 2, size: int = 8, channels: int = 48, frames: int = 2) -> TileInput:
    torch.manual_seed(1)
    latents, context = torch.randn(2, count, channels, frames, size, size)
    place = Place(4, 8, size, size, 40, 64)
    return TileInput(latents, context, (place,) * count, torch.full((count,), 4.0), torch.full((count,), 0.25))


def tiny(config: AdapterConfig, seed: int = 0) -> PatchVSRModel:
    torch.manual_seed(seed)
    return PatchVSRModel.fresh(Base.build(define("wan-tiny")), config).eval()


@pytest.mark.parametrize(("context", "position"), COMBINATIONS)
@torch.inference_mode()
def test_an_untrained_adapter_changes_no_bit_of_the_base(context, position):
    definition = define("wan-tiny")
    torch.manual_seed(0)
    reference = WanTransformer3DModel(**definition.config).eval()
    base = Base.build(definition)
    base.model.load_state_dict(reference.state_dict())
    model = PatchVSRModel.fresh(base, AdapterConfig(context=context, position=position, lora_rank=4)).eval()
    tile, embeddings = tiles(), torch.randn(2, 7, 16)  # a linear layer rounds differently in batches of 1 and 2
    text = model.base.encode_text(embeddings)
    features = model.adapter.encode(tile, text)
    if position == "rope_offset":
        assert features.rope_start != (0, 0)
        features = features._replace(rope_start=(0, 0))  # the one location that is not a zero-initialised layer
    noisy, t = torch.randn(2, 48, 2, 8, 8), torch.tensor([0.3, 1.0])
    ours = model.velocity(noisy, t, text, features)
    theirs = reference(noisy, t * 1000, embeddings).sample
    assert torch.equal(ours, theirs)


@torch.inference_mode()
def test_an_untrained_adapter_changes_no_bit_of_nano():
    torch.manual_seed(0)
    base = Base.build(define("nano")).eval()
    for parameter in (base.model.conv_out.weight, base.model.conv_out.bias):
        torch.nn.init.normal_(parameter, std=0.1)
    noisy, t = torch.randn(2, 48, 2, 16, 16), torch.tensor([0.3, 1.0])
    text = base.encode_text(torch.randn(1, 7, 64))
    before = base.velocity(noisy, t, text, TileFeatures())
    model = PatchVSRModel.fresh(base, AdapterConfig()).eval()
    after = model.velocity(noisy, t, text, model.adapter.encode(tiles(size=16), text))
    assert torch.equal(before, after)


def test_every_part_of_a_trained_adapter_reaches_the_output():
    model = tiny(AdapterConfig(lora_rank=4))
    text = model.base.encode_text(torch.randn(1, 7, 16))
    noisy, t = torch.randn(2, 48, 2, 8, 8), torch.tensor([0.3, 1.0])
    for parameter in model.adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    outputs = []
    for dropped in ({}, {"patch"}, {"context"}, {"position"}):
        model.adapter.dropped = frozenset(dropped)
        outputs.append(model.velocity(noisy, t, text, model.adapter.encode(tiles(), text)))
    for one, other in itertools.combinations(outputs, 2):
        assert not torch.allclose(one, other)


def test_context_has_a_quarter_of_the_tokens_and_box_adds_one():
    for position, extra in (("mask", 0), ("box", 1)):
        model = tiny(AdapterConfig(position=position))
        text = model.base.encode_text(torch.randn(1, 7, 16))
        features = model.adapter.encode(tiles(), text)
        tokens = 2 * (8 // 2) * (8 // 2)
        assert features.blocks[0].shape[1] == tokens
        assert features.context[0].key.shape[1] == tokens // 4 + extra


def test_adapter_blocks_serve_base_blocks_in_equal_shares():
    model = tiny(AdapterConfig(patch_blocks=2))
    for projection in model.adapter.patch_branch.projections:
        torch.nn.init.eye_(projection.weight)
    blocks = tuple(torch.full((1, 4, 24), float(i)) for i in range(2))
    _, injected = model.adapter.patch_branch.inject(TileFeatures(blocks=blocks), torch.zeros(1, 24))
    assert [x.mean().item() for x in injected] == [0, 0, 1, 1]  # floor(j * 2 / 4)


def test_features_do_not_depend_on_the_denoising_step_and_only_position_tells_tiles_apart():
    for position, differs in (("none", False), ("crop", True), ("mask", True), ("box", True)):
        model = tiny(AdapterConfig(position=position, context="global"))
        for parameter in model.adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        text = model.base.encode_text(torch.randn(1, 7, 16))
        tile = tiles(1)
        moved = tile._replace(places=(Place(20, 40, 8, 8, 40, 64),))
        here, there = (model.adapter.encode(x, text) for x in (tile, moved))
        pairs = [(here.condition, there.condition)]
        for one, other in zip(here.context, there.context, strict=True):
            pairs += zip(one, other, strict=True)
        same = all(torch.equal(a, b) for a, b in pairs)
        assert same != differs


@pytest.mark.parametrize(("name", "billions"), [("wan2.1-1.3b", 1.42), ("wan2.1-14b", 14.3)])
def test_the_adapter_builds_and_runs_on_the_real_wan_sizes(name, billions):
    with torch.device("meta"):
        base = Base.build(define(name))
        model = PatchVSRModel.fresh(base, AdapterConfig(lora_rank=0))
    assert sum(p.numel() for p in base.parameters()) / 1e9 == pytest.approx(billions, rel=0.02)
    meta = dict(device="meta")
    tile = TileInput(
        torch.empty(1, 16, 5, 64, 64, **meta), torch.empty(1, 16, 5, 64, 64, **meta),
        (Place(0, 0, 64, 64, 270, 480),), torch.empty(1, **meta), torch.empty(1, **meta),
    )  # fmt: skip
    base.to("meta"), model.to("meta")
    text = base.encode_text(torch.empty(1, 512, 4096, **meta))
    velocity = model.velocity(torch.empty(1, 16, 5, 64, 64, **meta), torch.empty(1, **meta), text,
                              model.adapter.encode(tile, text))  # fmt: skip
    assert velocity.shape == (1, 16, 5, 64, 64)


def test_a_reduced_wan_takes_a_training_step_and_survives_saving(tmp_path):
    model = tiny(AdapterConfig(lora_rank=4)).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    noisy, t = torch.randn(2, 48, 2, 8, 8), torch.tensor([0.3, 1.0])
    losses = []
    for _ in range(3):  # zero-initialised layers take one step before what stands behind them gets a gradient
        text = model.base.encode_text(model.fixed_prompt)
        loss = (model.velocity(noisy, t, text, model.adapter.encode(tiles(), text)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    frozen = [n for n, p in model.base.named_parameters() if p.requires_grad and "lora_" not in n]
    assert frozen == []
    save_weights(model.trained_state(), tmp_path / "a.safetensors", {"name": "x"}, torch.float32)
    again = tiny(AdapterConfig(lora_rank=4))
    again.load_trained_state(load_safetensors(tmp_path / "a.safetensors", None), "a")
    with torch.inference_mode():
        outputs = []
        for m in (model.eval(), again):
            text = m.base.encode_text(m.fixed_prompt)
            outputs.append(m.velocity(noisy, t, text, m.adapter.encode(tiles(), text)))
        assert torch.equal(*outputs)
        merge_lora(again.base)
        text = again.base.encode_text(again.fixed_prompt)
        merged = again.velocity(noisy, t, text, again.adapter.encode(tiles(), text))
        torch.testing.assert_close(merged, outputs[0], atol=1e-4, rtol=1e-4)


def test_weights_of_another_arm_are_refused_by_name(tmp_path):
    state = tiny(AdapterConfig(lora_rank=4)).trained_state()
    with pytest.raises(UserError, match="does not fit this model.*unexpected 'adapter.context"):
        tiny(AdapterConfig(context="none", position="crop", lora_rank=4)).load_trained_state(state, "a.safetensors")
    with pytest.raises(UserError, match="lora_A.*expected"):
        tiny(AdapterConfig(lora_rank=8)).load_trained_state(state, "a.safetensors")
