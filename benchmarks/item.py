"""One work item: upscaled, written, scored and recorded, or scored again from the frames that are there."""
from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.disk import Unwritable, stop_if_full, writing
from benchmarks.frames import FloatFrames, Frames, stored
from benchmarks.memory import PeakMemory
from benchmarks.metrics import Measurement, Metric, MetricUndefined, Sample
from benchmarks.metrics.scoring import score_all
from benchmarks.plan import Plan, WorkItem
from benchmarks.store import Output, Result, Score, Store
from patchvsr.degradation import quantise
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Cuts, Upscaler
from patchvsr.video import FrameWriter, frames_sha256

STANDARD_TILE = 256
"""Side, in output pixels, of the disjoint tiles on whose lines an untiled output is scored."""

OutOfMemory = (MemoryError, torch.OutOfMemoryError)


Progress = Callable[[WorkItem, float], None]
"""Told the finished share, 0..1, of an item's upscaling; 0 when the item is begun."""


def warm_up(chosen: dict[str, Metric]) -> None:
    """Score a tiny sample and forget it, so that the metrics' packages and networks are in memory from the first item.

    Loaded in between, they would count for the peak memory of the second item but not for the first's.
    """
    noise = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sample = Sample(noise, noise.flip(0), noise[..., ::2, ::2].contiguous(), 2.0, Cuts((32,), (32,)), {"seconds": 1.0})
    score_all({name: metric for name, metric in chosen.items() if metric.available() is None}, sample)


def rescore(result: Result, item: WorkItem, plan: Plan, store: Store) -> str:
    """Score the metrics that a stored result lacks. `lost` means that its frames are no longer the recorded ones."""
    wanted = missing_metrics(result, plan)
    if not wanted:
        return "kept"
    assert result.output is not None
    try:
        frames = stored(store.root / result.output.path)
        if frames_sha256(frames) != result.output.sha256:
            return "lost"
    except UserError:
        return "lost"
    result.scores.update(_score_all(wanted, frames, result, item))
    store.save(result)
    return "rescored"


def missing_metrics(result: Result, plan: Plan) -> dict[str, Metric]:
    """The plan's metrics that a stored result does not answer for."""
    return {name: metric for name, metric in plan.metrics.items() if not _is_final(result.scores.get(name), metric)}


@lru_cache(maxsize=256)
def _identity(metric: Metric) -> str:
    """Asked for at every stored item, and slow: it looks packages up."""
    return metric.identity()


def _is_final(score: Score | None, metric: Metric) -> bool:
    """Whether a stored score answers for this metric: same identity, and trying again would change nothing."""
    if score is None or score.identity != _identity(metric):
        return False
    return score.status in ("ok", "undefined") or (score.status == "unavailable" and metric.available() is not None)


def result_of(item: WorkItem, status: str = "ok", message: str | None = None) -> Result:
    """What is recorded of an item before anything is known of its output; in full, where it failed elsewhere."""
    return Result(
        hash=item.hash,
        key=item.key,
        suite=item.clip.clip.suite,
        clip=item.clip.clip.name,
        variant=item.variant.text,
        seed=item.seed,
        weights=item.variant.weights.status,
        status=status,
        message=message,
    )


def make(item: WorkItem, upscaler: Upscaler, plan: Plan, store: Store, progress: Progress) -> Result:
    """Upscale, write, score and record one item; whatever interrupts it leaves neither record nor frames."""
    folder = store.root / item.output
    store.make_room(item.hash, folder)
    unfinished = store.unfinished(folder)
    result = result_of(item)
    try:
        _upscale(item, upscaler, plan, unfinished, result, progress)
        if result.status == "ok":
            store.publish(unfinished, folder)
            result.scores = _score_all(plan.metrics, stored(folder), result, item)
        else:
            store.discard(unfinished)
        store.save(result)
    except BaseException:
        store.discard(unfinished)
        store.discard(folder)
        raise
    return result


def _upscale(
    item: WorkItem, upscaler: Upscaler, plan: Plan, folder: Path, result: Result, progress: Progress
) -> None:
    """Fill the result's output, cuts and measurements, or its failure."""
    try:
        clip = Clip(item.clip.clip.name, FloatFrames(item.clip.clip.lq()), item.clip.clip.caption)
        memory = PeakMemory(plan.device.type)
        with _frame_writer(folder) as writer:
            seconds = _write_all(item, upscaler, clip, writer, progress)
            known = upscaler.measured
            result.measured = {"seconds": seconds, **memory.read()} if known is None else known
            height, width = item.clip.size
            cuts = upscaler.cuts(height, width, item.clip.frames) or standard_cuts(height, width)
            result.cuts = {"rows": list(cuts.rows), "columns": list(cuts.columns), "frames": list(cuts.frames)}
        result.output = Output(
            path=item.output.as_posix(), width=width, height=height, frames=writer.frames, sha256=writer.sha256
        )
    except Unwritable:
        raise
    except Exception as error:  # any failure of a method under test is a result, not the end of the run
        stop_if_full(error, Path(tempfile.gettempdir()))
        result.status = "oom" if isinstance(error, OutOfMemory) else "failed"
        result.message, result.traceback = _sentence(error), "".join(traceback.format_exception(error))
    result.log, result.note = upscaler.log or None, upscaler.note or None


