"""The pipeline's diffusers side: LoRA, weights that wait elsewhere, other codecs, and sharing."""
from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers import AutoencoderKLWan
from huggingface_hub import ModelCard
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file, save_file

from patchvsr.codec.taehv import AutoencoderTinyHV
from patchvsr.errors import UserError
from patchvsr.offload import compute_device, loaded
from patchvsr.pipeline import PatchVSRPipeline
from patchvsr.upscaler import Weights

NANO = "full:tile=32"
WAN = "full:base=wan-tiny,tile=32"


def clip(frames: int = 1, height: int = 12, width: int = 10) -> torch.Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(3))


def make(variant: str = WAN, **kwargs) -> PatchVSRPipeline:
    pipeline = PatchVSRPipeline.from_variant(variant, **kwargs)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run(pipeline: PatchVSRPipeline) -> torch.Tensor:
    return pipeline(clip(), 2).frames


def save_lora(pipeline: PatchVSRPipeline, folder, names, rank: int = 4) -> None:
    """A random LoRA for the transformer's layers whose names end as given, in diffusers' format."""
    generator = torch.Generator().manual_seed(7)
    layers = {}
    for name, module in pipeline.transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(tuple(names)):
            layers[f"{name}.lora_A.weight"] = torch.randn(rank, module.in_features, generator=generator)
            layers[f"{name}.lora_B.weight"] = torch.randn(module.out_features, rank, generator=generator)
    assert layers
    pipeline.save_lora_weights(folder, transformer_lora_layers=layers)


# every way in which our forward pass comes by a layer: through a block, and by hand for text, time and the ends
@pytest.mark.parametrize(
    "layer", ["attn1.to_q", "attn2.to_q", "attn2.to_k", "attn2.to_out.0", "ffn.net.2", "text_embedder.linear_1",
              "time_embedder.linear_1", "time_proj", "proj_out"]
)  # fmt: skip
def test_lora_on_any_layer_takes_effect_and_leaves_no_trace_when_unloaded(layer, tmp_path):
    pipeline = make()
    pipeline.transformer.blocks[0].attn2.to_v.weight.data.mul_(20)  # random text says next to nothing otherwise
    pipeline.adapter.set_prompt(torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(1)))
    before = run(pipeline)
    save_lora(pipeline, tmp_path, [layer])
    pipeline.load_lora_weights(tmp_path)
    assert not torch.equal(run(pipeline), before)
    pipeline.unload_lora_weights()
    assert torch.equal(run(pipeline), before)


def test_lora_is_scaled_switched_off_and_fused(tmp_path):
    pipeline = make()
    before = run(pipeline)
    save_lora(pipeline, tmp_path, ["to_q", "to_v", "net.2"])
    pipeline.load_lora_weights(tmp_path, adapter_name="style")
    full = run(pipeline)
    differences = []
    for scale in (0.0, 0.01, 0.5, 1.0):
        pipeline.set_adapters("style", scale)
        differences.append(float((run(pipeline) - before).abs().mean()))
    assert differences[0] == 0 and differences == sorted(differences) and len(set(differences)) == 4
    assert torch.equal(run(pipeline), full)
    pipeline.disable_lora()
    assert torch.equal(run(pipeline), before)
    pipeline.enable_lora()
    with pytest.raises(UserError, match="'transformer' has LoRA 'style' loaded, which cannot be saved"):
        pipeline.save_pretrained(tmp_path / "saved")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    fused = run(pipeline)
    torch.testing.assert_close(fused, full, atol=1e-4, rtol=0)
    pipeline.save_pretrained(tmp_path / "saved")
    again = PatchVSRPipeline.from_pretrained(tmp_path / "saved")
    assert torch.equal(run(again), fused)


def test_lora_loads_into_nano_too(tmp_path):
    pipeline = make(NANO)
    before = run(pipeline)
    save_lora(pipeline, tmp_path, ["attn1.to_q"])
    pipeline.load_lora_weights(tmp_path)
    assert not torch.equal(run(pipeline), before)


def test_lora_is_read_from_safetensors_only(tmp_path):
    pipeline = make()
    save_lora(pipeline, tmp_path, ["to_q"])
    file = tmp_path / "pytorch_lora_weights.safetensors"
    torch.save(load_file(file), tmp_path / "pytorch_lora_weights.bin")
    file.unlink()
    with pytest.raises(OSError):
        pipeline.load_lora_weights(tmp_path)
    for call in (pipeline.load_lora_weights, pipeline.lora_state_dict):
        with pytest.raises(UserError, match="use_safetensors=False is refused"):
            call(tmp_path, use_safetensors=False)
    with pytest.raises(UserError, match="safe_serialization=False is refused"):
        pipeline.save_lora_weights(tmp_path, safe_serialization=False)


