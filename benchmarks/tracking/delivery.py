"""Sends a run's queued events to MLflow. The only module of the benchmark that imports it.

Every step finds what an attempt before it left behind (runs and models by a tag, the rest by equal keys and times), so
that sending an event again changes nothing.
"""
from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import socket
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from filelock import FileLock, Timeout

from benchmarks.tracking.params import LONGEST, flatten, key_of, text_of
from benchmarks.tracking.queue import FOLDER, Event, Queue, State, without_password
from patchvsr.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

KEY = "patchvsr.key"
"""The tag by which a run or model is found again."""
NAME_LENGTH = 200
"""Characters of a run's or model's name."""
CROP = 512
"""Side of the samples, in pixels."""
PORTS = {"http": 80, "https": 443}
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it may hold a password
}
"""MLflow's own would retry for minutes. A variable that is set already stays as it is."""


class Unsent(Exception):
    """An event could not be sent; it stays in the queue. The text says why, in one line."""


class Delivery:
    """Sends the events of a run directory to one destination, in order, and keeps how far it came.

    Args:
        root: the run directory.
        uri: of the destination, as `benchmarks.tracking.queue.destination` gives it.
        watched: the invocation that goes on now, which gets system metrics.

    Attributes:
        damaged: number of events that cannot be read.
        orphans: number of events that mean nothing without the first of their invocation, which is damaged, by it.
    """

    def __init__(self, root: Path, uri: str, watched: str | None = None) -> None:
        self._root, self._uri, self._watched = root, uri, watched
        self._queue, self._state = Queue(root), State(root, uri)
        self._lock = FileLock(root / FOLDER / "sender.lock")
        self.damaged, self.orphans = 0, Counter[str]()
        self._begun: dict[str, Event] = {}
        self._experiments: dict[str, str] = {}
        self._models: dict[str, str] = {}
        self._monitor: SystemMetricsMonitor | None = None

    def send(self, patience: float = 0.0) -> int:
        """Send what the destination lacks; the number of events sent.

        Args:
            patience: seconds to wait for another process that is sending.

        Raises:
            Unsent: an event could not be sent, and those after it have to wait; or another process is sending.
            UserError: what is known of earlier sending is damaged.
        """
        try:
            with self._lock.acquire(timeout=patience):
                self._state = State(self._root, self._uri)
                return self._send()
        except Timeout as error:
            raise Unsent("another process is sending") from error

    def _send(self) -> int:
        sent = 0
        if self._state.offset > self._queue.size():  # another queue than the one that was sent
            self._state.offset = 0
        for event, after in self._queue.read(self._state.offset):
            try:
                if sent == 0:
                    self._knock()
                sent += self._deliver(event)
            except Exception as error:  # whatever goes wrong with a server, the event waits in the queue
                self._state.trouble = self._line(error)
                self._state.save()
                raise Unsent(self._state.trouble) from error
            self._state.offset, self._state.trouble = after, None
            self._state.save()
        return sent

    def _knock(self) -> None:
        """Raise Unsent where no server answers, long before MLflow would."""
        parts = urlsplit(self._uri)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or parts.scheme in getproxies() and not proxy_bypass(host):
            return
        try:
            socket.create_connection((host, parts.port or PORTS[parts.scheme]), timeout=3).close()
        except OSError as error:
            why = error.strerror or str(error)
            raise Unsent(f"{without_password(self._uri)} does not answer: {why}") from error

    def _line(self, error: Exception) -> str:
        """An error in one line, without the password that MLflow quotes with the URI."""
        text = " ".join(str(error).split()).replace(self._uri.rstrip("/"), without_password(self._uri.rstrip("/")))
        return text_of(text if isinstance(error, UserError | Unsent) else f"{type(error).__name__}: {text}", 300)

    def _deliver(self, event: Event) -> bool:
        """Whether the event could be sent."""
        kind = event["kind"]
        if kind not in ("started", "item", "ended"):
            self.damaged += 1
            return False
        if kind == "started":
            self._start(event)
            return True
        if (start := self._start_of(event)) is None:
            self.orphans[event["invocation"]] += 1
            return False
        (self._item if kind == "item" else self._end)(start, event)
        return True

    def left_out(self) -> str:
        """What could not be sent and never can be, in a sentence; empty if there is nothing."""
        told = [f"{self.damaged} events cannot be read"] if self.damaged else []
        told += [f"{count} lack the beginning of their invocation {name}" for name, count in self.orphans.items()]
        return f"left out: in '{self._queue.path}' {', '.join(told)}; records are not touched by that" if told else ""

    def _start_of(self, event: Event) -> Event | None:
        """The event with which the invocation of `event` began, which was sent before, perhaps by another process; None
        where that is damaged.
        """
        invocation = event["invocation"]
        if invocation not in self._begun:
            for found, _ in self._queue.read():
                if found["kind"] == "started" and found["invocation"] == invocation:
                    self._begun[invocation] = found
                    break
        return self._begun.get(invocation)

    @cached_property
    def _client(self) -> MlflowClient:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UserError("the package mlflow is not installed; run `pip install mlflow`") from error
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return MlflowClient(self._uri, self._uri)

    def _start(self, event: Event) -> None:
        invocation, plan, environment = event["invocation"], event["plan"], event["environment"]
        tags = {
            "mlflow.source.name": "python -m benchmarks.run",
            "mlflow.source.type": "LOCAL",
            "mlflow.note.content": f"`python -m benchmarks.run {event['arguments']}`",
            "suite": event["suite"],
        }
        if commit := environment.get("commit", {}).get("sha"):
            tags["mlflow.source.git.commit"] = commit
        names = ", ".join(variant["variant"] for variant in plan["variants"])
        run = self._run(event, invocation, names, event["time"], tags)
        protocol = {name: value for name, value in plan.items() if name != "items"}
        self._log_params(run, {**protocol, "metrics": event["metrics"], "environment": environment})
        self._client.log_inputs(run, datasets=[self._dataset_input(event)])
        self._state.runs[invocation] = run
        if invocation == self._watched and self._monitor is None:
            self._monitor = self._watch(run)

    def _item(self, start: Event, event: Event) -> None:
        run, model = self._variant_run(start, event)
        step, client = event["step"], self._client
        values = {f"clip/{name}": score["value"] for name, score in event["scores"].items()}
        values |= {f"measured/{name}": value for name, value in event["measured"].items()}
        tags = {f"clip.{step}": event["clip"], f"clip.{step}.status": _status(event)}
        for name, score in event["scores"].items():
            if score["status"] in ("failed", "oom"):
                tags[f"clip.{step}.{name}"] = f"{score['status']}: {score['message']}"
        if event["note"]:
            tags[f"clip.{step}.note"] = event["note"]
        self._log(run, values, start, event["time"], step, model, tags)
        if event["traceback"]:
            client.log_text(run, event["traceback"], f"tracebacks/{step}.txt")
        # Frames that are no longer this item's (another run took their place) have no item's file beside them.
        if event["output"] and (self._root / "items" / f"{event['hash']}.json").is_file():
            frames = self._root / event["output"]
            client.log_image(run, _crop(frames), f"samples/{frames.name}.png")
            if event["outputs"]:
                client.log_artifacts(run, str(frames), f"outputs/{frames.name}")

    def _end(self, start: Event, event: Event) -> None:
        invocation, client = event["invocation"], self._client
        for variant in start["plan"]["variants"]:
            text = variant["variant"]
            run = self._state.runs.get(_nested(invocation, text))
            if run is None:  # not reached
                continue
            values: dict[str, float | None] = {}
            for metric, found in event["means"].get(text, {}).items():
                values |= zip((f"mean/{metric}", f"low95/{metric}", f"high95/{metric}"), found, strict=True)
            tags = {f"without mean.{metric}": why for metric, why in event["missing"].get(text, {}).items()}
            self._log(run, values, start, event["time"], 0, self._model(start, variant, run), tags)
            how = event["variants"].get(text, {"status": event["status"], "time": None})
            client.set_terminated(run, how["status"], how["time"] or event["time"])
        run = self._state.runs[invocation]
        for name, text in event["files"].items():
            client.log_text(run, text, name)
        if invocation == self._watched and self._monitor is not None:
            self._monitor.finish()
        client.set_terminated(run, event["status"], event["time"])

    def _variant_run(self, start: Event, event: Event) -> tuple[str, str]:
        """Ids of the variant's nested run and of its model, made with its first item."""
        from mlflow.entities import LoggedModelInput

        plan, text = start["plan"], event["variant"]
        key = _nested(event["invocation"], text)
        variant = next(one for one in plan["variants"] if one["variant"] == text)
        if run := self._state.runs.get(key):
            return run, self._model(start, variant, run)
        tags = {
            "mlflow.parentRunId": self._state.runs[event["invocation"]],
            "suite": start["suite"],
            "variant": text,
            "weights": variant["weights"]["status"],
        }
        run = self._run(start, key, text, event["began"], tags)
        protocol = {name: plan[name] for name in ("suite", "seed", "device", "dtype")}
        environment = start["environment"]
        self._log_params(run, {"variant": variant, **protocol, "metrics": start["metrics"], "environment": environment})
        model = self._model(start, variant, run)
        self._client.log_inputs(run, [self._dataset_input(start)], [LoggedModelInput(model)])
        self._state.runs[key] = run
        return run, model

    def _run(self, start: Event, key: str, name: str, began: int, tags: dict[str, str]) -> str:
        """Id of the run with this key, made if there is none."""
        experiment, client = self._experiment(start), self._client
        if found := client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1):
            return found[0].info.run_id
        tags = {name: text_of(value, LONGEST) for name, value in tags.items()} | {KEY: key}
        return client.create_run(experiment, began, tags, text_of(name, NAME_LENGTH)).info.run_id

    def _model(self, start: Event, variant: dict[str, Any], run: str) -> str:
        """Id of the model that a variant is, made by its first run in the experiment and shared by all."""
        identity = _hash([variant["variant"], variant["describe"], variant["weights"], variant["code"]])
        if identity not in self._models:
            client, experiment = self._client, self._experiment(start)
            found = client.search_logged_models([experiment], f"tags.`{KEY}` = '{identity}'", max_results=1)
            if found:
                model = found[0]
            else:
                params = {name: text_of(value, LONGEST) for name, value in flatten(variant).items()}
                name = text_of(key_of(variant["variant"], "=,+").replace(".", "_"), NAME_LENGTH)
                model = client.create_logged_model(experiment, name, run, {KEY: identity}, params, "upscaler")
            client.finalize_logged_model(model.model_id, "READY")
            self._models[identity] = model.model_id
        return self._models[identity]

    def _experiment(self, start: Event) -> str:
        """Id of the suite's experiment, made if there is none: runs of one suite can be compared."""
        name = f"patchvsr-{start['suite']}"
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            made = found.experiment_id if found else self._client.create_experiment(name, self._artifacts(name))
            self._experiments[name] = made
        return self._experiments[name]

    def _artifacts(self, experiment: str) -> str | None:
        """Files go beside a database file, not into the current folder as MLflow has it; a server knows itself."""
        if not self._uri.startswith("sqlite:///"):
            return None
        return (Path(self._uri.removeprefix("sqlite:///")).parent / "mlartifacts" / key_of(experiment)).as_uri()

    def _dataset_input(self, start: Event) -> Any:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest = _dataset(start)
        source = json.dumps({clip["name"]: [clip["lq_sha256"], clip["gt_sha256"]] for clip in start["plan"]["clips"]})
        profile = json.dumps({"clips": len(start["plan"]["clips"])})
        # MLflow refuses a longer source; the hashes are parameters of the run as well.
        dataset = Dataset(name, digest, "clips", source if len(source) < 65_536 else digest, profile=profile)
        return DatasetInput(dataset, [InputTag("mlflow.data.context", "evaluation")])

    def _log_params(self, run: str, nested: dict[str, Any]) -> None:
        """Log everything as parameters; what is too long for one is cut there and whole in `long_parameters.json`."""
        from mlflow.entities import Param

        flat = flatten(nested)
        self._client.log_batch(run, params=[Param(name, text_of(value, LONGEST)) for name, value in flat.items()])
        if cut := {name: value for name, value in flat.items() if len(value) > LONGEST}:
            self._client.log_text(run, json.dumps(cut, indent=1, ensure_ascii=False), "long_parameters.json")

    def _log(
        self, run: str, values: dict[str, float | None], start: Event, time: int, step: int, model: str | None,
        tags: dict[str, str],
    ) -> None:  # fmt: skip
        from mlflow.entities import Metric, RunTag

        dataset, digest = _dataset(start)
        metrics = [
            Metric(key_of(name, "/"), value, time, step, model, dataset, digest)
            for name, value in values.items()
            if value is not None and not math.isnan(value)
        ]
        self._client.log_batch(run, metrics, tags=[RunTag(key_of(k), text_of(v, LONGEST)) for k, v in tags.items()])

    def _watch(self, run: str) -> SystemMetricsMonitor:
        """Log processor, memory, disk, network and GPU while the run goes on, with MLflow's own monitor."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(run, tracking_uri=self._uri)
        monitor.start()
        return monitor


def _status(event: Event) -> str:
    return f"ok ({event['how']})" if event["status"] == "ok" else f"{event['status']}: {event['message']}"


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _nested(invocation: str, variant: str) -> str:
    """Key of a variant's run."""
    return f"{invocation}-{_hash(variant)[:12]}"


def _dataset(start: Event) -> tuple[str, str]:
    """Name of the suite's dataset and a digest of its clips' hashes, of 32 digits as MLflow allows 36."""
    clips = [[clip["name"], clip["lq_sha256"], clip["gt_sha256"]] for clip in start["plan"]["clips"]]
    return start["suite"], _hash(clips)[:32]


def _crop(frames: Path) -> Any:
    """The middle of the first frame."""
    from PIL import Image

    with Image.open(min(frames.glob("*.png"))) as image:
        left, top = max(0, (image.width - CROP) // 2), max(0, (image.height - CROP) // 2)
        return image.crop((left, top, min(left + CROP, image.width), min(top + CROP, image.height)))
