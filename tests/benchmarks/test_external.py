"""Other methods' outputs and programs in a run: checked before it starts, scored like the rest, and nothing partial."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.frames import stored, whole
from patchvsr import weights
from patchvsr.upscaler import upscalers
from patchvsr.video import write_png_folder
from tests.benchmarks.dummies import Dummy, bench, items, table

pytestmark = pytest.mark.usefixtures("parts", "cache")

METHOD = """
import pathlib, sys
import numpy as np
from PIL import Image

for file in sorted(pathlib.Path(sys.argv[1]).glob("*.png")):
    pixels = np.asarray(Image.open(file)).repeat(2, 0).repeat(2, 1)
    if "b" in sys.argv[3:] and "/b/" in str(file) and file.name != "00000000.png":
        sys.exit("no more memory")
    Image.fromarray(pixels).save(pathlib.Path(sys.argv[2]) / file.name)
print("done", file=sys.stderr)
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "method.py").write_text(METHOD)
    return f"{sys.executable} {tmp_path / 'method.py'} {{input}} {{output}}"


def made_elsewhere(data: Path) -> Path:
    """What `dummy` makes of both clips, as another program would have written it."""
    for clip in "ab":
        low = whole(stored(data / "lq" / clip))
        high = low.repeat_interleave(2, 2).repeat_interleave(2, 3)
        write_png_folder(high, data / "elsewhere" / clip)
    return data / "elsewhere"


def test_outputs_made_elsewhere_score_as_the_same_made_here(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_elsewhere(data)
    assert bench(data, f"dummy,folder:{folder}", metrics="level,error,seconds,cut") == 0
    values = {(row["variant"], row["clip"], row["metric"]): row for row in table(data, "records.csv")}
    for clip in "ab":
        for metric in ("level", "error"):
            same = [values[variant, clip, metric]["value"] for variant in ("dummy", f"folder:{folder}")]
            assert same[0] == same[1]
    # How long their making took is not known, and reading them is not it.
    assert values[f"folder:{folder}", "a", "seconds"]["status"] != "ok"
    assert "did not measure 'seconds'" in capsys.readouterr().out


def test_changed_outputs_are_scored_anew_and_others_kept(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_elsewhere(data)
    bench(data, f"folder:{folder}")
    before = {clip: item["hash"] for (_, clip), item in items(data).items()}
    write_png_folder(torch.zeros(3, 3, 16, 24, dtype=torch.uint8), folder / "b")
    assert bench(data, f"folder:{folder}") == 0
    after = {clip: item["hash"] for (_, clip), item in items(data).items()}
    assert before["a"] == after["a"] and before["b"] != after["b"]
    assert "on a: kept from an earlier run" in capsys.readouterr().err
    assert float(table(data, "records.csv")[2]["value"]) == 0.0


def test_outputs_that_do_not_fit_stop_the_run_before_it_starts(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_elsewhere(data)
    (folder / "b" / "00000002.png").unlink()
    assert bench(data, f"dummy,folder:{folder}") == 2
    assert "has 2 frames and clip 'b' has 3" in capsys.readouterr().err
    assert not Dummy.calls and not (data / "run").exists()


def test_lossy_outputs_are_told_below_the_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from baselines.exchange import write_video

    for clip in "ab":
        high = whole(stored(made_elsewhere(data) / clip)).float() / 255
        (data / "videos").mkdir(exist_ok=True)
        write_video(high, data / "videos" / f"{clip}.mp4", 25)
    assert bench(data, f"folder:{data / 'videos'}") == 0
    told = capsys.readouterr().out.partition("to know:")[2]
    assert told.count("scored from h264 video") == 2


def test_a_program_is_run_scored_and_measured(data: Path, program: str) -> None:
    assert bench(data, f'dummy,command:"{program}"', metrics="error,seconds,program_seconds,program_peak_mib") == 0
    values = {(row["variant"], row["metric"]): row for row in table(data, "records.csv") if row["clip"] == "a"}
    text = f'command:"{program}"'
    assert values[text, "error"]["value"] == values["dummy", "error"]["value"]
    assert values[text, "seconds"]["status"] != "ok" and values["dummy", "program_seconds"]["status"] != "ok"
    assert float(values[text, "program_seconds"]["value"]) > 0
    assert items(data)[text, "a"]["log"] == "[stderr]\ndone"


def test_a_program_that_fails_leaves_no_partial_row(
    data: Path, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'command:"{program} b"'
    assert bench(data, f"{text},dummy") == 1
    rows = table(data, "records.csv")
    assert {row["status"] for row in rows if (row["variant"], row["clip"]) == (text, "b")} == {"failed"}
    assert not any(row["value"] for row in rows if (row["variant"], row["clip"]) == (text, "b"))
    assert [row["clip"] for row in table(data, "outputs.csv")] == ["a", "a", "b"]  # the failed one wrote nothing
    means = [(row["value"], row["status"]) for row in table(data, "summary.csv") if row["variant"] == text]
    assert means == [("", "partial: b failed")] * 2
    failed = items(data)[text, "b"]
    assert "exit code 1 on clip 'b'; its last line of errors: no more memory" in failed["message"]
    assert failed["log"] == "[stderr]\nno more memory"
    assert "no more memory" in capsys.readouterr().err


def test_a_scale_that_a_network_lacks_stops_the_run_before_it_starts(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.baselines.test_basicvsr import untrained

    upscalers.names()
    monkeypatch.setitem(upscalers._entries, "network", lambda overrides, device, dtype: untrained())
    assert bench(data, "dummy,network") == 2
    assert "upscales by 4 only, not by 2" in capsys.readouterr().err
    assert not Dummy.calls and not (data / "run").exists()


def test_fetch_brings_weights_that_a_baseline_lacks(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def needy(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Dummy:
        if not fetched:
            raise weights.WeightsAbsent("niqe")
        return Dummy(overrides)

    upscalers.names()
    monkeypatch.setitem(upscalers._entries, "needy", needy)
    monkeypatch.setattr(weights, "fetch", fetched.append)
    assert bench(data, "needy") == 2
    assert not fetched
    assert bench(data, "needy", "--fetch") == 0
    assert fetched == ["niqe"]
