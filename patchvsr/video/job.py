"""The hidden folder in which an output grows until it is complete: locked, resumable, and gone when it is done."""
from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from patchvsr.errors import UserError


class WorkFolder:
    """`.NAME.patchvsr` beside an output `NAME`; only one process at a time holds it.

    Args:
        out: the output that is being made.
        job: JSON-ready; everything that decides the output's bytes. Pieces of another job are not gone on with.
        resume: go on from what an interrupted run left, and leave what there is when this one is interrupted.
        discard: throw away what an interrupted run with `resume` left, if this one does not go on from it.

    Attributes:
        path: the folder.

    Raises:
        UserError: the folder cannot be made, another process is at work in it, or it holds pieces of another job, or
            pieces that would be lost.
    """

    def __init__(self, out: Path, job: dict[str, Any], resume: bool, discard: bool = False) -> None:
        self.path = out.with_name(f".{out.name}.patchvsr")
        self.resume = resume
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / "lock", "w")
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise UserError(f"another process is making {out}; wait for it, or write to another file") from error
        try:
            self._begin(out, json.loads(json.dumps(job)), discard)
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, out: Path, job: dict[str, Any], discard: bool) -> None:
        described, kept = self.path / "job.json", self.path / "kept"
        if self.resume and described.is_file():
            before = json.loads(described.read_text())
            changed = sorted(key for key in before.keys() | job.keys() if before.get(key) != job.get(key))
            if changed:
                raise UserError(
                    f"the interrupted run of {out} was another job ({', '.join(changed)} differ); give the same "
                    "options as then, or --overwrite without --resume to start again"
                )
        elif kept.is_file() and not discard:
            raise UserError(
                f"an interrupted run of {out} is kept in {self.path}; go on with --resume, or give --overwrite to "
                "start again"
            )
        else:
            self._clear()
            written = described.with_suffix(".part")
            written.write_text(json.dumps(job, indent=2, sort_keys=True))
            os.replace(written, described)
        if self.resume:
            kept.touch()

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()

    def close(self, done: bool) -> None:
        """Remove the folder, unless the job is not done and may be gone on with."""
        if done or not self.resume:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
