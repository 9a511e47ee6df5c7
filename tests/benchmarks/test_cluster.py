"""`--executor ray` on a real cluster of two nodes on this machine, one of which is killed in mid-run."""
from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from benchmarks import run, stress
from benchmarks.execute import Execution
from benchmarks.executors import cluster, distribute, worker
from benchmarks.executors.cluster import Needs
from benchmarks.plan import Request, make_plan
from benchmarks.store import Store
from patchvsr import plugins
from patchvsr.errors import UserError
from patchvsr.upscaler import upscalers

pytest.importorskip("ray", reason="Ray is not installed (pip install 'patchvsr[ray]')")

PLUGIN = """
import os, time
from pathlib import Path
from torch.nn import functional as F
from patchvsr.upscaler import Upscaler, upscalers

LOG = Path(__file__).with_suffix(".log")
DOOMED = Path(__file__).with_suffix(".doomed")  # has the process of the node that is to be killed
HUNG = Path(__file__).with_suffix(".hung")  # is there once a worker of that node has an item in hand

@upscalers.register("slow")
class Slow(Upscaler):
    name = "slow"

    def __init__(self, overrides, device, dtype):
        self.gain = float(overrides.pop("gain", 1))

    def upscale(self, clip, scale, seed=0, progress=None):
        with LOG.open("a") as log:
            log.write(f"{clip.name} {self.gain} {os.getpid()}\\n")
        if DOOMED.exists():
            if os.getppid() == int(DOOMED.read_text()):
                HUNG.touch()
                time.sleep(600)  # whoever its parent is by then: a worker outlives its node for a moment
            while not HUNG.exists():  # else one node may do everything while the other's worker starts
                time.sleep(0.1)
        for start in range(len(clip.frames)):
            time.sleep(0 if start else 0.6)  # progress is told every half second
            if self.gain == 3:
                raise ZeroDivisionError("oops")
            yield F.interpolate(clip.frames[start:start + 1], scale_factor=scale) * self.gain
            progress((start + 1) / len(clip.frames))

    def describe(self):
        return {"name": "slow", "gain": self.gain}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stress.make_clips(tmp_path / "clips", 2)
    plugin = tmp_path / "slow.py"
    plugin.write_text(PLUGIN)
    upscalers.names()
    monkeypatch.setattr(upscalers, "_entries", dict(upscalers._entries))
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.setenv(plugins.VARIABLE, str(plugin))
    return tmp_path


def command(data: Path, out: str, *more: str, variants: str = "slow,slow:gain=0.5,slow:gain=3") -> list[str]:
    made = ["--gt", str(data / "clips"), "--degradation", "bicubic", "--scale", "4", "--variants", variants]
    made += ["--out", str(data / out), "--no-mlflow", "--metrics", "psnr", "--device", "cpu", "--dtype", "float32"]
    return [*made, *more]


def log(data: Path) -> list[list[str]]:
    """Clip, gain and process of each item that was begun."""
    file = data / "slow.log"
    return [line.split() for line in file.read_text().splitlines()] if file.is_file() else []


def kill_at_work(data: Path, nodes: Any) -> None:
    """Kill the second node when a worker of its own has begun an item, which it never ends."""
    raylet = nodes.second.all_processes["raylet"][0].process.pid
    (data / "slow.doomed").write_text(str(raylet))
    while not (data / "slow.hung").exists():
        time.sleep(0.05)
    nodes.remove_node(nodes.second, allow_graceful=False)


@pytest.mark.timeout(900)  # workers import torch; on a machine whose cores are taken that is slow
def test_a_node_that_is_lost_loses_nothing_and_doubles_nothing(
    data: Path, nodes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(command(data, "local")) == 1  # gain=3 fails
    (data / "slow.log").unlink()
    killer = threading.Thread(target=kill_at_work, args=(data, nodes), daemon=True)
    killer.start()
    capsys.readouterr()
    on_cluster = ["--executor", "ray", "--address", nodes.address, "--task", "cpus=1,memory_gib=0.1"]
    code = run.main(command(data, "ray", *on_cluster, "--progress", "json"))
    killer.join(5)
    done = capsys.readouterr()
    assert code == 1, done.err
    assert stress.records(data / "ray") == stress.records(data / "local")
    assert not stress.leftovers(data / "ray")
    assert "was lost" in done.err and "sent again (1 of 3)" in done.err
    assert "ZeroDivisionError: oops" in done.err  # a failure of the method is recorded, and not tried again
    with open(data / "ray" / "records.csv") as file:
        assert len(list(csv.DictReader(file))) == 6
    told = [json.loads(line) for line in done.out.splitlines()]  # nothing but events, whatever Ray has to tell
    assert [event["how"] for event in told if event["event"] == "done"] == ["run"] * 6
    assert any(0 < event["share"] < 1 for event in told if event["event"] == "progress")
    begun = [(clip, gain) for clip, gain, _ in log(data)]
    assert len(set(begun)) == 6
    assert len(begun) == 7  # what the lost node had in hand, and nothing else
    assert run.main(command(data, "ray")) == 1  # all is there: nothing is made again
    assert len(log(data)) == 7


def test_a_node_with_other_data_is_told(data: Path, nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gt = dict(gt=data / "clips", degradation="bicubic", scale=4)
    request = Request(variants=["bicubic"], metrics=["psnr"], device="cpu", dtype="float32", **gt)
    item = make_plan(request).items[0]
    monkeypatch.chdir(data)  # the worker goes where the run was started, and the test comes back
    job = worker.Job(
        request=request, variant="bicubic", clip=item.clip.clip.name, key=item.key, hash=item.hash, metrics=("psnr",),
        folder=str(data), threads=1,
    )  # fmt: skip
    with pytest.raises(UserError, match="has another code for 'bicubic'"):
        next(worker.work(replace(job, key={**item.key, "code": "other"}, hash="other"), lambda share: None))
    with pytest.raises(UserError, match="cannot enter .* have it under the same path on every node"):
        next(worker.work(replace(job, folder=str(data / "absent")), lambda share: None))
    with pytest.raises(UserError, match="metric 'psnr' cannot run on node .* to make it run: pip install it"):
        monkeypatch.setattr("benchmarks.metrics.psnr.Psnr.available", lambda self: "pip install it")
        next(worker.work(job, lambda share: None))


@pytest.mark.slow
def test_a_killed_run_ends_its_tasks_and_a_lost_head_ends_the_run(data: Path) -> None:
    from ray.cluster_utils import Cluster

    variants = "slow,slow:gain=0.5"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        argv = command(data, "out", "--executor", "ray", "--address", made.address, variants=variants)
        first = started(argv, data, 1)
        workers = [int(pid) for _, _, pid in log(data)]
        first.kill()
        first.wait()
        psutil.wait_procs([psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], timeout=30)
        assert not any(map(psutil.pid_exists, workers))
        second = started(argv, data, len(log(data)) + 1)
        made.remove_node(made.head_node, allow_graceful=False)
        said = second.communicate(timeout=100)[1].splitlines()
        assert second.returncode == 2, said
        assert "error: the Ray cluster no longer runs the items" in said[-1]
    finally:
        made.shutdown()
    assert run.main(command(data, "out", variants=variants)) == 0
    assert run.main(command(data, "calm", variants=variants)) == 0
    assert stress.records(data / "out") == stress.records(data / "calm")
    assert not stress.leftovers(data / "out")


def started(argv: list[str], data: Path, count: int) -> subprocess.Popen[str]:
    """A run, once so many items have been begun."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.run", *argv], text=True, stderr=subprocess.PIPE)
    while len(log(data)) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    return process


