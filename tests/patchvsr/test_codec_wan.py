"""Wan's codec in tiles: what it changes, what it costs, and that it leaves no seams."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.base import Sample
from benchmarks.metrics.seam import SeamStep
from patchvsr.codec import WanCodec
from patchvsr.degradation import quantise
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts

CPU = torch.device("cpu")


def tiny(seed: int = 0, **config: object) -> AutoencoderKLWan:
    torch.manual_seed(seed)
    return AutoencoderKLWan(**{"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, **config}).eval()


def picture(frames: int, height: int, width: int) -> Tensor:
    torch.manual_seed(1)
    coarse = torch.randn(1, 3, height // 32 + 1, width // 32 + 1)
    large = F.interpolate(coarse, scale_factor=32, mode="bicubic")[..., :height, :width]
    clip = 0.5 + 0.2 * large + 0.05 * torch.randn(frames, 3, height, width)
    return clip.clamp(0, 1)


def seam_step(frames: Tensor, cuts: tuple[int, ...]) -> float:
    stretched = quantise((frames - frames.min()) / (frames.max() - frames.min()))  # the score is a ratio
    return SeamStep().score(Sample(stretched, None, stretched, 1.0, Cuts((), cuts)))


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt() / other.std())


def test_a_frame_of_one_tile_is_what_the_autoencoder_gives() -> None:
    vae, frames = tiny(), picture(5, 32, 64)
    codec = WanCodec(vae, tile=64, overlap=16)
    latents = codec.encode(frames)
    with torch.no_grad():
        mode = vae.encode((frames * 2 - 1).transpose(0, 1)[None]).latent_dist.mode()[0]
        given = (vae.config.latents_mean, vae.config.latents_std)
        mean, std = (torch.tensor(value).view(-1, 1, 1, 1) for value in given)
        torch.testing.assert_close(latents, (mode - mean) / std)
        decoded = (vae.decode(mode[None]).sample[0].transpose(0, 1) + 1) / 2
    torch.testing.assert_close(codec.decode(latents), decoded, atol=1e-5, rtol=1e-4)


def test_tiles_join_without_a_step_in_tone() -> None:
    vae, frames = tiny(), picture(1, 64, 512)
    whole = WanCodec(vae, tile=512)
    latents = whole.encode(frames)
    reference = whole.decode(latents)
    feathered, hard = (WanCodec(vae, tile=256, overlap=overlap) for overlap in (128, 0))
    steps = {}
    for name, codec in (("feathered", feathered), ("hard", hard)):
        cuts = tuple(cut * 8 for cut in codec._grid(64, 512).columns.cuts)
        out = codec.decode(latents)
        assert out.shape == reference.shape and cuts
        steps[name] = seam_step(out, cuts) / seam_step(reference, cuts)
    assert steps["feathered"] < 1.15 and steps["hard"] > 3


def test_tiles_differ_little_from_the_whole_and_less_the_more_they_share() -> None:
    vae, frames = tiny(), picture(5, 32, 320)
    whole = WanCodec(vae, tile=320)
    latents = whole.encode(frames)
    reference = whole.decode(latents)
    found = []
    for overlap in (0, 64):
        codec = WanCodec(vae, tile=160, overlap=overlap)
        found.append((distance(codec.encode(frames), latents), distance(codec.decode(latents), reference)))
    (hard_encode, hard_decode), (soft_encode, soft_decode) = found
    assert soft_encode < 0.6 * hard_encode and soft_decode < 0.6 * hard_decode
    assert soft_encode < 0.1 and soft_decode < 0.25


def test_a_frame_that_ends_just_beyond_a_tile_has_no_sliver_at_its_edge() -> None:
    """The last columns are no worse than the rest, as they would be if a tile of one latent pixel made them."""
    vae, frames = tiny(), picture(1, 64, 136)
    whole, tiled = WanCodec(vae, tile=256), WanCodec(vae, tile=128, overlap=64)
    latents = whole.encode(frames)
    reference, out = whole.decode(latents), tiled.decode(latents)
    assert tiled._grid(64, 136).tile == (8, 16)
    error = (out - reference).square().mean(dim=(0, 1, 2))
    assert error[-8:].mean() < 2 * error.mean()


@pytest.mark.parametrize(("shape", "what"), [((4, 3, 16, 16), "1 \\+ 4 n frames"), ((5, 3, 20, 16), "multiples of 8")])
def test_frames_that_the_autoencoder_would_drop_are_refused(shape: tuple[int, ...], what: str) -> None:
    with pytest.raises(UserError, match=what):
        WanCodec(tiny()).encode(torch.rand(shape))


@pytest.mark.parametrize(("tile", "overlap", "what"), [(100, 64, "tile of 100"), (64, 64, "below its tile")])
def test_tiles_that_make_no_sense_are_refused(tile: int, overlap: int, what: str) -> None:
    with pytest.raises(UserError, match=what):
        WanCodec(tiny(), tile=tile, overlap=overlap)


def test_it_is_loaded_from_a_folder_with_its_hash(tmp_path: Path) -> None:
    vae = tiny()
    vae.save_pretrained(tmp_path / "vae")
    codec = WanCodec.load(str(tmp_path), CPU, torch.bfloat16)
    assert list(codec.sha256) == ["codec/diffusion_pytorch_model.safetensors"]
    assert codec.vae.dtype == torch.bfloat16 and codec.module is codec.vae
    frames = picture(1, 16, 24)
    assert distance(codec.encode(frames), WanCodec(vae).encode(frames)) < 0.05


def test_an_autoencoder_of_other_sizes_says_so() -> None:
    assert WanCodec(tiny(z_dim=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)).channels == 4


def test_flops_are_those_of_the_published_size() -> None:
    flops = WanCodec.on_meta().flops(17, 512, 512)
    assert (round(flops.encode / 1e12, 1), round(flops.decode / 1e12, 1)) == (22.9, 38.4)
    assert "aten.silu" in flops.uncounted and "aten.convolution" not in flops.uncounted


def test_flops_count_every_tile_and_need_no_weights() -> None:
    codec = WanCodec(tiny(), tile=64, overlap=16)
    one, many = codec.flops(5, 64, 64), codec.flops(5, 64, 160)
    assert many.encode == 3 * one.encode > 0 and many.decode == 3 * one.decode > 0
    assert codec.flops(5, 32, 64).decode < one.decode
    assert codec.vae.device == CPU  # the counted copy is another
