"""The tiny codec: the published architecture, memory over frames, tiles with a halo, and its cost."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor
from torch.nn import functional as F

from patchvsr.codec.taehv import HALO, AutoencoderTinyHV
from patchvsr.codec.tiny import TinyWanCodec
from patchvsr.errors import UserError

CPU = torch.device("cpu")
PUBLISHED_BYTES = 22_642_902  # safetensors/taew2_1.safetensors of madebyollin/taehv
State = dict[str, Tensor]


def tiny() -> AutoencoderTinyHV:
    torch.manual_seed(0)
    model = AutoencoderTinyHV(encoder_width=4, decoder_widths=(8, 6, 4, 4))
    return model.eval()


@torch.no_grad()
def by_hand(state: State, part: str, frames: list[Tensor], plan: list[str]) -> list[Tensor]:
    """The published rules, one frame after the other: `[C, h, w]` in and out, layer by layer over all frames."""
    for index, layer in enumerate(plan):
        name = f"{part}.{index}"
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        inner = state.get(f"{name}.conv.weight")
        if layer in ("conv", "down"):
            assert weight is not None
            frames = [F.conv2d(x, weight, bias, stride=2 if layer == "down" else 1, padding=1) for x in frames]
        elif layer == "memory":
            made, past = [], torch.zeros_like(frames[0])
            for x in frames:
                y = torch.cat([x, past])
                for step in (0, 2, 4):
                    y = F.conv2d(y, state[f"{name}.conv.{step}.weight"], state[f"{name}.conv.{step}.bias"], padding=1)
                    y = y.relu() if step < 4 else y
                made.append((y + x).relu())
                past = x
            frames = made
        elif layer == "pool":
            assert inner is not None
            count = inner.shape[1] // inner.shape[0]
            groups = [torch.cat(frames[i : i + count]) for i in range(0, len(frames), count)]
            frames = [F.conv2d(x, inner) for x in groups]
        elif layer == "grow":
            assert inner is not None
            frames = [y for x in frames for y in F.conv2d(x, inner).split(inner.shape[1])]
        elif layer == "up":
            frames = [x.repeat_interleave(2, 1).repeat_interleave(2, 2) for x in frames]
        else:
            frames = [{"relu": torch.relu, "clamp": lambda x: 3 * torch.tanh(x / 3)}[layer](x) for x in frames]
    return frames


ENCODER = ["conv", "relu", *["pool", "down", "memory", "memory", "memory"] * 3, "conv"]
DECODER = ["clamp", "conv", "relu", *["memory", "memory", "memory", "up", "grow", "conv"] * 3, "relu", "conv"]


@torch.no_grad()
def test_it_follows_the_published_rules_frame_by_frame() -> None:
    model = tiny().double()
    frames = torch.rand(5, 3, 16, 24, dtype=torch.float64)
    padded = [*frames, frames[-1], frames[-1], frames[-1]]
    latents = torch.stack(by_hand(model.state_dict(), "encoder", padded, ENCODER))
    torch.testing.assert_close(model.encode(frames), latents)
    assert latents.shape == (2, 16, 2, 3)
    decoded = torch.stack(by_hand(model.state_dict(), "decoder", list(latents), DECODER))
    assert len(decoded) == 8
    torch.testing.assert_close(model.decode(latents), decoded[3:].clamp(0, 1))


def test_names_and_sizes_are_those_of_the_published_file() -> None:
    model = AutoencoderTinyHV()
    state = {name: value.half() for name, value in model.state_dict().items()}
    assert len(state) == 128
    assert sum(value.numel() for value in model.encoder.parameters()) == 1_470_928
    assert sum(value.numel() for value in model.decoder.parameters()) == 9_844_611
    # The header holds all names, dtypes, shapes and offsets.
    assert len(save(state)) == PUBLISHED_BYTES
    assert state["decoder.10.conv.0.weight"].shape == (128, 256, 3, 3)
    assert state["decoder.1.weight"].shape == (256, 16, 3, 3)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 2])
def test_frames_in_chunks_with_carried_memory_are_the_same(chunk: int) -> None:
    model, frames = tiny(), torch.rand(13, 3, 16, 16)
    latents = model.encode(frames)
    torch.testing.assert_close(model.encode(frames, chunk), latents, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(model.decode(latents, chunk), model.decode(latents), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(model.encode(frames[8:12]), latents[2:3], atol=1e-4)  # memory matters


@torch.no_grad()
def test_the_halo_is_the_field_of_both_networks() -> None:
    model = tiny().double()
    latents = torch.randn(1, 16, 1, 64, dtype=torch.float64)
    frames = torch.rand(4, 3, 8, 8 * 64, dtype=torch.float64)
    at = 30
    for run, given, reads, writes, before in ((model.encode, frames, 8, 1, 17), (model.decode, latents, 1, 8, HALO)):
        given[..., at * reads : (at + 1) * reads] = torch.nan  # spreads through every layer as far as this one reaches
        reached = run(given).isnan().any(dim=0).any(dim=0).any(dim=0).nonzero().flatten() // writes
        assert (at - reached.min(), reached.max() - at) == (before, HALO)


@pytest.mark.parametrize("size", [(8, 360), (352, 8)])
def test_tiles_with_the_halo_give_what_the_whole_gives(size: tuple[int, int]) -> None:
    model, frames = tiny(), torch.rand(5, 3, *size)
    whole, tiled = TinyWanCodec(model, tile=400), TinyWanCodec(model, tile=320)
    assert len(tiled._grid(*size)) > 1 and len(whole._grid(*size)) == 1
    latents = whole.encode(frames)
    torch.testing.assert_close(tiled.encode(frames), latents, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tiled.decode(latents), whole.decode(latents), atol=1e-5, rtol=1e-4)
    tiled.halo = 3
    assert not torch.allclose(tiled.encode(frames), latents, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_it_takes_and_gives_as_many_frames_as_wan_s_own(frames: int) -> None:
    codec = TinyWanCodec(tiny())
    clip = torch.rand(frames, 3, 16, 24)
    latents = codec.encode(clip)
    assert latents.shape == (16, codec.latent_frames(frames), 2, 3) and latents.dtype == torch.float32
    out = codec.decode(latents)
    assert out.shape == clip.shape and out.min() >= 0 and out.max() <= 1
    assert codec.module is codec.model
    with pytest.raises(UserError, match="1 \\+ 4 n frames"):
        codec.encode(torch.rand(frames + 1, 3, 16, 24))


def test_published_weights_are_loaded_by_name(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = AutoencoderTinyHV().eval()
    file = tmp_path / "taew2_1.safetensors"
    save_file({name: value.half() for name, value in model.state_dict().items()}, file)
    codec = TinyWanCodec.load(str(file), CPU, torch.float32)
    assert list(codec.sha256) == ["codec/taew2_1.safetensors"]
    latents = torch.randn(16, 1, 2, 2)
    torch.testing.assert_close(codec.decode(latents), TinyWanCodec(model).decode(latents), atol=1e-2, rtol=1e-2)


def test_it_is_saved_and_loaded_as_a_diffusers_model(tmp_path: Path) -> None:
    model, frames = tiny(), torch.rand(1, 3, 16, 16)
    model.save_pretrained(tmp_path)
    codec = TinyWanCodec.load(str(tmp_path), CPU, torch.float32)
    torch.testing.assert_close(codec.encode(frames), TinyWanCodec(model).encode(frames))
    assert list(codec.sha256) == ["codec/diffusion_pytorch_model.safetensors"]
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    with pytest.raises(UserError, match="holds a AutoencoderKLWan"):
        TinyWanCodec.load(str(tmp_path), CPU, torch.float32)


def test_other_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    pickle = tmp_path / "taew2_1.pth"
    pickle.write_bytes(b"")
    with pytest.raises(UserError, match=r"is a pickle.*weights_only=True.*taew2_1\.safetensors"):
        TinyWanCodec.load(str(pickle), CPU, torch.float32)
    with pytest.raises(UserError, match="does not exist; give taew2_1.safetensors"):
        TinyWanCodec.load(str(tmp_path / "none.safetensors"), CPU, torch.float32)
    other = tmp_path / "taew2_2.safetensors"
    save_file(tiny().state_dict(), other)
    with pytest.raises(UserError, match=r"is not taew2_1: 'decoder.1.bias' is \(8,\), expected \(256,\)"):
        TinyWanCodec.load(str(other), CPU, torch.float32)
    (tmp_path / "broken.safetensors").write_bytes(b"not a header")
    with pytest.raises(UserError, match="broken.safetensors"):
        TinyWanCodec.load(str(tmp_path / "broken.safetensors"), CPU, torch.float32)


def test_a_tile_no_larger_than_its_halo_is_refused() -> None:
    with pytest.raises(UserError, match="below its tile of 288"):
        TinyWanCodec(tiny(), tile=288)


def closed_form(frames: int, height: int, width: int) -> tuple[int, int]:
    """FLOPs of encoder and decoder: 2 per weight, for every position of every frame at its level."""
    area, latents = height * width, (frames + 3) // 4
    memory = 9 * (2 + 1 + 1) * 64 * 64  # one block, 64 channels
    encode = 4 * latents * area * 9 * 3 * 64
    for pooled, level, stride in ((2, 4, 2), (1, 16, 2), (1, 64, 1)):
        encode += pooled * latents * area * (4 // level if level < 4 else 1) * stride * 64 * 64 * 4 // level
        encode += pooled * latents * area // level * (9 * 64 * 64 + 3 * memory)
    encode += latents * area // 64 * 9 * 64 * 16
    decode = latents * area // 64 * 9 * 16 * 256
    for inner, outer, grow, made, level in ((256, 128, 1, 1, 64), (128, 64, 2, 1, 16), (64, 64, 2, 2, 4)):
        decode += made * latents * area // level * 3 * 9 * 4 * inner * inner
        decode += made * latents * area * 4 // level * (inner * inner * grow + grow * 9 * inner * outer)
    decode += 4 * latents * area * 9 * 64 * 3
    return 2 * encode, 2 * decode


@pytest.mark.parametrize("size", [(17, 512, 512), (5, 64, 128)])
def test_flops_are_those_of_the_closed_form(size: tuple[int, int, int]) -> None:
    flops = TinyWanCodec.on_meta().flops(*size)
    assert (flops.encode, flops.decode) == closed_form(*size)
    assert "aten.relu" in flops.uncounted


def test_flops_count_every_tile_with_its_halo() -> None:
    codec = TinyWanCodec.on_meta()
    encode, decode = closed_form(5, 153 * 8, 147 * 8)
    flops = codec.flops(5, 2160, 3840)
    assert (flops.encode, flops.decode) == (8 * encode, 8 * decode)
