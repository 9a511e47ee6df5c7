"""`command:"..."`: a program gets the clip without loss, and only what fits comes back."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from baselines.exchange import find_result, write_video
from baselines.process import clean_environment
from baselines.recipe import Recipe, recipe_of
from patchvsr.degradation import quantise
from patchvsr.errors import UserError
from patchvsr.notation import ARGUMENT
from patchvsr.upscaler import Clip, Upscaler, create
from patchvsr.video import read_frames

LOW = quantise(torch.rand(3, 3, 9, 13, generator=torch.Generator().manual_seed(0))).float() / 255
CLIP = Clip("slow walk", LOW, caption="two people, walking")

METHOD = """
import json, os, pathlib, sys, time
import numpy as np
from PIL import Image

given, output, fault = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
print("loading", *sys.argv[4:])
print("a warning", file=sys.stderr)
files = sorted(given.glob("*.png"))
if fault == "fail":
    print("out of memory on gpu 0", file=sys.stderr)
    sys.exit(3)
if fault == "crash":
    os.abort()
if fault == "hang":
    pathlib.Path(sys.argv[4]).write_text(str(os.getpid()))
    time.sleep(600)
if fault == "short":
    files = files[:-1]
(output / "nested").mkdir()
for number, file in enumerate(files):
    pixels = np.asarray(Image.open(file)).repeat(2, 0).repeat(2, 1)
    Image.fromarray(pixels[:, 1:] if fault == "narrow" else pixels).save(output / "nested" / f"{number:05d}.png")
if fault == "twice":
    (output / "extra.mp4").write_bytes(b"")
