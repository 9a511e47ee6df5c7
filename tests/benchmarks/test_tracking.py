"""Tracking with MLflow: what arrives in a database, and what a server that is away leaves in the queue."""
from __future__ import annotations

import io
import json
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from benchmarks import track
from benchmarks.plan import Plan, PlannedClip, PlannedVariant, WorkItem
from benchmarks.records import write_tables
from benchmarks.store import Output, Result, Score, Store, to_json, write_atomic
from benchmarks.suites import SuiteClip
from benchmarks.tracking import MlflowTracker, tracker
from benchmarks.tracking.delivery import Delivery, Unsent
from benchmarks.tracking.params import flatten, key_of
from benchmarks.tracking.queue import Queue, destination, without_password
from patchvsr.errors import UserError
from patchvsr.upscaler import Weights
from patchvsr.video import write_png_folder
from tests.benchmarks.dummies import Error, Level

DEAD = "http://127.0.0.1:1"
ENVIRONMENT = {"cpu": "a processor", "packages": {"torch": "2"}, "commit": {"sha": "c0ffee", "dirty": False}}
LEVELS = {("x:gain=2", "a"): 1.0, ("x:gain=2", "b"): 2.0, ("y", "a"): 3.0, ("y", "b"): 5.0}


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Path:
    """A run directory with an empty database beside it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent until the test says so."""
    monkeypatch.setattr(MlflowTracker, "_start_sender", lambda self: None)


def made_plan() -> Plan:
    clips = []
    for name in "ab":
        clip = SuiteClip(suite="tiny", name=name, scale=2, frames=1, identify=lambda: "here", open_lq=list)
        clips.append(PlannedClip(clip, 1, 4, 6, f"{name}" * 64, None))
    variants = [
        PlannedVariant(text, {"name": text, "prompt": "p" * 7000}, Weights("trained", {"model": "ab" * 32}), {})
        for text in ("x:gain=2", "y")
    ]
    items = [
        WorkItem(variant, clip, 7, {}, f"{variant.text[0]}{clip.clip.name}") for variant in variants for clip in clips
    ]
    metrics = {"level": Level(), "error": Error()}
    return Plan(items, variants, clips, ["a", "b"], metrics, 7, torch.device("cpu"), torch.float32)


def made_result(item: WorkItem, root: Path, failed: bool) -> Result:
    name = item.clip.clip.name
    result = Result(
        hash=item.hash, key={}, suite="tiny", clip=name, variant=item.variant.text, seed=7, weights="trained",
        status="failed" if failed else "ok", measured={} if failed else {"seconds": 0.5},
    )  # fmt: skip
    if failed:
        result.message, result.traceback = "no such kernel", "Traceback: no such kernel"
    else:
        write_png_folder(torch.zeros(1, 3, 8, 12, dtype=torch.uint8), root / item.output)
        result.output = Output(path=item.output.as_posix(), width=12, height=8, frames=1, sha256="0")
        level = LEVELS[item.variant.text, name]
        result.scores["level"] = Score(metric="level", identity="level v1", unit="level", status="ok", value=level)
        known = {"identity": "error v1", "unit": "level", "status": "undefined", "message": "there is no ground truth"}
        result.scores["error"] = Score(metric="error", **known)
    Store(root).save(result)
    return result


def tracked(root: Path, uri: str | None = None, fails: str = "", stop_after: int = 4, **options: Any) -> str:
    """A whole run of the plan, without any upscaling; what `close` says."""
    plan, results = made_plan(), {}
    one = MlflowTracker(root, uri, **options)
    one.started(plan, ["--suite", "tiny", "--mlflow", "http://user:secret@host"], ENVIRONMENT)
    for item in plan.items[:stop_after]:
        results[item.hash] = made_result(item, root, item.hash == fails)
        one.item(item, results[item.hash], "run")
    if stop_after == len(plan.items):
        write_tables(root, plan, results)
        write_atomic(root / "run.json", to_json(plan.describe()))
        one.finished(root)
    return one.close()


