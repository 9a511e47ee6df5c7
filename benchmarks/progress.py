"""How a run gets on, for whoever watches it: bars on a terminal, a line for each item, failures alone, or JSON.

    with make_progress("auto", plan) as shown:
        for item, result, how in execute(plan, store, shown.progress):
            shown.done(item, result, how)

JSON is one object a line, with these keys; seconds are floats, what is not known yet is null:

    event            "start", "progress", "done" or "close"
    done, total      items that have come to an end, and all of them
    failed           items that failed, or of which a metric did
    eta              seconds to the end of the run
    items            (start) list of {hash, variant, clip}
    hash, variant, clip  (progress, done) the item
    share            (progress) finished share of its upscaling, 0..1; told at every hundredth
    eta_variant      (progress, done) seconds to the end of the variant
    how              (done) as of `execute`: "run", "rescored", "reused" or "kept"
    status, message  (done) the result's; the message is null where all went well
    failures         (done) a sentence for each failure
    seconds          (done) that the item took, scoring and all; (close) that the run took
"""
from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from patchvsr.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from benchmarks.plan import Plan, WorkItem
    from benchmarks.store import Result

MODES = ("auto", "live", "plain", "quiet", "json")
"""`auto` is `live` on a terminal and `plain` elsewhere."""

Clock = Callable[[], float]


