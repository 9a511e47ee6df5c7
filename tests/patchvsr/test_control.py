"""The control without diffusion: bicubic until it is trained, exact in tiles, and loaded like any arm."""
from __future__ import annotations

import json

import pytest
import torch

from patchvsr import checkpoints
from patchvsr.base import define
from patchvsr.codec import codecs
from patchvsr.control import RegressionControl
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.method import PatchVSR
from patchvsr.model import save_weights
from patchvsr.upscaler import Clip
from patchvsr.variants import resolve

CPU = torch.device("cpu")


@pytest.fixture
def control():
    torch.manual_seed(0)
    control = RegressionControl.for_base(define("nano"))
    for parameter in control.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return control.eval()


def test_an_untrained_control_changes_nothing():
    latents = torch.randn(48, 2, 12, 14)
    assert torch.equal(RegressionControl.for_base(define("nano"))(latents), latents)


def test_tiles_give_what_the_whole_frame_gives_also_at_odd_sizes(control):
    latents = torch.randn(48, 2, 101, 330)
    whole = control(latents)
    assert whole.shape == latents.shape and (whole - latents).std() > 0.01
    control.register_to_config(tile=144)
    torch.testing.assert_close(control(latents), whole, atol=1e-5, rtol=1e-5)


def test_the_halo_covers_the_field(control):
    latents = torch.randn(48, 1, 140, 8)
    changed = latents.clone()
    changed[:, :, 70:] += 1
    moved = (control(changed) - control(latents)).abs().amax((0, 1, 3))[:70].nonzero()[0]
    assert 10 < 70 - int(moved) <= control.HALO


def test_the_variant_runs_the_trained_control(control, tmp_path):
    save_weights(control.state_dict(), tmp_path / "c.safetensors", {}, torch.float32)
    clip = Clip("clip", torch.rand(2, 3, 24, 20))
    upscaler = PatchVSR.load(resolve(f"no_diffusion:weights={tmp_path / 'c.safetensors'}"), CPU, torch.float32)
    out = torch.cat(list(upscaler.upscale(clip, 4)))
    codec = codecs.get("pixel")()
    expected = codec.decode(control(codec.encode(resize_bicubic(clip.frames[:], 96, 80)))).clamp(0, 1)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    described = upscaler.describe()
    assert described["arm"] == "nano/no_diffusion" and upscaler.weights.status == "trained"
    assert set(described["weights"]) == {"status", "control"} and json.dumps(described)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_weights({"other": torch.zeros(1)}, tmp_path / "c.safetensors", {}, torch.float32)
    with pytest.raises(UserError, match="does not fit this model: it lacks"):
        PatchVSR.load(resolve(f"no_diffusion:weights={tmp_path / 'c.safetensors'}"), CPU, torch.float32)
    with pytest.raises(UserError, match="has no weights of its own"):
        PatchVSR.load(resolve(f"no_diffusion:base=wan-tiny,weights={tmp_path}"), CPU, torch.float32)


def test_the_packaged_control_is_its_own_arm():
    found = checkpoints.find("arms", "nano/no_diffusion")
    assert found is not None and found.load()["conv_out.weight"].any()
