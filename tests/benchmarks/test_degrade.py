from __future__ import annotations

import pytest
import torch

from benchmarks.degrade import main
from benchmarks.suites import load_folders
from patchvsr.degradation import degradations, quantise, to_float
from patchvsr.video import read_frames, write_png_folder


@pytest.fixture
def clip(tmp_path):
    frames = torch.randint(0, 256, (4, 3, 26, 41), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_png_folder(frames, tmp_path / "sharp")
    return tmp_path / "sharp", frames


def test_what_it_writes_is_what_a_run_takes(clip, tmp_path):
    folder, frames = clip
    assert main([str(folder), "--out", str(tmp_path / "out"), "--start", "1", "--frames", "2"]) == 0
    sharp, low = (read_frames(tmp_path / "out" / kind / "sharp") for kind in ("GT", "LQ"))
    assert torch.equal(sharp, frames[1:3, :, :24, :40])
    assert torch.equal(low, quantise(degradations.get("bicubic")(to_float(sharp), 4)))
    (found,) = load_folders(tmp_path / "out" / "LQ", tmp_path / "out" / "GT")
    assert found.scale == 4


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--scale", "1"], "does not fit"),
        (["--scale", "99"], "does not fit"),
        (["--degradation", "bicubik"], "bicubic"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(clip, tmp_path, capsys, more, sentence):
    assert main([str(clip[0]), "--out", str(tmp_path / "out"), *more]) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(clip, tmp_path, capsys):
    assert main([str(clip[0]), "--out", str(tmp_path / "out")]) == 0
    assert main([str(clip[0]), "--out", str(tmp_path / "out")]) == 2
    assert "exists; remove it" in capsys.readouterr().err
