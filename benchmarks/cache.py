"""Outputs of all runs on this machine, by the hash of everything that decides them: `python -m benchmarks.cache`.

A run in another folder that needs the same item takes its frames from here, and scores what is not scored yet. Frames
are hard links where the file system allows it, so they take no room beside the run that made them. When that run is
deleted they do, up to a limit (`PATCHVSR_OUTPUT_CACHE_GB`, 20 by default, 0 for no cache at all); beyond it, those that
were not used for longest go.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.disk import write_atomic, writing
from benchmarks.frames import stored
from benchmarks.store import Result, Store, read_result, to_json
from patchvsr.errors import UserError
from patchvsr.video import frames_sha256
from patchvsr.weights.files import cache_dir

if TYPE_CHECKING:
    from benchmarks.plan import WorkItem

LIMIT = "PATCHVSR_OUTPUT_CACHE_GB"
NOTE = "its frames were made by another run, whose seconds and memory these are (--no-cache makes them anew)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kept output.

    Attributes:
        path: its folder.
        variant, clip: what it is of.
        nbytes: of its frames.
        used: when it was last made or used (seconds since 1970).
        shared: a run's folder still has the same files, so that pruning this entry frees nothing yet.
    """

    path: Path
    variant: str
    clip: str
    nbytes: int
    used: float
    shared: bool


