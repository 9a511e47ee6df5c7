"""Runs on a full or read-only disk, with damaged records, in a directory of another version, and by a clock that jumps."""
from __future__ import annotations

import errno
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import run, stress
from benchmarks.store import FORMAT, Store, _process
from patchvsr.video import folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    stress.make_clips(tmp_path / "clips", 2)
    return tmp_path / "clips"


def command(clips: Path, out: Path, *more: str, variants: str = "bicubic,lanczos") -> list[str]:
    made = ["--gt", str(clips), "--degradation", "bicubic", "--scale", "4", "--variants", variants, "--out", str(out)]
    return [*made, "--no-mlflow", "--metrics", "psnr", "--device", "cpu", "--dtype", "float32", *more]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs rights that are not given here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_the_run_and_loses_nothing(
    clips: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_disk / "ballast").write_bytes(bytes(490_000))
    out = small_disk / "out"
    assert run.main(command(clips, out)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device" in said and "MB free); make room" in said and "goes on from there" in said
    kept = {path.name: path.read_bytes() for path in (out / "items").glob("*.json")}
    assert all(json.loads(text)["status"] == "ok" for text in kept.values())
    (small_disk / "ballast").unlink()
    roomy = tmp_path / "roomy"
    shutil.copytree(out, roomy)
    assert run.main(command(clips, roomy)) == 0
    assert all((roomy / "items" / name).read_bytes() == text for name, text in kept.items())
    assert not stress.leftovers(roomy) and len(list((roomy / "items").glob("*.json"))) == 4


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")])
def test_frames_that_cannot_be_written_are_no_failure_of_the_method(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number, words
) -> None:
    calls = []
    real = folder.save_png

    def save(array: object, path: Path) -> None:
        calls.append(path)
        if len(calls) > 3:
            raise OSError(number, words, str(path))
        real(array, path)

    monkeypatch.setattr(folder, "save_png", save)
    out = tmp_path / "out"
    assert run.main(command(clips, out)) == 2
    assert words in capsys.readouterr().err
    assert [json.loads(path.read_text())["status"] for path in (out / "items").glob("*.json")] == ["ok"]
    assert not stress.leftovers(out)
    monkeypatch.setattr(folder, "save_png", real)
    assert run.main(command(clips, out)) == 0
    assert stress.records(out)


def test_a_directory_that_cannot_be_written_is_one_sentence(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out)) == 0
    before = {path: path.read_bytes() for path in (out / "items").glob("*.json")}
    capsys.readouterr()

    def refuse(*given: object, **named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(out))

    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.store.tempfile.mkstemp", refuse)
        assert run.main(command(clips, out, "--metrics", "psnr,ssim")) == 2
    said = capsys.readouterr().err
    assert "Permission denied" in said and len(said.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hash": 1}', "null", "\x00\x01"])
def test_a_damaged_record_is_moved_aside_and_its_item_made_again(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out, variants="bicubic")) == 0
    record = sorted((out / "items").glob("*.json"))[0]
    good = json.loads(record.read_text())
    before = stress.records(out)
    record.write_text(text)
    capsys.readouterr()
    assert run.main(command(clips, out, variants="bicubic")) == 0
    assert f"{record.name}.damaged was damaged, and its item was made again" in capsys.readouterr().out
    assert (out / "items" / f"{record.name}.damaged").read_text() == text
    assert json.loads(record.read_text())["output"] == good["output"] and stress.records(out) == before


def test_a_record_under_another_items_name_is_damage(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out, variants="bicubic")) == 0
    first, second = sorted((out / "items").glob("*.json"))
    second.write_text(first.read_text())
    assert Store(out).load(second.stem) is None and Store(out).load(first.stem) is not None


def test_a_damaged_description_and_tables_are_written_anew(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out)) == 0
    before = stress.records(out)
    for name in ("run.json", "records.csv", "summary.csv"):
        (out / name).write_text("{broken")
    assert run.main(command(clips, out)) == 0
    assert stress.records(out) == before and json.loads((out / "run.json").read_text())["format"] == FORMAT


def test_a_directory_of_a_newer_layout_is_refused(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out)) == 0
    described = json.loads((out / "run.json").read_text())
    described["format"], described["environment"]["packages"]["patchvsr"] = FORMAT + 1, "9.1"
    (out / "run.json").write_text(json.dumps(described))
    capsys.readouterr()
    assert run.main(command(clips, out)) == 2
    assert f"was made by patchvsr 9.1, whose run directories have layout {FORMAT + 1}" in capsys.readouterr().err
    del described["format"]  # as the first releases wrote it
    (out / "run.json").write_text(json.dumps(described))
    assert run.main(command(clips, out)) == 0


def test_items_of_other_code_are_kept_and_told_of(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out, variants="lanczos")) == 0
    assert "more items are in" not in capsys.readouterr().out
    monkeypatch.setattr("benchmarks.plan.code_of", lambda upscaler: "of another version")
    assert run.main(command(clips, out, variants="bicubic")) == 0
    assert "2 more items are in" in capsys.readouterr().out
    assert len(list((out / "items").glob("*.json"))) == 4
    assert {row[2] for row in stress.records(out)} == {"bicubic"}


def test_what_dead_processes_left_is_removed_and_what_live_ones_write_is_not(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out)) == 0
    dead = subprocess.Popen(["true"])
    dead.wait()
    gone, mine = _process().replace(str(_process().split("@")[0]), str(dead.pid)), _process()
    elsewhere = f"{dead.pid}@another-host~"
    names = ["items/.a.json.writing-{}x1", ".run.json.writing-{}x2", "outputs/bicubic/c.unfinished-{}/",
             "outputs/bicubic/.c.unfinished-{}.7.part/"]  # fmt: skip
    for name in names:
        for process in (gone, mine, elsewhere):
            path = out / name.format(process)
            path.mkdir() if name.endswith("/") else path.write_text("half")
    assert run.main(command(clips, out)) == 0
    left = {str(path.relative_to(out)) for path in map(Path, stress.leftovers(out))}
    assert left == {name.format(process).rstrip("/") for name in names for process in (mine, elsewhere)}


def test_a_clock_that_is_set_back_changes_nothing(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(command(clips, tmp_path / "calm")) == 0
    real, calls = time.time_ns, []

    def jumping() -> int:
        calls.append(None)
        return real() + (1 if len(calls) % 2 else -1) * 86_400 * 10**9

    monkeypatch.setattr(time, "time_ns", jumping)
    monkeypatch.setattr(time, "time", lambda: jumping() / 1e9)
    assert run.main(command(clips, tmp_path / "out")) == 0
    assert stress.records(tmp_path / "out") == stress.records(tmp_path / "calm")
    assert " -" not in capsys.readouterr().err.replace(" - ", "")  # no negative time left

    from benchmarks.tracking import MlflowTracker

    tracker = MlflowTracker(tmp_path / "tracked", None)
    times = [tracker._append("item", {}) for _ in range(6)]
    assert times == sorted(times)
