"""Runs that last: locks, failures that are kept, outputs of other runs, and what a killed process leaves."""
from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from benchmarks import cache, run, stress
from benchmarks.cache import LIMIT, OutputCache
from benchmarks.source import code_of
from benchmarks.store import Output, Result, Score, Store
from patchvsr.errors import UserError
from patchvsr.upscaler import create
from tests.benchmarks.dummies import command


def items(out: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (out / "items").glob("*.json")}


def test_a_locked_item_is_left_to_its_holder_and_taken_up_when_that_is_gone(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run.main(command(clips, out)) == 0
    done = items(out)
    victim = next(iter(done))
    (out / "items" / f"{victim}.json").unlink()
    code = f"from filelock import FileLock; import time; FileLock({str(Store(out).lock(victim))!r}).acquire(); "
    holder = subprocess.Popen([sys.executable, "-c", code + "print('held', flush=True); time.sleep(60)"],
                              stdout=subprocess.PIPE)  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    other = subprocess.Popen([sys.executable, "-m", "benchmarks.run", *command(clips, out)], stderr=subprocess.PIPE)
    time.sleep(1)
    holder.kill()  # a lock ends with its holder
    holder.wait()
    assert other.wait(120) == 0
    assert items(out).keys() == done.keys()


def test_what_another_process_has_done_meanwhile_is_taken(clips: Path, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.run", *command(clips, tmp_path / "out")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len(items(tmp_path / "out")) == 4
    made = sum(error.count(": done") for error in errors)
    assert made == 4  # no item twice
    with open(tmp_path / "out" / "records.csv") as file:
        assert len(list(csv.DictReader(file))) == 4


def test_jobs_share_the_items_and_one_writes_the_tables(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert run.main(command(clips, alone)) == 0
    assert run.main(command(clips, shared, "--jobs", "2")) == 0
    assert stress.records(shared) == stress.records(alone) and not stress.leftovers(shared)
    assert run.main(command(clips, shared, "--jobs", "0")) == 2
    assert "--jobs 0 does nothing" in capsys.readouterr().err


def test_an_item_of_a_helper_that_dies_is_taken_up(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import benchmarks.executors.local as executors

    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*given: object, **named: object) -> subprocess.Popen[bytes]:
        started.append(real([sys.executable, "-c", "import os; os.abort()"]))
        return started[-1]

    monkeypatch.setattr(executors.subprocess, "Popen", popen)
    assert run.main(command(clips, tmp_path / "out", "--jobs", "2")) == 0
    assert len(items(tmp_path / "out")) == 4 and started[0].returncode not in (0, None)


def test_failures_are_kept_until_asked_for_again(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import benchmarks.item as item

    def fail(*given: object) -> float:
        raise RuntimeError("no luck")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(item, "_write_all", fail)
        assert run.main(command(clips, out, "--fail-fast")) == 1
        assert len(items(out)) == 1  # it stopped at the first
        assert run.main(command(clips, out)) == 1
    assert {one["status"] for one in items(out).values()} == {"failed"}
    assert all("no luck" in one["traceback"] for one in items(out).values())
    capsys.readouterr()
    assert run.main(command(clips, out)) == 1
    assert "--retry-failed runs it again" in capsys.readouterr().err
    assert run.main(command(clips, out, "--retry-failed")) == 0
    assert {one["status"] for one in items(out).values()} == {"ok"}


def test_what_a_killed_process_left_unfinished_is_cleared(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    left = out / "outputs" / "bicubic" / "clip0.unfinished-1"
    left.mkdir(parents=True)
    (left / "00000000.png").write_bytes(b"half")
    (out / "run.json").write_text("{}")
    assert run.main(command(clips, out)) == 0
    assert not left.exists() and not stress.leftovers(out)


def test_outputs_are_reused_in_other_folders_and_scored_without_a_model(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(LIMIT, "1")
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "cache"))
    assert run.main(command(clips, tmp_path / "a")) == 0
    import benchmarks.execute as execute

    def none_made(*given: object) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr(execute, "create", none_made)
    assert run.main([*command(clips, tmp_path / "b"), "--metrics", "psnr,ssim"]) == 0
    assert capsys.readouterr().err.count("scored the stored frames") == 4
    assert run.main(command(clips, tmp_path / "c")) == 0
    assert capsys.readouterr().err.count("taken from another run's outputs") == 4
    assert items(tmp_path / "a").keys() == items(tmp_path / "c").keys()
    assert all(cache.NOTE in one["note"] for one in items(tmp_path / "c").values())
    assert cache.main(["list"]) == 0
    assert "4 outputs" in capsys.readouterr().out
    # A kept frame that was changed is found out, and the output made again.
    entry = next((tmp_path / "cache" / "outputs").iterdir())
    frame = next((entry / "frames").iterdir())
    data = frame.read_bytes()
    frame.unlink()
    frame.write_bytes(data[:-30])
    assert OutputCache.of_user() is not None
    monkeypatch.undo()
    monkeypatch.setenv(LIMIT, "1")
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "cache"))
    assert run.main(command(clips, tmp_path / "d")) == 0
    assert capsys.readouterr().err.count(": done") == 1
    assert cache.main(["prune", "--to-gb", "0"]) == 0
    assert "removed 4 outputs" in capsys.readouterr().out
    assert run.main([*command(clips, tmp_path / "e"), "--no-cache"]) == 0
    assert not list((tmp_path / "cache" / "outputs").iterdir())


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    store, kept = Store(tmp_path / "run"), OutputCache(tmp_path / "cache", 250)
    for index in range(3):
        folder = store.root / f"outputs/v/{index}"
        folder.mkdir(parents=True)
        (folder / "00000000.png").write_bytes(bytes(100))
        output = Output(path=f"outputs/v/{index}", width=1, height=1, frames=1, sha256="")
        kept.keep(Result(hash=str(index), key={}, suite="s", clip=str(index), variant="v", seed=0, weights="none",
                         status="ok", output=output), store)  # fmt: skip
        os.utime(tmp_path / "cache" / str(index) / "item.json", (index, index))
    assert [entry.clip for entry in kept.prune()] == ["0"]
    assert [entry.clip for entry in kept.entries()] == ["1", "2"] and kept.entries()[0].shared
    assert [entry.clip for entry in kept.prune(older=time.time() - 1.5)] == ["1"]


def test_limits_that_are_no_numbers_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(LIMIT, "much")
    with pytest.raises(UserError, match="much is not a number of gigabytes"):
        OutputCache.of_user()
    monkeypatch.setenv(LIMIT, "0")
    assert OutputCache.of_user() is None
    assert cache.main(["list"]) == 2 and "keeps no outputs" in capsys.readouterr().err


def test_code_is_part_of_what_decides_a_result() -> None:
    made = [create(name, torch.device("cpu"), torch.float32) for name in ("bicubic", "no_diffusion")]
    first, second = (code_of(one) for one in made)
    assert first != second and code_of(made[0]) == first and len(first) == 64


def test_a_result_in_short_keeps_what_tables_need() -> None:
    score = Score(metric="psnr", identity="i", unit="dB", status="ok", value=1.0, per_frame=[1.0] * 100)
    result = Result(hash="h", key={"a": 1}, suite="s", clip="c", variant="v", seed=0, weights="none", status="failed",
                    message="m", traceback="long", log="long", scores={"psnr": score})  # fmt: skip
    short = result.in_short()
    assert short.scores["psnr"].value == 1.0 and short.scores["psnr"].per_frame is None
    assert (short.message, short.traceback, short.log, short.key) == ("m", None, None, {})


def test_a_run_is_tracked_and_its_password_is_not(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    words = [word for word in command(clips, tmp_path / "out") if word != "--no-mlflow"]
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert run.main([*words, "--mlflow", uri]) == 0
    client = mlflow.MlflowClient(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "patchvsr-folder"]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3  # the invocation and its two variants
    assert sum("mlflow.parentRunId" in one.data.tags for one in runs) == 2
    secret = "http://user:secret@127.0.0.1:1"
    assert run.main([*words, "--mlflow", secret]) == 0
    assert "secret" not in (tmp_path / "out" / "run.json").read_text() and "secret" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killing_loses_and_spoils_nothing(tmp_path: Path) -> None:
    done = stress.stress(tmp_path, kills=10, clips=4, seed=1, tell=False)
    assert done["kills"] >= 10


def test_the_stress_script_notices_damage(tmp_path: Path) -> None:
    folder = tmp_path / "items"
    folder.mkdir()
    (folder / "a.json").write_text("{")
    with pytest.raises(stress.Broken, match="is damaged"):
        stress.state(tmp_path)
    with pytest.raises(stress.Broken, match="1 finished items are gone"):
        stress._compare({"a": "1"}, {}, {"a": "1"})
    with pytest.raises(stress.Broken, match="not what an undisturbed run makes"):
        stress._compare({}, {"a": "2"}, {"a": "1"})


def test_locks_are_files_beside_the_items(tmp_path: Path) -> None:
    path = Store(tmp_path).lock("abc")
    with FileLock(path):
        assert path == tmp_path / "locks" / "abc.lock"