def offload(pipeline: PatchVSRPipeline, how: str) -> None:
    """Offload with the CPU in the accelerator's place.

    accelerate cannot play sequential offload to "cpu:0", the name that the pipeline would give it, so its hooks are
    attached here as `enable_sequential_cpu_offload` does it: the weights are on the meta device between uses.
    """
    if how == "model":
        pipeline.enable_model_cpu_offload(device="cpu")
        return
    for name, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module) and name not in pipeline._exclude_from_cpu_offload:
            cpu_offload(module, torch.device("cpu"), offload_buffers=len(module._parameters) > 0)


class Count(ModelHook):
    """Stands for the hook that brings a model's weights to the device."""

    def __init__(self):
        self.before = 0

    def pre_forward(self, module, *args, **kwargs):
        self.before += 1
        return args, kwargs


@pytest.mark.parametrize("variant", [NANO, WAN])
@pytest.mark.parametrize("call", ["velocity", "embed_time", "encode_text"])
def test_every_entry_to_the_transformer_runs_its_hook(variant, call):
    from patchvsr.wan import TileFeatures

    pipeline = make(variant)
    base = pipeline._model(pipeline.spec).base
    text = base.encode_text(pipeline.adapter.fixed_prompt)
    hook = Count()
    add_hook_to_module(pipeline.transformer, hook)
    arguments = {
        "velocity": (torch.randn(1, 48, 1, 8, 8), torch.ones(1), text, TileFeatures()),
        "embed_time": (torch.ones(1), TileFeatures()),
        "encode_text": (pipeline.adapter.fixed_prompt,),
    }[call]
    getattr(base, call)(*arguments)
    assert hook.before >= 1


@pytest.mark.parametrize("variant", [NANO, WAN, "no_fixed_prompt:tile=32"])
@pytest.mark.parametrize("how", ["model", "sequential"])
def test_offloaded_weights_give_the_same_bytes(variant, how):
    pipeline = make(variant)
    before = pipeline(clip(), 2, caption="a dog").frames
    offload(pipeline, how)
    assert pipeline._execution_device.type == "cpu"
    if how == "sequential":
        assert pipeline.transformer.device.type == "meta"
        assert compute_device(pipeline.transformer).type == "cpu"
    for _ in range(2):  # hooks must be whole again after a call
        assert torch.equal(pipeline(clip(), 2, caption="a dog").frames, before)
    assert pipeline.adapter.device.type == "cpu"


def test_the_transformer_leaves_after_the_last_step_of_a_chunk_and_the_adapter_stays(monkeypatch):
    pipeline = make(f"{NANO},frames=2,frame_overlap=0,steps=2")
    pipeline.enable_model_cpu_offload(device="cpu")
    events = []
    for hook in pipeline._all_hooks:
        if hook.model is pipeline.transformer:
            monkeypatch.setattr(hook.hook, "init_hook", lambda module: events.append("offload"))
    assert not hasattr(pipeline.adapter, "_hf_hook")
    chunks = pipeline.stream(clip(4), 2, callback_on_step_end=lambda p, i, t, given: events.append(i))
    next(chunks)
    assert events == [0, 1, "offload"]
    next(chunks)
    assert events == [0, 1, "offload"] * 2


def test_group_offload_is_refused():
    with pytest.raises(UserError, match="use enable_model_cpu_offload"):
        make().enable_group_offload(onload_device=torch.device("cpu"))


def test_weights_are_there_inside_loaded_and_gone_after_it():
    layer = torch.nn.Linear(2, 2)
    weight = layer.weight.detach().clone()
    add_hook_to_module(layer, AlignDevicesHook(execution_device="cpu", offload=True))
    assert layer.weight.device.type == "meta"
    with loaded(layer, layer):
        assert torch.equal(layer.weight, weight)
    assert layer.weight.device.type == "meta" and compute_device(layer).type == "cpu"
    remove_hook_from_module(layer)
    assert compute_device(torch.nn.Identity()).type == "cpu"


@pytest.fixture(scope="module")
def wan_vae() -> AutoencoderKLWan:
    torch.manual_seed(0)
    return AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval()


@pytest.mark.parametrize("how", ["model", "sequential"])
def test_a_codec_with_weights_is_a_component(wan_vae, tmp_path, how):
    wan_vae.save_pretrained(tmp_path / "vae")
    variant = f"no_diffusion:base=wan2.1-1.3b,codec_weights={tmp_path / 'vae'}"
    pipeline = make(variant)
    before = run(pipeline)
    assert isinstance(pipeline.vae, AutoencoderKLWan) and pipeline.weights_status == "trained"
    pipeline.save_pretrained(tmp_path / "saved")
    again = PatchVSRPipeline.from_pretrained(tmp_path / "saved")
    again.set_progress_bar_config(disable=True)
    assert torch.equal(run(again), before)
    offload(again, how)
    assert torch.equal(run(again), before)
    with pytest.raises(UserError, match="needs the component 'vae'"):
        run(PatchVSRPipeline(spec=pipeline.config.spec, weights_status="none"))


