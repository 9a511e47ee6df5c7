"""The run directory: one atomic JSON per finished item, lossless outputs beside it, everything else made from these.

    run.json                        what was asked for, resolved, and where it ran
    items/<hash>.json               one finished item: outputs, measurements, scores
    outputs/<variant>/<clip>/*.png  its frames
    locks/<hash>.lock               held by the process that works on the item
    records.csv outputs.csv summary.csv
"""
from __future__ import annotations

import glob
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from patchvsr.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric's answer for one item.

    `status` is `ok`, `undefined` (it means nothing for this clip, as PSNR without a ground truth), `unavailable` (it
    cannot run here), `failed` or `oom`. There is a value exactly when it is `ok`, and else a `message`.
    """

    metric: str
    identity: str
    unit: str
    status: str
    value: float | None = None
    per_frame: list[float] | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Frames on disk: `path` is relative to the run directory, `sha256` that of the raw RGB frames."""

    path: str
    width: int
    height: int
    frames: int
    sha256: str


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of one work item.

    `status` is `ok`, `failed` or `oom` and speaks of the upscaling; each score has its own. `key` is what was hashed,
    `log` what another program printed, where one did the work, `note` what readers of the result should know.
    """

    hash: str
    key: dict[str, Any]
    suite: str
    clip: str
    variant: str
    seed: int
    weights: str
    status: str
    message: str | None = None
    traceback: str | None = None
    log: str | None = None
    note: str | None = None
    output: Output | None = None
    cuts: dict[str, list[int]] | None = None
    measured: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)

    def in_short(self) -> Result:
        """What tables need of it: without the key, the log, the traceback and the values of single frames, which are
        most of its memory.
        """
        scores = {name: replace(score, per_frame=None) for name, score in self.scores.items()}
        return replace(self, key={}, log=None, traceback=None, scores=scores)


_UNFINISHED = ".unfinished-"
_WRITING = ".writing-"
FORMAT = 1
"""Of the layout of a run directory; raised when an older package could no longer go on with one."""


class Unwritable(UserError):
    """The run directory can no longer be written: the run ends, since nothing could be recorded."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write below `path` into a sentence.

    Raises:
        Unwritable: the disk is full, read-only or gone.
    """
    try:
        yield
    except OSError as error:
        raise Unwritable(
            f"cannot write to '{error.filename or path}' ({error.strerror or error}{_free(path)}); make room or make "
            "it writable: what is finished is kept, and the same command goes on from there"
        ) from error


def _free(path: Path) -> str:
    try:
        return f", {shutil.disk_usage(path).free / 1e6:.0f} MB free"
    except OSError:
        return ""


def write_atomic(path: Path, text: str) -> None:
    """Put `text` at `path` so that a reader, or a crash, sees the whole of it or the file as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_WRITING}{_process()}")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _process() -> str:
    """This process, for the names of what it has not finished; machines may share the file system."""
    return f"{os.getpid()}@{socket.gethostname()}~"


def _left_behind(path: Path) -> bool:
    """Whether a process of this machine has named a file as unfinished and is gone."""
    found = re.search(rf"(?:{_UNFINISHED}|{_WRITING})(\d+)@(.+?)~", path.name)
    return found is not None and found[2] == socket.gethostname() and not psutil.pid_exists(int(found[1]))


def to_json(data: Any) -> str:
    """Strict JSON, readable, with a newline at its end."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_result(text: str) -> Result:
    """The result that `to_json` has written; any of several exceptions if that is not what the text is."""
    data = json.loads(text)
    output = data.pop("output")
    scores = {name: Score(**score) for name, score in data.pop("scores").items()}
    return Result(**data, output=None if output is None else Output(**output), scores=scores)


def read_result(path: Path) -> Result:
    """The result in an item's file.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return parse_result(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"'{path}' cannot be read ({error}); delete it to have the item run again") from error


