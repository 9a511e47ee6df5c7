"""The diffusers pipeline: the same bytes as the upscaler, saved and loaded, and what it takes and gives."""
from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from patchvsr.errors import UserError
from patchvsr.pipeline import PatchVSRPipeline
from patchvsr.upscaler import Clip, create

SMALL = "full:tile=32,shift=1,steps=1"
WAN = "full:base=wan-tiny,tile=32"


def clip(frames: int = 2, height: int = 12, width: int = 10) -> torch.Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(3))


def expected(text: str, video: torch.Tensor, scale: float = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.cat(list(create(text, "cpu", dtype).upscale(Clip("clip", video), scale)))


def quiet(pipeline: PatchVSRPipeline) -> PatchVSRPipeline:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def small() -> PatchVSRPipeline:
    return quiet(PatchVSRPipeline.from_variant(SMALL))


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "small"
    small.save_pretrained(path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("text", [SMALL, "full:tile=32,steps=2,frames=2", "no_diffusion", "no_global:tile=32", WAN])
def test_the_pipeline_gives_the_upscalers_bytes_before_and_after_saving(text, dtype, tmp_path):
    pipeline = quiet(PatchVSRPipeline.from_variant(text, torch_dtype=dtype))
    wanted = expected(text, clip(3), dtype=dtype)
    assert torch.equal(pipeline(clip(3), 2).frames, wanted)
    pipeline.save_pretrained(tmp_path)
    again = quiet(PatchVSRPipeline.from_pretrained(tmp_path, dtype=dtype))
    assert torch.equal(again(clip(3), 2).frames, wanted)
    assert again.spec == pipeline.spec
    assert again.weights_status == pipeline.weights_status


def test_a_saved_float32_pipeline_loads_in_bfloat16_as_if_made_so(folder):
    again = quiet(PatchVSRPipeline.from_pretrained(folder, dtype=torch.bfloat16))
    assert torch.equal(again(clip(), 2).frames, expected(SMALL, clip(), dtype=torch.bfloat16))


def test_components_may_be_shared_with_another_pipeline(small):
    other = quiet(PatchVSRPipeline(**small.components, **small.parameters))
    assert other.transformer is small.transformer and other.weights_status == "trained"
    assert torch.equal(other(clip(), 2).frames, small(clip(), 2).frames)


def test_captions_reach_the_text_encoder_after_loading(tmp_path):
    text = "no_fixed_prompt:tile=32"
    pipeline = quiet(PatchVSRPipeline.from_variant(text, dtype=torch.bfloat16))
    wanted = torch.cat(list(create(text).upscale(Clip("clip", clip(), "a dog"), 2)))
    pipeline.save_pretrained(tmp_path)
    again = quiet(PatchVSRPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16))
    for one in (pipeline, again):
        assert torch.equal(one(clip(), 2, caption="a dog").frames, wanted)
    with pytest.raises(UserError, match="needs a caption; give caption="):
        again(clip(), 2)


def test_parts_dropped_at_inference_stay_dropped_after_loading(tmp_path):
    text = "no_global:tile=32,dropped_at_inference=true"
    pipeline = PatchVSRPipeline.from_variant(text)
    pipeline.save_pretrained(tmp_path)
    again = quiet(PatchVSRPipeline.from_pretrained(tmp_path))
    assert again.adapter.dropped == {"context"}
    assert torch.equal(again(clip(), 2).frames, expected(text, clip()))


def test_what_is_saved_has_only_safetensors_and_no_path(folder, tmp_path):
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    weights = "diffusion_pytorch_model.safetensors"
    components = ("transformer", "adapter", "text_encoder")
    parts = {f"{component}/{file}" for component in components for file in ("config.json", weights)}
    assert names == parts | {"README.md", "model_index.json"}
    index = json.loads((folder / "model_index.json").read_text())
    assert index["adapter"] == ["patchvsr.adapter", "Adapter"]
    assert index["vae"] == [None, None]
    assert index["spec"]["tile"] == 32 and index["spec"]["steps"] == 1 and index["weights_status"] == "trained"
    assert not {"weights", "base_weights", "codec_weights"} & index["spec"].keys()
    # Little more than the numbers themselves: nothing is saved twice.
    pipeline = PatchVSRPipeline.from_pretrained(folder)
    count = sum(t.numel() for c in components for t in getattr(pipeline, c).state_dict().values())
    size = sum((folder / component / weights).stat().st_size for component in components)
    assert 4 * count < size < 4 * count * 1.02 + 40_000


def test_a_path_in_the_variant_stays_out_of_the_saved_pipeline(tmp_path):
    base = PatchVSRPipeline.from_variant(WAN).transformer
    base.save_pretrained(tmp_path / "base")
    pipeline = PatchVSRPipeline.from_variant(f"{WAN},base_weights={tmp_path / 'base'}")
    assert pipeline.spec.base_weights == ""
    pipeline.save_pretrained(tmp_path / "pipeline")
    again = PatchVSRPipeline.from_pretrained(tmp_path / "pipeline")
    again.save_pretrained(tmp_path / "again")
    for folder in ("pipeline", "again"):
        files = [file for file in (tmp_path / folder).rglob("*") if file.suffix in (".json", ".md")]
        assert len(files) == 4
        assert not [file for file in files if str(tmp_path) in file.read_text()]


def test_pickles_are_neither_written_nor_read(folder, tmp_path, small):
    with pytest.raises(UserError, match="safe_serialization=False is refused"):
        small.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(UserError, match="use_safetensors=False is refused"):
        PatchVSRPipeline.from_pretrained(folder, use_safetensors=False)
    shutil.copytree(folder, tmp_path / "p")
    file = tmp_path / "p" / "adapter" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(OSError, match="diffusion_pytorch_model.safetensors"):
        PatchVSRPipeline.from_pretrained(tmp_path / "p")


def edit(file, change):
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_weights_that_lack_something_or_hold_more_are_an_error(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "p")
    file = tmp_path / "p" / "transformer" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    value = state.pop("conv_in.weight")
    save_file(state, file)
    with pytest.raises(UserError, match="lacks 'conv_in.weight' .1 keys missing, 0 unexpected"):
        PatchVSRPipeline.from_pretrained(tmp_path / "p")
    save_file(state | {"conv_in.weight": value, "more": value.clone()}, file)
    with pytest.raises(UserError, match="unexpected 'more'"):
        PatchVSRPipeline.from_pretrained(tmp_path / "p")


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("model_index.json", lambda d: d.update(_class_name="WanPipeline"), "holds a WanPipeline, not a PatchVSRP"),
        ("model_index.json", lambda d: d["spec"].update(stepz=1), "unknown field 'stepz'; did you mean 'steps'"),
        ("model_index.json", lambda d: d["spec"].update(context="none", position="crop"), "adapter has other parts"),
        ("model_index.json", lambda d: d["spec"].update(base="wan-tiny"), "transformer is not base 'wan-tiny'"),
        ("model_index.json", lambda d: d.update(weights_status="good"), "unknown weights_status 'good'"),
    ],
)
def test_configs_that_do_not_fit_get_one_sentence(folder, tmp_path, file, change, sentence):
    shutil.copytree(folder, tmp_path / "p")
    edit(tmp_path / "p" / file, change)
    with pytest.raises(UserError, match=sentence):
        PatchVSRPipeline.from_pretrained(tmp_path / "p")


