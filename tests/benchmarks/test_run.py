"""The harness end to end, on tiny clips with an upscaler and metrics made for the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.exchange import write_video
from benchmarks import run
from benchmarks.metrics import Measurement, Sample
from benchmarks.plan import DEFAULT_METRICS, slug
from patchvsr.video import frames_sha256, read_frames, write_png_folder
from tests.benchmarks.dummies import Dummy, Level, bench, csvs, header, items, table

RECORDS = ["suite", "clip", "variant", "seed", "metric", "value", "unit", "identity", "status"]
OUTPUTS = ["suite", "clip", "variant", "seed", "path", "width", "height", "frames", "sha256"]
SUMMARY = ["suite", "variant", "metric", "value", "clips", "unit", "identity", "status"]

pytestmark = pytest.mark.usefixtures("parts", "cache")


def test_a_run_writes_the_tables_of_the_protocol(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(data, "dummy,bicubic", "--seed", "7") == 0
    assert header(data, "records.csv") == RECORDS
    assert header(data, "outputs.csv") == OUTPUTS
    assert header(data, "summary.csv") == SUMMARY
    records = table(data, "records.csv")
    assert [(row["variant"], row["clip"], row["metric"]) for row in records] == [
        (variant, clip, metric) for variant in ("dummy", "bicubic") for clip in "ab" for metric in ("level", "error")
    ]
    assert {row["seed"] for row in records} == {"7"} and {row["status"] for row in records} == {"ok"}
    summary = {(row["variant"], row["metric"]): row for row in table(data, "summary.csv")}
    levels = [float(row["value"]) for row in records if (row["variant"], row["metric"]) == ("dummy", "level")]
    assert float(summary["dummy", "level"]["value"]) == pytest.approx(sum(levels) / 2)
    assert summary["dummy", "level"]["clips"] == "2/2" and summary["dummy", "level"]["status"] == "ok"
    shown = capsys.readouterr().out
    assert "level ↑" in shown and "error ↓" in shown and "12x8 to 24x16, 3 frames" in shown


def test_outputs_are_lossless_and_hashed(data: Path) -> None:
    assert bench(data, "dummy") == 0
    rows = table(data, "outputs.csv")
    assert [(row["width"], row["height"], row["frames"]) for row in rows] == [("24", "16", "3")] * 2
    for row in rows:
        stored = read_frames(data / "run" / row["path"])
        low = read_frames(data / "lq" / row["clip"])
        assert torch.equal(stored, low.repeat_interleave(2, 2).repeat_interleave(2, 3))
        assert row["sha256"] == frames_sha256(stored)


def test_run_json_holds_the_resolved_configuration(data: Path) -> None:
    assert bench(data, "dummy:gain=0.5") == 0
    described = json.loads((data / "run" / "run.json").read_text())
    assert described["argv"][:2] == ["--lq", str(data / "lq")]
    assert described["variants"][0]["describe"] == {"name": "dummy", "gain": "0.5"}
    assert described["variants"][0]["weights"] == {"status": "trained", "sha256": {"model": "ab" * 32}}
    assert described["metrics"] == {"level": "level v1", "error": "error v1"}
    assert [clip["name"] for clip in described["clips"]] == ["a", "b"]
    assert described["environment"]["packages"]["torch"] and "commit" in described["environment"]
    assert {entry["hash"] for entry in described["items"]} == {item["hash"] for item in items(data).values()}


def test_an_item_holds_every_metric_with_its_frames(data: Path) -> None:
    assert bench(data, "dummy", metrics="level,seconds,fps,peak_host_mib") == 0
    item = items(data)["dummy", "a"]
    assert set(item["scores"]) == {"level", "seconds", "fps", "peak_host_mib"}
    assert len(item["scores"]["level"]["per_frame"]) == 3
    assert item["measured"]["seconds"] > 0
    assert item["scores"]["fps"]["value"] == pytest.approx(3 / item["scores"]["seconds"]["value"])
    assert item["cuts"] == {"rows": [], "columns": [12], "frames": []}


def test_metrics_are_in_memory_before_the_first_item_is_measured(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []
    plain = Dummy.upscale

    def watched(self: Dummy, *arguments: Any) -> Iterator[Tensor]:
        scored.append(Level.calls)
        return plain(self, *arguments)

    monkeypatch.setattr(Dummy, "upscale", watched)
    assert bench(data, "dummy", metrics="level") == 0
    assert scored == [1, 2], "once for warming up, then once for each item"


def test_resume_runs_nothing_again_and_gives_identical_tables(data: Path) -> None:
    assert bench(data, "dummy,bicubic", metrics="level,error,cut") == 0
    first, calls, scored = csvs(data), list(Dummy.calls), Level.calls
    assert bench(data, "dummy,bicubic", metrics="level,error,cut") == 0
    assert csvs(data) == first
    assert Dummy.calls == calls == [("a", 0), ("b", 0)] and Level.calls == scored


def test_an_interrupted_run_goes_on_and_equals_an_uninterrupted_one(data: Path) -> None:
    assert bench(data, "dummy") == 0
    whole = csvs(data)
    next((data / "run" / "items").glob("*.json")).unlink()
    Dummy.calls.clear()
    assert bench(data, "dummy") == 0
    assert len(Dummy.calls) == 1 and csvs(data) == whole


def test_a_new_metric_is_scored_from_the_stored_frames(data: Path) -> None:
    assert bench(data, "dummy", metrics="level") == 0
    Dummy.calls.clear()
    assert bench(data, "dummy", metrics="level,cut") == 0
    assert Dummy.calls == []
    rows = {(row["clip"], row["metric"]): row["value"] for row in table(data, "records.csv")}
    assert rows["a", "cut"] == "12.0" and rows["a", "level"]


def test_a_metric_whose_identity_changed_is_scored_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench(data, "dummy", metrics="level") == 0
    monkeypatch.setattr(Level, "version", 2)
    monkeypatch.setattr(Level, "measure", lambda self, sample: Measurement(42.0))
    assert bench(data, "dummy", metrics="level") == 0
    assert {(row["value"], row["identity"]) for row in table(data, "records.csv")} == {("42.0", "level v2")}
    assert len(Dummy.calls) == 2


def test_frames_changed_on_disk_are_not_scored_but_made_again(data: Path) -> None:
    assert bench(data, "dummy", metrics="level") == 0
    before = csvs(data)["outputs.csv"]
    write_png_folder(torch.zeros(3, 3, 16, 24, dtype=torch.uint8), data / "run" / "outputs" / "dummy" / "a")
    Dummy.calls.clear()
    assert bench(data, "dummy", metrics="level,error") == 0
    assert Dummy.calls == [("a", 0)] and csvs(data)["outputs.csv"] == before


@pytest.mark.parametrize("change", [["--seed", "1"], ["--frames", "2"], ["--dtype", "float16"]])
def test_whatever_decides_the_result_makes_a_new_item(data: Path, change: list[str]) -> None:
    assert bench(data, "dummy") == 0
    Dummy.calls.clear()
    if "--frames" in change:
        for folder in data.glob("gt/*"):
            (folder / "00000002.png").unlink()
        for folder in data.glob("lq/*"):
            (folder / "00000002.png").unlink()
    assert bench(data, "dummy", *change) == 0
    assert len(Dummy.calls) == 2
    assert len(list((data / "run" / "items").glob("*.json"))) == 2, "the superseded items are gone with their frames"


def test_a_changed_input_frame_makes_a_new_item(data: Path) -> None:
    assert bench(data, "dummy") == 0
    Dummy.calls.clear()
    write_png_folder(torch.zeros(3, 3, 8, 12, dtype=torch.uint8), data / "lq" / "a")
    assert bench(data, "dummy") == 0
    assert Dummy.calls == [("a", 0)]


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ("narrow", "failed", "23x16 in 3 channels, not 24x16"),
        ("short", "failed", "has 1 frames, not 3"),
        ("extra", "failed", "has 4 frames, not 3"),
        ("bug", "failed", "ZeroDivisionError: oops"),
        ("memory", "oom", "MemoryError: no more"),
    ],
)
def test_a_failing_item_is_recorded_and_the_run_goes_on(
    data: Path, capsys: pytest.CaptureFixture[str], fault: str, status: str, message: str
) -> None:
    assert bench(data, f"dummy:fault={fault},on=a", gt=False, metrics="level") == 1
    rows = {row["clip"]: row for row in table(data, "records.csv")}
    assert (rows["a"]["status"], rows["a"]["value"], rows["b"]["status"]) == (status, "", "ok")
    assert [row["clip"] for row in table(data, "outputs.csv")] == ["b"]
    [summary] = table(data, "summary.csv")
    assert (summary["value"], summary["clips"], summary["status"]) == ("", "1/2", f"partial: a {status}")
    [item] = [item for (_, clip), item in items(data).items() if clip == "a"]
    assert message in item["message"] and item["traceback"]
    assert f"dummy:fault={fault},on=a on a: {status}: " in capsys.readouterr().err
    assert not list((data / "run" / "outputs").glob("*/a"))


def test_a_failed_item_is_tried_again_when_asked_for(data: Path) -> None:
    assert bench(data, "dummy:fault=bug,on=a") == 1
    Dummy.calls.clear()
    assert bench(data, "dummy:fault=bug,on=a") == 1
    assert Dummy.calls == []
    assert bench(data, "dummy:fault=bug,on=a", "--retry-failed") == 1
    assert Dummy.calls == [("a", 0)]


def test_interruption_leaves_no_item_and_no_frames(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(data, "dummy:fault=interrupt,on=b") == 130
    assert "interrupted" in capsys.readouterr().err
    assert [clip for _, clip in items(data)] == ["a"]
    outputs = [path for path in (data / "run" / "outputs").rglob("*") if path.is_dir()]
    assert [path.name for path in outputs if path.parent.name != "outputs"] == ["a"]
    assert {row["clip"] for row in table(data, "records.csv")} == {"a"}


def test_interruption_while_scoring_leaves_no_frames_without_a_record(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Level, sample: Sample) -> Measurement:
        raise KeyboardInterrupt

    monkeypatch.setattr(Level, "measure", interrupt)
    assert bench(data, "dummy", metrics="level") == 130
    assert items(data) == {} and not list((data / "run").rglob("*.png"))


def test_untrained_weights_mark_every_record(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(data, "dummy:weights=untrained", gt=False, metrics="level,error,cut,absent") == 0
    assert {row["status"] for row in table(data, "records.csv")} == {"untrained"}
    by_metric = {row["metric"]: row for row in table(data, "summary.csv")}
    assert by_metric["level"]["status"] == "untrained" and by_metric["error"]["value"] == ""
    assert "dummy:weights=untrained (untrained)" in capsys.readouterr().out


def test_a_metric_without_ground_truth_is_unavailable_and_never_averaged(data: Path) -> None:
    assert bench(data, "bicubic", gt=False, metrics="level,error,cut") == 0
    rows = {(row["clip"], row["metric"]): row for row in table(data, "records.csv")}
    assert (rows["a", "error"]["status"], rows["a", "error"]["value"]) == ("unavailable", "")
    assert rows["a", "cut"]["status"] == "unavailable", "a 24x16 output has no line of 256-pixel tiles"
    summary = {row["metric"]: row for row in table(data, "summary.csv")}
    assert summary["error"]["status"] == "partial: a unavailable; b unavailable"
    assert (summary["error"]["value"], summary["error"]["clips"]) == ("", "0/2")


def test_some_clips_are_not_the_suite(data: Path) -> None:
    assert bench(data, "dummy", "--clips", "b", metrics="level") == 0
    assert [row["clip"] for row in table(data, "records.csv")] == ["b"]
    [row] = table(data, "summary.csv")
    assert (row["value"], row["clips"], row["status"]) == ("", "1/2", "partial: a not run")


def test_failing_and_missing_metrics_do_not_stop_the_others(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(data, "dummy", metrics="broken,absent,level") == 1
    statuses = {row["metric"]: row["status"] for row in table(data, "records.csv")}
    assert statuses == {"broken": "failed", "absent": "unavailable", "level": "ok"}
    shown = capsys.readouterr()
    assert "pip install nothing" in shown.out and "metric broken: failed: RuntimeError: no such kernel" in shown.err


def test_the_list_grammar_and_folder_names(data: Path) -> None:
    assert bench(data, "dummy:weights=none,gain=0.5,bicubic", metrics="level") == 0
    assert {row["variant"] for row in table(data, "records.csv")} == {"dummy:weights=none,gain=0.5", "bicubic"}
    folders = {Path(row["path"]).parts[1] for row in table(data, "outputs.csv")}
    assert folders == {slug("dummy:weights=none,gain=0.5"), "bicubic"}


def test_the_default_folder_is_named_after_what_is_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(torch.rand(2, 3, 16, 24), data / "clip.mp4", 25)
    monkeypatch.chdir(data)
    for source, made in (("lq", "lq"), ("clip.mp4", "clip")):
        words = ["--lq", source, "--scale", "2", "--variants", "bicubic", "--metrics", "level", "--no-mlflow"]
        assert run.main(words) == 0
        assert (data / "runs" / made / "records.csv").is_file()


def test_different_texts_never_share_a_folder() -> None:
    texts = ["full", "full:a=1,b=2", "full_a=1_b=2", "full:a=1:b=2", "../full", "/", ".", "a" * 300, "a" * 301]
    slugs = {slug(text) for text in texts}
    assert max(map(len, slugs)) < 100
    assert len(slugs) == len(texts) and not any("/" in name or name.startswith(".") for name in slugs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--variants": "bicubi"}, "did you mean 'bicubic'"),
        ({"--variants": "dummy,dummy"}, "'dummy' is listed twice"),
        ({"--variants": "dummy:colour=1"}, "unknown override 'colour'"),
        ({"--variants": ""}, "empty"),
        ({"--metrics": "levl"}, "did you mean 'level'"),
        ({"--metrics": "level,level"}, "'level' is named twice"),
        ({"--metrics": "level,offline"}, "weights cannot be fetched"),
        ({"--clips": "c"}, "unknown clip 'c'"),
        ({"--suite": "4kk", "--lq": None, "--gt": None}, "4k"),
        ({"--lq": None, "--gt": None}, "give --suite NAME, --lq DIR, or --gt DIR with --degradation NAME"),
        ({"--lq": "nowhere"}, "nowhere"),
        ({"--scale": "3"}, "24x16"),
        ({"--scale": "0.5"}, "not a factor of 1 or more"),
        ({"--frames": "0"}, "not 1 or more"),
        ({"--frames": "4"}, "3 frames"),
        ({"--device": "abacus"}, "unknown device 'abacus'"),
        ({"--dtype": "int8"}, "unknown dtype 'int8'"),
        ({"--colour": "red"}, "--colour"),
    ],
)
def test_bad_requests_get_one_sentence_and_leave_nothing(
    data: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str | None], message: str
) -> None:
    options: dict[str, str | None] = {
        "--lq": str(data / "lq"), "--gt": str(data / "gt"), "--variants": "dummy", "--metrics": "level",
        "--out": str(data / "run"),
    }  # fmt: skip
    words = [word for name, value in (options | change).items() if value is not None for word in (name, value)]
    assert run.main(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert shown.out == "" and not (data / "run").exists() and Dummy.calls == []


@pytest.mark.parametrize("damage", ["truncated video", "damaged image", "odd size", "missing clip"])
def test_bad_data_gets_one_sentence_and_leaves_nothing(
    data: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    if damage == "truncated video":
        (data / "lq" / "c.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 50)
        (data / "gt" / "c.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 50)
    elif damage == "damaged image":
        image = data / "lq" / "a" / "00000001.png"
        image.write_bytes(image.read_bytes()[:60])
    elif damage == "odd size":
        write_png_folder(torch.zeros(3, 3, 16, 30, dtype=torch.uint8), data / "gt" / "a")
    else:
        write_png_folder(torch.zeros(3, 3, 16, 24, dtype=torch.uint8), data / "gt" / "c")
    assert bench(data, "dummy", metrics="level") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    assert ("c" if damage in ("truncated video", "missing clip") else "a") in error
    assert not (data / "run").exists() and Dummy.calls == []


def test_a_folder_with_other_files_is_not_written_to(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "run").mkdir()
    (data / "run" / "thesis.txt").write_text("precious")
    assert bench(data, "dummy") == 2
    assert "no run.json" in capsys.readouterr().err
    assert [path.name for path in (data / "run").iterdir()] == ["thesis.txt"]


def test_list_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--list"]) == 0
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert "4k" in lines["suites"].split() and "full" in lines["variants"].split()
    assert {"bicubic", "lanczos"} <= set(lines["baselines"].split())
    assert lines["default metrics"].split() == DEFAULT_METRICS