def runs(root: Path) -> tuple[MlflowClient, list[Run], dict[str, Run]]:
    """The client, the parent runs, and the nested runs by variant."""
    client = MlflowClient(f"sqlite:///{root.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("patchvsr-tiny")
    assert experiment is not None
    found = [client.get_run(run.info.run_id) for run in client.search_runs([experiment.experiment_id])]
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return client, parents, {run.data.tags["variant"]: run for run in found if run not in parents}


def artifacts(client: MlflowClient, run: Run, folder: str | None = None) -> set[str]:
    return {file.path for file in client.list_artifacts(run.info.run_id, folder)}


def test_a_run_sends_itself_to_the_database_beside_it(root: Path) -> None:
    said = tracked(root)
    client, (parent,), nested = runs(root)
    assert said.startswith(f"MLflow: run {parent.info.run_id} in sqlite:///") and "mlflow ui" in said
    assert parent.info.status == "FINISHED" and set(nested) == {"x:gain=2", "y"}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested.values()} == {parent.info.run_id}
    assert Queue(root).count() == 6
    assert "Traceback" not in (root / "tracking" / "log.txt").read_text()


@pytest.mark.usefixtures("no_sender")
def test_values_parameters_and_files_arrive(root: Path) -> None:
    tracked(root, outputs=True)
    assert Delivery(root, destination(root)).send() == 6
    client, (parent,), nested = runs(root)
    run = nested["x:gain=2"]
    history = client.get_metric_history(run.info.run_id, "clip/level")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 2.0)]
    assert (run.data.tags["clip.0"], run.data.tags["clip.1"]) == ("a", "b")
    assert run.data.metrics["mean/level"] == 1.5 and nested["y"].data.metrics["mean/level"] == 4.0
    assert run.data.metrics["low95/level"] < 1.5 < run.data.metrics["high95/level"]
    assert "mean/error" not in run.data.metrics and run.data.tags["without mean.error"].startswith("partial: ")
    assert run.data.params["variant.describe.name"] == "x:gain=2" and run.data.params["seed"] == "7"
    assert run.data.params["metrics.level.identity"] == "level v1"
    assert run.data.params["environment.packages.torch"] == "2"
    assert parent.data.params["clips.1.lq_sha256"] == "b" * 64
    assert parent.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert {"records.csv", "summary.csv", "run.json"} <= artifacts(client, parent)
    assert artifacts(client, run, "samples") == {"samples/a.png", "samples/b.png"}
    assert len(artifacts(client, run, "outputs/a")) == 1
    where = client.download_artifacts(run.info.run_id, "long_parameters.json")
    assert json.loads(Path(where).read_text())["variant.describe.prompt"] == "p" * 7000


@pytest.mark.usefixtures("no_sender")
def test_datasets_and_models_are_shared_by_what_can_be_compared(root: Path) -> None:
    for _ in range(2):
        tracked(root)
    Delivery(root, destination(root)).send()
    client, parents, nested = runs(root)
    assert len(parents) == 2
    experiment = parents[0].info.experiment_id
    models = client.search_logged_models([experiment])
    assert {model.name for model in models} == {"x_gain=2", "y"} and len(models) == 2
    assert {model.status.value for model in models} == {"READY"}
    of_y = next(model for model in models if model.name == "y")
    assert [one.model_id for one in nested["y"].inputs.model_inputs] == [of_y.model_id]
    assert {(m.key, m.value) for m in of_y.metrics or []} >= {("mean/level", 4.0)}
    digests = {run.inputs.dataset_inputs[0].dataset.digest for run in [*parents, *nested.values()]}
    assert len(digests) == 1


