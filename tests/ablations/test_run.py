"""`python -m ablations.run` from a file outside the repository, on the small embedded clips."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ablations import training
from ablations.result import read_study_result
from ablations.run import _labels, main
from ablations.study import Arm, read_study
from ablations.training import Budget, train
from patchvsr.errors import UserError

FILE = """
title: Resizing
question: Is one step worse than bicubic?
base: full:steps=1
arms: {one: "full:steps=1", none: "no_global:steps=1"}
baselines: [bicubic]
training: inference
data: [{suite: golden, label: small, frames: 1}]
metrics: [psnr, consistency]
claims:
  - {arm: bicubic, metric: consistency, expect: worse}
  - {arm: none, metric: psnr, expect: equivalent, margin: 1.0}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "resizing.yaml"
    path.write_text(FILE)
    return path


def run(study: Path, *more: str) -> int:
    fixed = ["--out", str(study.parent / "out"), "--no-mlflow", "--device", "cpu", "--dtype", "float32"]
    return main([str(study), *fixed, *more])


def test_a_study_from_outside_is_run_tested_and_gone_on_with(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(study) == 0
    said = capsys.readouterr().out
    assert "the evidence supports that 'none' equals 'one' in psnr within 1.0" in said
    assert "Of its 2 claims, the evidence " in said
    found = read_study_result(study.parent / "out")
    assert found.arms == {"one": ["full:steps=1"], "none": ["no_global:steps=1"]} and found.base == "one"
    assert [one["claim"]["metric"] for one in found.findings] == ["consistency", "psnr"]
    assert (found.runs["small"] / "records.csv").is_file() and found.labels["no_global:steps=1"] == "none"
    assert found.conclusion in (study.parent / "out" / "claims.md").read_text()
    assert run(study) == 0
    assert "kept" in capsys.readouterr().err


def test_arms_may_be_left_out_and_that_is_said(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(study, "--without", "none", "--metrics", "consistency") == 0
    said = capsys.readouterr().out
    assert "Left out: none" in said and "Not tested in this run: 'none' equals 'one' in psnr within 1.0." in said
    found = read_study_result(study.parent / "out")
    assert found.left_out == ["none"] and len(found.findings) == 1
    assert [found.weights[name]["status"] for name in ("full:steps=1", "bicubic")] == ["trained", "none"]
    assert all(len(digest) == 64 for digest in found.weights["full:steps=1"]["sha256"].values())
    assert run(study, "--without", "one") == 2 and run(study, "--without", "x") == 2
    said = capsys.readouterr().err
    assert "cannot leave out 'one'" in said and "names 'x', which is no arm" in said


def test_a_claim_without_values_on_some_clips_is_said_and_the_others_are_tested(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = study.parent / "lq" / "blind"
    frames.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(frames / "0.png")
    blind = f"{{lq: {frames.parent}, scale: 4, label: blind, frames: 1}}"
    study.write_text(FILE.replace("frames: 1}]", f"frames: 1}}, {blind}]"))
    assert run(study) == 0
    said = capsys.readouterr().out
    assert "Not tested on blind: 'none' equals 'one' in psnr within 1.0; no clip there has 'psnr'." in said
    found = read_study_result(study.parent / "out")
    tested = [(one["data"], one["claim"]["metric"]) for one in found.findings]
    assert tested == [("small", "consistency"), ("small", "psnr"), ("blind", "consistency")]
    assert run(study, "--lq", str(frames.parent), "--scale", "4", "--metrics", "psnr") == 2
    assert "'psnr' of 'none' has no value on 'lq" in capsys.readouterr().err


def test_labels_with_commas_can_be_left_out(tmp_path: Path) -> None:
    arms = ["full", "full:steps=1,tile=192", "full:steps=1", "no_pos"]
    data: dict[str, Any] = dict(base="full", arms=arms, training="inference", data=[{"suite": "golden"}])
    data |= dict(title="T", question="Q?", metrics=["psnr"], claims=[dict(arm="no_pos", metric="psnr", expect="worse")])
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(data))
    study = read_study(tmp_path / "s.yaml")
    assert _labels("no_pos, full:steps=1,tile=192", study) == ["no_pos", "full:steps=1,tile=192"]
    assert _labels("full:steps=1,no_pos,", study) == ["full:steps=1", "no_pos"] and _labels("", study) == []
    with pytest.raises(UserError, match="names 'tile=192', which is no arm"):
        _labels("no_pos,tile=192", study)


def test_untrained_arms_are_refused_before_anything_runs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(FILE.replace("no_global:steps=1", "full:position=rope_offset,steps=1"))
    assert run(study) == 2
    said = capsys.readouterr().err
    assert "no trained weights for none" in said and "--train" in said and "--without none" in said
    assert not (study.parent / "out").exists()


def test_a_failed_item_leaves_claims_untested(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from baselines import resize

    def fail(*given: object, **named: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(resize.Resize, "upscale", fail)
    assert run(study) == 1
    assert "so no claim was tested" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(study, "--retry-failed") == 0 and (study.parent / "out" / "study.json").is_file()
    monkeypatch.setattr(resize.Resize, "upscale", fail)
    assert run(study, "--clips", "triple", "--frames", "2") == 1  # other items: what was found of the first is gone
    assert not (study.parent / "out" / "study.json").exists()


def test_options_that_do_not_fit_are_told(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, expected in [
        (["--train"], "nothing to train"),
        (["--suite", "nowhere"], "could not be run"),
        (["--metrics", "psnrr"], "could not be run"),
        (["--gt", ".", "--degradation", "bicubic", "--scale", "x"], "--scale x is not a number"),
        (["--data-root", "."], "--data-root goes with --suite, --lq or --gt"),
    ]:
        assert run(study, *more) == 2
        assert expected in capsys.readouterr().err
    assert run(study, "--budget", "steps=1") == 2
    assert "--budget is about training, and nothing is to be trained" in capsys.readouterr().err
    study.write_text(FILE.replace("inference", "equal"))
    for more, expected in [
        (["--train"], "needs --data DIR"),
        (["--train", "--data", ".", "--seeds", "a"], "not a list of whole numbers"),
        (["--train", "--data", ".", "--budget", "5"], "write steps=1000 or minutes=60"),
    ]:
        assert run(study, *more) == 2
        assert expected in capsys.readouterr().err


def test_damaged_results_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the study again"):
        read_study_result(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"runs": {}}))
    with pytest.raises(UserError, match="run the study again"):
        read_study_result(tmp_path)


def test_arms_are_trained_alike_from_one_start_and_only_once(tmp_path: Path) -> None:
    calls: list[dict[str, object]] = []

    def fake(words: list[str]) -> int:
        out = Path(words[words.index("--out") + 1])
        config = training.yaml.safe_load(Path(words[1]).read_text())
        calls.append(config)
        (out / f"{training.resolve(config['variant']).arm.replace('/', '-')}.safetensors").write_bytes(b"w")
        return 0

    arms = [Arm(label=name, variant=name) for name in ("full", "average", "no_patch", "no_diffusion")]
    found = train(arms, [0, 1], tmp_path, tmp_path / "out", Budget.of("steps=10"), fake)
    assert found["full"] == found["average"] and len(found["full"]) == 2  # they share their weights
    own = [call for call in calls if call["variant"] in ("full", "no_patch")]
    assert {call["steps"] for call in own} == {10} and [call["seed"] for call in own] == [0, 0, 1, 1]
    assert [bool(call["start"]) for call in own] == [True, False, True, False]
    assert {call["steps"] for call in calls if call["variant"] == "no_diffusion"} == {130}
    assert len(calls) == 8
    assert train(arms, [0, 1], tmp_path, tmp_path / "out", Budget.of("steps=10"), fake) == found and len(calls) == 8
    with pytest.raises(UserError, match="ended with exit code 2"):
        train(arms[:1], [2], tmp_path, tmp_path / "out", Budget.of("steps=10"), lambda words: 2)
    with pytest.raises(UserError, match="only nano is trained here"):
        train([Arm(label="w", variant="full:base=wan2.1-1.3b")], [0], tmp_path, tmp_path, Budget(), fake)


def finish(words: list[str]) -> int:
    """A training that leaves its weights."""
    out = Path(words[words.index("--out") + 1])
    variant = training.yaml.safe_load(Path(words[1]).read_text())["variant"]
    (out / f"{training.resolve(variant).arm.replace('/', '-')}.safetensors").write_bytes(b"w")
    return 0


def test_what_drops_parts_at_inference_has_the_weights_of_full(tmp_path: Path) -> None:
    variants = {"dropped": "no_global:dropped_at_inference=true", "full": "full", "retrained": "no_global"}
    arms = [Arm(label=label, variant=variant) for label, variant in variants.items()]
    found = train(arms, [0], tmp_path, tmp_path / "out", Budget.of("steps=10"), finish)
    assert found["dropped"] == found["full"] != found["retrained"]


def test_weights_of_another_training_are_never_taken_for_this_one_s(tmp_path: Path) -> None:
    arms, out, data = [Arm(label="full", variant="full")], tmp_path / "out", tmp_path / "data"
    train(arms, [0], data, out, Budget.of("steps=10"), finish)
    for _ in range(2):  # being refused once must change nothing
        with pytest.raises(UserError, match="holds a training with other settings"):
            train(arms, [0], data, out, Budget.of("steps=20"), finish)
        with pytest.raises(UserError, match="holds a training with other data"):
            train(arms, [0], tmp_path, out, Budget.of("steps=10"), finish)
    train(arms, [0], data, out, Budget.of("steps=10"), lambda words: 2)  # all is there


@pytest.mark.slow
def test_a_study_trains_its_arms_and_compares_them(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stills = study.parent / "stills"
    stills.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (400, 400, 3), dtype=np.uint8)).save(stills / f"{index}.png")
    study.write_text(FILE.replace("inference", "equal"))
    assert run(study, "--train", "--data", str(stills), "--budget", "steps=1", "--seeds", "0,1") == 0
    found = read_study_result(study.parent / "out")
    assert [len(texts) for texts in found.arms.values()] == [2, 2] and set(found.spread["small"]) == {"one", "none"}
