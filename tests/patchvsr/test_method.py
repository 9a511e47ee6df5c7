"""A whole variant on small frames: sizes, determinism, caches, and what changes the output."""
from __future__ import annotations

import pytest
import torch

from patchvsr import checkpoints
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.method import PatchVSR
from patchvsr.upscaler import Clip, Upscaler, create
from patchvsr.variants import resolve

CPU = torch.device("cpu")


def clip(frames: int = 2, height: int = 24, width: int = 20, name: str = "c", caption: str | None = None) -> Clip:
    generator = torch.Generator().manual_seed(3)
    return Clip(name, torch.rand(frames, 3, height, width, generator=generator), caption)


def run(text: str, source: Clip, scale: float = 4, seed: int = 0) -> torch.Tensor:
    return torch.cat(list(PatchVSR.load(resolve(text), CPU, torch.float32).upscale(source, scale, seed)))


SMALL = "tile=32,augmentation=0.05"


def variant(name: str, extra: str = "") -> str:
    return f"{name}:{SMALL}{',' + extra if extra else ''}"


@pytest.mark.parametrize("scale", [1, 2, 2.5, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (13, 9), (24, 20)])
def test_outputs_have_exactly_the_rounded_size(scale, height, width):
    out = run(variant("full"), clip(1, height, width), scale)
    assert out.shape == (1, 3, round(height * scale), round(width * scale))
    assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize(
    "text",
    [
        variant(name)
        for name in (
            "full", "average", "gaussian", "no_modulation", "shifted", "full_attention", "no_global", "no_pos",
            "no_lora", "no_patch",
        )
    ]
    + [
        variant("full", "position=box"), variant("full", "position=rope_offset"), variant("full", "position=crop"),
        variant("full", "context=neighbourhood,position=box"), variant("full", "tiling=overlapped,modulation=average"),
        variant("full", "base=wan-tiny"), variant("full", "prompt=empty"),
    ],
)  # fmt: skip
def test_every_composition_runs_and_the_same_seed_gives_the_same_bytes(text):
    first, second, other = run(text, clip()), run(text, clip()), run(text, clip(), seed=1)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_tile_batch_and_cache_do_not_change_a_byte():
    reference = run(variant("full"), clip())
    for change in ("tile_batch=1", "tile_batch=3", "cache_mib=0", "cache=off", "cache=on", "cache_mib=1"):
        assert torch.equal(run(variant("full", change), clip()), reference)


@pytest.mark.parametrize("name", ["full", "no_global", "full:position=box", "full:context=neighbourhood,position=crop"])
def test_tiles_batched_as_on_an_accelerator_agree_with_single_ones(name):
    text = name + ("," if ":" in name else ":") + SMALL + ",tile_batch=3"
    single, batched = (PatchVSR.load(resolve(text), CPU, torch.float32) for _ in range(2))
    batched.sampler.batched = True
    outputs = [torch.cat(list(upscaler.upscale(clip(), 4))) for upscaler in (single, batched)]
    torch.testing.assert_close(*outputs, atol=1e-4, rtol=0)


def test_noise_belongs_to_the_clip():
    assert not torch.equal(run(variant("full"), clip(name="a")), run(variant("full"), clip(name="b")))


def test_a_long_clip_runs_in_chunks_and_keeps_its_frames():
    long = clip(7)
    out = run(variant("full", "frames=3,frame_overlap=1"), long, 2)
    assert len(out) == 7
    shares: list[float] = []
    upscaler = PatchVSR.load(resolve(variant("full", "frames=3,frame_overlap=1")), CPU, torch.float32)
    list(upscaler.upscale(long, 2, progress=shares.append))
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)


def test_the_clip_that_is_given_is_not_written_to():
    source = clip()
    before = source.frames.clone()
    run(variant("no_diffusion"), source, 1)
    assert torch.equal(source.frames, before)


def test_the_control_of_a_base_without_a_trained_one_is_the_upsampled_video():
    source = clip()
    expected = resize_bicubic(source.frames, 96, 80).clamp(0, 1)
    torch.testing.assert_close(run("no_diffusion:base=wan-tiny", source), expected, atol=1e-5, rtol=0)


def test_cuts_are_inside_the_output_and_cover_all_steps():
    disjoint = PatchVSR.load(resolve(variant("no_modulation")), CPU, torch.float32).cuts(96, 80, 2)
    shifted = PatchVSR.load(resolve(variant("shifted")), CPU, torch.float32).cuts(96, 80, 2)
    assert disjoint.rows == (32, 64)
    assert len(shifted.rows) > len(disjoint.rows)
    assert all(0 < cut < 80 for cut in (*disjoint.columns, *shifted.columns))
    assert PatchVSR.load(resolve("no_diffusion"), CPU, torch.float32).cuts(96, 80, 2) is None


def test_only_arms_with_packaged_weights_are_trained():
    trained = checkpoints.manifest()["arms"]
    names = ("full", "shifted", "no_global", "no_pos", "no_lora", "no_patch", "no_fixed_prompt", "full:position=box")
    for name in (*names, "no_diffusion"):
        assert resolve(name).arm in trained
        assert PatchVSR.load(resolve(name), CPU, torch.float32).weights.status == "trained"
    assert PatchVSR.load(resolve("full:base=wan-tiny"), CPU, torch.float32).weights.status == "untrained"
    assert PatchVSR.load(resolve("full:position=rope_offset"), CPU, torch.float32).weights.status == "untrained"


