"""Runs on a full or read-only disk, with damaged records, in a directory of another version, by a clock that jumps."""
from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import regress, run, stress
from benchmarks.cache import LIMIT, OutputCache
from benchmarks.disk import Unwritable, process_mark, stop_if_full, writing
from benchmarks.progress import Eta
from benchmarks.store import FORMAT, Store, to_json
from benchmarks.tracking.queue import Queue, State
from patchvsr.errors import UserError
from patchvsr.video import folder
from tests.benchmarks.dummies import command
from tests.benchmarks.test_store import result


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


@pytest.mark.parametrize(
    "number, words", [(errno.EDQUOT, "Disk quota exceeded"), (errno.EROFS, "Read-only file system")]
)
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


def test_a_read_only_disk_is_one_sentence(clips: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = small_disk / "out"
    assert run.main(command(clips, out, variants="bicubic")) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for place, more in ((out, ["--metrics", "psnr,ssim"]), (small_disk / "new", [])):
        capsys.readouterr()
        assert run.main(command(clips, place, *more)) == 2
        said = capsys.readouterr().err
        assert "Read-only file system" in said and len(said.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_place_of_the_directory_is_one_sentence(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").write_text("precious")
    assert run.main(command(clips, tmp_path / place)) == 2
    said = capsys.readouterr().err
    assert "; give --out" in said and len(said.strip().splitlines()) == 1
    assert (tmp_path / "file").read_text() == "precious"


def test_items_that_cannot_be_listed_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "items").mkdir()

    def refuse(folder: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match="cannot be read .Permission denied.; give --out another folder"):
        Store(tmp_path).check()
    with pytest.raises(UserError, match="Permission denied"):
        Store(tmp_path).sweep()


def test_a_disk_that_is_full_elsewhere_is_no_failure_of_the_method(tmp_path: Path) -> None:
    try:
        try:
            with open("/dev/full", "w") as full:
                full.write("a method's own scratch")
        except OSError as error:
            raise RuntimeError("it did not work") from error
    except RuntimeError as error:
        with pytest.raises(Unwritable, match="cannot write to .*No space left"):
            stop_if_full(error, tmp_path)
    stop_if_full(RuntimeError("another"), tmp_path)
    with pytest.raises(Unwritable, match="/dev/full.*No space left"), writing(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "/dev/full")


def test_a_cache_of_outputs_that_is_full_or_damaged_does_not_stop_a_run(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(LIMIT, "1")
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "outputs"

    def refuse(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.cache._link_all", refuse)
        assert run.main(command(clips, tmp_path / "a", variants="bicubic")) == 0
    assert capsys.readouterr().err.count("outputs are not kept for other runs: cannot write to") == 1
    assert run.main(command(clips, tmp_path / "b", variants="bicubic")) == 0
    first, second = sorted(kept.iterdir())
    (first / "item.json").write_text("[]")
    next((second / "frames").iterdir()).unlink()
    capsys.readouterr()
    assert run.main(command(clips, tmp_path / "c", variants="bicubic")) == 0
    said = capsys.readouterr().err
    assert said.count("in the cache of outputs was damaged and is removed") == 2 and "taken from" not in said
    assert stress.records(tmp_path / "c") == stress.records(tmp_path / "a")


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
        patched.setattr("benchmarks.disk.tempfile.mkstemp", refuse)
        assert run.main(command(clips, out, "--metrics", "psnr,ssim")) == 2
    said = capsys.readouterr().err
    assert "Permission denied" in said and len(said.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in before} == before


def test_a_damaged_record_is_moved_aside_and_its_item_made_again(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out, variants="bicubic")) == 0
    record = sorted((out / "items").glob("*.json"))[0]
    good, before = json.loads(record.read_text()), stress.records(out)
    text = record.read_text()[:100]
    record.write_text(text)
    capsys.readouterr()
    assert run.main(command(clips, out, "--dry-run", variants="bicubic")) == 0
    with pytest.raises(UserError, match="is damaged .*; delete it"):
        Store(out).load(record.stem)
    assert regress.main([str(out), "--update", "--against", str(tmp_path / "golden.json")]) == 2
    assert record.read_text() == text  # who only reads leaves it where it is
    assert run.main(command(clips, out, variants="bicubic")) == 0
    told = capsys.readouterr()
    aside = out / "items" / f"{record.name}.damaged"
    assert f"it is now '{aside}', and its item is made again" in told.err
    assert f"- {aside} is a damaged record" in told.out
    assert aside.read_text() == text
    assert json.loads(record.read_text())["output"] == good["output"] and stress.records(out) == before
    assert run.main(command(clips, out, variants="bicubic")) == 0
    told = capsys.readouterr()
    assert f"- {aside} is a damaged record" in told.out and "more items" not in told.err


@pytest.mark.parametrize(
    "change",
    [{"status": 5}, {"clip": None}, {"measured": {"seconds": "long"}}, {"output": None}, {"measured": []}, {"new": 1},
     {"scores": {"psnr": {"metric": "psnr", "identity": "i", "unit": "dB", "status": "ok", "value": "high"}}},
     {"scores": {"psnr": {"metric": "psnr", "identity": "i", "unit": "dB", "status": "ok"}}}],
)  # fmt: skip
def test_a_record_of_wrong_types_is_damaged(tmp_path: Path, change: dict) -> None:
    store = Store(tmp_path)
    store.save(result())
    path = tmp_path / "items" / "abc.json"
    assert store.sound("abc") == result()
    path.write_text(to_json(json.loads(path.read_text()) | change))
    assert store.sound("abc") is None and path.is_file()
    assert store.load_or_set_aside("abc") is None and not path.is_file()


def test_a_record_that_cannot_be_read_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.save(result())

    def refuse(*given: object, **named: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match="cannot be read .Permission denied.; make it readable"):
        store.load_or_set_aside("abc")
    assert (tmp_path / "items" / "abc.json").is_file()


def test_frames_of_a_record_with_fields_of_another_version_keep_their_owner(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(result("later"))
    path = tmp_path / "items" / "later.json"
    path.write_text(to_json(json.loads(path.read_text()) | {"field_of_later": 1}))
    store.make_room("other", tmp_path / "outputs/full/elsewhere")
    assert path.is_file()
    store.make_room("new", tmp_path / result().output.path)  # their frames have the same place
    assert not path.is_file()


def test_a_record_under_another_items_name_is_damage(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out, variants="bicubic")) == 0
    first, second = sorted((out / "items").glob("*.json"))
    second.write_text(first.read_text())
    assert Store(out).sound(second.stem) is None and Store(out).sound(first.stem) is not None


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
    assert "more items are in" not in capsys.readouterr().err
    monkeypatch.setattr("benchmarks.plan.code_of", lambda upscaler: "of another version")
    assert run.main(command(clips, out, variants="bicubic")) == 0
    assert "2 more items are in" in capsys.readouterr().err
    assert len(list((out / "items").glob("*.json"))) == 4
    assert {row[2] for row in stress.records(out)} == {"bicubic"}


def test_what_dead_processes_left_is_removed_and_what_live_ones_write_is_not(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out)) == 0
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine = process_mark()
    gone = f"{dead.pid}@{mine.partition('@')[2]}"
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


def test_what_is_known_of_tracking_may_be_damaged(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.append({"kind": "one"})
    assert not queue.torn
    with queue.path.open("ab") as file:
        file.write(b'null\n[1]\n{"kind": "tw')
    queue.append({"kind": "three"})
    assert queue.torn and [event["kind"] for event, _ in queue.read()] == ["one", "torn", "torn", "torn", "three"]
    State(tmp_path, "http://here").save()
    path = tmp_path / "tracking" / "state.json"
    assert State(tmp_path, "http://here").offset == 0
    for text in ("[]", "{}", '{"last": null, "destinations": {"http://here": {"offset": "far"}}}', "{"):
        path.write_text(text)
        with pytest.raises(UserError, match="is damaged; delete it"):
            State(tmp_path, "http://here")


def test_outputs_used_by_a_clock_that_was_ahead_go_like_others(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name / "frames").mkdir(parents=True)
        (tmp_path / name / "item.json").write_text('{"variant": "v", "clip": "c"}')
    ahead = time.time() + 1e9
    os.utime(tmp_path / "a" / "item.json", (ahead, ahead))
    assert all(entry.used <= time.time() for entry in OutputCache(tmp_path, 10).entries())


def test_time_left_is_never_below_zero() -> None:
    item = SimpleNamespace(hash="h", variant=SimpleNamespace(text="v"),
                           clip=SimpleNamespace(size=(10, 10), frames=1))  # fmt: skip
    other = SimpleNamespace(**vars(item) | {"hash": "i"})
    ticks = iter([0.0, 1.0, 1.0, 1.0])
    eta = Eta(SimpleNamespace(items=[item, other]), lambda: next(ticks))
    eta.progress(item, 0.0)
    eta.done(item, SimpleNamespace(status="ok"), "run")
    eta.progress(other, 1.0 + 1e-9)
    assert eta.seconds() == 0.0


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