def test_parts_of_one_item_do_not_wait_for_another(nodes: Any) -> None:
    def parts(count: int, pause: float) -> Iterator[str]:
        time.sleep(pause)
        for index in range(count):
            yield str(index)

    with cluster.Cluster(nodes.address, Needs()) as made:
        made._task = made._ray.remote(parts).options(num_cpus=0, num_returns="streaming")
        quick, late = made._task.remote(20, 0), made._task.remote(1, 30)
        taken: list[Any] = []
        while not taken:
            taken += [made.take(one) for one in made.ready([quick, late], 1.0)]
        start = time.monotonic()
        while len(taken) < 20:
            taken += [made.take(one) for one in made.ready([quick, late], 1.0)]
        assert time.monotonic() - start < 5  # a second for each, where all had to be ready
        made.cancel(late)
    assert taken == [str(index) for index in range(20)]


def test_a_board_that_is_slow_to_start_holds_nothing_up(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Board:
        def __init__(self) -> None:
            time.sleep(4)

        def take(self) -> dict[str, float]:
            return {"item": 0.5}

        def nodes(self) -> list[dict[str, float]]:
            return []

    monkeypatch.setattr(cluster, "_Board", Board)
    with cluster.Cluster(nodes.address, Needs()) as made:
        start = time.monotonic()
        assert made.shares() == {} and made.slots() > 0  # those of the start
        assert time.monotonic() - start < 2
        found: dict[str, float] = {}
        while not found:
            found = made.shares()
        assert found == {"item": 0.5}  # what was asked for first is not lost
        assert made.slots() == 0


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_listens_but_is_no_head_is_one_sentence(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            held.append(server.accept()[0])
            if answer:
                held[0].sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(UserError, match="no Ray head answers at .*(timed out|something else answers)"):
            cluster.Cluster(f"127.0.0.1:{server.getsockname()[1]}", Needs())


def test_a_head_that_is_not_there_is_one_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for wrong in (address, "nowhere", "ray://127.0.0.1:10001"):
        start = time.monotonic()
        assert run.main(command(data, "out", "--executor", "ray", "--address", wrong)) == 2
        assert time.monotonic() - start < 30
        said = capsys.readouterr().err
        assert wrong in said and len(said.strip().splitlines()) == 1
    assert not (data / "out").exists()


@pytest.mark.parametrize(
    "more, expected",
    [
        (["--executor", "ray", "--jobs", "2"], "--jobs is for --executor local"),
        (["--address", "a:1"], "--address is for --executor ray"),
        (["--executor", "ray", "--task", "cpu=2"], "--task 'cpu=2' is not understood"),
        (["--executor", "ray", "--task", "cpus=1.5"], "is not understood"),
    ],
)
def test_options_that_do_not_fit_are_told(data: Path, capsys: pytest.CaptureFixture[str], more, expected) -> None:
    assert run.main(command(data, "out", *more)) == 2
    assert expected in capsys.readouterr().err


def test_what_no_node_has_is_told(nodes: Any) -> None:
    with pytest.raises(UserError, match="no node of the Ray cluster has 64 cores, .* GPUs for a task"):
        cluster.Cluster(nodes.address, Needs.of("cpus=64", "cuda"))


def test_nodes_that_go_and_come_are_told_and_used(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = iter([2, 0, 0, 3])
    connected = SimpleNamespace(slots=lambda: next(counts))
    gt = dict(gt=data / "clips", degradation="bicubic", scale=4)
    request = Request(variants=["bicubic"], metrics=["psnr"], device="cpu", dtype="float32", **gt)
    made = distribute._Run(connected, make_plan(request), request, Store(data / "out"), lambda *_: None, Execution())
    for _ in range(3):
        made._look_around()
    assert capsys.readouterr().err.count("no node that could run an item is left") == 1
    assert made.slots == 3


def test_needs_name_what_ray_counts() -> None:
    assert Needs.of(None, "cpu").resources() == {"CPU": 1.0}
    assert Needs.of("cpus=4,memory_gib=2", "cuda").resources() == {"CPU": 4.0, "GPU": 1.0, "memory": 2.0 * 2**30}
    assert Needs.of("gpus=0.5", "cuda").gpus == 0.5
