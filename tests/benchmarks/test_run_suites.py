"""Suites through `python -m benchmarks.run`: their metrics and input by default, and what is asked for instead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import plan, run
from benchmarks.metrics import Measurement, Metric, Sample, metrics
from benchmarks.metrics.stream import FrameMetric, Instant
from benchmarks.plan import DEFAULT_METRICS, FULL_REFERENCE
from benchmarks.suites import suites
from patchvsr.degradation import degradations
from patchvsr.errors import UserError
from patchvsr.video import frames_sha256, write_png_folder
from tests.benchmarks.dummies import Dummy, items, table
from tests.benchmarks.replicas import as_yaml, break_png, build, known, lowered, names, picture, replica, shrunk, truth

pytestmark = pytest.mark.usefixtures("parts")

Bench = Callable[..., int]


class Learned(Metric):
    """Needs weights, which `fetched` says are there."""

    id, fetches = "learned", ("half-one", "half-two")
    fetched: list[str] = []

    def identity(self) -> str:
        return "learned v1"

    def available(self) -> str | None:
        absent = [name for name in self.fetches if name not in Learned.fetched]
        return f"patchvsr weights fetch {' '.join(absent)}" if absent else None

    def measure(self, sample: Sample) -> Measurement:
        return Measurement(1.5)


@pytest.fixture(autouse=True)
def no_fetching(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fetches fails the test."""

    def refuse(name: str, *more: object) -> None:
        raise AssertionError(f"{name} is fetched")

    monkeypatch.setattr(plan.weights, "fetch", refuse)
    monkeypatch.setitem(metrics._entries, "learned", Learned)
    monkeypatch.setattr(Learned, "fetched", [])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs a replica that stands for the suite of its name, on its first clip unless told otherwise."""

    def call(
        name: str, *more: str, variants: str = "bicubic", lq: bool = True, clips: str = "", **changes: object
    ) -> int:
        root = tmp_path / "data"
        if not root.exists():
            (tmp_path / "suites").mkdir()
            suite = as_yaml(replica(name, root, lq=lq), tmp_path / "suites", **changes)
            monkeypatch.setitem(suites._entries, name, suite)
        words = ["--suite", name, "--data-root", str(root), "--variants", variants, "--out", str(tmp_path / "run")]
        return run.main([*words, "--clips", clips or names(known(name))[0], "--no-mlflow", *more])

    return call


def statuses(root: Path) -> dict[str, str]:
    return {row["metric"]: row["status"] for row in table(root, "records.csv")}


@pytest.mark.parametrize("name", ["reds4", "vid4", "udm10", "spmcs", "videolq"])
def test_a_suite_is_scored_by_its_own_metrics(tmp_path: Path, bench: Bench, name: str) -> None:
    frames = {metric: [0, 2] for metric in known(name).metric_frames}
    assert bench(name, metric_frames=frames or None) == 0
    rows = table(tmp_path, "records.csv")
    assert [row["metric"] for row in rows] == list(known(name).metrics)
    assert {row["suite"] for row in rows} == {name}
    for row in rows:
        assert (row["status"] == "ok") == bool(row["value"]) and row["status"] in ("ok", "unavailable")
    scored = {row["metric"] for row in rows if row["value"]}
    assert {"warp", "seconds"} <= scored
    assert {"psnr", "ssim"} <= scored or {"psnr_y", "ssim_y"} <= scored or name == "videolq"


def test_every_clip_of_a_suite_is_in_its_mean(tmp_path: Path, bench: Bench) -> None:
    assert bench("reds4", "--metrics", "psnr", clips="000,011,015,020") == 0
    (summary,) = table(tmp_path, "summary.csv")
    values = [float(row["value"]) for row in table(tmp_path, "records.csv")]
    assert summary["clips"] == "4/4" and float(summary["value"]) == pytest.approx(sum(values) / 4) and len(values) == 4


def test_the_input_is_the_one_of_the_data_root_or_else_made(tmp_path: Path, bench: Bench) -> None:
    assert bench("vid4_bd", "--metrics", "psnr_y", lq=False) == 0
    (clip,) = json.loads((tmp_path / "run" / "run.json").read_text())["clips"]
    assert clip["degradation"] == degradations.get("bd").identity and clip["output"] == [32, 48]
    assert clip["lq_sha256"] == frames_sha256(lowered(picture(3, 32, 48), 4, "bd"))


def test_metrics_of_the_users_choice(tmp_path: Path, bench: Bench) -> None:
    assert bench("reds4", "--metrics", "psnr_y,ssim_y") == 0
    assert statuses(tmp_path) == {"psnr_y": "ok", "ssim_y": "ok"}
    assert bench("reds4", "--metrics", "default") == 0
    assert list(statuses(tmp_path)) == DEFAULT_METRICS
    assert bench("reds4", "--metrics", "full-reference,psnr,flicker") == 0
    assert list(statuses(tmp_path)) == [*FULL_REFERENCE, "flicker"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--metrics", "psnrr"), "unknown metrics 'psnrr'; did you mean 'psnr'"),
        (("--metrics", "psnr,psnr"), "metric 'psnr' is named twice"),
        (("--degradation", "blur"), "unknown degradation 'blur'"),
        (("--frames", "4"), "'000' has 3 frames"),
        (("--scale", "3"), "do not fit scale 3"),
        (("--gt", "gt"), "a suite brings its own ground truth"),
    ],
)
def test_wrong_requests_get_a_sentence(
    tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert bench("reds4", *more) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_without_a_data_root_a_run_says_how_to_get_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--suite", "udm10", "--variants", "bicubic"]) == 2
    assert "`python -m benchmarks.data list udm10`" in capsys.readouterr().err


def test_another_degradation_makes_other_items(tmp_path: Path, bench: Bench) -> None:
    assert bench("reds4", "--metrics", "psnr") == 0
    (first,) = items(tmp_path).values()
    assert bench("reds4", "--metrics", "psnr", "--degradation", "bd") == 0
    (second,) = items(tmp_path).values()
    assert first["key"]["clip"]["degradation"] is None
    assert second["key"]["clip"]["degradation"] == degradations.get("bd").identity
    assert second["key"]["clip"]["lq_sha256"] == frames_sha256(lowered(truth(shrunk(known("reds4")), 0), 4, "bd"))
    assert second["scores"]["psnr"]["value"] != first["scores"]["psnr"]["value"]


def test_a_suite_without_ground_truth_cannot_be_degraded(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("videolq", "--degradation", "bd", "--metrics", "flicker") == 2
    assert "'videolq' has no ground truth that could be degraded" in capsys.readouterr().err


def test_ground_truth_and_a_degradation_are_enough(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(data / "lq")
    words = ["--gt", str(data / "gt"), "--variants", "bicubic", "--metrics", "psnr", "--out", str(data / "run")]
    words.append("--no-mlflow")
    assert run.main(words) == 2
    assert "--gt DIR with --degradation NAME" in capsys.readouterr().err
    assert run.main([*words, "--degradation", "bicubic"]) == 0
    clips = json.loads((data / "run" / "run.json").read_text())["clips"]
    assert [clip["name"] for clip in clips] == ["a", "b"] and {clip["scale"] for clip in clips} == {4.0}
    assert clips[0]["lq_sha256"] == frames_sha256(lowered(picture(3, 16, 24), 4))
    assert run.main([*words, "--degradation", "bicubic", "--lq", str(data / "gt")]) == 2
    assert "leave out one of --lq and --degradation" in capsys.readouterr().err


def test_metrics_that_cannot_run_are_recorded_with_what_makes_them_run(
    tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("reds4", metrics="psnr learned absent") == 0
    assert statuses(tmp_path) == {"psnr": "ok", "learned": "unavailable", "absent": "unavailable"}
    shown = capsys.readouterr()
    assert "- learned: " in shown.out and "patchvsr weights fetch half-one half-two" in shown.out
    assert "pip install nothing" in shown.out and "failed" not in shown.err
    by_metric = {row["metric"]: row for row in table(tmp_path, "summary.csv")}
    assert by_metric["learned"]["value"] == "" and by_metric["learned"]["status"].startswith("partial: 000 unavail")


def test_weights_are_fetched_when_asked_for_and_the_stored_frames_scored(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench("reds4", metrics="psnr learned", variants="dummy") == 0
    calls = list(Dummy.calls)
    monkeypatch.setattr(plan.weights, "fetch", lambda name: Learned.fetched.append(name))
    assert bench("reds4", "--metrics", "psnr", "--fetch", variants="dummy") == 0
    assert Learned.fetched == [], "only what the chosen metrics need"
    assert bench("reds4", "--fetch", variants="dummy") == 0
    assert Learned.fetched == ["half-one", "half-two"] and Dummy.calls == calls == [("000", 0)]
    assert statuses(tmp_path) == {"psnr": "ok", "learned": "ok"}


def test_weights_that_cannot_be_fetched_stop_the_run(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> None:
        raise UserError(f"{name} cannot be fetched; try again")

    monkeypatch.setattr(plan.weights, "fetch", fail)
    assert bench("reds4", "--metrics", "learned", "--fetch") == 2
    assert "half-one cannot be fetched" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_real_metrics_without_their_weights_are_never_dropped(tmp_path: Path, bench: Bench) -> None:
    absent = [name for name in known("reds4").metrics if metrics.get(name)().available() is not None]
    assert "lpips" in absent, "the cache of this test is empty"
    assert bench("reds4") == 0
    found = statuses(tmp_path)
    assert list(found) == list(known("reds4").metrics)
    assert {name for name, status in found.items() if status != "ok"} == {*absent, "tof"}, "tof wants larger frames"


def test_a_damaged_frame_stops_the_run_and_finished_items_stay(
    tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("vid4", "--metrics", "psnr") == 0
    before = items(tmp_path)
    damaged = break_png(tmp_path / "data" / "Vid4/GT/walk/00000001.png")
    assert bench("vid4", "--metrics", "psnr,ssim", clips="calendar,walk") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"image {damaged} cannot be read" in error and "clip 'walk'" in error
    assert items(tmp_path) == before and [row["clip"] for row in table(tmp_path, "records.csv")] == ["calendar"]


def test_the_ground_truth_of_another_clip_stops_the_run(
    tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("vid4", "--metrics", "psnr") == 0
    write_png_folder(picture(3, 32, 48, seed=50), tmp_path / "data" / "Vid4/GT/calendar")
    assert bench("vid4", "--metrics", "psnr") == 2
    assert "clip 'calendar': the ground truth does not show what the input shows" in capsys.readouterr().err


def test_videolq_scores_the_frames_of_its_protocol(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scored: list[int] = []

    class Seen(FrameMetric):
        """Notes which frames it is shown."""

        id = "niqe"

        def value(self, instant: Instant) -> float:
            scored.append(instant.index)
            return float(instant.index)

    monkeypatch.setitem(metrics._entries, "niqe", Seen)
    long = shrunk(known("videolq"), frames=100)
    monkeypatch.setitem(suites._entries, "videolq", as_yaml(long, tmp_path, clips=[{"name": "007"}]))
    write_png_folder(picture(100, 8, 8), tmp_path / "data" / "VideoLQ" / "007")
    assert bench("videolq", "--metrics", "niqe,flicker", clips="007") == 0
    assert scored == [0, 50, 99]
    (item,) = items(tmp_path).values()
    assert item["scores"]["niqe"]["per_frame"] == [0.0, 50.0, 99.0]
    assert len(item["scores"]["flicker"]["per_frame"]) == 99
    before = table(tmp_path, "records.csv")
    assert bench("videolq", "--frames", "60", "--metrics", "niqe,flicker", clips="007") == 2
    assert "'niqe' scores frames 0 50 99 by this suite's protocol and 60 of clip '007'" in capsys.readouterr().err
    assert table(tmp_path, "records.csv") == before


def test_our_own_layout_is_run_like_the_official_one(tmp_path: Path, bench: Bench) -> None:
    assert bench("vid4", "--metrics", "psnr_y") == 0
    official = table(tmp_path, "records.csv")
    shutil.rmtree(tmp_path / "data")
    build(shrunk(known("vid4")), tmp_path / "data")
    assert bench("vid4", "--metrics", "psnr_y") == 0
    assert table(tmp_path, "records.csv") == official
