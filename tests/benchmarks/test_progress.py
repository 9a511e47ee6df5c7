"""How a run is shown: estimates of time on a clock that the test turns, and what each mode tells of the same events."""
from __future__ import annotations

import io
import json
from types import SimpleNamespace as Fake

import pytest

from benchmarks.progress import MODES, Eta, Json, Live, Plain, Quiet, duration, line, make_progress
from benchmarks.store import Result, Score
from patchvsr.errors import UserError


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make_plan(frames=(1, 1, 3), variants=("slow", "quick"), metrics=("psnr",)):
    """Each variant on clips a, b, c of so many frames."""
    kinds = [Fake(text=text) for text in variants]
    clips = [Fake(clip=Fake(name=name), frames=n, size=(10, 20)) for name, n in zip("abcdefgh", frames, strict=False)]
    items = [
        Fake(hash=f"{kind.text}-{clip.clip.name}", variant=kind, clip=clip) for kind in kinds for clip in clips
    ]
    return Fake(items=items, variants=kinds, clips=clips, metrics=dict.fromkeys(metrics))


def result_of(item, status="ok", message=None, metric="ok", seconds=1.25):
    score = Score(metric="psnr", identity="", unit="dB", status=metric, message=None if metric == "ok" else "no good")
    return Result(
        hash=item.hash, key={}, suite="s", clip=item.clip.clip.name, variant=item.variant.text, seed=0, weights="none",
        status=status, message=message, measured={"seconds": seconds} if status == "ok" else {},
        scores={"psnr": score} if status == "ok" else {},
    )  # fmt: skip


def play(shown, clock, item, seconds=1.0, how="run", **result):
    """One item from its beginning to its end."""
    shown.progress(item, 0.0)
    clock.now += seconds
    if how == "run":
        shown.progress(item, 1.0)
    shown.done(item, result_of(item, **result), how)


# Time to go


def test_nothing_is_known_before_an_item_is_done_and_all_of_it_after():
    clock, plan = Clock(), make_plan()
    eta, (a, b, c, *_) = Eta(plan, clock), plan.items
    eta.progress(a, 0.0)
    clock.now += 5
    eta.progress(a, 0.5)
    assert eta.seconds() is None and eta.seconds("slow") is None
    clock.now += 5
    assert eta.done(a, result_of(a), "run") == 10
    # b has as many pixels as a, and c three times as many; the other variant is guessed to be alike.
    assert eta.seconds("slow") == 40 and eta.seconds("quick") is None and eta.seconds() == 40 + 50
    eta.progress(b, 0.0)
    clock.now += 2
    eta.progress(b, 0.4)
    assert eta.seconds("slow") == pytest.approx(36) and eta.share("slow") == 0.4 and eta.share("quick") == 0
    clock.now += 4
    eta.done(b, result_of(b), "run")
    assert eta.seconds("slow") == pytest.approx(3 * 8)  # the mean of 10 and 6
    eta.progress(c, 0.0)
    eta.done(c, result_of(c), "run")
    assert eta.seconds("slow") == 0 and (eta.finished("slow"), eta.total("slow")) == (3, 3)
    assert (eta.finished(), eta.total()) == (3, 6)


def test_each_variant_has_its_own_time():
    clock, plan = Clock(), make_plan((1, 1))
    eta = Eta(plan, clock)
    for item, seconds in zip(plan.items, (100, 60, 2), strict=False):
        eta.progress(item, 0.0)
        clock.now += seconds
        eta.done(item, result_of(item), "run")
    assert eta.seconds("quick") == eta.seconds() == 2


@pytest.mark.parametrize(("how", "status"), [("kept", "ok"), ("reused", "ok"), ("run", "failed"), ("run", "oom")])
def test_what_did_not_run_well_says_nothing_about_time(how, status):
    clock, plan = Clock(), make_plan((1, 1, 1), ("slow",))
    eta, (a, b, _) = Eta(plan, clock), plan.items
    for item, came, state in ((a, how, status), (b, "run", "ok")):
        assert eta.seconds() is None
        eta.progress(item, 0.0)
        clock.now += 0.1 if item is a else 10
        eta.done(item, result_of(item, state), came)
    assert eta.seconds() == pytest.approx(10)


def test_scoring_again_counts_until_an_item_has_run():
    clock, plan = Clock(), make_plan((1, 1, 1, 1), ("slow",))
    eta, (a, b, *_) = Eta(plan, clock), plan.items
    for item, how, seconds, left in ((a, "rescored", 2, 6), (b, "run", 20, 40)):
        eta.progress(item, 0.0)
        clock.now += seconds
        eta.done(item, result_of(item), how)
        assert eta.seconds() == pytest.approx(left)


def test_an_item_that_another_process_held_is_timed_from_its_second_beginning():
    clock, plan = Clock(), make_plan((1, 1), ("slow",))
    eta, (a, b) = Eta(plan, clock), plan.items
    eta.progress(a, 0.0)
    clock.now += 100
    eta.progress(b, 0.0)
    clock.now += 3
    eta.done(b, result_of(b), "run")
    eta.progress(a, 0.0)
    clock.now += 4
    assert eta.seconds() == pytest.approx(3)
    assert eta.done(a, result_of(a), "run") == 4


def test_an_item_of_which_no_beginning_was_told_has_no_time():
    plan = make_plan((1, 1), ("slow",))
    eta = Eta(plan, Clock())
    assert eta.done(plan.items[0], result_of(plan.items[0]), "run") is None and eta.seconds() is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3540, "59 min"), (3599, "1 h 00 min"), (11100, "3 h 05 min")],
)
def test_durations_are_said_as_a_person_would(seconds, said):
    assert duration(seconds) == said


