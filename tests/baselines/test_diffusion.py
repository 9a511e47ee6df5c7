"""Pipelines of diffusers as baselines: tiny random ones are saved, found, checked, loaded and run."""
from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines import kandinsky6_sr, ltx_upsample, sd_upscale
from baselines.diffusion_upscaler import PipelineUpscaler, generator, padded
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Upscaler, create, upscalers

FACTORIES: dict[str, Any] = {
    "sd_upscale": sd_upscale.sd_upscale,
    "ltx_upsample": ltx_upsample.ltx_upsample,
    "kandinsky6_sr": kandinsky6_sr.kandinsky6_sr,
}
VIDEO = ["ltx", "ltx2", "kandinsky"]
BASELINE = {"sd": "sd_upscale", "ltx": "ltx_upsample", "ltx2": "ltx_upsample", "kandinsky": "kandinsky6_sr"}
EXTRA = {"sd": "steps=2", "ltx": "window=9", "ltx2": "window=9", "kandinsky": "window=3,factor=2"}
FACTOR = {"sd": 4, "ltx": 2, "ltx2": 2, "kandinsky": 2}

# Kandinsky's attention is not compiled on a CPU, as torch and diffusers remark.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, factory in FACTORIES.items():
        monkeypatch.setitem(upscalers._entries, name, factory)


def tiny_sd(folder: Path) -> Any:
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        DDPMScheduler,
        StableDiffusionUpscalePipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokens = ["<|startoftext|>", "<|endoftext|>", *"abcdefgh", *(f"{letter}</w>" for letter in "abcdefgh")]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    unet = UNet2DConditionModel(
        in_channels=7, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4, cross_attention_dim=16, num_class_embeds=1000, use_linear_projection=True,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8), latent_channels=4, norm_num_groups=4, sample_size=64, scaling_factor=0.08333,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16),
        unet=unet,
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler(prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False),
        max_noise_level=350,
    )


def tiny_ltx(folder: Path, **upsampler: Any) -> Any:
    from diffusers import AutoencoderKLLTXVideo, LTXLatentUpsamplePipeline
    from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

    vae = AutoencoderKLLTXVideo(
        latent_channels=32, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5, timestep_conditioning=True,
    )  # fmt: skip
    model = LTXLatentUpsamplerModel(in_channels=32, mid_channels=64, num_blocks_per_stage=1, **upsampler)
    return LTXLatentUpsamplePipeline(vae=vae, latent_upsampler=model)


def tiny_ltx2(folder: Path, **upsampler: Any) -> Any:
    from diffusers import AutoencoderKLLTX2Video, LTX2LatentUpsamplePipeline
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    vae = AutoencoderKLLTX2Video(
        latent_channels=32, block_out_channels=(8,) * 4, decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 4,
        spatial_compression_ratio=32, temporal_compression_ratio=8,
    )  # fmt: skip
    model = LTX2LatentUpsamplerModel(in_channels=32, mid_channels=64, num_blocks_per_stage=1, **upsampler)
    return LTX2LatentUpsamplePipeline(vae=vae, latent_upsampler=model)


def tiny_kandinsky(folder: Path) -> Any:
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        Kandinsky6SRLatentUpscalerBank,
        Kandinsky6SRPipeline,
        Kandinsky6SRTransformer3DModel,
        Kandinsky6SRVAE,
    )

    vae = Kandinsky6SRVAE(
        latent_channels=8, encoder_block_out_channels=(4, 8), decoder_block_out_channels=(4, 8), layers_per_block=1,
        temporal_compression_ratio=2, temporal_compression_start_level=0,
    )  # fmt: skip
    transformer = Kandinsky6SRTransformer3DModel(
        in_visual_dim=8, out_visual_dim=8, time_dim=16, model_dim=32, ff_dim=32, num_visual_blocks=1,
        axes_dims=(4, 6, 6), tile_sizes=((16, 16), (16, 32), (32, 16)),
    )  # fmt: skip
    bank = Kandinsky6SRLatentUpscalerBank(
        in_channels=8, stage_channels=(8, 8, 8), num_pre_blocks=1, num_mid_blocks=1, num_post_blocks=1,
        num_x2_adapter_blocks=1,
    )  # fmt: skip
    return Kandinsky6SRPipeline(transformer, vae, FlowMatchEulerDiscreteScheduler(), bank)