@pytest.mark.usefixtures("no_sender")
def test_a_failed_item_is_logged_as_such_and_never_averaged_over(root: Path) -> None:
    tracked(root, fails="yb")
    Delivery(root, destination(root)).send()
    client, (parent,), nested = runs(root)
    run = nested["y"]
    assert run.info.status == parent.info.status == "FAILED" and nested["x:gain=2"].info.status == "FINISHED"
    assert run.data.tags["clip.1.status"] == "failed: no such kernel"
    assert run.data.metrics["clip/level"] == 3.0 and "mean/level" not in run.data.metrics
    assert run.data.tags["without mean.level"] == "partial: b failed"
    assert artifacts(client, run, "tracebacks") == {"tracebacks/1.txt"}
    assert "failed.txt" in artifacts(client, parent)


def test_a_dead_server_costs_no_time_and_the_queue_is_sent_later_without_duplicates(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    said = tracked(root, DEAD)
    assert time.monotonic() - start < 10
    assert "6 events wait in" in said and "does not answer: Connection refused" in said and "benchmarks.track" in said
    assert track.main([str(root)]) == 2
    assert "error: not everything could be sent to http://127.0.0.1:1" in capsys.readouterr().err

    uri = f"sqlite:///{root.parent / 'mlflow.db'}"
    for sent in (6, 0):
        assert track.main([str(root), "--uri", uri]) == 0
        assert f"{sent} events sent" in capsys.readouterr().out
    (root / "tracking" / "state.json").unlink()  # what was sent is found again
    assert track.main([str(root), "--uri", uri]) == 0
    client, parents, nested = runs(root)
    assert len(parents) == 1 and len(nested) == 2
    assert len(client.get_metric_history(nested["y"].info.run_id, "clip/level")) == 2
    assert len(client.search_logged_models([parents[0].info.experiment_id])) == 2
    assert len(nested["y"].inputs.model_inputs) == len(nested["y"].inputs.dataset_inputs) == 1


def test_a_server_that_never_answers_costs_no_more_than_the_patience(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "PATIENCE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        said = tracked(root, f"http://127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - start < 10
    assert "6 events wait in" in said and "there was no time to send them" in said


@pytest.mark.usefixtures("no_sender")
def test_sending_goes_on_where_a_failure_stopped_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked(root)
    plain, uri = MlflowClient.set_terminated, destination(root)

    def broken(*arguments: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(MlflowClient, "set_terminated", broken)
    assert track.main([str(root)]) == 2
    state = json.loads((root / "tracking" / "state.json").read_text())["destinations"][uri]
    assert state["trouble"] == "ConnectionError: gone" and len(state["runs"]) == 3
    monkeypatch.setattr(MlflowClient, "set_terminated", plain)
    assert Delivery(root, uri).send() == 1
    client, (parent,), nested = runs(root)
    assert parent.info.status == "FINISHED" and len(nested) == 2
    assert len(client.get_metric_history(nested["y"].info.run_id, "mean/level")) == 1


@pytest.mark.usefixtures("no_sender")
def test_an_interrupted_run_is_killed(root: Path) -> None:
    tracked(root, stop_after=3)
    Delivery(root, destination(root)).send()
    _, (parent,), nested = runs(root)
    assert parent.info.status == nested["y"].info.status == "KILLED" and nested["x:gain=2"].info.status == "FINISHED"
    assert nested["y"].data.tags["without mean.level"] == "partial: b not run"


@pytest.mark.usefixtures("no_sender")
def test_a_run_whose_process_is_gone_is_killed_by_its_sender(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowTracker, "close", lambda self: self._invocation)
    invocation = tracked(root, stop_after=1)
    monkeypatch.setattr("os.nice", lambda more: 0)
    told = json.dumps({"uri": destination(root), "invocation": invocation}).encode() + b"\n"
    track.follow(root, io.BytesIO(told))
    _, (parent,), nested = runs(root)
    assert parent.info.status == nested["x:gain=2"].info.status == "KILLED"


@pytest.mark.usefixtures("no_sender")
def test_the_system_is_watched_while_a_run_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    one = MlflowTracker(root)
    one.started(made_plan(), [], ENVIRONMENT)
    delivery = Delivery(root, one.uri, one._invocation)
    assert delivery.send() == 1
    limit = time.monotonic() + 60
    while "system/cpu_utilization_percentage" not in runs(root)[1][0].data.metrics:
        assert time.monotonic() < limit
        time.sleep(0.2)
    one.close()
    assert delivery.send() == 1 and runs(root)[1][0].info.status == "KILLED"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("SystemMetricsMonitor")]


@pytest.mark.usefixtures("no_sender")
def test_frames_that_another_item_took_the_place_of_are_not_sent(root: Path) -> None:
    tracked(root)
    (root / "items" / "ya.json").unlink()
    Delivery(root, destination(root)).send()
    client, _, nested = runs(root)
    assert artifacts(client, nested["y"], "samples") == {"samples/b.png"}


@pytest.mark.usefixtures("no_sender")
def test_no_password_is_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "http://user:secret@127.0.0.1:1"
    said = tracked(root, uri)
    with pytest.raises(Unsent, match="http://127.0.0.1:1 does not answer"):
        Delivery(root, uri).send()
    monkeypatch.setattr(Delivery, "_knock", lambda self: None)
    with pytest.raises(Unsent, match="API request to http://127.0.0.1:1/"):
        Delivery(root, uri).send()
    assert not [path for path in (root / "tracking").iterdir() if b"secret" in path.read_bytes()]
    assert "secret" not in said
    assert without_password("--mlflow=https://user:secret@host/path") == "--mlflow=https://host/path"


def test_a_folder_that_cannot_be_written_is_one_sentence(root: Path) -> None:
    (root / "tracking").write_text("a file")
    with pytest.raises(UserError, match="cannot write to .*; give --out another folder, or --no-mlflow"):
        tracked(root)


@pytest.mark.usefixtures("no_sender")
def test_a_full_disk_does_not_stop_a_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Queue.append

    def full(self: Queue, event: dict[str, Any]) -> None:
        if event["kind"] == "item":
            raise OSError(28, "No space left on device")
        plain(self, event)

    monkeypatch.setattr(Queue, "append", full)
    assert "not everything was kept: cannot write to" in tracked(root)


def test_a_missing_package_or_a_folder_is_refused_before_the_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("mlruns", "file:///tmp/mlruns"):
        with pytest.raises(UserError, match="MLflow cannot keep runs in"):
            MlflowTracker(root, wrong)
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install mlflow"):
        MlflowTracker(root, DEAD)


def test_an_event_that_a_crash_cut_short_does_not_spoil_the_next(root: Path) -> None:
    queue = Queue(root)
    queue.append({"kind": "one"})
    with queue.path.open("ab") as file:
        file.write(b'{"kind": "tw')
    queue.append({"kind": "three"})
    assert [event["kind"] for event, _ in queue.read()] == ["one", "torn", "three"]


@pytest.mark.usefixtures("no_sender")
def test_an_invocation_whose_beginning_is_damaged_holds_no_other_up(root: Path) -> None:
    tracked(root)
    queue = Queue(root)
    queue.path.write_bytes(b"{" + queue.path.read_bytes())
    tracked(root)  # the same number of events again
    events = queue.count() // 2
    said = track.replay(root, None)
    assert f": {events} events sent, 0 were there already; left out: in" in said
    assert f"1 events cannot be read, {events - 1} lack the beginning of their invocation" in said
    assert len(runs(root)[1]) == 1
    assert f": 0 events sent, {2 * events} were there already" in track.replay(root, None)


def test_parameters_are_flat_unique_and_as_mlflow_allows_them() -> None:
    flat = flatten({"a": {"b": [1, 2], "c": [{"d": None}]}, "e(": "", "e)": "text", "f": {}})
    assert flat == {"a.b": "[1, 2]", "a.c.0.d": "null", "e_": '""', "e__": "text", "f": "{}"}
    assert len(key_of("k" * 300)) == 250 and key_of("k" * 300) != key_of("k" * 301)