@contextmanager
def _frame_writer(folder: Path) -> Iterator[FrameWriter]:
    """A writer whose own troubles are those of the run directory, and not of the method under test."""
    writer = FrameWriter(folder)
    with writing(folder.parent):
        try:
            writer.__enter__()
        except UserError as error:
            raise (error.__cause__ if isinstance(error.__cause__, OSError) else error) from None
    try:
        yield writer
    except BaseException as error:
        writer.__exit__(type(error), error, error.__traceback__)
        raise
    with writing(folder.parent):
        writer.__exit__(None, None, None)


def _write_all(item: WorkItem, upscaler: Upscaler, clip: Clip, writer: FrameWriter, progress: Progress) -> float:
    """Write every chunk after checking its size; the seconds that the upscaler alone took."""
    expected = (3, *item.clip.size)
    seconds, start = 0.0, time.perf_counter()
    for chunk in upscaler.upscale(clip, item.clip.clip.scale, item.seed, lambda share: progress(item, share)):
        seconds += time.perf_counter() - start
        if tuple(chunk.shape[1:]) != expected:
            raise UserError(f"the output is {_size(chunk)}, not {expected[2]}x{expected[1]} in 3 channels")
        frames = quantise(chunk)
        with writing(writer.folder.parent):
            writer.write(frames)
        start = time.perf_counter()
    seconds += time.perf_counter() - start
    if writer.frames != item.clip.frames:
        raise UserError(f"the output has {writer.frames} frames, not {item.clip.frames}")
    return seconds


def _size(chunk: Tensor) -> str:
    if chunk.ndim != 4:
        return f"a tensor of shape {tuple(chunk.shape)}"
    return f"{chunk.shape[3]}x{chunk.shape[2]} in {chunk.shape[1]} channels"


def standard_cuts(height: int, width: int) -> Cuts:
    """The lines of disjoint 256-pixel tiles: where outputs that were not tiled are scored, as the null."""
    return Cuts(tuple(range(STANDARD_TILE, height, STANDARD_TILE)), tuple(range(STANDARD_TILE, width, STANDARD_TILE)))


def _score_all(chosen: dict[str, Metric], frames: Frames, result: Result, item: WorkItem) -> dict[str, Score]:
    """Score one output: every metric that can run here, in one pass over the frames, and why the others cannot."""
    assert result.cuts is not None
    clip = item.clip.clip
    sample = Sample(
        output=frames,
        target=clip.gt(),
        lq=clip.lq(),
        scale=clip.scale,
        cuts=Cuts(*(tuple(result.cuts[axis]) for axis in ("rows", "columns", "frames"))),
        measured=dict(result.measured),
    )
    answers: dict[str, Measurement | Exception] = {}
    runnable: dict[str, Metric] = {}
    unavailable: dict[str, str] = {}
    for name, metric in chosen.items():
        if metric.needs_target and sample.target is None:
            answers[name] = MetricUndefined("the clip has no ground truth")
        elif (command := metric.available()) is not None:
            unavailable[name] = f"cannot run here; to make it run: {command}"
        else:
            runnable[name] = metric
    answers |= score_all(runnable, sample)
    for answer in answers.values():
        if isinstance(answer, Exception):
            stop_if_full(answer, Path(tempfile.gettempdir()))
    return {
        name: _score(name, metric, unavailable[name] if name in unavailable else answers[name])
        for name, metric in chosen.items()
    }


def _score(name: str, metric: Metric, answer: Measurement | Exception | str) -> Score:
    """What is recorded of a metric's answer; a string says why it is unavailable."""
    known: dict[str, Any] = {"metric": name, "identity": metric.identity(), "unit": metric.unit}
    if isinstance(answer, str):
        return Score(status="unavailable", message=answer, **known)
    if isinstance(answer, MetricUndefined):
        return Score(status="undefined", message=str(answer), **known)
    if isinstance(answer, Exception):  # the others are still worth having; the run ends with exit code 1
        status = "oom" if isinstance(answer, OutOfMemory) else "failed"
        return Score(status=status, message=_sentence(answer), **known)
    return Score(status="ok", value=answer.value, per_frame=answer.per_frame, **known)


def _sentence(error: BaseException) -> str:
    """A failure in one line: a UserError's own sentence, else the kind of error and where it came from."""
    if isinstance(error, UserError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"