TINY: dict[str, Callable[..., Any]] = {
    "sd": tiny_sd,
    "ltx": tiny_ltx,
    "ltx2": tiny_ltx2,
    "kandinsky": tiny_kandinsky,
}


def save(kind: str, folder: Path, **options: Any) -> Path:
    """A random pipeline, saved; the vocabulary lies beside the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = TINY[kind](folder.parent, **options)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {kind: save(kind, root / kind / "pipeline") for kind in TINY}


@pytest.fixture
def copied(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the Stable Diffusion pipeline that may be damaged."""
    return shutil.copytree(saved["sd"], tmp_path / "pipeline")


def make(kind: str, folder: Path, extra: str | None = None) -> PipelineUpscaler:
    text = f'{BASELINE[kind]}:weights="{folder}",{EXTRA[kind] if extra is None else extra}'
    upscaler: Any = create(text, dtype=torch.float32)
    return upscaler


def noise(frames: int, height: int = 8, width: int = 16) -> Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(0))


def outputs(
    upscaler: Upscaler, frames: Tensor, first: int = 0, seed: int = 0, name: str = "clip", scale: float | None = None
) -> Tensor:
    scale = scale or upscaler.factor  # type: ignore[attr-defined]
    return torch.cat(list(upscaler.upscale_from(first, Clip(name, frames), scale, seed)))


@pytest.mark.parametrize(
    ("kind", "count", "height", "width"),
    [
        ("sd", 2, 1, 1),
        ("sd", 1, 9, 13),
        ("ltx", 1, 1, 1),
        ("ltx", 10, 33, 7),
        ("ltx2", 1, 1, 1),
        ("ltx2", 3, 5, 40),
        ("kandinsky", 1, 1, 1),
        ("kandinsky", 4, 19, 5),
    ],
)
def test_any_size_and_length_comes_out_as_it_should(
    saved: dict[str, Path], kind: str, count: int, height: int, width: int
) -> None:
    frames, factor = noise(count, height, width), FACTOR[kind]
    chunks = list(make(kind, saved[kind]).upscale(Clip("clip", frames), factor))
    assert {chunk.shape[1:] for chunk in chunks} == {(3, factor * height, factor * width)}
    output = torch.cat(chunks)
    assert len(output) == count and output.dtype == torch.float32 and output.device.type == "cpu"
    assert 0 <= output.min() and output.max() <= 1 and output.std() > 0


@pytest.mark.parametrize("kind", TINY)
def test_noise_is_a_function_of_seed_clip_and_place(saved: dict[str, Path], kind: str) -> None:
    upscaler, frames = make(kind, saved[kind]), noise(1, 16, 16)
    base = outputs(upscaler, frames)
    assert torch.equal(outputs(make(kind, saved[kind]), frames), base)
    assert not torch.equal(outputs(upscaler, frames, seed=1), base)
    assert not torch.equal(outputs(upscaler, frames, name="other"), base)