class Eta:
    """Counts a plan's items and estimates the time of those to come.

    A variant's time is taken as proportional to the pixels that it makes. It is known once an item of it has run well
    here; in the time of the whole run, the rate of all measured items stands in until then. Items kept from an earlier
    run, taken from another one or failed say nothing about time; those only scored again count where none has run.
    As many items as were at hand when progress was last told of are taken to run side by side to the end.

    Args:
        plan: what is run.
        clock: seconds of a clock that never jumps.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._clock = clock
        self._total = Counter(item.variant.text for item in plan.items)
        self._done: Counter[str] = Counter()
        self._pixels_left = dict.fromkeys(self._total, 0.0)
        for item in plan.items:
            self._pixels_left[item.variant.text] += _pixels(item)
        self._measured: dict[str, dict[str, tuple[float, float]]] = {"run": {}, "rescored": {}}
        self._at_hand: dict[str, tuple[WorkItem, float, float]] = {}
        self._side_by_side = 1

    def progress(self, item: WorkItem, share: float) -> None:
        """An item is begun (share 0), or so much of it is finished. A share of 0 begins it anew."""
        begun = self._begun(item)
        self._at_hand[item.hash] = item, self._clock() if share == 0 or begun is None else begun, share
        self._side_by_side = len(self._at_hand)

    def done(self, item: WorkItem, result: Result, how: str) -> float | None:
        """The seconds that an item took since it was begun, None if nobody told that it was."""
        begun = self._begun(item)
        seconds = None if begun is None else self._clock() - begun
        variant = item.variant.text
        self._at_hand.pop(item.hash, None)
        self._done[variant] += 1
        self._pixels_left[variant] -= _pixels(item)
        if seconds is not None and result.status == "ok" and how in self._measured:
            before, pixels = self._measured[how].get(variant, (0.0, 0.0))
            self._measured[how][variant] = before + seconds, pixels + _pixels(item)
        return seconds

    def total(self, variant: str | None = None) -> int:
        """Items of a variant, or all."""
        return self._total.total() if variant is None else self._total[variant]

    def finished(self, variant: str | None = None) -> int:
        """Those of them that have come to an end."""
        return self._done.total() if variant is None else self._done[variant]

    def share(self, variant: str | None = None) -> float:
        """Finished shares, 0..1 each, of those of them that are at hand, in all."""
        return sum((share for item, _, share in self._at_hand.values() if variant in (None, item.variant.text)), 0.0)

    def seconds(self, variant: str | None = None) -> float | None:
        """Seconds until the last of them is done; None where no item says how long one takes."""
        other, left = (self._rate(None) if variant is None else None), 0.0
        for name in self._total if variant is None else [variant]:
            if self._done[name] == self._total[name]:
                continue
            rate = self._rate(name)
            rate = other if rate is None else rate
            if rate is None:
                return None
            at_hand = [one for one in self._at_hand.values() if one[0].variant.text == name]
            left += rate * (self._pixels_left[name] - sum(share * _pixels(item) for item, _, share in at_hand))
        return max(0.0, left) / self._side_by_side  # sums of floats may end a little below 0

    def _begun(self, item: WorkItem) -> float | None:
        return self._at_hand[item.hash][1] if item.hash in self._at_hand else None

    def _rate(self, variant: str | None) -> float | None:
        """Seconds a pixel, of items that ran, or else of items that were scored again."""
        for sums in self._measured.values():
            known = list(sums.values()) if variant is None else [sums[variant]] if variant in sums else []
            if known:
                return sum(seconds for seconds, _ in known) / sum(pixels for _, pixels in known)
        return None


def _pixels(item: WorkItem) -> float:
    height, width = item.clip.size
    return float(height * width * item.clip.frames)


def duration(seconds: float) -> str:
    """Seconds as a person says them: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class Progress:
    """Keeps count of a run and shows nothing; what shows it overrides the methods `on_...`.

    Args:
        stream: where to write.
        clock: seconds of a clock that never jumps.

    Attributes:
        failed: items that failed, or of which a metric did.
    """

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self.stream, self.clock = stream, clock

    def start(self, plan: Plan) -> None:
        """Begin to show a run of this plan."""
        self.plan = plan
        self.eta = Eta(plan, self.clock)
        self.failed = 0
        self._closed = False
        self.on_start()

    def progress(self, item: WorkItem, share: float) -> None:
        """An item is begun (share 0), or so much of its upscaling is finished."""
        self.eta.progress(item, share)
        self.on_progress(item, share)

    def done(self, item: WorkItem, result: Result, how: str) -> None:
        """An item has come to an end; `how` is what `execute` says."""
        from benchmarks.table import failures  # brings torch, which the names of the modes must not wait for

        seconds = self.eta.done(item, result, how)
        failed = failures(self.plan, {item.hash: result})
        self.failed += bool(failed)
        self.on_done(item, result, how, seconds, failed)

    def close(self) -> None:
        """Leave the stream as it is wanted by whoever writes next; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self.on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def on_start(self) -> None:
        """Show the plan."""

    def on_progress(self, item: WorkItem, share: float) -> None:
        """Show the item at hand."""

    def on_done(self, item: WorkItem, result: Result, how: str, seconds: float | None, failures: list[str]) -> None:
        """Show how an item ended. `seconds` is what it took, None if nothing says when it began."""

    def on_close(self) -> None:
        """Show nothing any more."""

    def print(self, line: str) -> None:
        """Write a line at once."""
        print(line, file=self.stream, flush=True)


def make_progress(mode: str, plan: Plan, stream: TextIO | None = None, clock: Clock = time.monotonic) -> Progress:
    """Begin to show a run; close it, or leave its `with`, at the end.

    Args:
        mode: one of `MODES`.
        plan: what will be run.
        stream: where to write (default: stdout for `json`, else stderr).
        clock: seconds of a clock that never jumps.

    Raises:
        UserError: an unknown mode.
    """
    if mode not in MODES:
        raise UserError(f"unknown progress '{mode}'; there are {', '.join(MODES)}")
    if stream is None:
        stream = sys.stdout if mode == "json" else sys.stderr
    if mode == "auto":
        mode = "live" if stream.isatty() else "plain"
    kinds: dict[str, type[Progress]] = {"live": Live, "plain": Plain, "quiet": Quiet, "json": Json}
    made = kinds[mode](stream, clock)
    made.start(plan)
    return made


class Quiet(Progress):
    """Failures, a line each."""

    def on_done(self, item: WorkItem, result: Result, how: str, seconds: float | None, failures: list[str]) -> None:
        """Write the failures."""
        for failure in failures:
            self.print(failure)


class Plain(Progress):
    """A line for each item as it ends, with the time that the others will take."""

    def on_done(self, item: WorkItem, result: Result, how: str, seconds: float | None, failures: list[str]) -> None:
        """Write the line, and the failures that it does not tell of."""
        left = self.eta.seconds()
        until = f"; {duration(left)} to go" if left else ""
        self.print(f"[{self.eta.finished()}/{self.eta.total()}] {line(result, how)}{until}")
        if result.status == "ok":
            for failure in failures:
                self.print(failure)


def line(result: Result, how: str) -> str:
    """What became of an item, in one line."""
    where = f"{result.variant} on {result.clip}"
    if result.status != "ok":
        again = "" if how == "run" else " (recorded by an earlier run; --retry-failed runs it again)"
        return f"{where}: {result.status}: {result.message}{again}"
    came = {
        "run": "done",
        "rescored": "scored the stored frames",
        "reused": "taken from another run's outputs",
        "kept": "kept from an earlier run",
    }
    took = {"seconds": "of upscaling", "program_seconds": "in its program"}
    times = [f", {result.measured[key]:.1f} s {what}" for key, what in took.items() if key in result.measured]
    return f"{where}: {came[how]}{''.join(times)}"


class Json(Progress):
    """Events for programs; the module's docstring lists their keys."""

    STEP = 0.01
    """Upscalers tell of every tile; shares closer to the last one than this are left out."""

    def on_start(self) -> None:
        """Write `start`."""
        self._began = self.clock()
        self._told: tuple[str, float] = "", 0.0
        items = [{"hash": one.hash, **_names(one)} for one in self.plan.items]
        self._write("start", items=items)

    def on_progress(self, item: WorkItem, share: float) -> None:
        """Write `progress`, if the share has grown enough."""
        last, told = self._told
        if item.hash != last or share == 0 or share - told >= self.STEP - 1e-9:
            self._told = item.hash, share
            self._write("progress", hash=item.hash, **_names(item), share=share, eta_variant=self._eta(item))

    def on_done(self, item: WorkItem, result: Result, how: str, seconds: float | None, failures: list[str]) -> None:
        """Write `done`."""
        self._write(
            "done", hash=item.hash, **_names(item), how=how, status=result.status, message=result.message,
            failures=failures, seconds=seconds, eta_variant=self._eta(item),
        )  # fmt: skip

    def on_close(self) -> None:
        """Write `close`."""
        self._write("close", seconds=self.clock() - self._began)

    def _eta(self, item: WorkItem) -> float | None:
        return self.eta.seconds(item.variant.text)

    def _write(self, event: str, **more: Any) -> None:
        known = {"event": event, "done": self.eta.finished(), "total": self.eta.total(), "failed": self.failed,
                 "eta": self.eta.seconds()}  # fmt: skip
        self.print(json.dumps({**known, **more}, ensure_ascii=False, allow_nan=False))


