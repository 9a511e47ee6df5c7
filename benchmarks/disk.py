"""Writing to a disk that may fill up, turn read-only, or be left in the midst of it by a process that is killed."""
from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from patchvsr.errors import UserError

UNFINISHED = ".unfinished-"
"""In the names of folders that are being filled, before the mark of the process,"""
_WRITING = ".writing-"
"""and in those of files that are being written."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of an OSError: the disk, or the user's share of it, is full."""


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
        raise _unwritable(error, path) from error


def stop_if_full(error: BaseException, path: Path) -> None:
    """Raise Unwritable if a failure, of whatever kind, came from a full disk: no method or metric is to blame for that.

    Args:
        error: with the errors that it came from.
        path: named where the error has none.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            raise _unwritable(cause, path) from error
        cause = cause.__cause__ or cause.__context__


def _unwritable(error: OSError, path: Path) -> Unwritable:
    where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
    return Unwritable(
        f"cannot write to '{where}' ({error.strerror or error}{_free(where)}); make room or make it writable: what is "
        "finished is kept, and the same command goes on from there"
    )


def _free(path: Path) -> str:
    """What the disk has left, for a path that may not have been made."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):
            return f", {shutil.disk_usage(folder).free / 1e6:.0f} MB free"
    return ""


def write_atomic(path: Path, text: str) -> None:
    """Put `text` at `path` so that a reader, or a crash, sees the whole of it or the file as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_WRITING}{process_mark()}")
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


def process_mark() -> str:
    """This process, for the names of what it has not finished; machines may share the file system."""
    return f"{os.getpid()}@{socket.gethostname()}~"


def left_behind(path: Path) -> bool:
    """Whether a process of this machine has named a file as unfinished and is gone."""
    found = re.search(rf"(?:{UNFINISHED}|{_WRITING})(\d+)@(.+?)~", path.name)
    return found is not None and found[2] == socket.gethostname() and not psutil.pid_exists(int(found[1]))
