"""Training on a few tiny synthetic clips: it learns, resumes with the same bytes, and refuses what it cannot use."""
from __future__ import annotations

import csv
import hashlib
import math

import numpy as np
import pytest
import torch
from PIL import Image

from patchvsr import checkpoints
from patchvsr.errors import UserError
from patchvsr.training import __main__ as command
from patchvsr.training.config import TrainingConfig, load_config
from patchvsr.training.data import ClipSampler, camera_path, load_sources
from patchvsr.training.loop import is_clip_step, learning_rate
from patchvsr.variants import resolve
from patchvsr.weights import load_safetensors


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """A training pack of noise-like stills in the real pack's layout."""
    folder = tmp_path_factory.mktemp("pack")
    rows = []
    for index in range(3):
        rng = np.random.default_rng(index)
        path = folder / f"{index}.png"
        small = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(small).resize((512, 512), Image.Resampling.BICUBIC).save(path)
        split = "val" if index == 2 else "train"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({"file": path.name, "kind": "still", "sha256": digest, "caption": f"noise {index}", "split": split})
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("stage: 2\nsteps: 4\nstill_batch: 1\nclip_batch: 1\nclip_share: 0.25\nwarmup: 1\n")
    return path


def train(config, pack, out, *more):
    return command.main(["--config", str(config), "--data", str(pack), "--out", str(out), *more])


def test_a_resumed_run_ends_with_the_same_weights(config, pack, tmp_path, monkeypatch):
    assert train(config, pack, tmp_path / "straight", "--variant", "no_global") == 0
    from patchvsr.training import loop

    real = loop.Trainer._update
    monkeypatch.setattr(loop.Trainer, "_update", lambda self, batch: _stop_at(self, batch, real, 2))
    with pytest.raises(KeyboardInterrupt):
        train(config, pack, tmp_path / "resumed", "--variant", "no_global")
    monkeypatch.setattr(loop.Trainer, "_update", real)
    assert train(config, pack, tmp_path / "resumed", "--variant", "no_global") == 0
    name = resolve("no_global").arm.replace("/", "-") + ".safetensors"
    one, other = (load_safetensors(tmp_path / folder / name, None) for folder in ("straight", "resumed"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    log = list(csv.DictReader((tmp_path / "straight" / "log.csv").open()))
    assert log[-1]["step"] == "4" and float(log[-1]["validation_loss"]) > 0


def _stop_at(trainer, batch, update, step):
    if trainer.step == step:
        trainer.save()
        raise KeyboardInterrupt
    return update(trainer, batch)


def test_a_checkpoint_of_another_config_is_refused(config, pack, tmp_path, capsys):
    assert train(config, pack, tmp_path / "out", "--variant", "no_global", "--steps", "1") == 0
    with pytest.raises(UserError, match="belongs to another config"):
        train(config, pack, tmp_path / "out", "--variant", "no_global", "--steps", "2")


def test_stage_one_trains_base_and_text_encoder(config, pack, tmp_path):
    config.write_text("stage: 1\nsteps: 2\nstill_batch: 1\nclip_share: 0.0\nscales: {4: 1.0}\n")
    assert train(config, pack, tmp_path / "base") == 0
    state = load_safetensors(tmp_path / "base" / "nano.safetensors", None)
    packaged = checkpoints.find("bases", "nano").load()
    assert state.keys() == packaged.keys()


def test_batches_are_a_function_of_seed_and_step(pack):
    sampler = ClipSampler(load_sources(pack, "train"), 256, {2: 0.5, 4: 0.5}, ["bicubic", "bilinear"], False)
    one, same, other = (sampler.draw(0, step, 2, 5) for step in (3, 3, 4))
    assert torch.equal(one.high, same.high) and torch.equal(one.surround, same.surround)
    assert not torch.equal(one.high, other.high)
    assert one.high.shape == one.up.shape == one.surround.shape == (2, 5, 3, 256, 256)
    for top, left, height, width, frame_height, frame_width in one.boxes:
        assert 0 <= top <= frame_height - height and 0 <= left <= frame_width - width


def test_a_camera_path_moves_and_one_frame_is_cut_at_whole_pixels():
    still = torch.rand(1, 3, 128, 128)
    clip = camera_path(still, 5, 96, np.random.default_rng(0))
    assert clip.shape == (5, 3, 96, 96) and not torch.equal(clip[0], clip[4])
    single = camera_path(still, 1, 96, np.random.default_rng(0))
    windows = still.unfold(2, 96, 1).unfold(3, 96, 1)
    assert (windows == single[:, :, None, None]).all(-1).all(-1).all(1).any()


def test_schedules():
    config = TrainingConfig(stage=1, steps=100, warmup=10, learning_rate=1.0, clip_share=0.3)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[9] == 1.0 and rates[0] == pytest.approx(0.1) and rates[99] < 0.01
    assert sum(is_clip_step(config, step) for step in range(100)) == 30


def test_bad_packs_and_configs_get_one_sentence(pack, tmp_path):
    with pytest.raises(UserError, match="holds no MANIFEST.csv"):
        load_sources(tmp_path, "train")
    with pytest.raises(UserError, match="lists no file of split 'test'"):
        load_sources(pack, "test")
    (tmp_path / "MANIFEST.csv").write_text((pack / "MANIFEST.csv").read_text())
    with pytest.raises(UserError, match="is missing or not the file"):
        load_sources(tmp_path, "train")
    (tmp_path / "c.yaml").write_text("stage: 2\nstpes: 3\n")
    with pytest.raises(UserError, match="unknown setting 'stpes'.*did you mean 'steps'"):
        load_config(tmp_path / "c.yaml", {})


def test_a_loss_that_is_not_finite_stops_the_run(config, pack, tmp_path, monkeypatch):
    from patchvsr.training.task import Task

    monkeypatch.setattr(Task, "loss", lambda *_: torch.tensor(math.nan, requires_grad=True))
    with pytest.raises(UserError, match="loss is nan at step 0"):
        train(config, pack, tmp_path / "nan", "--variant", "no_global")