def _names(item: WorkItem) -> dict[str, str]:
    return {"variant": item.variant.text, "clip": item.clip.clip.name}


class Live(Progress):
    """A bar for each variant and one for all, with the item at hand, the time to go and the failures so far."""

    PAUSE = 0.25
    """Seconds between two drawings, at least. Nothing draws by itself: a thread would disturb what is measured."""

    def on_start(self) -> None:
        """Draw the bars."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        fields = [TextColumn(f"{{task.fields[{field}]}}", markup=False) for field in ("count", "left", "note")]
        columns = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), *fields]
        self._bars: Bars = Bars(
            *columns,
            console=Console(file=self.stream),
            auto_refresh=False,
            get_time=self.clock,
            redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere must get there
        )
        self._rows: dict[str | None, TaskID] = {
            name: self._bars.add_task(name or "all", total=self.eta.total(name), count="", left="", note="")
            for name in [*(variant.text for variant in self.plan.variants), None]
        }
        self._failures = dict.fromkeys(self._rows, 0)
        self._bars.start()
        self._draw()

    def on_progress(self, item: WorkItem, share: float) -> None:
        """Draw the item at hand, unless that was done a moment ago."""
        if share == 0 or self._is_time():
            self._draw(item.variant.text, f"{item.clip.clip.name} {100 * share:.0f} %")

    def on_done(self, item: WorkItem, result: Result, how: str, seconds: float | None, failures: list[str]) -> None:
        """Write the failures above the bars, and draw these."""
        for failure in failures:
            self._bars.console.print(failure, markup=False, highlight=False, soft_wrap=True)
        for name in (item.variant.text, None):
            self._failures[name] += bool(failures)
        if self._is_time():  # else the next item or the end draws it
            self._draw()

    def on_close(self) -> None:
        """Leave the bars as they are at the end."""
        self._draw()
        self._bars.stop()

    def _is_time(self) -> bool:
        return self.clock() - self._drawn >= self.PAUSE

    def _draw(self, variant: str = "", at_hand: str = "") -> None:
        for name, row in self._rows.items():
            left = self.eta.seconds(name)
            notes = f"{self._failures[name]} failed" if self._failures[name] else "", at_hand if name == variant else ""
            self._bars.update(
                row,
                completed=self.eta.finished(name) + self.eta.share(name),
                count=f"{self.eta.finished(name)}/{self.eta.total(name)}",
                left=f"{duration(left)} to go" if left else "",
                note="  ".join(filter(None, notes)),
            )
        self._bars.refresh()
        self._drawn = self.clock()
