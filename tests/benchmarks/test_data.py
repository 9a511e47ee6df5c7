"""`python -m benchmarks.data`: what belongs where, whether it is there and whole, and what has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import data
from benchmarks.frames import whole
from benchmarks.suites import load_suite, suites
from patchvsr.video import frames_sha256, write_png_folder
from tests.benchmarks.replicas import as_yaml, break_png, known, lowered, names, picture, replica, snapshot, yaml_suites

Prepared = Callable[..., Path]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Prepared:
    """Makes a replica stand for the suite of its name; gives its data root."""

    def make(name: str, lq: bool = True) -> Path:
        (tmp_path / "suites").mkdir()
        root = tmp_path / "data"
        monkeypatch.setitem(suites._entries, name, as_yaml(replica(name, root, lq=lq), tmp_path / "suites"))
        return root

    return make


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[str], str]:
    """Exit code, lines on stdout, text on stderr."""
    code = data.main([str(word) for word in words])
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return code, shown.out.splitlines(), shown.err


def test_the_list_has_every_suite_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = call(capsys, "list")
    assert code == 0
    by_name = {line.split()[0]: line for line in lines[:-1]}
    for name in yaml_suites():
        assert known(name).description in by_name[name]
        assert ("needs --data-root" in by_name[name]) == (name not in ("2k", "4k", "8k", "golden"))
    assert "benchmarks.data list NAME" in lines[-1]


@pytest.mark.parametrize("name", yaml_suites())
def test_a_suites_entry_says_what_belongs_where_and_how_to_get_it(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, lines, _ = call(capsys, "list", name)
    shown, suite = "\n".join(lines), known(name)
    assert code == 0 and lines[0] == suite.description
    for text in (suite.paper, suite.get, suite.licence):
        assert " ".join(text.split()) in shown
    for entry in suite.clips:
        assert f"  {entry.name}: " in shown
    for layout in suite.layouts:
        for path in (layout.gt, layout.lq):
            assert path is None or path in shown
    assert (f"GT {name}/GT/{{clip}}" in shown) == suite.gt and f"LQ {name}/LQ/{{clip}}" in shown
    assert "{suite}" not in shown and "scale: 4" in shown


def test_frames_sizes_and_counts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "  calendar: 41 frames of 720x576" in call(capsys, "list", "vid4")[1]
    assert "  30: 31 frames of 960x540" in call(capsys, "list", "spmcs")[1]
    assert "  049: 100 frames" in call(capsys, "list", "videolq")[1]
    assert "  rendered: 17 frames of 3840x2160 (embedded, rendered)" in call(capsys, "list", "4k")[1]


def test_a_suite_of_another_package_is_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(suites._entries, "theirs", lambda root, frames, scale: [])
    assert any(line.startswith("theirs ") and "made by a function" in line for line in call(capsys, "list")[1])
    assert "made by a function" in call(capsys, "list", "theirs")[1][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "red4"), "unknown suite 'red4'; did you mean 'reds4'"),
        (("verify",), "verify needs a suite's name"),
        (("prepare",), "prepare needs a suite's name"),
        (("verify", "reds4"), "suite 'reds4' lies in a data root; give --data-root"),
        (("verify", "reds4", "--data-root", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_wrong_requests_get_a_sentence(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    code, lines, error = call(capsys, *words)
    assert (code, lines) == (2, []) and error.startswith("error: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize(("name", "clips"), [("reds4", 4), ("udm10", 10), ("videolq", 50), ("spmcs", 30)])
def test_whole_data_is_said_to_be_whole_and_is_not_touched(
    capsys: pytest.CaptureFixture[str], small: Prepared, cache: Path, name: str, clips: int
) -> None:
    root = small(name)
    before = snapshot(root)
    code, lines, error = call(capsys, "verify", name, "--data-root", root)
    assert (code, error) == (0, "") and lines == [f"suite '{name}' is whole: {clips} clips, {3 * clips} frames"]
    assert snapshot(root) == before and not cache.exists(), "to verify makes nothing"


def test_every_damaged_clip_is_named(capsys: pytest.CaptureFixture[str], small: Prepared) -> None:
    root = small("vid4")
    first = break_png(root / "Vid4/GT/city/00000001.png")
    second = break_png(root / "Vid4/BIx4/walk/00000002.png")
    for command in ("verify", "prepare"):
        code, lines, error = call(capsys, command, "vid4", "--data-root", root)
        assert (code, lines) == (2, [])
        assert f"clip 'city': image {first} cannot be read" in error
        assert f"clip 'walk': image {second} cannot be read" in error
        assert "calendar" not in error and "foliage" not in error


def test_frames_whose_size_is_right_and_that_cannot_be_read_are_all_named(
    capsys: pytest.CaptureFixture[str], small: Prepared
) -> None:
    root = small("vid4")
    deep = [root / "Vid4/GT/city/00000001.png", root / "Vid4/BIx4/walk/00000002.png"]
    for file in deep:
        size = Image.open(file).size
        Image.new("I;16", size, 700).save(file)
    for command in ("verify", "prepare"):
        code, lines, error = call(capsys, command, "vid4", "--data-root", root)
        assert (code, lines) == (2, []) and "suite 'vid4' has 2 faults:\n" in error
        assert f"- clip 'city': image {deep[0]} has more than 8 bit" in error
        assert f"- clip 'walk': image {deep[1]} has more than 8 bit" in error


def test_missing_clips_frames_and_wrong_sizes_are_named_together(
    capsys: pytest.CaptureFixture[str], small: Prepared
) -> None:
    root = small("vid4")
    shutil.rmtree(root / "Vid4/GT/city")
    (root / "Vid4/GT/foliage/00000001.png").unlink()
    write_png_folder(picture(3, 8, 8), root / "Vid4/BIx4/walk")
    code, _, error = call(capsys, "verify", "vid4", "--data-root", root)
    assert code == 2 and error.count("\n") == 1
    assert "clip 'city' is missing" in error and "2 frames of 3: 00000001 missing" in error
    assert "walk (LQ) is 8x8, not 12x8" in error and "calendar" not in error


def test_prepared_data_has_its_input_made_and_its_checksums_kept(
    capsys: pytest.CaptureFixture[str], small: Prepared, cache: Path
) -> None:
    root = small("vid4_bd", lq=False)
    before = snapshot(root)
    code, lines, error = call(capsys, "prepare", "vid4_bd", "--data-root", root)
    assert (code, error) == (0, "") and snapshot(root) == before
    assert [line.split(":")[0] for line in lines[:-1]] == names(known("vid4_bd"))
    for index, line in enumerate(lines[:-1]):
        low = lowered(picture(3, 32, 48, seed=index), 4, "bd")
        assert f"3 frames, input made, 12x8, sha256 {frames_sha256(low)}" in line
    assert str(cache) in lines[-1] and len(list((cache / "lq").iterdir())) == 4
    kept = json.loads((cache / "checksums" / "vid4_bd.json").read_text())
    assert kept["city"] == {"GT": frames_sha256(picture(3, 32, 48, seed=1)), "LQ": None}
    assert call(capsys, "verify", "vid4_bd", "--data-root", root)[0] == 0
    assert call(capsys, "prepare", "vid4_bd", "--data-root", root)[1] == lines


def test_input_that_came_with_the_data_is_kept_as_it_came(
    capsys: pytest.CaptureFixture[str], small: Prepared, cache: Path
) -> None:
    root = small("reds4")
    code, lines, _ = call(capsys, "prepare", "reds4", "--data-root", root)
    assert code == 0 and all("input as it came" in line for line in lines[:-1]) and not (cache / "lq").exists()
    kept = json.loads((cache / "checksums" / "reds4.json").read_text())
    assert kept["000"]["LQ"] == frames_sha256(lowered(picture(3, 32, 48, seed=0)))


@pytest.mark.parametrize("side", ["train_sharp", "train_sharp_bicubic/X4"])
def test_frames_that_changed_since_are_named(
    capsys: pytest.CaptureFixture[str], small: Prepared, cache: Path, side: str
) -> None:
    root = small("reds4")
    assert call(capsys, "prepare", "reds4", "--data-root", root)[0] == 0
    folder = root / "REDS" / side / "015"
    frames = whole(load_suite("reds4", root)[2].lq() if "X4" in side else load_suite("reds4", root)[2].gt())  # type: ignore[arg-type]
    frames[2, 1, 3, 4] ^= 1
    write_png_folder(frames, folder)
    for command in ("verify", "prepare"):
        code, _, error = call(capsys, command, "reds4", "--data-root", root)
        which = "LQ" if "X4" in side else "GT"
        assert code == 2 and f"clip '015': {which} is not what it was when it was prepared" in error
        assert "has 1 faults" in error and str(cache / "checksums" / "reds4.json") in error
    (cache / "checksums" / "reds4.json").unlink()
    assert call(capsys, "prepare", "reds4", "--data-root", root)[0] == 0


def test_the_same_frames_compressed_in_another_way_are_unchanged(
    capsys: pytest.CaptureFixture[str], small: Prepared
) -> None:
    root = small("vid4")
    assert call(capsys, "prepare", "vid4", "--data-root", root)[0] == 0
    image = root / "Vid4/GT/city/00000000.png"
    before = image.read_bytes()
    Image.open(image).save(image, compress_level=9)
    assert image.read_bytes() != before
    assert call(capsys, "verify", "vid4", "--data-root", root)[0] == 0


def test_the_ground_truth_of_another_clip_is_refused(capsys: pytest.CaptureFixture[str], small: Prepared) -> None:
    root = small("vid4")
    city, walk = root / "Vid4/GT/city", root / "Vid4/GT/walk"
    city.rename(root / "x")
    walk.rename(city)
    (root / "x").rename(walk)
    code, _, error = call(capsys, "prepare", "vid4", "--data-root", root)
    assert code == 2 and "clip 'city': the ground truth does not show what the input shows" in error


def test_embedded_suites_need_no_data_root(capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Prepared) -> None:
    for index, name in enumerate("ab"):
        write_png_folder(picture(2, 32, 48, seed=index), tmp_path / "2k" / "GT" / name)
    code, lines, _ = call(capsys, "verify", "2k", "--data-root", tmp_path)
    assert code == 0 and lines == ["suite '2k' is whole: 2 clips, 4 frames"]
    assert torch.equal(whole(load_suite("2k", tmp_path)[0].lq()), lowered(picture(2, 32, 48, seed=0)))