@pytest.mark.parametrize(("kind", "count"), [("sd", 3), ("ltx", 20), ("ltx2", 10), ("kandinsky", 7)])
def test_starting_later_changes_no_bit(saved: dict[str, Path], kind: str, count: int) -> None:
    upscaler, frames = make(kind, saved[kind]), noise(count)
    whole = outputs(upscaler, frames)
    for first in {1, count // 2, count - 1}:
        assert torch.equal(outputs(upscaler, frames, first), whole[first:])
    assert not list(upscaler.upscale_from(count, Clip("clip", frames), upscaler.factor))


def test_every_frame_has_noise_of_its_own(saved: dict[str, Path]) -> None:
    made = outputs(make("sd", saved["sd"]), torch.full((2, 3, 8, 8), 0.5))
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("kind", VIDEO)
def test_windows_know_nothing_of_each_other(saved: dict[str, Path], kind: str) -> None:
    upscaler: Any = make(kind, saved[kind])
    frames = noise(upscaler.window + 2)
    changed = frames.clone()
    changed[-1] = 1 - changed[-1]
    differs = (outputs(upscaler, changed) != outputs(upscaler, frames)).flatten(1).any(dim=1)
    assert not differs[: upscaler.window].any() and differs[-1]
    whole = make(kind, saved[kind], "window=0" + ("" if "ltx" in kind else ",factor=2"))
    assert (outputs(whole, changed) != outputs(whole, frames)).flatten(1).any(dim=1)[0]


@pytest.mark.parametrize(("kind", "count"), [("sd", 3), ("ltx", 20), ("kandinsky", 7)])
def test_progress_rises_to_one(saved: dict[str, Path], kind: str, count: int) -> None:
    seen: list[float] = []
    upscaler = make(kind, saved[kind])
    list(upscaler.upscale(Clip("clip", noise(count)), upscaler.factor, progress=seen.append))
    assert seen == sorted(seen) and 0 < seen[0] < 1 and seen[-1] == 1


@torch.no_grad()
def test_sd_does_what_the_pipeline_does(saved: dict[str, Path]) -> None:
    """What is typed reaches the pipeline, and nothing happens to a frame that needs no padding."""
    from diffusers import StableDiffusionUpscalePipeline

    frames = noise(1)
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(saved["sd"], local_files_only=True)
    expected = pipeline(
        prompt="bad, head", image=frames, num_inference_steps=3, guidance_scale=4.0, noise_level=50,
        generator=generator(7, "clip", 0), output_type="pt",
    ).images  # fmt: skip
    typed = make("sd", saved["sd"], 'steps=3,guidance=4,noise_level=50,prompt="bad, head"')
    assert torch.equal(outputs(typed, frames, seed=7), expected.clamp(0, 1))


@torch.no_grad()
@pytest.mark.parametrize("kind", VIDEO)
def test_videos_go_through_the_pipeline_as_they_are(saved: dict[str, Path], kind: str) -> None:
    import diffusers

    count, height, width = (9, 32, 64) if "ltx" in kind else (3, 16, 24)
    frames, upscaler = noise(count, height, width), make(kind, saved[kind])
    pipeline = getattr(diffusers, upscaler.loaded.kind).from_pretrained(saved[kind], local_files_only=True)
    given = {"height": height, "width": width} if "ltx" in kind else {"resolution_scale": 2, "num_inference_steps": 2}
    made = pipeline(video=frames, generator=generator(0, "clip", 0), output_type="pt", **given).frames[0]
    assert torch.equal(outputs(upscaler, frames), made.clamp(0, 1))


@pytest.mark.parametrize(("kind", "height", "width", "count"), [("sd", 8, 16, 1), ("ltx", 32, 64, 9),
                                                                ("kandinsky", 16, 18, 3)])  # fmt: skip
def test_padding_repeats_what_is_at_the_border_and_is_cut(
    saved: dict[str, Path], kind: str, height: int, width: int, count: int
) -> None:
    frames, upscaler = noise(max(count - 1, 1), height - 3, width - 1), make(kind, saved[kind])
    by_hand = outputs(upscaler, padded(frames, height, width, count))
    factor = upscaler.factor
    cut = by_hand[: len(frames), :, : factor * (height - 3), : factor * (width - 1)]
    assert torch.equal(outputs(upscaler, frames), cut)


def test_padded_frames_hold_the_originals() -> None:
    frames = noise(2, 3, 5)
    bigger = padded(frames, 4, 7, 4)
    assert bigger.shape == (4, 3, 4, 7) and torch.equal(bigger[:2, :, :3, :5], frames)
    assert torch.equal(bigger[:, :, 3], bigger[:, :, 2]) and torch.equal(bigger[3], bigger[1])
    assert (bigger[..., 5:] == bigger[..., 4:5]).all()


def test_prompts_change_the_output_and_captions_only_if_asked(saved: dict[str, Path]) -> None:
    def made(prompt: str, caption: str | None) -> Tensor:
        upscaler = make("sd", saved["sd"], f'steps=2,prompt="{prompt}"')
        return torch.cat(list(upscaler.upscale(Clip("clip", noise(1), caption), 4)))

    assert not torch.equal(made("bad head", None), made("cab", None))
    assert torch.equal(made("cab", "bad head"), made("cab", None))
    assert torch.equal(made("caption", "bad head"), made("bad head", None))
    upscaler = make("sd", saved["sd"], "prompt=caption")
    assert upscaler.accept(Clip("clip", noise(1), "bad head"), 4) == {"prompt": "bad head"}
    with pytest.raises(UserError, match="'sd_upscale:prompt=caption' needs a caption, and clip 'clip' has none"):
        upscaler.upscale(Clip("clip", noise(1)), 4)


@torch.no_grad()
def test_an_empty_prompt_is_not_guided_which_changes_nothing(saved: dict[str, Path]) -> None:
    upscaler, batches = make("sd", saved["sd"], "steps=2"), []
    watch = upscaler.pipeline.unet.register_forward_pre_hook(lambda unet, inputs: batches.append(len(inputs[0])))
    made = outputs(upscaler, noise(1))
    watch.remove()
    assert batches == [1, 1]
    guided = upscaler.pipeline(
        prompt="", image=noise(1), num_inference_steps=2, generator=generator(0, "clip", 0), output_type="pt"
    ).images
    assert torch.allclose(made, guided, atol=1e-4)


def test_precision_stands_above_the_runs_dtype(saved: dict[str, Path]) -> None:
    default = create(f'sd_upscale:weights="{saved["sd"]}",steps=2', dtype=torch.bfloat16)
    assert default.describe()["dtype"] == "bfloat16" == default.describe()["vae_dtype"]
    assert outputs(default, noise(1)).dtype == torch.float32
    upscaler = create(f'sd_upscale:weights="{saved["sd"]}",steps=2,precision=float32', dtype=torch.bfloat16)
    assert torch.equal(outputs(upscaler, noise(1)), outputs(make("sd", saved["sd"]), noise(1)))


def test_the_vae_stays_in_float32_where_it_overflows_in_float16(saved: dict[str, Path]) -> None:
    upscaler = make("sd", saved["sd"], "steps=2,precision=float16")
    assert upscaler.describe()["dtype"] == "float16" and upscaler.describe()["vae_dtype"] == "float32"
    assert outputs(upscaler, noise(1)).isfinite().all()


@pytest.mark.parametrize(("kind", "height", "width"), [("sd", 8, 40), ("ltx", 32, 544)])
def test_tiling_is_the_vaes_and_for_large_frames_only(
    saved: dict[str, Path], kind: str, height: int, width: int
) -> None:
    plain, tiled = make(kind, saved[kind]), make(kind, saved[kind], f"{EXTRA[kind]},tiling=on")
    assert plain.describe()["vae_tiling"] == "off" and tiled.describe()["vae_tiling"]
    small, large = noise(1, 8, 8), noise(1, height, width)
    assert torch.equal(outputs(tiled, small), outputs(plain, small))
    assert not torch.equal(outputs(tiled, large), outputs(plain, large))


@pytest.mark.parametrize("kind", TINY)
def test_other_scales_are_refused_or_resized(saved: dict[str, Path], kind: str) -> None:
    frames, factor = noise(1, 8, 10), FACTOR[kind]
    upscaler = make(kind, saved[kind])
    sentence = f"'{upscaler.name}' upscales by {factor} only, not by 3; .*'{upscaler.name}:resize=bicubic'"
    with pytest.raises(UserError, match=sentence):
        upscaler.upscale(Clip("clip", frames), 3)
    resized = outputs(make(kind, saved[kind], f"{EXTRA[kind]},resize=bicubic"), frames, scale=3)
    assert torch.equal(resized, resize_bicubic(outputs(upscaler, frames), 24, 30).clamp(0, 1))


def test_kandinsky_has_two_factors(saved: dict[str, Path]) -> None:
    upscaler = make("kandinsky", saved["kandinsky"], "factor=4,window=3")
    assert outputs(upscaler, noise(2, 5, 9)).shape == (2, 3, 20, 36)
    assert make("kandinsky", saved["kandinsky"], "").factor == 4


@pytest.mark.parametrize("kind", TINY)
def test_what_decides_the_output_is_told(saved: dict[str, Path], kind: str) -> None:
    upscaler = make(kind, saved[kind])
    told = upscaler.describe()
    assert json.loads(json.dumps(told)) == told
    assert told["name"] == BASELINE[kind] and told["pipeline"] == f"diffusers {upscaler.loaded.kind}"
    assert told["device"] == "cpu" and told["scale"] == str(FACTOR[kind]) and "repeating the border" in told["padding"]
    if kind == "sd":
        assert told["steps"] == 2 and told["guidance"] == 9 and told["noise_level"] == 20 and told["prompt"] == ""
        assert told["scheduler"]["class"] == "DDIMScheduler" and told["scheduler"]["prediction_type"] == "v_prediction"
        assert told["low_res_scheduler"]["class"] == "DDPMScheduler"
    else:
        assert told["window"] == upscaler.window  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", TINY)
def test_weights_are_named_by_the_hash_of_every_file_that_is_read(saved: dict[str, Path], kind: str) -> None:
    weights = make(kind, saved[kind]).weights
    files = [path for path in saved[kind].rglob("*") if path.is_file() and path.parent != saved[kind]]
    expected = {path.relative_to(saved[kind]).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in files}  # fmt: skip
    assert weights.status == "trained" and weights.sha256 == expected
    assert any(name.endswith(".safetensors") for name in expected)


def test_shards_are_read_and_hashed(saved: dict[str, Path], tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = tiny_sd(tmp_path)
    pipeline.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    upscaler = make("sd", tmp_path / "shards")
    shards = [name for name in upscaler.weights.sha256 if name.startswith("unet/") and name.endswith(".safetensors")]
    assert len(shards) > 1
    # Not bit by bit: how values are aligned in memory, as in the file, decides the order of sums.
    assert torch.allclose(outputs(upscaler, noise(1)), outputs(make("sd", saved["sd"]), noise(1)), atol=1e-4)
    (tmp_path / "shards" / shards[0]).unlink()
    with pytest.raises(UserError, match=f"unet lacks the weights file {Path(shards[0]).name}"):
        make("sd", tmp_path / "shards")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local cache of the hub, and no network."""
    from huggingface_hub import constants

    def refuse(*args: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hub"


def put_in_cache(cache: Path, repository: str, folder: Path) -> Path:
    entry = cache / f"models--{repository.replace('/', '--')}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("a" * 40)
    return shutil.copytree(folder, entry / "snapshots" / ("a" * 40))


def test_a_repository_in_the_local_cache_is_used(saved: dict[str, Path], cache: Path) -> None:
    snapshot = put_in_cache(cache, "stabilityai/stable-diffusion-x4-upscaler", saved["sd"])
    put_in_cache(cache, "someone/x4", saved["sd"])
    expected = outputs(make("sd", saved["sd"]), noise(1))
    for text in ("sd_upscale:steps=2", "sd_upscale:steps=2,weights=someone/x4"):
        assert torch.equal(outputs(create(text, dtype=torch.float32), noise(1)), expected)
    (snapshot / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match="vae lacks the weights file diffusion_pytorch_model.safetensors; fetch the"):
        create("sd_upscale")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "sd_upscale",
            r"'sd_upscale', stabilityai/stable-diffusion-x4-upscaler on the Hugging Face hub \(about 3.5 GB\), are not "
            r"on this machine; run `hf download stabilityai/stable-diffusion-x4-upscaler .*`, or give weights=DIR",
        ),
        ("ltx_upsample", r"run `hf download Lightricks/ltxv-spatial-upscaler-0.9.7`, or give weights=DIR"),
        ("kandinsky6_sr", "run `hf download kandinskylab/Kandinsky-6.0-VSR-distilled2steps-5s-Diffusers`"),
        ("sd_upscale:weights=some/one", "some/one on the Hugging Face hub, are not on .* `hf download some/one`"),
        ("sd_upscale:weights=/no/such/folder", "weights=/no/such/folder of baseline 'sd_upscale' is no folder"),
    ],
)
def test_absent_weights_are_named_with_the_command(cache: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        create(text)


def test_the_command_is_one_that_hf_knows() -> None:
    """Nothing is fetched: offline, the command fails, but not over its arguments."""
    import shlex

    arguments = shlex.split(sd_upscale.PUBLISHED.options)
    hf = Path(sys.executable).with_name("hf")
    done = subprocess.run([hf, "download", "a/b", *arguments], capture_output=True, text=True, timeout=120)
    told = done.stdout + done.stderr
    assert "No such option" not in told and "Usage" not in told and "unexpected extra" not in told, told


def test_pickles_are_refused_and_never_read(copied: Path) -> None:
    (copied / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"not a pickle")
    assert not any(name.endswith(".bin") for name in make("sd", copied).weights.sha256)
    (copied / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"unet has its weights as a pickle only \(diffusion_pytorch_model.bin\)"):
        make("sd", copied)


def test_a_foreign_folder_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a LTXLatentUpsamplePipeline, and baseline 'sd_upscale' runs a Stable"):
        make("sd", saved["ltx"])
    with pytest.raises(UserError, match="runs a LTXLatentUpsamplePipeline or LTX2LatentUpsamplePipeline"):
        make("ltx", saved["sd"])
    with pytest.raises(UserError, match="is no pipeline in diffusers' layout, since it has no model_index.json"):
        make("sd", tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(UserError, match="model_index.json cannot be read .*; fetch it again"):
        make("sd", tmp_path)


def test_components_that_lack_something_are_refused(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    for folder, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        path = copied / folder / f"{file}.safetensors"
        state = load_file(path)
        lost = sorted(state)[0]
        save_file({key: value for key, value in state.items() if key != lost}, path, {"format": "pt"})
        with pytest.raises(UserError, match=rf"{folder} do not fit its config: they lack '.*' \(1 keys missing\)"):
            make("sd", copied)
        path.write_bytes(b"damaged" * 100)
        with pytest.raises(UserError, match=f"component .*{folder} cannot be loaded"):
            make("sd", copied)
        path.rename(path.with_name(f"{file}.fp16.safetensors"))
        with pytest.raises(UserError, match=f"{folder} lacks the weights file {file}.safetensors; .*variants such as"):
            make("sd", copied)
        save_file(state, path, {"format": "pt"})
    shutil.rmtree(copied / "tokenizer")
    with pytest.raises(UserError, match="lacks its component 'tokenizer'; fetch the rest of it"):
        make("sd", copied)


def test_components_of_unknown_libraries_are_not_imported(copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps(index | {"unet": ["my_code", "Network"]}))
    with pytest.raises(UserError, match="is a Network of my_code, which diffusers here does not have"):
        make("sd", copied)


def test_safety_checker_and_watermark_stay_out(saved: dict[str, Path], copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    parts = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
             "watermarker": ["deepfloyd_if", "IFWatermarker"]}  # fmt: skip
    (copied / "model_index.json").write_text(json.dumps(index | parts))
    upscaler = make("sd", copied)
    assert upscaler.pipeline.safety_checker is None and upscaler.pipeline.watermarker is None
    assert torch.equal(outputs(upscaler, noise(1)), outputs(make("sd", saved["sd"]), noise(1)))


def test_the_vae_of_ltx_may_lie_elsewhere(saved: dict[str, Path], tmp_path: Path, cache: Path) -> None:
    alone = shutil.copytree(saved["ltx"], tmp_path / "alone")
    shutil.rmtree(alone / "vae")
    with pytest.raises(UserError, match="lacks its component 'vae'; .* give vae=DIR or owner/name"):
        make("ltx", alone)
    expected = outputs(make("ltx", saved["ltx"]), noise(1))
    put_in_cache(cache, "someone/ltx", saved["ltx"])
    for vae in (f'"{saved["ltx"]}"', f'"{saved["ltx"] / "vae"}"', "someone/ltx"):
        upscaler = make("ltx", alone, f"window=9,vae={vae}")
        assert torch.equal(outputs(upscaler, noise(1)), expected)
        assert upscaler.weights == make("ltx", saved["ltx"]).weights
    with pytest.raises(UserError, match="is a AutoencoderKLLTX2Video, and the pipeline takes a AutoencoderKLLTXVideo"):
        make("ltx", alone, f'vae="{saved["ltx2"]}"')
    with pytest.raises(UserError, match=r"vae=no/one .* is neither a folder nor .*`hf download no/one --include 'vae"):
        make("ltx", alone, "vae=no/one")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ltx", {"spatial_upsample": False, "temporal_upsample": True}),
        ("ltx", {"temporal_upsample": True}),
        ("ltx2", {"rational_spatial_scale": 1.5}),
    ],
)
def test_other_upsamplers_than_spatial_ones_by_two_are_refused(
    kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    folder = save(kind, tmp_path / "pipeline", **options)
    with pytest.raises(UserError, match="does not make twice as many pixels per side and as many frames"):
        make(kind, folder)


@pytest.mark.parametrize(
    ("kind", "extra", "sentence"),
    [
        ("sd", "step=3", "no option 'step'; did you mean 'steps'"),
        ("sd", "steps=0", "steps=0 of baseline 'sd_upscale' is no number"),
        ("sd", "steps=1001", "steps=1001 of baseline 'sd_upscale' is more than these weights know; give at most 1000"),
        ("sd", "noise_level=351", "noise_level=351 of baseline 'sd_upscale' is more .* at most 350"),
        ("sd", "precision=int8", "precision=int8 of baseline 'sd_upscale' is unknown"),
        ("sd", "tiling=maybe", "tiling=maybe of baseline 'sd_upscale' is unknown"),
        ("ltx", "window=-1", "window=-1 of baseline 'ltx_upsample' is no number of frames"),
        ("kandinsky", "factor=3", "factor=3 of baseline 'kandinsky6_sr' is unknown; .*use 2 or 4"),
    ],
)
def test_wrong_options_are_refused(saved: dict[str, Path], kind: str, extra: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make(kind, saved[kind], extra)


def test_nothing_is_printed_about_progress(saved: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    from diffusers.utils import logging

    outputs(make("sd", saved["sd"]), noise(1))
    told = capfd.readouterr()
    assert "it/s" not in told.out + told.err and logging.is_progress_bar_enabled()


def test_naming_the_baselines_loads_no_pipelines() -> None:
    names = ", ".join(f"baselines.{name}" for name in FACTORIES)
    code = f"import sys, {names}; print('diffusers' in sys.modules, 'huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr
