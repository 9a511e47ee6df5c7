"""Tells MLflow of a benchmark run: what happens goes to a queue on the disk, and another process sends it on.

    RUN_DIR/tracking/queue.jsonl  every event, a JSON object each line, on the disk before the run goes on
    RUN_DIR/tracking/state.json   for each destination: how far it has the queue, and the ids of its runs
    RUN_DIR/tracking/log.txt      what MLflow printed

The sender is a process (`python -m benchmarks.track RUN_DIR --follow`) and not a thread, because MLflow takes seconds
and much memory to import: in this process both would count for the item that is measured meanwhile.
"""
from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tracking.queue import Event, Queue, State, destination, without_password
from patchvsr.errors import UserError

if TYPE_CHECKING:
    from benchmarks.plan import Plan, WorkItem
    from benchmarks.records import Results
    from benchmarks.store import Result

PATIENCE = 60.0
"""Seconds that the end of a run waits, at most, for what is still to be sent."""
FILES = ("records.csv", "summary.csv", "run.json")
"""Kept in MLflow as they are when the run ends."""


class MlflowTracker:
    """Tells MLflow of one run: `started` once, `item` for each item, `finished` at its end, `close` in any case.

    Args:
        root: the run directory.
        uri: of a database or server; see `destination` for the default.
        outputs: also send the frames of every item.

    Raises:
        UserError: MLflow cannot write to `uri`, or `uri` is given and MLflow is not installed.
    """

    def __init__(self, root: Path, uri: str | None = None, outputs: bool = False) -> None:
        self.uri = destination(root, uri)
        if uri is not None and find_spec("mlflow") is None:
            raise UserError("--mlflow needs the package mlflow, which is not installed; run `pip install mlflow`")
        self._root, self._outputs = root.resolve(), outputs
        self._queue = Queue(self._root)
        self._invocation = uuid.uuid4().hex
        self._results: Results = {}
        self._times: dict[str, int] = {}
        self._last = 0
        self._begun = self._open = False
        self._lost: str | None = None
        self._trouble: str | None = None
        self._sender: subprocess.Popen[bytes] | None = None

    def started(self, plan: Plan, arguments: Sequence[str], environment: dict[str, Any]) -> None:
        """The run begins.

        Raises:
            UserError: the run directory cannot be written to.
        """
        self._plan = plan
        described = plan.describe()
        for entry, variant in zip(described["variants"], plan.variants, strict=True):
            entry["code"] = variant.code
        event = {
            "suite": plan.suite,
            "plan": described,
            "metrics": {
                name: {"identity": metric.identity(), "unit": metric.unit, "direction": metric.direction}
                for name, metric in plan.metrics.items()
            },
            "arguments": shlex.join(without_password(argument) for argument in arguments),
            "environment": environment,
        }
        try:
            self._append("started", event)
        except OSError as error:
            raise UserError(
                f"cannot write to '{self._queue.path.parent}' ({error.strerror}); give --out another folder, or "
                "--no-mlflow"
            ) from error
        self._open = self._begun = True
        self._start_sender()

    def item(self, item: WorkItem, result: Result, how: str) -> None:
        """An item is complete; `how` as `benchmarks.execute.execute` gives it."""
        self._results[item.hash] = result.in_short()
        event = {
            "began": self._last,
            "variant": item.variant.text,
            "clip": item.clip.clip.name,
            "step": self._plan.suite_clips.index(item.clip.clip.name),
            "hash": item.hash,
            "how": how,
            "status": result.status,
            "message": result.message,
            "traceback": result.traceback,
            "note": result.note,
            "measured": result.measured,
            "scores": {
                name: {"status": score.status, "value": score.value, "message": score.message}
                for name, score in result.scores.items()
                if name in self._plan.metrics
            },
            "output": None if result.output is None else result.output.path,
            "outputs": self._outputs,
        }
        self._times[item.variant.text] = self._put("item", event)

    def finished(self, store_root: Path) -> None:
        """The run is over and its tables in `store_root` are complete: aggregates, tables, and what failed."""
        from benchmarks.table import failures

        failed = failures(self._plan, self._results)
        paths = [store_root / name for name in FILES]
        files = {path.name: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
        if failed:
            files["failed.txt"] = "\n".join(failed) + "\n"
        self._end("FAILED" if failed else "FINISHED", files)

    def close(self) -> str:
        """End the tracking, as killed where `finished` was not called; waits `PATIENCE` seconds at most.

        Returns:
            A sentence: where the run went, or what waits to be sent and how to send it. Empty if nothing was started.
        """
        if not self._begun:
            return ""
        if self._open:
            self._end("KILLED", {})
        self._stop_sender()
        return self._sentence()

    def _append(self, kind: str, event: Event) -> int:
        self._last = max(self._last, time.time_ns() // 1_000_000)  # the clock may be set back in mid-run
        self._queue.append({"kind": kind, "invocation": self._invocation, "time": self._last, **event})
        return self._last

    def _put(self, kind: str, event: Event) -> int:
        """Add an event; that it cannot be written is told at the end, and is no reason to stop a run."""
        try:
            return self._append(kind, event)
        except OSError as error:
            self._lost = self._lost or f"cannot write to '{self._queue.path}' ({error.strerror})"
            return self._last

    def _end(self, status: str, files: dict[str, str]) -> None:
        self._open = False
        variants = {}
        for variant in self._plan.variants:
            items = self._plan.items_of(variant)
            done = [self._results[item.hash] for item in items if item.hash in self._results]
            how = "FAILED" if any(map(_failed, done)) else "FINISHED" if len(done) == len(items) else status
            variants[variant.text] = {"status": how, "time": self._times.get(variant.text)}
        means, missing = self._means()
        event = {"status": status, "variants": variants, "means": means, "missing": missing, "files": files}
        self._put("ended", event)

    def _means(self) -> tuple[dict[str, dict[str, list[float]]], dict[str, dict[str, str]]]:
        """By variant and metric: the mean over the suite's clips and its 95 % interval, or which clips it lacks."""
        from benchmarks.compare import source_of
        from benchmarks.records import summary_rows
        from benchmarks.statistics import paired

        means: dict[str, dict[str, list[float]]] = {}
        missing: dict[str, dict[str, str]] = {}
        values: dict[tuple[str, str], dict[str, float]] = {}
        for result in self._results.values():
            for name, score in result.scores.items():
                if score.value is not None:
                    values.setdefault((result.variant, name), {})[result.clip] = score.value
        for row in summary_rows(self._plan, self._results):
            variant, metric, mean = str(row["variant"]), str(row["metric"]), row["value"]
            if not isinstance(mean, float):
                missing.setdefault(variant, {})[metric] = str(row["status"])
                continue
            clips = values[variant, metric]
            found = paired(clips, dict.fromkeys(clips, 0.0), {clip: source_of(clip) for clip in clips})
            means.setdefault(variant, {})[metric] = [mean, found.low, found.high]
        return means, missing

    def _start_sender(self) -> None:
        """Start the process that sends; where that cannot be started, the events wait in the queue."""
        command = [sys.executable, "-m", "benchmarks.track", str(self._root), "--follow"]
        try:
            with (self._queue.path.parent / "log.txt").open("ab") as log:
                # A session of its own: the Ctrl-C that stops the run must not stop its last events.
                self._sender = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
            # Not on the command line, where every user of the machine could read a password.
            self._tell({"uri": self.uri, "invocation": self._invocation})
        except OSError as error:
            self._trouble = f"the process that sends could not be started: {error.strerror}"

    def _tell(self, message: Event) -> None:
        if self._sender is not None and self._sender.stdin is not None:
            self._sender.stdin.write(json.dumps(message).encode() + b"\n")
            self._sender.stdin.flush()

    def _stop_sender(self) -> None:
        sender = self._sender
        if sender is None:
            return
        try:
            self._tell({"closing": True})
            sender.wait(PATIENCE)
        except (OSError, subprocess.TimeoutExpired, KeyboardInterrupt):  # the queue keeps what was not sent
            sender.kill()
            sender.wait()
        if sender.stdin is not None:
            with suppress(OSError):
                sender.stdin.close()

    def _sentence(self) -> str:
        torn = "MLflow: an event was cut short, by a kill or a full disk, and is left out\n" if self._queue.torn else ""
        return torn + self._where()

    def _where(self) -> str:
        shown = without_password(self.uri)
        try:
            state = State(self._root, self.uri)
        except UserError as error:
            return f"MLflow: {error}"
        waiting = self._queue.count(state.offset)
        if self._lost:
            return f"MLflow: not everything was kept: {self._lost}; the run's own records are whole"
        if waiting:
            why = self._trouble or state.trouble or "there was no time to send them"
            again = f"python -m benchmarks.track {shlex.quote(str(self._root))}"
            return f"MLflow: {waiting} events wait in {self._queue.path} ({why}); to send them: {again} --uri {shown}"
        look = f"; look with: mlflow ui --backend-store-uri {shown}" if shown.startswith("sqlite:") else ""
        return f"MLflow: run {state.runs[self._invocation]} in {shown}{look}"


def _failed(result: Result) -> bool:
    return result.status != "ok" or any(score.status in ("failed", "oom") for score in result.scores.values())
