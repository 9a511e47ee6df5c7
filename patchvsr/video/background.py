"""Writing frames, in the background where that helps: one chunk is encoded while the next one is made."""
from __future__ import annotations

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Self

from torch import Tensor


class DirectWriter:
    """Gives frames to `write` at once: where model and encoder share the cores, doing both at a time is slower.

    Attributes:
        waiting, writing: seconds that `write` took.
    """

    def __init__(self, write: Callable[[Tensor], None]) -> None:
        self.waiting = self.writing = 0.0
        self._write = write

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def put(self, chunk: Tensor) -> None:
        """Write frames `[t, 3, H, W]`."""
        start = time.perf_counter()
        for frame in chunk:
            self._write(frame)
        self.writing += time.perf_counter() - start
        self.waiting = self.writing

    def check(self) -> None:
        """Nothing is under way that could have failed."""


class BackgroundWriter:
    """Gives frames to `write`, in order, in one thread of its own that holds one chunk at most.

    As a context manager: leaving the block waits for everything to be written. Leaving it by an exception, such as
    KeyboardInterrupt, lets the frame at hand be finished and drops the rest of its chunk. Either way `write` is not
    running and the thread has ended when the block is left, so that what `write` has opened can be closed.

    Args:
        write: takes one frame `[3, H, W]`.

    Attributes:
        waiting: seconds the caller waited for `write`.
        writing: seconds that `write` took.
    """

    def __init__(self, write: Callable[[Tensor], None]) -> None:
        self.waiting = self.writing = 0.0
        self._write = write
        # Locks and this queue, not conditions and events: those are Python code, which an interrupt can break half-way.
        self._chunks: SimpleQueue[Tensor | None] = SimpleQueue()
        self._busy = Lock()  # held while a chunk is to be written or being written
        self._alive = Lock()  # held until the thread has nothing left to do
        self._alive.acquire()
        self._started = self._stopping = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._stop()

    def put(self, chunk: Tensor) -> None:
        """Hand over frames `[t, 3, H, W]` once the chunk before is written; they must not be changed after.

        Raises:
            BaseException: what `write` has raised for an earlier chunk; nothing is written after that.
        """
        if not self._started:
            self._thread.start()
            self._started = True
        self._wait()
        self._busy.acquire()
        self._chunks.put(chunk)

    def check(self) -> None:
        """Raise what `write` has raised, if it has: between two chunks hours may pass."""
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        start = time.perf_counter()
        with self._busy:
            pass
        self.waiting += time.perf_counter() - start
        self.check()

    def _stop(self) -> None:
        try:
            self._stopping = True
            self._chunks.put(None)
            if self._started:
                # Not by `join` alone: before Python 3.13 an interrupted one takes a running thread for ended.
                with self._alive:
                    pass
                self._thread.join()
        except KeyboardInterrupt:
            # A file that is closed while its encoder runs can crash the process, so the impatient wait for a frame too.
            self._stop()
            raise

    def _run(self) -> None:
        try:
            while self._write_chunk():
                self._busy.release()
        except BaseException as error:
            self._error = error
            self._busy.release()
        finally:
            self._alive.release()

    def _write_chunk(self) -> bool:
        """Whether there was one; its memory is free afterwards."""
        chunk = self._chunks.get()
        if chunk is None:
            return False
        start = time.perf_counter()
        for frame in chunk:
            if self._stopping:
                break
            self._write(frame)
        self.writing += time.perf_counter() - start
        return True