def test_a_codec_of_this_package_is_saved_and_loaded_by_its_own_class(tmp_path):
    torch.manual_seed(0)
    vae = AutoencoderTinyHV()
    pipeline = PatchVSRPipeline(vae=vae, spec="no_diffusion:base=wan2.1-1.3b,codec=taehv", weights_status="none")
    pipeline.save_pretrained(tmp_path)
    again = PatchVSRPipeline.from_pretrained(tmp_path)
    assert type(again.vae) is AutoencoderTinyHV
    assert all(torch.equal(again.vae.state_dict()[name], value) for name, value in vae.state_dict().items())


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose three calls are recorded: no network."""
    calls = SimpleNamespace(created=[], uploaded=[], card=None)

    def create_repo(repo_id, **kwargs):
        calls.created.append((repo_id, kwargs["private"]))
        return SimpleNamespace(repo_id=f"someone/{repo_id}")

    def upload_folder(*, folder_path, repo_id, **kwargs):
        files = {p.relative_to(folder_path).as_posix(): p.read_bytes() for p in folder_path.rglob("*") if p.is_file()}
        calls.uploaded.append((repo_id, files, kwargs))
        return "commit"

    def download(**kwargs):
        if calls.card is None:
            raise EntryNotFoundError("no README.md")
        return calls.card

    monkeypatch.setattr("huggingface_hub.create_repo", create_repo)
    monkeypatch.setattr("diffusers.utils.hub_utils.upload_folder", upload_folder)
    monkeypatch.setattr("huggingface_hub.repocard.hf_hub_download", lambda *a, **k: download(**k))
    return calls


def test_pushing_uploads_a_whole_pipeline_with_its_card(hub, tmp_path):
    pipeline = make(NANO)
    assert pipeline.push_to_hub("mine", private=True, commit_message="first", licence="cc-by-4.0") == "commit"
    assert hub.created == [("mine", True)]
    repo, files, options = hub.uploaded[0]
    assert repo == "someone/mine" and options["commit_message"] == "first"
    for name, data in files.items():
        file = tmp_path / "pulled" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    assert torch.equal(run(PatchVSRPipeline.from_pretrained(tmp_path / "pulled")), run(pipeline))
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "cc-by-4.0" and card.data.library_name == "diffusers"
    assert 'from_pretrained("mine", dtype=torch.float32)' in card.text
    with pytest.raises(UserError, match="safe_serialization=False is refused"):
        pipeline.push_to_hub("mine", safe_serialization=False)


def test_pulling_downloads_with_the_given_options_and_checks_what_came(tmp_path, monkeypatch):
    make(NANO).save_pretrained(tmp_path)
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(tmp_path)

    monkeypatch.setattr(PatchVSRPipeline, "download", download)
    pipeline = PatchVSRPipeline.from_pretrained("someone/mine", revision="v1", token="t", dtype=torch.float32)
    assert asked == [("someone/mine", {"token": "t", "revision": "v1", "use_safetensors": True})]
    assert pipeline.config._name_or_path == "someone/mine"
    file = tmp_path / "adapter" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"other": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="unexpected 'other'"):
        PatchVSRPipeline.from_pretrained("someone/mine")


def test_a_card_that_somebody_wrote_is_kept(hub, tmp_path):
    hub.card = tmp_path / "card.md"
    hub.card.write_text("---\nlicense: mit\n---\nWritten by hand.\n")
    make("no_diffusion").save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="mine")
    assert b"Written by hand." in hub.uploaded[0][1]["README.md"]


def test_the_card_says_what_the_pipeline_is_and_no_more(tmp_path):
    from patchvsr.card import model_card

    pipeline = make("average:tile=32")
    pipeline.save_pretrained(tmp_path / "p")
    card = ModelCard.load(tmp_path / "p" / "README.md")
    assert card.data.pipeline_tag == "video-to-video" and card.data.license is None
    assert "Not stated by whoever saved these weights." in card.text and "Status: **trained**" in card.text
    for key, value in pipeline.config.spec.items():
        assert f"| `{key}` | `{str(value).lower() if isinstance(value, bool) else value}` |" in card.text
    for digest in pipeline.config.weights_sha256.values():
        assert digest in card.text
    text = model_card(pipeline.config.spec, Weights("none", {}), "a/b", "bfloat16", "mit")
    assert "license: mit" in text and "# b\n" in text and "$" not in text


def test_a_shared_folder_of_safetensors_with_a_variant_in_its_names_loads(tmp_path):
    pipeline = make(NANO)
    pipeline.save_pretrained(tmp_path, variant="fp32")
    assert (tmp_path / "adapter" / "diffusion_pytorch_model.fp32.safetensors").is_file()
    assert torch.equal(run(PatchVSRPipeline.from_pretrained(tmp_path, variant="fp32")), run(pipeline))
    state = load_file(tmp_path / "adapter" / "diffusion_pytorch_model.fp32.safetensors")
    save_file({"other": torch.zeros(1)} | state, tmp_path / "adapter" / "diffusion_pytorch_model.fp32.safetensors")
    with pytest.raises(UserError, match="unexpected 'other'"):
        PatchVSRPipeline.from_pretrained(tmp_path, variant="fp32")