class OutputCache:
    """Frames and measurements by item hash.

    Args:
        root: folder of the cache; made when something is kept.
        limit: bytes.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit
        self._told = False

    @classmethod
    def of_user(cls) -> OutputCache | None:
        """The cache in the user's folder; None where the limit is 0.

        Raises:
            UserError: the limit is not a number of gigabytes, or the cache cannot be read.
        """
        text = os.environ.get(LIMIT, "20")
        try:
            limit = float(text)
        except ValueError:
            limit = -1.0
        if not 0 <= limit < 1e9:
            raise UserError(f"{LIMIT}={text} is not a number of gigabytes; set 20, or 0 for no cache of outputs")
        root = cache_dir() / "outputs"
        if limit and root.is_dir() and not os.access(root, os.R_OK | os.X_OK):
            raise UserError(f"'{root}' cannot be read; make it readable, or give --no-cache")
        return cls(root, int(limit * 1e9)) if limit else None

    def keep(self, result: Result, store: Store) -> None:
        """Keep the frames and the record of a result that is ok. A cache that cannot be written to is said once."""
        assert result.output is not None
        entry, unfinished = self.root / result.hash, self.root / f"{result.hash}.unfinished-{os.getpid()}"
        if entry.exists():
            return
        shutil.rmtree(unfinished, ignore_errors=True)  # a dead process of this number; its links must not be written to
        try:
            _link_all(store.root / result.output.path, unfinished / "frames")
            write_atomic(unfinished / "item.json", to_json(asdict(result)))
            unfinished.rename(entry)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if not entry.exists() and not self._told:  # else another process was faster
                self._told = True
                why = error.strerror or error
                print(f"outputs are not kept for other runs: cannot write to '{self.root}' ({why}); this run "
                      "goes on, it has its own frames", file=sys.stderr, flush=True)  # fmt: skip

    def restore(self, item: WorkItem, store: Store) -> Result | None:
        """Put a kept output where the run wants it and record it there; None if there is none, or not in full.

        Args:
            item: whose output is wanted.
            store: of the run.
        """
        digest, output = item.hash, store.root / item.output
        entry = self.root / digest
        if not (entry / "item.json").is_file():
            return None
        try:
            result = read_result(entry / "item.json")
            if result.output is None or frames_sha256(stored(entry / "frames")) != result.output.sha256:
                raise OSError("the frames are not those that were kept")
        except (OSError, UserError) as error:
            _forget(entry, error)
            return None
        store.make_room(digest, output)
        unfinished = store.unfinished(output)
        try:
            with writing(store.root), suppress(FileNotFoundError):  # another run may prune it at this moment
                _link_all(entry / "frames", unfinished)
            if not unfinished.is_dir() or len(list(unfinished.iterdir())) != result.output.frames:
                store.discard(unfinished)
                return None
            store.publish(unfinished, output)
            result.note = " ".join(filter(None, [result.note, NOTE]))
            store.save(result)
        except BaseException:
            store.discard(unfinished)
            raise
        with suppress(OSError):  # a cache that cannot be written to is still read
            os.utime(entry / "item.json")
        return result

    def entries(self) -> list[Entry]:
        """What is kept, least recently used first; folders of processes that were killed are not among them."""
        found, now = [], time.time()
        for path in self.root.iterdir() if self.root.is_dir() else ():
            record = path / "item.json"
            if ".unfinished-" in path.name or not record.is_file():
                continue
            try:
                data = json.loads(record.read_text(encoding="utf-8"))
                files = [file.stat() for file in (path / "frames").iterdir()]
                found.append(
                    Entry(
                        path=path,
                        variant=str(data["variant"]),
                        clip=str(data["clip"]),
                        nbytes=sum(one.st_size for one in files),
                        used=min(now, record.stat().st_mtime),  # the clock may have been ahead
                        shared=any(one.st_nlink > 1 for one in files),
                    )
                )
            except (OSError, ValueError, KeyError, TypeError) as error:
                _forget(path, error)
        return sorted(found, key=lambda entry: entry.used)

    def prune(self, limit: int | None = None, older: float | None = None) -> list[Entry]:
        """Remove what is unfinished since a day, what was last used more than `older` seconds ago, and then as much of
        the least recently used as the limit (bytes; the cache's own by default) demands. What was removed.
        """
        now, removed = time.time(), []
        for path in self.root.glob("*.unfinished-*"):
            with suppress(FileNotFoundError):
                if abs(now - path.stat().st_mtime) > 86400:  # the clock may have been ahead
                    shutil.rmtree(path, ignore_errors=True)
        entries = self.entries()
        total = sum(entry.nbytes for entry in entries)
        for entry in entries:
            if total > (self.limit if limit is None else limit) or (older is not None and now - entry.used > older):
                shutil.rmtree(entry.path, ignore_errors=True)
                removed.append(entry)
                total -= entry.nbytes
        return removed


def _forget(entry: Path, error: Exception) -> None:
    """Remove a damaged entry, which is worth nothing, and say so; unless another process removes it at this moment."""
    if not (entry / "item.json").is_file():
        return
    shutil.rmtree(entry, ignore_errors=True)
    print(f"'{entry}' in the cache of outputs was damaged and is removed ({error})", file=sys.stderr, flush=True)


def _link_all(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        try:
            os.link(file, target / file.name)
        except OSError:  # another file system, or one without links
            shutil.copy2(file, target / file.name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when done, 2 with one sentence for bad input."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.cache", description="Outputs kept for all runs.")
    commands = made.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what is kept, least recently used first")
    prune = commands.add_parser("prune", help="remove the least recently used beyond a limit")
    prune.add_argument("--to-gb", type=float, help=f"keep at most so many gigabytes (default: {LIMIT}, else 20)")
    prune.add_argument("--older-than-days", type=float, help="remove what was not used for so long")
    args = made.parse_args(argv)
    try:
        cache = OutputCache.of_user()
        if cache is None:
            raise UserError(f"{LIMIT}=0 keeps no outputs; there is nothing to {args.command}")
        if args.command == "list":
            return _list(cache)
        if args.to_gb is not None and not args.to_gb >= 0:
            raise UserError(f"--to-gb {args.to_gb:g} is not a number of gigabytes")
        older = None if args.older_than_days is None else 86400 * args.older_than_days
        removed = cache.prune(None if args.to_gb is None else int(1e9 * args.to_gb), older)
    except UserError as error:
        print(f"cache: {error}", file=sys.stderr)
        return 2
    shared = sum(entry.nbytes for entry in removed if entry.shared)
    print(f"removed {len(removed)} outputs, {sum(entry.nbytes for entry in removed) / 1e9:.2f} GB", end="")
    print(f", of which {shared / 1e9:.2f} GB are still in run folders" if shared else "")
    return 0


def _list(cache: OutputCache) -> int:
    entries, now = cache.entries(), time.time()
    for entry in entries:
        days = (now - entry.used) / 86400
        where = "also in a run" if entry.shared else "here only"
        print(f"{entry.path.name[:12]}  {entry.nbytes / 1e6:9.1f} MB  {days:6.1f} days ago  {where:<13}  "
              f"{entry.variant} on {entry.clip}")  # fmt: skip
    print(f"{len(entries)} outputs, {sum(entry.nbytes for entry in entries) / 1e9:.2f} GB in {cache.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
