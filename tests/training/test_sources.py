"""Which files a run draws from: manifests, bare folders, and what is refused or left out by name."""
from __future__ import annotations

import csv
import hashlib

import pytest
import torch

from patchvsr.errors import UserError
from patchvsr.training import sources
from tests.clips import bunny_file
from tests.training.conftest import write_manifest, write_still

NEEDS = sources.Needs(side=100, frames=5)


def test_a_folder_without_a_manifest_gives_all_its_files_with_fixed_splits(tmp_path):
    (tmp_path / "more").mkdir()
    for index in range(60):
        write_still(tmp_path / "more" / f"still_{index}.png", index, (104, 104))
    (tmp_path / "notes.txt").write_text("no picture")
    files = sources.listed(tmp_path)
    assert len(files) == 60 and {f.split for f in files} == {"train", "val"}
    assert files == sources.listed(tmp_path)
    found, problems = sources.load(files, NEEDS)
    assert len(found) == 60 and not problems and all(f.shape == (1, 104, 104) for f in found)


def test_frames_are_the_same_from_memory_and_from_the_file(tmp_path):
    write_still(tmp_path / "a.png", 0)
    kept, read = (
        sources.load(sources.listed(tmp_path), sources.Needs(side=100, frames=5, memory_mib=mib))[0][0]
        for mib in (100, 0)
    )
    assert kept._kept is not None and read._kept is None
    assert torch.equal(kept.read(), read.read()) and read.read().dtype == torch.uint8


def test_a_video_is_read_from_any_frame():
    video = sources.Footage(bunny_file())
    assert len(video) == 132 and video.shape[1:] == (720, 1280)
    assert torch.equal(video.read(3, 2)[1], video.read(4, 1)[0])


@pytest.fixture
def broken(tmp_path):
    """A manifest with one good file and one of every kind of bad one."""
    names = ["good", "tiny", "changed", "broken", "long"]
    for index, name in enumerate(names):
        write_still(tmp_path / f"{name}.png", index, (64, 64) if name == "tiny" else (192, 192))
    rows = [{"file": f"{name}.png", "sha256": "", "caption": name} for name in names]
    rows[2]["sha256"] = hashlib.sha256(b"another").hexdigest()
    rows[4]["caption"] = "x" * 129
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    rows.append({"file": "absent.png", "sha256": "", "caption": ""})
    write_manifest(tmp_path, rows)
    return tmp_path


def test_every_bad_file_is_named_with_its_reason(broken):
    found, problems = sources.load(sources.listed(broken), NEEDS)
    assert [f.path.name for f in found] == ["good.png"]
    reasons = {p.path.name: p.reason for p in problems}
    assert "64x64, below the 100 pixels" in reasons["tiny.png"]
    assert "SHA-256 differs" in reasons["changed.png"]
    assert "caption of 129 bytes" in reasons["long.png"]
    assert reasons["absent.png"] == "is missing" and reasons["broken.png"]
    with pytest.raises(UserError, match=r"5 of 6 files cannot be trained on .*--allow-excluded"):
        sources.refuse(problems, 6)
    sources.refuse([], 6)


def test_a_run_refuses_bad_files_or_lists_what_it_leaves_out(broken, train, tmp_path, capsys):
    with pytest.raises(UserError, match="5 of 6 files cannot be trained on"):
        train(tmp_path / "out", data=broken)
    assert train(tmp_path / "out", "--steps", "1", "--allow-excluded", data=broken) == 0
    assert "excluded: 5 files" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "excluded.csv").open()))
    assert len(rows) == 5 and all(row["reason"] for row in rows)


def test_a_short_video_and_a_missing_caption_are_problems(tmp_path):
    listing = [sources.Listed(bunny_file(), "train")]
    reason = sources.load(listing, sources.Needs(side=100, frames=200))[1][0].reason
    assert reason == "has 132 frames, and a clip has 200"
    reason = sources.load(listing, sources.Needs(side=100, frames=5, captions=True))[1][0].reason
    assert "has no caption, and this arm's prompt is the caption" in reason


def test_folders_with_nothing_to_train_on_are_refused(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        sources.listed(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no videos or stills"):
        sources.listed(tmp_path)
    (tmp_path / "MANIFEST.csv").write_text("name,split\na.png,train\n")
    with pytest.raises(UserError, match="has no column 'file'"):
        sources.listed(tmp_path)
