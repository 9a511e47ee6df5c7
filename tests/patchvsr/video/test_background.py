"""Writing in the background: order, one chunk at a time, errors and interrupts that leave no thread behind."""
from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from patchvsr.chunks import blend_chunks, chunk_spans
from patchvsr.errors import UserError
from patchvsr.request import Request
from patchvsr.upscale import Interrupted, upscale
from patchvsr.video.background import BackgroundWriter

LONG = 60
"""Seconds after which a test that waits for another thread fails; it never waits that long otherwise."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, whatever the shell has handed down."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def chunk(*values: int) -> Tensor:
    """Frames of 1x1, one for each value."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def until(happened: threading.Event) -> None:
    assert happened.wait(LONG)


def test_frames_come_in_order_and_all_of_them() -> None:
    written: list[int] = []
    with BackgroundWriter(lambda frame: written.append(int(frame))) as writer:
        for start, stop in ((0, 3), (3, 4), (4, 4), (4, 9)):
            writer.put(chunk(*range(start, stop)))
    assert written == list(range(9))


def test_nothing_to_write() -> None:
    with BackgroundWriter(lambda frame: pytest.fail("nothing was put")) as writer:
        pass
    assert writer.writing == 0


def test_a_chunk_is_made_while_the_last_one_is_written_and_no_further_one() -> None:
    go, written = threading.Semaphore(0), []

    def slowly(frame: Tensor) -> None:
        assert go.acquire(timeout=LONG)
        written.append(int(frame))

    with BackgroundWriter(slowly) as writer:
        for index in range(0, 12, 2):
            writer.put(chunk(index, index + 1))
            # Every earlier chunk is written in full, and not a frame of this one: `put` came back before.
            assert written == list(range(index))
            go.release(2)
    assert written == list(range(12)) and writer.writing > 0


def test_a_written_chunk_is_let_go() -> None:
    with BackgroundWriter(lambda frame: None) as writer:
        first = chunk(1, 2)
        gone = weakref.ref(first)
        writer.put(first)
        del first
        writer.put(chunk(3))
        assert gone() is None


def test_cross_faded_chunks_are_not_changed_after_they_were_put() -> None:
    clip, spans = torch.rand(11, 3, 4, 4), chunk_spans(11, 4, 2)
    made, written = threading.Semaphore(0), []

    def chunks() -> Iterator[Tensor]:
        for start, stop in spans:
            yield clip[start:stop].clone()
            made.release(stop - start)

    def late(frame: Tensor) -> None:
        # Not before the frame's chunk has been cross-faded and the next one has been asked for.
        assert made.acquire(timeout=LONG)
        written.append(frame.clone())

    with BackgroundWriter(late) as writer:
        for part in blend_chunks(spans, chunks()):
            writer.put(part)
        made.release(len(clip))
    assert torch.allclose(torch.stack(written), clip)


@pytest.mark.parametrize("noticed", ["put", "check", "end"])
def test_an_error_reaches_the_caller(noticed: str) -> None:
    written, failed = [], threading.Event()

    def full(frame: Tensor) -> None:
        if int(frame) == 1:
            failed.set()
            raise UserError("no room left")
        written.append(int(frame))

    with pytest.raises(UserError, match="no room left"):
        with BackgroundWriter(full) as writer:
            writer.put(chunk(0, 1, 2))
            if noticed == "put":
                writer.put(chunk(3))
            until(failed)
            while noticed == "check":
                writer.check()
    assert written == [0]


def test_an_error_of_the_caller_stops_the_writer_between_frames() -> None:
    begun, go, written = threading.Event(), threading.Event(), []

    def slowly(frame: Tensor) -> None:
        begun.set()
        until(go)
        written.append(int(frame))

    with pytest.raises(MemoryError):
        with BackgroundWriter(slowly) as writer:
            writer.put(chunk(0, 1, 2))
            until(begun)
            threading.Thread(target=lambda: (_wait_for_stop(writer), go.set())).start()
            raise MemoryError
    assert written == [0]


def _wait_for_stop(writer: BackgroundWriter) -> None:
    while not writer._stopping:
        time.sleep(0.001)


def test_an_interrupt_while_waiting_and_another_one_while_stopping(interruptible: None) -> None:
    written: list[int] = []

    def slowly(frame: Tensor) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        _wait_for_stop(writer)
        os.kill(os.getpid(), signal.SIGINT)
        # Long enough for the caller to be back, if it did not wait for this frame.
        time.sleep(0.2)
        written.append(int(frame))

    with pytest.raises(KeyboardInterrupt):
        with BackgroundWriter(slowly) as writer:
            writer.put(chunk(0, 1))
            writer.put(chunk(2))
    assert written == [0]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def make(images: Path, out: str = "out", resume: bool = False) -> int:
    request = Request(source=images, out=images.parent / out, scale=2, variant="bicubic", resume=resume)
    done = upscale(request, lambda started: None, lambda frames: None)
    assert 0 <= done.joining <= done.writing and min(done.reading, done.upscaling, done.waiting) >= 0
    return done.frames


@pytest.mark.parametrize(("error", "words"), [(OSError(28, "full"), "no room left"), (MemoryError(), "memory ran out")])
def test_a_job_whose_writer_fails_leaves_nothing(
    images: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("patchvsr.video.sinks.save_png", fail)
    with pytest.raises(UserError, match=words):
        make(images)
    assert [path.name for path in images.parent.iterdir()] == ["images"]


def test_an_interrupted_job_stops_its_writer_and_can_be_gone_on_with(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from baselines.resize import Bicubic

    resize, calls = Bicubic.resize, []

    def interrupted(self: Bicubic, frame: Tensor, height: int, width: int) -> Tensor:
        calls.append(frame)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return resize(self, frame, height, width)

    assert make(images, "plain") == 6
    monkeypatch.setattr(Bicubic, "resize", interrupted)
    with pytest.raises(Interrupted) as stop:
        make(images)
    assert stop.value.kept == 0 and sorted(p.name for p in images.parent.iterdir()) == ["images", "plain"]
    calls.clear()
    with pytest.raises(Interrupted) as stop:
        make(images, resume=True)
    assert stop.value.kept in (2, 3)  # the third may be dropped
    assert make(images, resume=True) in (4, 5)  # the last one that was kept is made again
    made = [[path.read_bytes() for path in sorted((images.parent / n).iterdir())] for n in ("plain", "out")]
    assert made[0] == made[1]
