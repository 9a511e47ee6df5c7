"""The recipe: every run in order, from the right files, scaled as asked, and stopped where one of them stops."""
from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from patchvsr import checkpoints
from patchvsr.model import save_weights
from patchvsr.training import recipe
from patchvsr.training.config import load_config
from patchvsr.variants import resolve


class Runs:
    """Keeps what would have been run, and leaves the files that a run writes."""

    def __init__(self, code=0, fails=""):
        self.commands, self.threads, self.raw, self.code, self.fails = [], [], [], code, fails

    def __call__(self, words, threads, minutes):
        options = dict(zip(words[::2], words[1::2], strict=False))
        self.commands.append(options)
        self.threads.append(threads)
        self.raw.append(words)
        return self.code if options["--out"].endswith(self.fails) else 0

    @property
    def names(self):
        return [options["--out"].rpartition("/")[2] for options in self.commands]


def arguments(tmp_path, *more):
    return recipe.parser().parse_args(["--data", "D", "--out", str(tmp_path), *more])


def test_runs_come_in_order_and_start_from_what_they_share(tmp_path):
    runs = Runs()
    assert recipe.train(arguments(tmp_path), runs) == 0
    assert runs.names == ["base", "common", *(arm.name for arm in recipe.ARMS)]
    by_name = dict(zip(runs.names, runs.commands, strict=True))
    common = str(tmp_path / "common" / "nano-patch1+lora16+fixed.safetensors")
    started = {name for name, options in by_name.items() if options.get("--start") == common}
    assert started == {"full", "no_global", "no_pos", "no_lora", "box", "no_fixed_prompt"}
    assert all("--base-weights" in by_name[n] for n in (*started, "common", "no_patch"))
    assert by_name["box"]["--variant"] == "full:position=box"


def test_every_arm_has_weights_of_its_own_and_the_same_steps():
    arms = [resolve(arm.variant).arm for arm in recipe.ARMS]
    assert len(set(arms)) == len(arms) == 8
    steps = {arm.name: load_config(recipe.CONFIGS / f"{arm.config}.yaml", {}).steps for arm in recipe.ARMS}
    common = load_config(recipe.CONFIGS / "nano-common.yaml", {})
    assert common.variant == recipe.COMMON
    assert steps.pop("no_diffusion") == steps["full"] + common.steps
    assert len(set(steps.values())) == 1


def test_larger_batches_and_more_steps_by_a_factor(tmp_path):
    runs = Runs()
    recipe.train(arguments(tmp_path, "--batch", "16", "--steps", "2.5", "--arms", "full", "--jobs", "2"), runs)
    base = load_config(recipe.CONFIGS / "nano-base.yaml", {})
    assert runs.names == ["base", "common", "full"]
    assert runs.commands[0]["--steps"] == str(round(base.steps * 2.5))
    assert runs.commands[0]["--still-batch"] == str(base.still_batch * 16)
    assert runs.threads[2] <= max(runs.threads[0] // 2, 1)


def test_a_run_that_stops_stops_the_recipe(tmp_path):
    runs = Runs(3, "common")
    assert recipe.train(arguments(tmp_path), runs) == 3 and runs.names == ["base", "common"]
    runs = Runs(3, "no_lora")
    assert recipe.train(arguments(tmp_path), runs) == 3


def test_the_log_of_the_common_phase_is_packaged_too(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "FOLDER", tmp_path / "package")
    (tmp_path / "package" / "training").mkdir(parents=True)
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "log.csv").write_text("step\n")
    runs = Runs()
    assert recipe.train(arguments(tmp_path, "--package"), runs) == 0
    assert (tmp_path / "package" / "training" / "nano-common.csv").read_text() == "step\n"
    assert [name for name, words in zip(runs.names, runs.raw, strict=True) if "--package" not in words] == ["common"]


def test_an_unknown_arm_is_named(capsys):
    assert recipe.main(["--data", "D", "--out", "O", "--arms", "full,no_glbal"]) == 2
    assert "has no arm 'no_glbal'; it has full" in capsys.readouterr().err


def test_packaged_weights_are_in_the_manifest_and_name_no_path(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path / "package")
    monkeypatch.setattr("patchvsr.weights.packaged.FOLDER", tmp_path / "package")
    (tmp_path / "package").mkdir()
    made, log = tmp_path / "nano-x.safetensors", tmp_path / "log.csv"
    log.write_text("step\n")
    metadata = {"training": {"start": str(tmp_path / "common.safetensors"), "steps": 3}}
    save_weights({"a": torch.ones(2)}, made, metadata, torch.bfloat16)
    checkpoints.adopt("arms", "nano/x", made, log)
    found = checkpoints.find("arms", "nano/x")
    assert found is not None and torch.equal(found.load()["a"], torch.ones(2, dtype=torch.bfloat16))
    with safe_open(found.path, "pt") as file:
        assert json.loads(file.metadata()["patchvsr"])["training"] == {"start": "common.safetensors", "steps": 3}
    assert (tmp_path / "package" / "training" / "nano-x.csv").read_text() == "step\n"


@pytest.mark.slow
def test_the_recipe_really_runs(pack, tmp_path, monkeypatch):
    for name in ("nano-base", "nano-common", "nano-arm", "nano-control"):
        text = (recipe.CONFIGS / f"{name}.yaml").read_text()
        small = "tile: 64\nframe: 96\nstill_batch: 1\nclip_batch: 1\nvalidate_every: 100\n"
        kept = [line for line in text.splitlines() if line.split(":")[0] in ("stage", "variant", "clip_share")]
        (tmp_path / f"{name}.yaml").write_text("\n".join(kept) + "\nsteps: 2\n" + small)
    monkeypatch.setattr(recipe, "CONFIGS", tmp_path)
    real = recipe.run

    def run(words, threads, minutes):
        return real([str(tmp_path / f"{w}.yaml") if w.startswith("nano-") else w for w in words], threads, minutes)

    args = ["--data", str(pack), "--out", str(tmp_path / "out"), "--cpu", "--workers", "0", "--arms", "full,no_patch"]
    assert recipe.train(recipe.parser().parse_args(args), run) == 0
    assert (tmp_path / "out" / "full" / "nano-patch1+global1+mask+lora16+fixed.safetensors").is_file()
    assert (tmp_path / "out" / "no_patch" / "nano-global1+mask+lora16+fixed.safetensors").is_file()