def test_a_folder_without_a_pipeline_gets_diffusers_error(tmp_path):
    with pytest.raises(OSError, match="model_index.json"):
        PatchVSRPipeline.from_pretrained(tmp_path)


def test_an_older_spec_without_a_field_still_loads(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "p")
    edit(tmp_path / "p" / "model_index.json", lambda d: d["spec"].pop("codec"))
    assert PatchVSRPipeline.from_pretrained(tmp_path / "p").spec.codec == "pixel"


def test_components_left_out_on_purpose_are_asked_for_when_needed(folder):
    pipeline = PatchVSRPipeline.from_pretrained(folder, transformer=None)
    with pytest.raises(UserError, match="needs the component 'transformer'"):
        pipeline(clip())


def test_untrained_weights_are_named_as_such(tmp_path, caplog):
    pipeline = quiet(PatchVSRPipeline.from_variant(WAN))
    pipeline.save_pretrained(tmp_path)
    again = quiet(PatchVSRPipeline.from_pretrained(tmp_path))
    assert again.weights_status == "untrained"
    logging.getLogger("diffusers").propagate = True
    try:
        with caplog.at_level(logging.WARNING):
            again(clip(1), 1)
    finally:
        logging.getLogger("diffusers").propagate = False
    assert "'full' has untrained weights" in caplog.text
    card = (tmp_path / "README.md").read_text()
    assert "Status: **untrained**" in card and "- untrained" in card.split("---")[1]


