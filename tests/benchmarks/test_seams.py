"""Seams relative to the ground truth's own lines: an edge of the scene is no seam, a planted step is one."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import seams
from benchmarks.store import Output, Result, Store
from patchvsr.video import FrameWriter

SIZE = 96


def picture(seed: int) -> Tensor:
    """Noise with a strong edge at column 48, as a scene may have one."""
    frame = torch.randint(40, 80, (1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    frame[..., 48:] += 120
    return frame.to(torch.uint8)


def write(folder: Path, frames: Tensor) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FrameWriter(folder) as writer:
        for frame in frames:
            writer.write(frame[None])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three clips: `edge` is cut where the scene has its edge, `plain` elsewhere, `seamed` has a step there."""
    root = tmp_path / "run"
    for index in range(3):
        clip, truth = f"s{index}__c", picture(index)
        write(tmp_path / "gt" / clip, truth)
        for variant, cut in (("edge", 48), ("plain", 24), ("seamed", 24)):
            made = truth.clone()
            if variant == "seamed":
                made[..., 24:48] += 40
            path = f"outputs/{variant}/{clip}"
            write(root / path, made)
            name = f"{variant}{index}"
            Store(root).save(
                Result(
                    hash=name, key={}, suite="folder", clip=clip, variant=variant, seed=0, weights="trained",
                    status="ok", output=Output(path=path, width=SIZE, height=SIZE, frames=1, sha256=""),
                    cuts={"rows": [], "columns": [cut]},
                )
            )  # fmt: skip
    return root


def test_an_edge_of_the_scene_is_no_seam_and_a_step_is_one(run: Path) -> None:
    values = seams.distances([run], ["edge", "plain", "seamed"], run.parent / "gt")
    for metric in ("seam", "seam_step"):
        assert all(value == pytest.approx(0, abs=1e-6) for value in values[metric]["edge"].values())
        assert all(value == pytest.approx(0, abs=1e-6) for value in values[metric]["plain"].values())
        assert all(value is not None and value > 0.3 for value in values[metric]["seamed"].values())
    assert set(values["seam_t"]["edge"].values()) == {None}  # one frame has no change in time


def test_the_command_judges_within_the_margin(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(run), "--against", "edge", "--truth", str(run.parent / "gt"), "--variants"]
    assert seams.main([*arguments, "plain"]) == 0
    assert "not inferior by more than 0.02" in capsys.readouterr().out
    assert seams.main([*arguments, "seamed"]) == 0
    assert "may be inferior by more than 0.02" in capsys.readouterr().out


def test_what_cannot_be_judged_is_one_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = run.parent / "gt"
    cases = {
        "is no run directory": [str(truth), "--variants", "edge", "--against", "plain", "--truth", str(truth)],
        "has no item of 'other'": [str(run), "--variants", "other", "--against", "plain", "--truth", str(truth)],
        "has no folder 's0__c'": [str(run), "--variants", "edge", "--against", "plain", "--truth", str(run)],
    }
    for words, arguments in cases.items():
        assert seams.main(arguments) == 2
        assert words in capsys.readouterr().err
    shutil.rmtree(truth / "s0__c")
    write(truth / "s0__c", picture(0)[..., :64])
    assert seams.main([str(run), "--variants", "edge", "--against", "plain", "--truth", str(truth)]) == 2
    assert "is not of the size and length of" in capsys.readouterr().err
