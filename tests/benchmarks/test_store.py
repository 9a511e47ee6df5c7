"""The run directory: nothing half-written, nothing mixed up, damage named."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.store import Output, Result, Score, Store, read_result, to_json, write_atomic
from patchvsr.errors import UserError


def result(digest: str = "abc", path: str = "outputs/full/a", **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "hash": digest,
        "key": {"seed": 0},
        "suite": "s",
        "clip": "a",
        "variant": "full",
        "seed": 0,
        "weights": "trained",
        "status": "ok",
        "output": Output(path=path, width=8, height=4, frames=2, sha256="00"),
        "cuts": {"rows": [], "columns": [4]},
        "measured": {"seconds": 0.1 + 0.2},
        "scores": {
            "psnr": Score(metric="psnr", identity="i", unit="dB", status="ok", value=1.75, per_frame=[1.5, 2.0]),
            "seam": Score(metric="seam", identity="j", unit="", status="undefined", message="no cut"),
        },
    }
    return Result(**(fields | changes))


def frames(root: Path, path: str = "outputs/full/a", count: int = 2) -> Path:
    folder = root / path
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index:08d}.png").write_bytes(b"png")
    return folder


def test_a_result_survives_the_round_trip_exactly(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(result())
    assert store.load("abc") == result()
    assert store.load("other") is None


def test_nothing_but_strict_json_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store(tmp_path).save(result(measured={"seconds": float("nan")}))
    assert not (tmp_path / "items").exists()


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    write_atomic(path, "old")

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"hash": "abc"}', to_json({"unknown": 1})])
def test_a_damaged_item_is_named_with_what_to_do(tmp_path: Path, damage: str) -> None:
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "abc.json").write_text(damage)
    with pytest.raises(UserError, match=r"abc\.json' is damaged .*; delete it"):
        read_result(tmp_path / "items" / "abc.json")


def test_only_a_new_empty_or_run_folder_is_taken(tmp_path: Path) -> None:
    Store(tmp_path / "new").check()
    assert not (tmp_path / "new").exists()
    Store(tmp_path).check()
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="has files but no run.json"):
        Store(tmp_path).check()
    with pytest.raises(UserError, match="is a file"):
        Store(tmp_path / "thesis.txt").check()
    (tmp_path / "run.json").write_text("{}")
    Store(tmp_path).check()


def test_making_room_forgets_whatever_stood_for_the_same_frames(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = frames(tmp_path)
    other = frames(tmp_path, "outputs/full/b")
    store.save(result("old", "outputs/full/a"))
    store.save(result("else", "outputs/full/b", clip="b"))
    store.make_room("new", folder)
    assert store.load("old") is None and not folder.exists()
    assert store.load("else") is not None and other.is_dir()


def test_missing_frames_are_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has_output(result())
    folder = frames(tmp_path)
    assert store.has_output(result())
    (folder / "00000001.png").unlink()
    assert not store.has_output(result())
    assert not store.has_output(result(status="failed", output=None))