"""


@pytest.fixture
def method(tmp_path: Path) -> str:
    (tmp_path / "method.py").write_text(METHOD)
    return f"{sys.executable} {tmp_path / 'method.py'} {{input}} {{output}}"


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert not list(folder.iterdir())


def made(command: str, *more: str) -> Upscaler:
    return create(",".join([f'command:"{command}"', *more]))


def run(upscaler: Upscaler, first: int = 0, scale: float = 2) -> Tensor:
    return quantise(torch.cat(list(upscaler.upscale_from(first, CLIP, scale, seed=7))))


def test_frames_go_out_and_come_back_bit_for_bit(method: str) -> None:
    upscaler = made(f"{method} no")
    expected = quantise(LOW).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(run(upscaler), expected)
    assert torch.equal(run(upscaler, 1), expected[1:]) and not upscaler.note
    assert upscaler.log.startswith("[stderr]\na warning") and "loading" in upscaler.log
    assert set(upscaler.measured or {}) == {"program_seconds", "program_peak_mib"}
    assert all(value > 0 for value in (upscaler.measured or {}).values())


def test_placeholders_are_filled_and_stay_single_arguments(method: str) -> None:
    more = "{scale} {width}x{height} {out_width} {caption} {clip} {seed} {frames}"
    upscaler = made(f"{method} no {more}")
    run(upscaler)
    assert "loading 2 13x9 26 two people, walking slow walk 7 3\n" in upscaler.log + "\n"


@pytest.mark.parametrize("kind", ["video", "videos"])
def test_videos_go_out_without_loss(kind: str, tmp_path: Path) -> None:
    found = "sys.argv[1]" if kind == "video" else "sys.argv[1] + '/slow walk.mp4'"
    (tmp_path / "copy.py").write_text(f"import shutil, sys; shutil.copy({found}, sys.argv[2] + '/out.mp4')")
    upscaler = made(f"{sys.executable} {tmp_path / 'copy.py'} {{input}} {{output}}", f"input={kind}")
    assert torch.equal(run(upscaler, scale=1), quantise(LOW))
    assert "scored from h264 video" in upscaler.note


@pytest.mark.parametrize("shape", [(1, 3, 7, 5), (4, 3, 64, 48)])
def test_the_video_holds_the_same_bytes(shape: tuple[int, ...], tmp_path: Path) -> None:
    frames = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    write_video(frames, tmp_path / "x.mp4", 29.97)
    assert torch.equal(read_frames(tmp_path / "x.mp4"), quantise(frames))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("fail", "ended with exit code 3 on clip 'slow walk'; its last line of errors: out of memory on gpu 0"),
        ("crash", "was ended by signal 6 on clip 'slow walk'"),
        ("short", "has 2 frames and clip 'slow walk' has 3"),
        ("narrow", "is 25x18, and clip 'slow walk' of 13x9 at scale 2 comes out at 26x18"),
        ("twice", r"more than one clip in \{output\}"),
    ],
)
def test_nothing_comes_of_a_program_that_fails(method: str, fault: str, sentence: str) -> None:
    upscaler = made(f"{method} {fault}")
    chunks = upscaler.upscale(CLIP, 2)
    with pytest.raises(UserError, match=sentence):
        next(chunks)
    assert "a warning" in upscaler.log


def test_result_says_which_of_two_outputs_is_meant(method: str) -> None:
    assert len(run(made(f"{method} twice", "result=nested"))) == 3
    with pytest.raises(UserError, match=r"wrote no 'slow walk.mp4' .*; it wrote extra.mp4, nested/00000.png"):
        run(made(f"{method} twice", "result={clip}.mp4"))


def gone(pid: int) -> bool:
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_program_that_hangs_is_ended_with_all_it_started(method: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    # The shell is what we start; the method is its child.
    inner = method.replace("{input}", '"$1"').replace("{output}", '"$2"')
    (tmp_path / "run.sh").write_text(f"{inner} hang {note}; true\n")
    upscaler = made(f"sh {tmp_path / 'run.sh'} {{input}} {{output}}", "timeout=3")
    with pytest.raises(UserError, match="was stopped on clip 'slow walk' after timeout=3 seconds.*: a warning"):
        run(upscaler)
    assert gone(int(note.read_text()))


def test_a_program_whose_waiting_is_interrupted_is_ended(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "pid"

    def interrupted(pid: int) -> float:
        if note.is_file() and note.read_text():
            raise KeyboardInterrupt
        return 0.0

    monkeypatch.setattr("baselines.process._resident_mib", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(made(f"{method} hang {note}"))
    assert gone(int(note.read_text()))


def test_the_program_runs_outside_our_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "venv" / "bin"), "/usr/bin"]))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "venv"))
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    found = clean_environment({"MORE": "1"})
    assert found["PATH"] == "/usr/bin" and found["MORE"] == "1"
    assert "VIRTUAL_ENV" not in found and "PYTHONPATH" not in found


def test_a_recipe_file_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKOUT", str(tmp_path))
    monkeypatch.setenv("SECRET", "xyz")
    (tmp_path / "env").write_text("# of the method\n\nA=b=c\n")
    file = tmp_path / "dove.yaml"
    file.write_text(
        "run: >\n  python run.py\n  --in {input} --out {output}\ninput: videos\nfps: 24\ntimeout: 60\n"
        "cwd: $CHECKOUT\nenv: {TOKEN: $SECRET}\n"
    )
    expected = Recipe(run="python run.py --in {input} --out {output}", input="videos", fps=24, timeout=5,
                      cwd=str(tmp_path), env={"TOKEN": "xyz"})  # fmt: skip
    assert recipe_of({ARGUMENT: str(file), "timeout": "5"}) == expected
    assert recipe_of({ARGUMENT: str(file), "env": str(tmp_path / "env")}).env == {"A": "b=c"}


def test_secrets_are_not_told_but_decide_the_result(method: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("TOKEN=hush-hush")
    described = made(f"{method} no", f"env={tmp_path / 'env'}").describe()
    assert "hush-hush" not in str(described) and len(described["env"]["TOKEN"]) == 64


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("command", "needs a command"),
        ('command:"cp {input}"', r"lacks the placeholder \{output\}"),
        ('command:"cp {inputs} {output}"', r"unknown placeholder \{inputs\}; did you mean 'input'"),
        ('command:"cp {input} {output} \'"', "cannot be split into words"),
        ('command:"no-such-program {input} {output}"', "program 'no-such-program' .* is not found"),
        ('command:"cp {input} {output}",timeout=0', "timeout=0 .* must be a number above 0"),
        ('command:"cp {input} {output}",timeout=soon', "timeout=soon .* must be a number above 0"),
        ('command:"cp {input} {output}",input=gif', "input=gif .* is unknown"),
        ('command:"cp {input} {output}",cwd=nowhere', "cwd=nowhere .* is no folder"),
        ('command:"cp {input} {output}",cwd=$NOT_SET_HERE', r"\$NOT_SET_HERE, which is not set"),
        ('command:"cp {input} {output}",env=nowhere', "environment file nowhere cannot be read"),
        ('command:"cp {input} {output}",time=5', "no option 'time'; did you mean 'timeout'"),
        ("command:nowhere.yaml", "recipe nowhere.yaml cannot be read"),
    ],
)
def test_wrong_commands_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        create(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("run: [", "is no YAML"),
        ("- a", "has no field 'run'"),
        ("run: 5", "run=5 .* must be text"),
        ("run: cp {input} {output}\nenv: 5", "must be a mapping"),
        ("run: cp {input} {output}\nspeed: 5", "no option 'speed'"),
    ],
)
def test_wrong_recipes_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        create(f"command:{tmp_path / 'x.yaml'}")


def test_nothing_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").touch()
    with pytest.raises(UserError, match="no frames and no video"):
        find_result(tmp_path)