@pytest.mark.parametrize("kind", ["tensor", "uint8", "numpy", "pil", "folder", "file"])
def test_every_kind_of_video_gives_the_same_frames(small, tmp_path, kind):
    pixels = (clip() * 255).round().to(torch.uint8)
    array = pixels.permute(0, 2, 3, 1).numpy()
    images = [Image.fromarray(frame) for frame in array]
    for index, image in enumerate(images):
        image.save(tmp_path / f"{index}.png")
    video = {
        "tensor": pixels.float() / 255, "uint8": pixels, "numpy": array, "pil": images, "folder": tmp_path,
        "file": str(tmp_path / "0.png"),
    }[kind]  # fmt: skip
    wanted = pixels[:1] if kind == "file" else pixels
    assert torch.equal(small(video, 2).frames, expected(SMALL, wanted.float() / 255))


@pytest.mark.parametrize(
    ("video", "sentence"),
    [
        (torch.rand(3, 4, 4), "shape \\(3, 4, 4\\); frames must be \\[T, 3, H, W\\]"),
        (torch.rand(2, 4, 4, 3), "frames must be \\[T, 3, H, W\\]"),
        (np.zeros((2, 3, 4, 4), np.uint8), "frames must be \\[T, H, W, 3\\]"),
        (torch.rand(0, 3, 4, 4), "is empty"),
        (torch.rand(1, 3, 4, 4) * 2 - 1, "floats must lie in 0..1"),
        (torch.full((1, 3, 4, 4), float("nan")), "floats must lie in 0..1"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int16), "has the dtype int16"),
        ([], "an empty list"),
        ([Image.new("RGB", (4, 4)), Image.new("RGB", (5, 4))], "differ in size \\(4x4 and 5x4"),
        ([Image.new("RGBA", (4, 4))], "has transparency"),
        ([Image.new("I;16", (4, 4))], "of mode I;16 is not 8-bit"),
        ({"frames": 1}, "video is a dict; give a tensor"),
        ([1, 2], "video is a list; give a tensor"),
    ],
)
def test_videos_of_another_kind_get_one_sentence(small, video, sentence):
    with pytest.raises(UserError, match=sentence):
        small(video)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scale": 0.5}, "scale 0.5 is not a factor of at least 1"),
        ({"size": (30, 24)}, "another shape than the input's 10x12"),
        ({"tiling": "shifted", "modulation": "independent"}, "steps"),
        ({"tiling": "hexagons"}, "unknown"),
        ({"num_inference_steps": -1}, "steps=-1 of 'full' must be at least 1"),
        ({"output_type": "gif"}, "output_type 'gif' is unknown; use one of pt, np, pil"),
        ({"seed": 1, "generator": torch.Generator()}, "both seed and generator"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "asks for 'noise'"),
    ],
)
def test_options_that_do_not_fit_get_one_sentence_before_any_work(small, options, sentence):
    with pytest.raises(UserError, match=sentence):
        small.stream(clip(), **options)


def test_sizes_steps_and_components_may_be_chosen_for_a_call(small):
    assert torch.equal(small(clip(), size=(20, 24)).frames, small(clip(), 2).frames)
    out = small(clip(), 2, num_inference_steps=2, tiling="disjoint", modulation="independent").frames
    assert torch.equal(out, expected("no_modulation:tile=32,shift=1,steps=2", clip()))
    assert small.spec.steps == 1


