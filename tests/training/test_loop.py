"""The training loop: the same continuation after any stop, on one process or two, clear ends."""
from __future__ import annotations

import csv
import math
import os
import subprocess
import sys

import pytest
import torch

from patchvsr import checkpoints
from patchvsr.errors import UserError
from patchvsr.training import checkpoint, loop
from patchvsr.training.config import TrainingConfig, load_config
from patchvsr.training.loop import is_clip_step, learning_rate
from patchvsr.training.task import Task
from patchvsr.variants import resolve
from patchvsr.weights import load_safetensors


def weights(folder, variant):
    return load_safetensors(folder / (resolve(variant).arm.replace("/", "-") + ".safetensors"), None)


def test_a_resumed_run_ends_with_the_same_weights_and_log(train, tmp_path, monkeypatch):
    real = loop.Trainer._update

    def stop_at_two(self, batches):
        if self.step == 2:
            self.save()
            raise KeyboardInterrupt
        return real(self, batches)

    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    assert train(tmp_path / "straight", "--variant", "no_global") == 0
    monkeypatch.setattr(loop.Trainer, "_update", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", "--variant", "no_global")
    # As if it had been killed after two more steps that no checkpoint has seen.
    row = (tmp_path / "resumed" / "log.csv").read_text().splitlines()[-1]
    with (tmp_path / "resumed" / "log.csv").open("a") as file:
        file.write(row.replace("2,", "3,", 1) + "\n")
    monkeypatch.setattr(loop.Trainer, "_update", real)
    assert train(tmp_path / "resumed", "--variant", "no_global") == 0
    one, other = (weights(tmp_path / folder, "no_global") for folder in ("straight", "resumed"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    logs = [list(csv.DictReader((tmp_path / folder / "log.csv").open())) for folder in ("straight", "resumed")]
    for log in logs:
        assert [row["step"] for row in log] == ["1", "2", "3", "4"]
    assert [r["loss"] for r in logs[0]] == [r["loss"] for r in logs[1]]
    assert float(logs[0][-1]["validation_loss"]) > 0 and 5 < float(logs[0][-1]["psnr_bicubic"]) < 60
    assert (tmp_path / "straight" / "samples" / "step_000004.png").is_file()


def test_a_run_stops_in_time_and_goes_on(train, tmp_path):
    assert train(tmp_path / "out", "--variant", "no_global", "--minutes", "0") == 3
    assert torch.load(tmp_path / "out" / checkpoint.NAME, weights_only=True)["step"] == 1
    assert train(tmp_path / "out", "--variant", "no_global") == 0


def test_batches_that_others_draw_ahead_are_the_same(train, tmp_path):
    assert train(tmp_path / "here", "--variant", "no_global") == 0
    assert train(tmp_path / "ahead", "--variant", "no_global", "--workers", "2") == 0
    one, other = (weights(tmp_path / folder, "no_global") for folder in ("here", "ahead"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_footage_that_breaks_during_the_run_ends_it_with_a_sentence(train, tmp_path, monkeypatch, workers):
    def lost(*_):
        raise UserError("clip.mp4 cannot be read")

    monkeypatch.setattr("patchvsr.training.data.ClipSampler.draw", lost)
    with pytest.raises(UserError, match="^clip.mp4 cannot be read$"):
        train(tmp_path / "out", "--variant", "no_global", "--workers", workers)


@pytest.mark.slow
def test_two_processes_do_what_two_micro_batches_do(config, pack, tmp_path):
    """Gradients are averaged over both, so the weights agree up to the order of sums."""
    config.write_text(config.read_text() + "precision: 'no'\n")
    common = ["-m", "patchvsr.training", "--data", str(pack), "--variant", "no_global", "--cpu"]
    both = ["--config", str(config), "--out", str(tmp_path / "both")]
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([sys.executable, *launch, *common, *both], check=True, env=env)
    config.write_text(config.read_text() + "accumulation: 2\n")
    one = ["--config", str(config), "--out", str(tmp_path / "one")]
    subprocess.run([sys.executable, *common, *one], check=True, env=env)
    first, second = (weights(tmp_path / name, "no_global") for name in ("both", "one"))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=2e-3, rtol=2e-2, msg=name)
    logs = [list(csv.DictReader((tmp_path / name / "log.csv").open()))[-1] for name in ("both", "one")]
    assert float(logs[0]["loss"]) == pytest.approx(float(logs[1]["loss"]), rel=1e-3)


def test_a_checkpoint_of_another_config_or_a_damaged_one_is_refused(train, tmp_path):
    assert train(tmp_path / "out", "--variant", "no_global", "--steps", "1") == 0
    with pytest.raises(UserError, match="belongs to another config .*steps was 1, is 2"):
        train(tmp_path / "out", "--variant", "no_global", "--steps", "2")
    (tmp_path / "out" / checkpoint.NAME).write_bytes(b"half a check")
    with pytest.raises(UserError, match="is damaged .*remove it to start anew"):
        train(tmp_path / "out", "--variant", "no_global", "--steps", "1")


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    config = TrainingConfig(stage=1)
    checkpoint.save({"step": 1}, config, tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(UserError, match=r"cannot be written .*No space left.*the one before it is kept"):
        checkpoint.save({"step": 2}, config, tmp_path)
    monkeypatch.undo()
    assert checkpoint.load(config, tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run_before_it_is_saved(train, tmp_path, monkeypatch, what):
    if what == "loss":
        monkeypatch.setattr(Task, "forward", lambda self, *_: _parameter(self).sum() * math.nan)
    else:
        monkeypatch.setattr(Task, "forward", lambda self, *_: (_parameter(self) * 0).sum().sqrt())
    with pytest.raises(UserError, match=f"{what} is nan at step 0.*lower learning_rate"):
        train(tmp_path / "nan", "--variant", "no_global")
    assert not (tmp_path / "nan" / checkpoint.NAME).exists()


def _parameter(task):
    return next(p for p in task.parameters() if p.requires_grad)


def test_weights_on_the_way_are_kept_for_curves(config, train, tmp_path):
    config.write_text(config.read_text() + "keep_every: 2\n")
    assert train(tmp_path / "out", "--variant", "no_global") == 0
    kept = sorted(path.name for path in (tmp_path / "out").glob("*-step*.safetensors"))
    assert [name[-18:] for name in kept] == ["000002.safetensors", "000004.safetensors"]
    last = load_safetensors(tmp_path / "out" / kept[1], None)
    assert all(torch.equal(value, last[name]) for name, value in weights(tmp_path / "out", "no_global").items())


def test_stage_one_trains_base_and_text_encoder(config, train, tmp_path):
    config.write_text(config.read_text().replace("stage: 2", "stage: 1") + "scales: {4: 1.0}\n")
    assert train(tmp_path / "base", "--steps", "1") == 0
    state = load_safetensors(tmp_path / "base" / "nano.safetensors", None)
    assert state.keys() == checkpoints.find("bases", "nano").load().keys()


def test_schedules():
    config = TrainingConfig(stage=1, steps=100, warmup=10, learning_rate=1.0, clip_share=0.3, final_rate=0.2)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[9] == 1.0 and rates[0] == pytest.approx(0.1) and 0.2 < rates[99] < 0.21
    assert sum(is_clip_step(config, step) for step in range(100)) == 30


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("stpes: 3", "unknown setting 'stpes'.*did you mean 'steps'"),
        ("steps: many", "steps in .* is 'many'; it must be like 1000"),
        ("steps: 0", "steps=0 in .* must be at least 1"),
        ("stage: 3", "stage=3 in .*; 1 trains the base, 2 an arm"),
        ("precision: fp8", "precision=fp8 in .*; give bf16, or no"),
        ("scales: {4: 0.5}", "shares add up to 1"),
        ("degradations: []", "degradations in .* is empty"),
    ],
)
def test_bad_configs_get_one_sentence(tmp_path, line, told):
    (tmp_path / "c.yaml").write_text(f"{line}\n" if line.startswith("stage") else f"stage: 2\n{line}\n")
    with pytest.raises(UserError, match=told):
        load_config(tmp_path / "c.yaml", {})


def test_mlflow_that_is_not_installed_is_named(train, tmp_path, monkeypatch):
    monkeypatch.setattr("patchvsr.training.__main__.find_spec", lambda _: None)
    with pytest.raises(UserError, match="--mlflow needs the package mlflow"):
        train(tmp_path / "out", "--variant", "no_global", "--mlflow", f"sqlite:///{tmp_path}/m.db")
