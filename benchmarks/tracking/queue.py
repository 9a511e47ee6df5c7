"""What a run tells MLflow, as it lies on the disk until it is sent, and how far it was sent."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from filelock import FileLock

from benchmarks.disk import write_atomic
from benchmarks.store import to_json
from patchvsr.errors import UserError

FOLDER = "tracking"
"""In the run directory."""

Event = dict[str, Any]


def destination(root: Path, uri: str | None = None) -> str:
    """Where a run is sent: `uri`, else MLFLOW_TRACKING_URI, else `mlflow.db` beside the run directory.

    Raises:
        UserError: a folder, which MLflow no longer writes to.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve().parent / 'mlflow.db'}"
    scheme, found, rest = chosen.partition("://")
    if scheme == "file" or not found and not chosen.startswith("databricks"):
        raise UserError(
            f"MLflow cannot keep runs in '{chosen}'; give a database such as sqlite:///mlflow.db, or a server such as "
            "http://localhost:5000"
        )
    return f"sqlite:///{Path(rest[1:]).resolve()}" if scheme == "sqlite" else chosen


def without_password(text: str) -> str:
    """A URI, or an option with one such as `--mlflow=URI`, without its user and password; other text as it is."""
    option, equals, uri = text.partition("=") if text.startswith("--") else ("", "", text)
    try:
        parts = urlsplit(uri)
    except ValueError:
        return text
    user, at, host = parts.netloc.rpartition("@")
    return option + equals + urlunsplit(parts._replace(netloc=host)) if at else text


class Queue:
    """Events in a file, in order, each whole on the disk before `append` returns. Several processes may append.

    Attributes:
        torn: whether `append` has found the event before its own cut short, by a kill or a full disk.
    """

    def __init__(self, root: Path) -> None:
        folder = root / FOLDER
        self.path = folder / "queue.jsonl"
        self._lock = FileLock(folder / "queue.lock")
        self.torn = False

    def append(self, event: Event) -> None:
        """Add an event. Raises OSError where that cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        with self._lock, self.path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line, self.torn = b"\n" + line, True
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read(self, offset: int = 0) -> Iterator[tuple[Event, int]]:
        """The events from a byte of the file on, each with the byte where the next begins.

        What is no event, such as one that a killed process left incomplete, is given as `{"kind": "torn"}`.
        """
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield _event(line), offset

    def count(self, offset: int = 0) -> int:
        """The number of events from a byte on."""
        return sum(1 for _ in self.read(offset))

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size if self.path.is_file() else 0


def _event(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "kind" in event else {"kind": "torn"}


class State:
    """How far one destination has the queue: `tracking/state.json`, which holds every destination by its URI.

    Each gets the whole queue, so that what one server never got can be sent to another.

    Attributes:
        offset: byte of the queue up to which everything was sent.
        runs: ids of the destination's runs that are set up, by their keys.
        trouble: why the last attempt to send failed.
    """

    def __init__(self, root: Path, uri: str) -> None:
        self._path, self._uri = root / FOLDER / "state.json", without_password(uri)
        known = _load(self._path)["destinations"].get(self._uri, _NOTHING)
        self.offset: int = known["offset"]
        self.runs: dict[str, str] = dict(known["runs"])
        self.trouble: str | None = known["trouble"]

    def save(self) -> None:
        """Write it atomically, beside what other destinations have."""
        whole = _load(self._path)
        whole["last"] = self._uri
        whole["destinations"][self._uri] = {"offset": self.offset, "runs": self.runs, "trouble": self.trouble}
        write_atomic(self._path, to_json(whole))


def last_destination(root: Path) -> str | None:
    """Where a run's events were last sent; None if they never were."""
    return _load(root / FOLDER / "state.json")["last"]


_NOTHING: dict[str, Any] = {"offset": 0, "runs": {}, "trouble": None}


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"last": None, "destinations": {}}
    try:
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for known in whole["destinations"].values():
            if not (isinstance(known["offset"], int) and isinstance(known["runs"], dict) and "trouble" in known):
                raise TypeError("a destination lacks something")
        if not isinstance(whole["last"], str | None):
            raise TypeError("the last destination is none")
        return whole
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"'{path}' is damaged; delete it: sending everything again makes no duplicates") from error