def test_seeds_and_generators_choose_the_noise(small):
    runs = [small(clip(), 2, **o).frames for o in ({}, {"seed": 0}, {"seed": 1}, {"name": "other"})]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2]) and not torch.equal(runs[0], runs[3])
    generator = torch.Generator().manual_seed(5)
    first, second = (small(clip(), 2, generator=generator).frames for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(small(clip(), 2, generator=torch.Generator().manual_seed(5)).frames, first)


def test_outputs_come_in_every_type(small):
    frames = small(clip(), 2).frames
    array = small(clip(), 2, output_type="np").frames
    images = small(clip(), 2, output_type="pil", return_dict=False)[0]
    assert array.shape == (2, 24, 20, 3) and np.array_equal(array, frames.permute(0, 2, 3, 1).numpy())
    assert images[1].size == (20, 24)
    assert np.array_equal(np.array(images[1]), (array[1] * 255).round().astype(np.uint8))


def test_a_stream_reads_and_gives_a_few_frames_at_a_time(small):
    pipeline = quiet(PatchVSRPipeline.from_variant(f"{SMALL},frames=3,frame_overlap=1"))
    chunks = pipeline.stream(clip(7), 2)
    first = next(chunks)
    rest = list(chunks)
    assert len(first) == 2 and max(map(len, rest)) <= 3
    assert torch.equal(torch.cat([first, *rest]), pipeline(clip(7), 2).frames)


def test_the_progress_bar_is_diffusers_and_ends_at_its_total(small, capsys):
    small.set_progress_bar_config(desc="upscaling", mininterval=0)
    try:
        small(clip(), 2)
        shown = capsys.readouterr().err
        assert "upscaling: 100%" in shown and "100/100" in shown
    finally:
        quiet(small)
    small(clip(), 2)
    assert capsys.readouterr().err == ""


def test_a_callback_sees_every_step_and_may_change_the_latents(small):
    seen = []

    def watch(pipeline, step, timestep, given):
        assert pipeline is small
        seen.append((step, round(float(timestep)), given["latents"].shape[0]))
        return given

    plain = small(clip(), 2, num_inference_steps=2).frames
    watched = small(clip(), 2, num_inference_steps=2, callback_on_step_end=watch).frames
    assert torch.equal(plain, watched)
    assert seen == [(0, 1000, 48), (1, 500, 48)]
    zeros = small(clip(), 2, callback_on_step_end=lambda p, i, t, given: {"latents": 0 * given["latents"]}).frames
    assert not torch.equal(plain, zeros)
    with pytest.raises(UserError, match="the callback made latents of shape"):
        small(clip(), 2, callback_on_step_end=lambda p, i, t, given: {"latents": given["latents"][:1]})


def test_a_change_of_dtype_rounds_the_weights_but_not_what_stays_float32():
    moved = quiet(PatchVSRPipeline.from_variant(WAN))
    tables = moved.transformer.rope.freqs_cos.clone()
    assert moved.to(torch.bfloat16) is moved and moved.dtype == torch.bfloat16
    assert torch.equal(moved.transformer.rope.freqs_cos, tables)
    assert moved.adapter.patch_branch.rope.freqs_cos.dtype == torch.float32
    assert moved.transformer.blocks[0].scale_shift_table.dtype == torch.float32
    assert moved.transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert torch.equal(moved(clip(), 2).frames, expected(WAN, clip(), dtype=torch.bfloat16))
    assert moved.to("cpu", torch.float32).dtype == torch.float32


def test_the_package_exports_the_pipeline():
    import patchvsr

    assert patchvsr.PatchVSRPipeline is PatchVSRPipeline
    with pytest.raises(AttributeError, match="no attribute 'PatchVSRPipelin'"):
        _ = patchvsr.PatchVSRPipelin


@pytest.mark.parametrize("option", ["compile=full", "quantize=int8"])
def test_speed_options_of_variants_are_left_to_diffusers(option):
    with pytest.raises(UserError, match="is not for pipelines"):
        PatchVSRPipeline.from_variant(f"full:{option}")