def test_arms_are_different_weights_and_hashes_are_reported():
    arms = [PatchVSR.load(resolve(name), CPU, torch.float32) for name in ("full", "no_global", "no_pos")]
    assert len({arm.weights.sha256["adapter"] for arm in arms}) == 3
    assert len({arm.weights.sha256["base"] for arm in arms}) == 1


def test_dropping_at_inference_is_neither_full_nor_the_trained_arm():
    dropped = PatchVSR.load(resolve("no_global:dropped_at_inference=true"), CPU, torch.float32)
    full, retrained = (PatchVSR.load(resolve(n), CPU, torch.float32) for n in ("full", "no_global"))
    assert dropped.weights.sha256["adapter"] == full.weights.sha256["adapter"]
    outputs = [torch.cat(list(u.upscale(clip(), 4))) for u in (dropped, full, retrained)]
    assert not torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("full:weights=/no/such/file", "weights=/no/such/file of 'full' does not exist"),
        ("full:base=wan2.1-1.3b", "codec 'wan' of base 'wan2.1-1.3b' needs weights"),
        ("full:base=wan-tiny,base_weights=/no/such", "holds no diffusers transformer"),
        ("full:tile=40", "must be a multiple of 16 pixels"),
        ("full:position=box,dropped_at_inference=true", "can be dropped"),
        ("fulll", "unknown variant or baseline 'fulll'; did you mean 'full'"),
    ],
)
def test_weights_and_parts_that_do_not_fit_get_one_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        create(text)


def test_weights_of_another_arm_and_damaged_ones_are_refused(tmp_path, monkeypatch):
    other = checkpoints.find("arms", resolve("no_global").arm)
    with pytest.raises(UserError, match="does not fit this model"):
        create(f"full:weights={other.path}")
    damaged = bytearray(other.path.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / other.path.name).write_bytes(bytes(damaged))
    found = checkpoints.Checkpoint(tmp_path / other.path.name, other.sha256)
    monkeypatch.setattr(checkpoints, "find", lambda *_: found)
    with pytest.raises(UserError, match="has SHA-256"):
        create("no_global")


def test_captions_are_asked_for_and_used():
    text = "no_fixed_prompt:tile=32"
    with pytest.raises(UserError, match="needs a caption, and clip 'c' has none"):
        run(text, clip())
    assert run(text, clip(caption="a dog")).shape[0] == 2


def test_a_scale_below_one_is_refused():
    with pytest.raises(UserError, match="is below 1"):
        run("full", clip(), 0.5)


@pytest.mark.parametrize("overlap", [0, 1, 2])
@pytest.mark.parametrize("text", ["full", "bicubic"])
def test_going_on_from_any_frame_gives_the_same_bytes(text, overlap):
    source = clip(8, 12, 10)
    upscaler = create(text if text == "bicubic" else variant(text, f"frames=3,frame_overlap={overlap}"), CPU)
    whole = torch.cat(list(upscaler.upscale(source, 2)))
    for first in range(len(whole)):
        assert torch.equal(torch.cat(list(upscaler.upscale_from(first, source, 2))), whole[first:])


def test_an_upscaler_that_cannot_start_in_the_middle_goes_on_all_the_same():
    class Doubling(Upscaler):
        def upscale(self, clip, scale, seed=0, progress=None):
            for start in range(0, len(clip.frames), 3):
                yield 2 * clip.frames[start : start + 3]

        def describe(self):
            return {}

    frames = torch.rand(7, 3, 2, 2)
    for first in range(7):
        assert torch.equal(torch.cat(list(Doubling().upscale_from(first, Clip("c", frames), 1))), 2 * frames[first:])


def test_only_the_frames_of_a_chunk_are_read_at_a_time():
    class Watched:
        def __init__(self, frames):
            self.frames, self.shape, self.asked = frames, frames.shape, []

        def __len__(self):
            return len(self.frames)

        def __getitem__(self, index):
            self.asked.append((index.start, index.stop))
            return self.frames[index]

    watched = Watched(clip(7).frames)
    for _ in PatchVSR.load(resolve(variant("full", "frames=3")), CPU, torch.float32).upscale(Clip("c", watched), 2):
        pass
    assert watched.asked == [(0, 3), (2, 5), (4, 7)]


def test_chunk_cuts_are_where_the_share_of_two_chunks_changes():
    upscaler = PatchVSR.load(resolve(variant("full", "frames=3")), CPU, torch.float32)
    assert upscaler.cuts(96, 80, 7).frames == (2, 3, 4, 5)
    assert upscaler.cuts(96, 80, 3).frames == ()


def test_a_step_callback_sees_every_step_of_every_chunk_and_may_change_the_latents():
    upscaler = PatchVSR.load(resolve(variant("full", "frames=2,frame_overlap=0,steps=3,shift=1")), CPU, torch.float32)
    seen = []

    def watch(step, time, latents):
        seen.append((step, round(time, 3), tuple(latents.shape)))
        return latents

    plain = torch.cat(list(upscaler.upscale(clip(4), 2)))
    watched = torch.cat(list(upscaler.upscale_from(0, clip(4), 2, on_step=watch)))
    assert torch.equal(plain, watched)
    assert [entry[:2] for entry in seen] == [(0, 1.0), (1, 0.667), (2, 0.333)] * 2
    changed = torch.cat(list(upscaler.upscale_from(0, clip(4), 2, on_step=lambda step, time, latents: 0 * latents)))
    assert not torch.equal(plain, changed)