# What is shown


def shown_in(mode, stream=None, **plan):
    clock, stream = Clock(), stream or io.StringIO()
    planned = make_plan(**plan)
    return make_progress(mode, planned, stream, clock), clock, planned.items, stream


def test_the_mode_follows_the_stream(capsys):
    kinds = {"live": Live, "plain": Plain, "quiet": Quiet, "json": Json}
    for mode in MODES[1:]:
        shown, *_ = shown_in(mode)
        assert type(shown) is kinds[mode]
        shown.close()
    assert type(shown_in("auto")[0]) is Plain
    shown, *_ = shown_in("auto", Terminal())
    assert type(shown) is Live
    shown.close()
    with make_progress("json", make_plan()), make_progress("quiet", make_plan()) as quiet:
        quiet.print("here")
    assert capsys.readouterr().err == "here\n"
    with pytest.raises(UserError, match="unknown progress 'loud'; there are auto, live"):
        make_progress("loud", make_plan())


def test_plain_is_a_line_for_each_item_with_the_time_to_go():
    shown, clock, (a, b, c, *rest), stream = shown_in("plain")
    with shown:
        play(shown, clock, a, 0.01, how="kept")
        play(shown, clock, b, 60)
        play(shown, clock, c, 180, how="run", metric="failed")
        for item in rest:
            play(shown, clock, item, 1)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[1/6] slow on a: kept from an earlier run, 1.2 s of upscaling"
    assert lines[1] == "[2/6] slow on b: done, 1.2 s of upscaling; 8 min to go"
    assert lines[3] == "slow on c, metric psnr: failed: no good"
    assert lines[-1] == "[6/6] quick on c: done, 1.2 s of upscaling" and len(lines) == 7


def test_lines_say_how_a_result_came():
    item = make_plan().items[0]
    assert line(result_of(item), "reused").startswith("slow on a: taken from another run's outputs")
    assert line(result_of(item), "rescored").startswith("slow on a: scored the stored frames")
    assert line(result_of(item, "failed", "why"), "run") == "slow on a: failed: why"
    assert "--retry-failed" in line(result_of(item, "failed", "why"), "kept")


def test_quiet_says_nothing_when_all_is_well():
    shown, clock, items, stream = shown_in("quiet")
    with shown:
        for item in items:
            play(shown, clock, item)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_failure_is_shown_in_every_mode_once(mode, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown, clock, (a, b, c, *_), stream = shown_in(mode, Terminal() if terminal else None)
    with shown:
        play(shown, clock, a, status="failed", message="it [red]broke[/red]")
        play(shown, clock, b, metric="oom")
        play(shown, clock, c)
    assert shown.failed == 2
    text = stream.getvalue()
    assert text.count("slow on a: failed: it [red]broke[/red]") == 1
    assert text.count("slow on b, metric psnr: oom: no good") == 1
    if mode == "live":
        assert "2 failed" in text


def test_json_is_one_object_a_line_with_the_documented_keys():
    shown, clock, (a, b, *_), stream = shown_in("json", frames=(1, 1))
    with shown:
        shown.progress(a, 0.0)
        for share in range(1000):
            shown.progress(a, (share + 1) / 1000)
        clock.now += 10
        shown.done(a, result_of(a), "run")
        play(shown, clock, b, 3, status="oom", message="too much")
    events = [json.loads(text) for text in stream.getvalue().splitlines()]
    known = {"event", "done", "total", "failed", "eta"}
    item = known | {"hash", "variant", "clip", "eta_variant"}
    keys = {
        "start": known | {"items"},
        "progress": item | {"share"},
        "done": item | {"how", "status", "message", "failures", "seconds"},
        "close": known | {"seconds"},
    }
    for event in events:
        assert event.keys() == keys[event["event"]]
    assert events[0]["items"][0] == {"hash": "slow-a", "variant": "slow", "clip": "a"} and events[0]["eta"] is None
    assert sum(event["event"] == "progress" for event in events) == 101 + 2
    first, second = (event for event in events if event["event"] == "done")
    assert first["seconds"] == 10 and first["eta_variant"] == 10 and first["eta"] == 30 and first["message"] is None
    assert second["failures"] == ["slow on b: oom: too much"] and second["failed"] == 1 and second["status"] == "oom"
    assert events[-1] == {"event": "close", "done": 2, "total": 4, "failed": 1, "eta": 20.0, "seconds": 13.0}


def test_live_draws_each_variant_and_the_item_at_hand(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown, clock, (a, b, *_), stream = shown_in("live", Terminal(), variants=("slow[b]", "quick"))
    with shown:
        play(shown, clock, a, 60)
        shown.progress(b, 0.0)
        stream.truncate(0)
        for share in (0.21, 0.22, 0.23):
            shown.progress(b, share)
        assert stream.getvalue() == ""  # a moment has not passed
        clock.now += 1
        shown.progress(b, 0.25)
        text = stream.getvalue()
        for words in ("slow[b]", "1/3", "b 25 %", "4 min to go", "quick", "0/3", "all", "1/6", "9 min to go"):
            assert words in text, words
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is back
    stream.truncate(0)
    shown.close()
    assert stream.getvalue() == ""


def test_what_is_printed_meanwhile_stays_on_a_stdout_that_is_no_terminal(capsys):
    shown, _, _, stream = shown_in("live", Terminal())
    with shown:
        print("a table")
    assert capsys.readouterr().out == "a table\n" and "a table" not in stream.getvalue()
