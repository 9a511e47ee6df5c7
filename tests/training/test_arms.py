"""Arms: each learns its own parts, starts from what it shares with another, and the control learns without noise."""
from __future__ import annotations

import pytest
import torch

from patchvsr import checkpoints
from patchvsr.base import define
from patchvsr.control import RegressionControl
from patchvsr.errors import UserError
from patchvsr.model import PatchVSRModel, save_weights
from patchvsr.training.start import start_from
from patchvsr.variants import resolve
from patchvsr.weights import load_safetensors


def fresh(variant, seed=0):
    base, text_encoder = checkpoints.load_nano(define("nano"), None)
    torch.manual_seed(seed)
    model = PatchVSRModel.fresh(base, resolve(variant).adapter_config())
    model.fixed_prompt = text_encoder(["a prompt"]).detach()
    return model


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    """A file of the arm that the others start from, with random weights."""
    model = fresh("full:context=none,position=none", 1)
    state = {name: torch.randn_like(value) for name, value in model.trained_state().items()}
    path = tmp_path_factory.mktemp("common") / "common.safetensors"
    save_weights(state, path, {}, torch.float32)
    return path


def test_an_arm_takes_what_it_shares_and_leaves_the_rest_as_it_was(common):
    model, untouched, given = fresh("full"), fresh("full").trained_state(), load_safetensors(common, None)
    new, left = start_from(model, common)
    state = model.trained_state()
    assert new and all("context" in name for name in new) and not left
    for name, value in state.items():
        if name in new or name == "fixed_prompt":
            assert torch.equal(value, untouched[name]), name
        elif value.shape == given[name].shape:
            assert torch.equal(value, given[name]), name
        else:  # a conditioning encoding that also knows the crop
            columns = given[name].shape[1]
            assert torch.equal(value[:, :columns], given[name]) and not value[:, columns:].any(), name


def test_an_arm_without_lora_leaves_it_out(common):
    _, left = start_from(fresh("no_lora"), common)
    assert left and all("lora_" in name for name in left)


def test_files_that_cannot_be_started_from_are_refused(common, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        start_from(fresh("full"), tmp_path / "absent.safetensors")
    save_weights({"other": torch.zeros(1)}, tmp_path / "other.safetensors", {}, torch.float32)
    with pytest.raises(UserError, match="has no tensor in common with this arm"):
        start_from(fresh("full"), tmp_path / "other.safetensors")
    state = load_safetensors(common, None)
    name = next(name for name, value in state.items() if value.ndim == 4)
    save_weights({name: torch.zeros(1, 1, 1, 1)}, tmp_path / "shape.safetensors", {}, torch.float32)
    with pytest.raises(UserError, match=r"does not fit this arm: .* is \(1, 1, 1, 1\)"):
        start_from(fresh("full"), tmp_path / "shape.safetensors")


@pytest.mark.parametrize("variant", ["full", "no_patch", "no_lora", "full:position=box", "no_fixed_prompt"])
def test_every_arm_trains_all_its_parts(train, tmp_path, variant):
    assert train(tmp_path / "out", "--variant", variant, "--steps", "3") == 0
    state = load_safetensors(tmp_path / "out" / (resolve(variant).arm.replace("/", "-") + ".safetensors"), None)
    assert any("lora_" in name for name in state) == ("lora" not in variant)
    assert any("patch_branch" in name for name in state) == (variant != "no_patch")
    gates = [value for name, value in state.items() if name.endswith(".gate")]
    assert gates and all(gate.any() for gate in gates)


def test_the_control_trains(train, tmp_path):
    assert train(tmp_path / "out", "--variant", "no_diffusion") == 0
    state = load_safetensors(tmp_path / "out" / "nano-no_diffusion.safetensors", None)
    assert state.keys() == RegressionControl.for_base(define("nano")).state_dict().keys()
    assert state["conv_out.weight"].any()


def test_a_caption_arm_refuses_files_without_captions(train, tmp_path, pack):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in pack.glob("*.png"):
        (bare / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="3 of 3 files cannot be trained on .*has no caption"):
        train(tmp_path / "out", "--variant", "no_fixed_prompt", data=bare)
