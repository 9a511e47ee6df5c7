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
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from benchmarks.disk import UNFINISHED, left_behind, process_mark, write_atomic, writing
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


FORMAT = 1
"""Of the layout of a run directory; raised when an older package could no longer go on with one."""
_ASIDE = ".damaged"
_STATUSES = ("ok", "failed", "oom", "undefined", "unavailable")


class Damaged(UserError):
    """A record that is not what was written."""


def to_json(data: Any) -> str:
    """Strict JSON, readable, with a newline at its end."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_result(text: str) -> Result:
    """The result that `to_json` has written; any of several exceptions if that is not what the text is."""
    data = json.loads(text, parse_constant=_refuse)
    output = data.pop("output")
    scores = {name: Score(**score) for name, score in data.pop("scores").items()}
    result = Result(**data, output=None if output is None else Output(**output), scores=scores)
    _check(result)
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is never written")


def _check(result: Result) -> None:
    """Raise TypeError or ValueError where a field holds what `to_json` does not write there."""
    texts = [result.hash, result.suite, result.clip, result.variant, result.weights]
    numbers = [result.seed, *result.measured.values()]
    statuses = [result.status]
    if result.output is not None:
        texts += [result.output.path, result.output.sha256]
        numbers += [result.output.width, result.output.height, result.output.frames]
    for score in result.scores.values():
        texts += [score.metric, score.identity, score.unit]
        statuses.append(score.status)
        if (score.value is None) == (score.status == "ok"):
            raise ValueError(f"the value of '{score.metric}' does not go with its status")
        if score.value is not None:
            numbers.append(score.value)
    if not all(isinstance(text, str) for text in texts) or not isinstance(result.key, dict):
        raise TypeError("something else stands in the place of a text")
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError("something else stands in the place of a number")
    if not all(status in _STATUSES for status in statuses) or result.status == "ok" and result.output is None:
        raise ValueError("it has no status, or one that does not go with the rest")


def read_result(path: Path) -> Result:
    """The result in an item's file.

    Raises:
        Damaged: the file is damaged.
        UserError: it cannot be read.
    """
    try:
        return parse_result(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be read ({error.strerror}); make it readable, or delete it to have the item run again"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise Damaged(f"'{path}' is damaged ({told}); delete it to have the item run again") from error


def _cause(error: Damaged) -> str:
    return "it holds another item's record" if error.__cause__ is None else type(error.__cause__).__name__


def _output_of(path: Path) -> str | None:
    """Where the frames of a record are, be it of another version, with fields that are not known here."""
    try:
        output = json.loads(path.read_text(encoding="utf-8"))["output"]
        return None if output is None else str(output["path"])
    except (OSError, ValueError, TypeError, KeyError):  # a record that nobody can read stands for no frames
        return None


class Store:
    """Reads and writes one run directory. Making the object touches nothing on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
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
        places = [self.root, *(self.root / name for name in ("items", "tracking")), *(self.root / "outputs").glob("*")]
        with writing(self.root):
            for folder in places:
                for path in folder.iterdir() if folder.is_dir() else ():
                    if left_behind(path):
                        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def load(self, digest: str) -> Result | None:
        """The stored result of the item with this hash, None if there is none.

        Raises:
            Damaged: the record is damaged.
            UserError: it cannot be read.
        """
        path = self._item(digest)
        try:
            result = read_result(path)
        except UserError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        if result.hash != digest:
            raise Damaged(f"'{path}' holds the record of another item; delete it to have the item run again")
        return result

    def sound(self, digest: str) -> Result | None:
        """As `load`, and None as well where the record is damaged."""
        try:
            return self.load(digest)
        except Damaged:
            return None

    def load_or_set_aside(self, digest: str) -> Result | None:
        """As `sound`, for who will make the item again and holds its lock.

        A damaged record is moved to `items/HASH.json.damaged`, where it stands for nothing and can be looked at.
        """
        try:
            return self.load(digest)
        except Damaged as error:
            path = self._item(digest)
            with writing(path):
                path.replace(aside := path.with_name(f"{path.name}{_ASIDE}"))
            print(f"'{path}' is damaged ({_cause(error)}): it is now '{aside}', and its item is made again",
                  file=sys.stderr, flush=True)  # fmt: skip
            return None

    def aside(self, known: Iterable[str]) -> list[Path]:
        """Damaged records of these items that were moved aside, by this process or another, now or earlier."""
        hashes = set(known)
        return sorted(path for path in (self.root / "items").glob(f"*.json{_ASIDE}")
                      if path.name.removesuffix(f".json{_ASIDE}") in hashes)  # fmt: skip

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
            for left in output.parent.glob(f"{glob.escape(name)}{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)

    def _owner(self, path: str) -> str | None:
        """Hash of the item whose frames are at `path`. All items are read the first time that one is asked for."""
        if self._owners is None:
            files = (self.root / "items").glob("*.json")
            self._owners = {output: file.stem for file in files if (output := _output_of(file)) is not None}
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
        return output.with_name(f"{output.name}{UNFINISHED}{process_mark()}")

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
        with suppress(OSError):  # it is not empty, or not there
            output.parent.rmdir()

    def has_output(self, result: Result) -> bool:
        """Whether the item ran well and as many frames as it wrote are still there."""
        if result.status != "ok" or result.output is None:
            return False
        folder = self.root / result.output.path
        return folder.is_dir() and len(list(folder.glob("*.png"))) == result.output.frames

    def _item(self, digest: str) -> Path:
        return self.root / "items" / f"{digest}.json"
