from __future__ import annotations

import pytest
import torch

from benchmarks.degrade import main
from benchmarks.suites import load_folders
from patchvsr.degradation import degradations, quantise, to_float
from patchvsr.video import FrameWriter, read_frames, write_png_folder


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


@pytest.mark.parametrize("name", ["bilinear", "bd", "realworld"])
def test_any_registered_degradation_is_streamed_with_the_name_of_the_clip(clip, tmp_path, capsys, name):
    folder, frames = clip
    assert main([str(folder), "--out", str(tmp_path), "--degradation", name]) == 0
    expected = degradations.get(name).stream(iter(frames[..., :24, :40]), 4, "sharp")
    assert torch.equal(read_frames(tmp_path / "LQ" / "sharp"), torch.stack(list(expected)))
    said = capsys.readouterr().out
    assert degradations.get(name).identity in said and "40x24" in said and "10x6" in said


def test_the_clip_is_never_held(clip, tmp_path, monkeypatch):
    """Every frame is written before the next but one is read."""
    read = written = 0

    def counted(*args):
        nonlocal read
        for frame in clip[1]:
            assert read - written <= 1
            read += 1
            yield frame

    class Writer(FrameWriter):
        def write(self, chunk):
            nonlocal written
            written += self.folder.parent.name == "LQ"
            super().write(chunk)

    monkeypatch.setattr("patchvsr.video.iter_frames", counted)
    monkeypatch.setattr("patchvsr.video.FrameWriter", Writer)
    assert main([str(clip[0]), "--out", str(tmp_path)]) == 0
    assert read == written == 4


def test_a_clip_that_ends_early_leaves_nothing(clip, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert main([str(clip[0]), "--out", str(tmp_path / "out"), "--frames", "9"]) == 2
    assert "4 frames" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--scale", "1"], "does not fit"),
        (["--scale", "99"], "does not fit"),
        (["--scale", "3", "--degradation", "bd"], "use an even scale"),
        (["--degradation", "bicubik"], "bicubic"),
        (["--start", "9"], "4 frames"),
        (["--frames", "9"], "4 frames"),
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