class Store:
    """Reads and writes one run directory. Making the object touches nothing on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: list[Path] = []
        self._owners: dict[str, str] | None = None

    def check(self) -> None:
        """Raise UserError where `root` is something else than an empty folder or a run directory of this layout."""
        try:
            if not self.root.exists():
                return
            if not self.root.is_dir():
                raise UserError(f"'{self.root}' is a file; give --out a folder")
            if any(self.root.iterdir()) and not (self.root / "run.json").is_file():
                raise UserError(f"'{self.root}' has files but no run.json; give --out a new folder or an earlier run's")
        except OSError as error:
            raise UserError(f"'{self.root}' cannot be read ({error.strerror}); give --out another folder") from error
        self._check_format()

    def _check_format(self) -> None:
        try:
            made = json.loads((self.root / "run.json").read_text(encoding="utf-8"))
            layout, release = int(made.get("format", FORMAT)), made["environment"]["packages"]["patchvsr"]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return  # it is written anew; what counts is in the items
        if layout > FORMAT:
            raise UserError(
                f"'{self.root}' was made by patchvsr {release}, whose run directories have layout {layout}, and this "
                f"version knows {FORMAT}; install that one, or give --out a new folder"
            )

    def sweep(self) -> None:
        """Remove what processes of this machine that are gone had not finished writing."""
        for folder in (self.root, self.root / "items", *(self.root / "outputs").glob("*")):
            for path in folder.iterdir() if folder.is_dir() else ():
                if _left_behind(path):
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def load(self, digest: str) -> Result | None:
        """The stored result of the item with this hash, None if there is none.

        A damaged record is moved aside (`items/HASH.json.damaged`, and `damaged` names it): its item is made again.
        """
        path = self._item(digest)
        if not path.is_file():
            return None
        try:
            result = read_result(path)
            if result.hash == digest:
                return result
        except UserError:
            if not path.is_file():  # another process was faster
                return None
        with writing(path):
            path.replace(aside := path.with_name(f"{path.name}.damaged"))
        self.damaged.append(aside)
        return None

    def others(self, known: Iterable[str]) -> int:
        """How many records the directory has beside those of these items."""
        hashes = set(known)
        return sum(path.stem not in hashes for path in (self.root / "items").glob("*.json"))

    def save(self, result: Result) -> None:
        """Write the item's JSON atomically."""
        with writing(self.root):
            write_atomic(self._item(result.hash), to_json(asdict(result)))
        if self._owners is not None and result.output is not None:
            self._owners[result.output.path] = result.hash

    def make_room(self, digest: str, output: Path) -> None:
        """Before an item runs: forget every result whose frames lie where its own will go, then the frames."""
        owner = self._owner(output.relative_to(self.root).as_posix())
        with writing(self.root):
            for other in {digest, owner} - {None}:
                self._item(str(other)).unlink(missing_ok=True)
        self.discard(output)
        for name in (output.name, f".{output.name}"):  # by a process that was killed; the second is the writer's own
            for left in output.parent.glob(f"{glob.escape(name)}{_UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)

    def _owner(self, path: str) -> str | None:
        """Hash of the item whose frames are at `path`. All items are read the first time that one is asked for."""
        if self._owners is None:
            found = (self.load(file.stem) for file in (self.root / "items").glob("*.json"))
            self._owners = {one.output.path: one.hash for one in found if one is not None and one.output is not None}
        return self._owners.get(path)

    def lock(self, digest: str) -> Path:
        """File to lock while an item is worked on."""
        return self.root / "locks" / f"{digest}.lock"

    def acquire(self, digest: str, wait: bool) -> FileLock | None:
        """The item's lock, held; None where another process holds it and there is no wish to wait."""
        lock = FileLock(self.lock(digest))
        with writing(self.root):
            self.lock(digest).parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=-1 if wait else 0)
            except Timeout:
                return None
        return lock

    def unfinished(self, output: Path) -> Path:
        """Where frames are written until all of them are there."""
        return output.with_name(f"{output.name}{_UNFINISHED}{_process()}")

    def publish(self, unfinished: Path, output: Path) -> None:
        """Give complete frames their place, safe on the disk, in one step."""
        with writing(self.root):
            for path in (*unfinished.iterdir(), unfinished):
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            unfinished.rename(output)

    def discard(self, output: Path) -> None:
        """Remove frames that no result stands for, and their folder's parent if that leaves it empty."""
        shutil.rmtree(output, ignore_errors=True)
        if output.parent.is_dir() and not any(output.parent.iterdir()):
            output.parent.rmdir()

    def has_output(self, result: Result) -> bool:
        """Whether the item ran well and as many frames as it wrote are still there."""
        if result.status != "ok" or result.output is None:
            return False
        folder = self.root / result.output.path
        return folder.is_dir() and len(list(folder.glob("*.png"))) == result.output.frames

    def _item(self, digest: str) -> Path:
        return self.root / "items" / f"{digest}.json"
