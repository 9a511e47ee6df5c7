"""Ground truth of what was not trained on, as folders that the benchmark takes."""
from __future__ import annotations

import shutil

import pytest
from PIL import Image

from benchmarks import holdout
from benchmarks.suites.folders import load_ground_truth
from patchvsr.degradation import degradations
from tests.clips import bunny_file
from tests.training.conftest import write_manifest, write_still


def test_the_validation_split_and_further_videos_are_written(tmp_path):
    pack, clips = tmp_path / "pack", tmp_path / "clips" / "deep"
    pack.mkdir()
    clips.mkdir(parents=True)
    write_still(pack / "a.png", 0, (110, 98))
    write_still(pack / "b.png", 1)
    write_manifest(pack, [{"file": "a.png", "split": "val", "source_id": "film", "caption": "noise"},
                          {"file": "b.png", "split": "train"}])  # fmt: skip
    shutil.copy(bunny_file(), clips / "bunny.mp4")
    args = ["--data", str(pack), "--clips", str(tmp_path / "clips"), "--out", str(tmp_path / "GT"), "--largest", "360"]
    assert holdout.main(args) == 0
    assert sorted(p.name for p in (tmp_path / "GT").iterdir()) == ["bunny__bunny", "captions.csv", "film__a"]
    clips = load_ground_truth(tmp_path / "GT", degradations.get("bicubic"), 4, None)
    assert [clip.caption for clip in clips] == [None, "noise"]
    (still,) = (tmp_path / "GT" / "film__a").iterdir()
    assert Image.open(still).size == (108, 96)
    args[args.index("--clips") : args.index("--clips") + 2] = ["--split", "train", "--count", "1"]
    assert holdout.main(args) == 0 and (tmp_path / "GT" / "b__b").is_dir()
    frames = list((tmp_path / "GT" / "bunny__bunny").iterdir())
    assert len(frames) == 5 and Image.open(frames[0]).size == (636, 360)


@pytest.mark.parametrize("manifest", [None, "file,split\na.png,train\n"])
def test_packs_without_a_validation_split_are_refused(tmp_path, capsys, manifest):
    if manifest:
        (tmp_path / "MANIFEST.csv").write_text(manifest)
    assert holdout.main(["--data", str(tmp_path), "--out", str(tmp_path / "GT")]) == 2
    assert "MANIFEST.csv" in capsys.readouterr().err
    assert holdout.main(["--out", str(tmp_path / "GT")]) == 2
